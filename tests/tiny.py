"""Tiny random Stable Diffusions in the exact layout of the real ones, with the toyworld's tokenizer."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOYWORLD = Path(__file__).parents[1] / "models" / "toyworld"
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "skip_prk_steps": True,
         "steps_offset": 1, "set_alpha_to_one": False}  # fmt: skip


def tiny_stable_diffusion(prediction_type: str = "epsilon", width: int = 16, seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline of 32 px pictures and 4x4 latents; `v_prediction` with linear projections is the layout of SD 2.x."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        hidden_act="gelu" if prediction_type == "v_prediction" else "quick_gelu",
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=width,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), use_linear_projection=prediction_type == "v_prediction",
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        sample_size=32,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=PNDMScheduler(**NOISE, prediction_type=prediction_type),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
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
