"""Inpainting models of Stable Diffusion 1.x and 2.x: 4 latent channels, 1 of the mask, 4 of the masked picture.

A word is learned and drawn with all of the picture masked: the model then paints it whole, from the prompt alone.
"""

import torch
from diffusers import StableDiffusionInpaintPipeline
from torch import Tensor

from pseudoword.base.interface import Conditioning
from pseudoword.base.stable_diffusion import StableDiffusion


class Inpainting(StableDiffusion):
    """`family` is `sd1-inpainting` or `sd2-inpainting`."""

    def __init__(self, pipeline: StableDiffusionInpaintPipeline, clip_skip: int = 0) -> None:
        super().__init__(pipeline, clip_skip)
        self.family += "-inpainting"
        self._holes: dict[tuple[int, int], Tensor] = {}

    def predict(self, noisy: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        hole = self.hole(noisy.shape[2], noisy.shape[3]).expand(len(noisy), -1, -1, -1)
        return super().predict(torch.cat([noisy, hole], 1), t, conditioning)

    @torch.no_grad()
    def hole(self, height: int, width: int) -> Tensor:
        """Mask and masked picture where all is to be painted, (1, 5, H, W): ones, and the latent of a mid-grey."""
        if (height, width) not in self._holes:
            pixels = torch.zeros(1, 3, height * self.pixels, width * self.pixels, device=self.device)
            with self._on_device(self.vae):
                latent = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode() * self.vae.config.scaling_factor
            mask = torch.ones_like(latent[:, :1])
            self._holes[height, width] = torch.cat([mask, latent], 1).to(self.dtype)
        return self._holes[height, width]
