"""Which family a model belongs to, from what its own configs say."""

from typing import Any

from pseudoword.errors import UserError

STABLE_DIFFUSION = ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline")
XL = "StableDiffusionXLPipeline"
PREDICTIONS = ("epsilon", "v_prediction")


class UnknownFamily(UserError):
    def __init__(self, model: str, found: str) -> None:
        super().__init__(
            f"base.model: '{model}' is {found}. Words are learned for Stable Diffusion 1.x and 2.x, their inpainting "
            "models (a UNet of 9 input channels) and Stable Diffusion XL base, trained for epsilon or v_prediction."
        )


def family_of(model: str, index: dict[str, Any], unet: dict[str, Any], scheduler: dict[str, Any]) -> str:
    """sd1 | sd2 | sd1-inpainting | sd2-inpainting | sdxl. Raises UnknownFamily with what was found instead.

    index, unet, scheduler  model_index.json, unet/config.json and scheduler/scheduler_config.json
    """
    if stranger := _stranger(index, unet, scheduler):
        raise UnknownFamily(model, stranger)
    if index["_class_name"] == XL:
        return "sdxl"
    # The wide text encoder of OpenCLIP is what sets 2.x apart; it predicts epsilon in some models and v in others.
    generation = "sd2" if unet.get("cross_attention_dim") == 1024 else "sd1"
    return f"{generation}-inpainting" if unet["in_channels"] == 9 else generation


def pipeline_of(family: str) -> str:
    """The name of the class with which diffusers draws with a model of this family."""
    return XL if family == "sdxl" else STABLE_DIFFUSION[family.endswith("-inpainting")]


def _stranger(index: dict[str, Any], unet: dict[str, Any], scheduler: dict[str, Any]) -> str:
    """The sign by which the model is of another family; empty when there is none."""
    pipeline, channels = index.get("_class_name"), unet.get("in_channels")
    prediction = scheduler.get("prediction_type", "epsilon")
    if pipeline not in (*STABLE_DIFFUSION, XL):
        return f"a {pipeline}"
    if channels not in (4, 9) or (pipeline == XL and channels == 9):
        return f"a {pipeline} whose UNet takes {channels} channels"
    encoder = index.get("text_encoder", [None])[0]
    if pipeline == XL and (encoder is None or unet.get("addition_embed_type") != "text_time"):
        return f"a {pipeline} without the first text encoder or the time ids of the base model"
    if unet.get("time_cond_proj_dim") is not None:
        return f"a {pipeline} distilled to take the guidance as an input"
    if scheduler and "beta_schedule" not in scheduler:
        return f"a {pipeline} whose {scheduler.get('_class_name', 'scheduler')} has no noise schedule of betas"
    if prediction not in PREDICTIONS:
        return f"a {pipeline} trained for {prediction}"
    return ""
