"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet of 4 latent channels, epsilon or v-prediction."""

from diffusers import StableDiffusionPipeline
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning


class StableDiffusion(Base):
    """`family` is `sd2` for the wide text encoder of 2.x, else `sd1`."""

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        encoders = {pipeline.text_encoder: pipeline.tokenizer}
        super().__init__(encoders, pipeline.unet, pipeline.vae, pipeline.scheduler.config)
        self.family = "sd2" if self.widths[0] == 1024 else "sd1"

    def encode(self, ids: Tensor, vectors: Tensor) -> Conditioning:
        (encoder,), (spliced,) = self.text_encoders, self.spliced
        batch, _, windows, length = ids.shape
        with spliced.holding(vectors):
            states: Tensor = encoder(ids.reshape(batch * windows, length)).last_hidden_state
        return Conditioning(states.reshape(batch, windows * length, -1))

    def predict(self, noisy: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        answer: Tensor = self.unet(noisy, t, conditioning.states).sample
        return answer
