"""Tiny random Stable Diffusions in the exact layout of the real ones, with the toyworld's tokenizer."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

TOYWORLD = Path(__file__).parents[1] / "models" / "toyworld"
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "skip_prk_steps": True,
         "steps_offset": 1, "set_alpha_to_one": False}  # fmt: skip


def tiny_stable_diffusion(prediction_type: str = "epsilon", width: int = 16, seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline of 32 px pictures and 4x4 latents; `v_prediction` with linear projections is the layout of SD 2.x."""
    return StableDiffusionPipeline(
        **_stable_diffusion(prediction_type, width, seed, in_channels=4),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def tiny_inpainting(prediction_type: str = "epsilon", width: int = 16, seed: int = 0) -> StableDiffusionInpaintPipeline:
    """The same with a UNet of 9 input channels."""
    return StableDiffusionInpaintPipeline(
        **_stable_diffusion(prediction_type, width, seed, in_channels=9),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def tiny_sdxl(old_eos: bool = False, zeros: bool = True, seed: int = 0) -> StableDiffusionXLPipeline:
    """Two text encoders of 16 and 24 numbers, a pooled vector of 20; the second tokenizer pads with `!`, id 0.

    old_eos  the text encoders' configs have the eos_token_id 2 of old
    zeros    no negative prompt is a conditioning of zeros, as in SDXL base
    """
    torch.manual_seed(seed)
    first = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer")
    second = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer", pad_token="!")
    marks = {"num_hidden_layers": 3} | ({"eos_token_id": 2} if old_eos else {})
    unet = UNet2DConditionModel(
        sample_size=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=40,
        attention_head_dim=(1, 2), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True,
        transformer_layers_per_block=(1, 2), addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=20 + 6 * 4,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=_vae(), unet=unet, tokenizer=first, tokenizer_2=second,
        text_encoder=CLIPTextModel(_text_config(first, 16, "quick_gelu", **marks)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(second, 24, "gelu", projection_dim=20, **marks)),
        scheduler=EulerDiscreteScheduler(**_WITHOUT_PNDM), force_zeros_for_empty_prompt=zeros, add_watermarker=False,
    )  # fmt: skip


_WITHOUT_PNDM = {key: NOISE[key] for key in ("beta_start", "beta_end", "beta_schedule", "steps_offset")}


def _stable_diffusion(prediction_type: str, width: int, seed: int, in_channels: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer")
    text = _text_config(tokenizer, width, "gelu" if prediction_type == "v_prediction" else "quick_gelu")
    unet = UNet2DConditionModel(
        sample_size=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=width,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), in_channels=in_channels,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), use_linear_projection=prediction_type == "v_prediction",
    )  # fmt: skip
    vae = _vae()
    return {
        "vae": vae, "text_encoder": CLIPTextModel(text), "tokenizer": tokenizer, "unet": unet,
        "scheduler": PNDMScheduler(**NOISE, prediction_type=prediction_type),
    }  # fmt: skip


def _text_config(tokenizer: CLIPTokenizer, width: int, act: str, **more: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_attention_heads=2,
        max_position_embeddings=77, hidden_act=act,
        **{"num_hidden_layers": 2, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
           "pad_token_id": tokenizer.pad_token_id, **more},
    )  # fmt: skip


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        sample_size=32,
    )  # fmt: skip


def tiny_judge(folder: Path) -> None:
    """A random CLIP of 32 px pictures with its processor, saved to `folder`."""
    tokenizer = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer")
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
             "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    shared = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(1)
    config = CLIPConfig(
        text_config={**shared, **marks, "vocab_size": len(tokenizer)},
        vision_config={**shared, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    size = {"height": 32, "width": 32}
    for part in (CLIPModel(config), tokenizer, CLIPImageProcessor(size=size, crop_size=size)):
        part.save_pretrained(folder)
