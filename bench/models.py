"""Models to measure on: one from a folder, or random weights in the layout of Stable Diffusion 1.5 or SDXL."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

TOKENIZER = Path(__file__).parents[1] / "models/toyworld/tokenizer"
VOCABULARY = 49408  # rows of the token tables; the small tokenizer's ids are the first of them
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
         "clip_sample": False}  # fmt: skip
CHANNELS = (320, 640, 1280)


@dataclass(frozen=True)
class Model:
    """Which model is measured; `width` is a factor on all channels of a layout."""

    name: str  # sd15 | sdxl | a folder
    width: float
    device: str
    dtype: torch.dtype

    def pipeline(self) -> Any:
        """A frozen pipeline of its own, with the same weights each time."""
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        layouts = {"sd15": _sd15, "sdxl": _sdxl}
        torch.manual_seed(0)
        if self.name in layouts:
            with torch.device(self.device):
                pipeline = layouts[self.name](self.width)
        else:
            options = {"safety_checker": None, "requires_safety_checker": False, "local_files_only": True}
            pipeline = StableDiffusionPipeline.from_pretrained(self.name, **options)
        for part in _parts(pipeline):
            part.requires_grad_(False).eval().to(self.device, self.dtype)
        return pipeline


def _parts(pipeline: Any) -> list[Any]:
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None))
    return [part for part in parts if part is not None]


def _sd15(width: float) -> StableDiffusionPipeline:
    cross = 64 * _heads(12, width)
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(*(_wide(c, width) for c in CHANNELS), _wide(CHANNELS[-1], width)),
        cross_attention_dim=cross, attention_head_dim=8,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=_vae(width), text_encoder=CLIPTextModel(_text(cross, 12, "quick_gelu")), tokenizer=_tokenizer(), unet=unet,
        scheduler=DDPMScheduler(**NOISE), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _sdxl(width: float) -> StableDiffusionXLPipeline:
    first, second = 64 * _heads(12, width), 64 * _heads(20, width)
    channels = [_wide(c, width) for c in CHANNELS]
    unet = UNet2DConditionModel(
        sample_size=128, block_out_channels=channels, cross_attention_dim=first + second, use_linear_projection=True,
        attention_head_dim=[max(1, c // 64) for c in channels], transformer_layers_per_block=(1, 2, 10),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=second + 6 * 256,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=_vae(width), unet=unet, tokenizer=_tokenizer(), tokenizer_2=_tokenizer(), scheduler=DDPMScheduler(**NOISE),
        text_encoder=CLIPTextModel(_text(first, 12, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_text(second, 32, "gelu", projection_dim=second)),
        add_watermarker=False,
    )  # fmt: skip


def _vae(width: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=[_wide(c, width) for c in (128, 256, 512, 512)], layers_per_block=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


def _text(hidden: int, layers: int, act: str, **more: Any) -> CLIPTextConfig:
    marks = _tokenizer()
    return CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, max_position_embeddings=77, hidden_act=act, pad_token_id=marks.pad_token_id,
        bos_token_id=marks.bos_token_id, eos_token_id=marks.eos_token_id, **more,
    )  # fmt: skip


def _tokenizer() -> CLIPTokenizer:
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    return tokenizer


def _wide(channels: int, width: float) -> int:
    """The nearest multiple of 32, as the group norms want it."""
    return max(32, round(channels * width / 32) * 32)


def _heads(heads: int, width: float) -> int:
    return max(1, round(heads * width))
