"""How the UNet computes its attention, and in which precision."""

import importlib.util

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from pseudoword.errors import UserError


class NoXformers(UserError):
    def __init__(self) -> None:
        super().__init__(
            "base.attention: xformers is asked for, but the package is not installed. Install one built for your torch "
            "(pip install xformers), or set auto: torch's own attention is as fast and as sparing."
        )


def check_attention(attention: str) -> None:
    """Raises NoXformers where the package is asked for and not there."""
    if attention == "xformers" and importlib.util.find_spec("xformers") is None:
        raise NoXformers


def set_attention(unet: UNet2DConditionModel, attention: str) -> None:
    """`auto` and `sdpa`: torch's fused attention; `sliced`: one head at a time; `xformers`. Raises NoXformers."""
    if attention == "sliced":
        unet.set_attention_slice("max")
        # The fused kernels add up in fp32. Here the products are stored, and those of SD 2.x are too large for fp16.
        for module in unet.modules():
            if isinstance(module, Attention) and unet.dtype is torch.float16:
                module.upcast_attention = True
    elif attention == "xformers":
        check_attention(attention)
        unet.enable_xformers_memory_efficient_attention()
    else:
        unet.set_attn_processor(AttnProcessor2_0())
