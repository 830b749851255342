"""Stable Diffusion XL: two CLIP text encoders side by side, a pooled vector, and the size of the picture as ids."""

from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning
from pseudoword.base.text import check_clip_skip, pooled_at_end, transformer, used_windows


class StableDiffusionXL(Base):
    """Both encoders are read at their last but one layer, `clip_skip` layers deeper; the pooled vector at the last."""

    family = "sdxl"

    def __init__(self, pipeline: StableDiffusionXLPipeline, clip_skip: int = 0) -> None:
        encoders = {pipeline.text_encoder: pipeline.tokenizer, pipeline.text_encoder_2: pipeline.tokenizer_2}
        super().__init__(encoders, pipeline.unet, pipeline.vae, pipeline.scheduler.config)
        check_clip_skip(clip_skip, self.text_encoders, already=1)
        self.clip_skip = clip_skip
        self.zeros_for_nothing = bool(pipeline.config.force_zeros_for_empty_prompt)
        self._time_ids: dict[tuple[int, int], Tensor] = {}

    def _encode(self, ids: Tensor, vectors: Tensor) -> Conditioning:
        batch, _, windows, length = ids.shape
        states = []
        for i, part in enumerate(vectors.split(self.widths, dim=1)):
            with self.spliced[i].holding(part):
                flat = ids[:, i].reshape(batch * windows, length)
                answer = transformer(self.text_encoders[i])(flat, output_hidden_states=True)
            states.append(answer.hidden_states[-2 - self.clip_skip].reshape(batch, windows * length, -1))
        last = answer.last_hidden_state.view(batch, windows, length, -1)[:, 0]
        pooled = pooled_at_end(last, ids[:, -1, 0], self.tokenizers[-1].eos_token_id)
        projection: Any = self.text_encoders[-1].text_projection
        mask = used_windows(ids, self.tokenizers[0].eos_token_id)
        return Conditioning(torch.cat(states, -1), projection(pooled), mask)

    @torch.no_grad()
    def nothing(self) -> Conditioning:
        """Zeros where the model was trained with them for no prompt; not what an empty text encodes to."""
        empty = super().nothing()
        if not self.zeros_for_nothing or empty.pooled is None:
            return empty
        return Conditioning(torch.zeros_like(empty.states), torch.zeros_like(empty.pooled))

    def predict(self, noisy: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        sizes = self.time_ids(noisy.shape[2] * self.pixels, noisy.shape[3] * self.pixels).expand(len(noisy), -1)
        added = {"text_embeds": conditioning.pooled, "time_ids": sizes}
        with self.keys_and_values.through(conditioning.hypernetworks):
            answer: Tensor = self.unet(
                noisy, t, conditioning.states, encoder_attention_mask=conditioning.mask, added_cond_kwargs=added
            ).sample
        return answer

    def time_ids(self, height_px: int, width_px: int) -> Tensor:
        """(1, 6): the size of the source, the corner of the crop, the size wanted; the whole picture as it is."""
        size = (height_px, width_px)
        if size not in self._time_ids:
            self._time_ids[size] = torch.tensor([[*size, 0, 0, *size]], device=self.device, dtype=self.dtype)
        return self._time_ids[size]
