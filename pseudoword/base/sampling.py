"""From noise to a picture: diffusers' samplers, and a VAE's answer as Pillow pictures."""

from collections.abc import Callable
from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, SchedulerMixin
from PIL import Image
from torch import Tensor

from pseudoword.errors import UserError

# All without randomness of their own: the starting noise decides the picture.
SAMPLERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "dpm++2m": (DPMSolverMultistepScheduler, {}),
    "dpm++2m-karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "euler": (EulerDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {}),
}


class UnknownSampler(UserError):
    def __init__(self, sampler: str) -> None:
        super().__init__(f"sampler: '{sampler}' is not known; can be: {', '.join(SAMPLERS)}")


def sample(
    predict: Callable[[Tensor, Tensor], Tensor], noise_config: dict[str, Any], noise: Tensor, inference_steps: int,
    sampler: str,
) -> Tensor:  # fmt: skip
    """Latents (B, C, H, W) from standard normal noise of that shape, in its precision and on its device.

    predict       the model's answer to noisy latents (B, C, H, W) at a step, ()
    noise_config  that of the model's own scheduler
    """
    if sampler not in SAMPLERS:
        raise UnknownSampler(sampler)
    kind, options = SAMPLERS[sampler]
    scheduler: Any = kind.from_config(noise_config, **options)
    scheduler.set_timesteps(inference_steps, device=noise.device)
    latents: Tensor = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        predicted = predict(scheduler.scale_model_input(latents, t), t)
        latents = scheduler.step(predicted, t, latents, return_dict=False)[0]
    return latents


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1] -> 8-bit RGB."""
    share = (pixels * 0.5 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
    return [Image.fromarray(picture) for picture in (share * 255).round().astype("uint8")]
