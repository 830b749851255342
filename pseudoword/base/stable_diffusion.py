"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet of 4 latent channels, epsilon or v-prediction."""

from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning
from pseudoword.base.text import check_clip_skip, transformer, used_windows


class StableDiffusion(Base):
    """`family` is `sd2` for the wide text encoder of 2.x, else `sd1`.

    The last but one layer, which 2.x is read from, is the last one that its text encoder has in diffusers' layout.
    """

    def __init__(self, pipeline: StableDiffusionPipeline | StableDiffusionInpaintPipeline, clip_skip: int = 0) -> None:
        encoders = {pipeline.text_encoder: pipeline.tokenizer}
        super().__init__(encoders, pipeline.unet, pipeline.vae, pipeline.scheduler.config)
        check_clip_skip(clip_skip, self.text_encoders, already=0)
        self.clip_skip = clip_skip
        self.family = "sd2" if self.widths[0] == 1024 else "sd1"

    def _encode(self, ids: Tensor, vectors: Tensor) -> Conditioning:
        (encoder,), (spliced,) = self.text_encoders, self.spliced
        batch, _, windows, length = ids.shape
        flat = ids.reshape(batch * windows, length)
        with spliced.holding(vectors):
            if self.clip_skip == 0:
                states: Tensor = encoder(flat).last_hidden_state
            else:
                layers = encoder(flat, output_hidden_states=True).hidden_states
                states = transformer(encoder).final_layer_norm(layers[-1 - self.clip_skip])
        mask = used_windows(ids, self.tokenizers[0].eos_token_id)
        return Conditioning(states.reshape(batch, windows * length, -1), mask=mask)

    def predict(self, noisy: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        with self.keys_and_values.through(conditioning.hypernetworks):
            answer: Tensor = self.unet(noisy, t, conditioning.states, encoder_attention_mask=conditioning.mask).sample
        return answer
