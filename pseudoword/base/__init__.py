"""The frozen base model: where it lies, what it is, and the parts of it that the stages use.

    folder = locate("models/toyworld", revision=None)
    native_resolution("models/toyworld", None)                    # 64, from its configs alone
    pipeline = load_pipeline("models/toyworld", None, "cpu", torch.float32)
    base = StableDiffusion(pipeline)                              # what training and scoring need of it

Families are told apart by the model's own configs. Stable Diffusion 1.x and 2.x (epsilon or v-prediction) share one
module; a model of another family is refused with a UserError that says what was found.
"""

from pseudoword.base.location import digest, locate, native_resolution
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.base.stable_diffusion import StableDiffusion, load_pipeline, load_vae

__all__ = [
    "StableDiffusion",
    "digest",
    "load_pipeline",
    "load_vae",
    "locate",
    "native_resolution",
    "resolve_device",
    "resolve_precision",
]
