"""A tiny pipeline's weights under the names of the original Stable Diffusion, as checkpoints of one file have them.

The inverse of the renaming that diffusers does when it loads such a file, for the layouts that are taken.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]

UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip
OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "self_attn.out_proj": "attn.out_proj"}  # fmt: skip


def original(pipeline: Any) -> Weights:
    """All weights of a pipeline of SD 1.x (CLIP), SD 2.x (OpenCLIP) or SDXL (both), by their original names."""
    names = dict(_unet(pipeline.unet)) | dict(_vae(pipeline.vae))
    second = getattr(pipeline, "text_encoder_2", None)
    if second is not None:
        names |= _clip(pipeline.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        names |= _open_clip(second, "conditioner.embedders.1.model.")
    elif pipeline.text_encoder.config.hidden_act == "gelu":
        names |= _open_clip(pipeline.text_encoder, "cond_stage_model.model.")
    else:
        names |= _clip(pipeline.text_encoder, "cond_stage_model.transformer.text_model.")
    return {name: value.clone().contiguous() for name, value in names.items()}


def _renamed(name: str, table: dict[str, str]) -> str:
    for new, old in table.items():
        name = name.replace(new, old)
    return name


def _unet(unet: Any) -> Iterator[tuple[str, Tensor]]:
    per_block = unet.config.layers_per_block + 1
    for name, value in unet.state_dict().items():
        yield f"model.diffusion_model.{_unet_name(name, per_block, unet)}", value


def _unet_name(name: str, per_block: int, unet: Any) -> str:
    if found := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name):
        side, block, part, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
        if part == "downsamplers":
            return f"input_blocks.{(block + 1) * per_block}.0.op.{rest.removeprefix('conv.')}"
        if part == "upsamplers":
            place = 2 if hasattr(unet.up_blocks[block], "attentions") else 1
            return f"output_blocks.{(block + 1) * per_block - 1}.{place}.{rest}"
        at = block * per_block + layer + (1 if side == "down" else 0)
        blocks = "input_blocks" if side == "down" else "output_blocks"
        return f"{blocks}.{at}.0.{_renamed(rest, RESNET)}" if part == "resnets" else f"{blocks}.{at}.1.{rest}"
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name):
        if found[1] == "attentions":
            return f"middle_block.1.{found[3]}"
        return f"middle_block.{2 * int(found[2])}.{_renamed(found[3], RESNET)}"
    return _renamed(name, UNET)


def _vae(vae: Any) -> Iterator[tuple[str, Tensor]]:
    levels = len(vae.config.block_out_channels)
    for name, value in vae.state_dict().items():
        renamed = name
        if found := re.match(r"(.*)up_blocks\.(\d+)\.(.*)", name):
            renamed = f"{found[1]}up.{levels - 1 - int(found[2])}.{found[3]}"
        renamed = renamed.replace("down_blocks", "down").replace(".resnets.", ".block.")
        renamed = re.sub(r"(down|up)samplers\.0", r"\1sample", renamed).replace("conv_shortcut", "nin_shortcut")
        renamed = re.sub(r"mid_block\.block\.(\d)", lambda f: f"mid.block_{int(f[1]) + 1}", renamed)
        renamed = renamed.replace("conv_norm_out", "norm_out").replace("mid_block.attentions.0", "mid.attn_1")
        if "attn_1" in renamed:
            renamed = _renamed(renamed, {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v"})
            renamed = renamed.replace("to_out.0", "proj_out")
            value = value[..., None, None] if value.ndim == 2 else value
        yield f"first_stage_model.{renamed}", value


def _clip(encoder: Any, prefix: str) -> Weights:
    return {prefix + name: value for name, value in encoder.state_dict().items()}


def _open_clip(encoder: Any, prefix: str) -> Weights:
    weights = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    named = {
        "positional_embedding": weights.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": weights.pop("embeddings.token_embedding.weight"),
        "ln_final.weight": weights.pop("final_layer_norm.weight"),
        "ln_final.bias": weights.pop("final_layer_norm.bias"),
    }
    if "text_projection.weight" in weights:
        named["text_projection"] = weights.pop("text_projection.weight").T
    for name in list(weights):
        if ".q_proj." in name:
            parts = [weights.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
            layer, kind = name.replace("encoder.layers", "transformer.resblocks").split(".self_attn.q_proj.")
            named[f"{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    for name, value in weights.items():
        named[_renamed(name.replace("encoder.layers", "transformer.resblocks"), OPEN_CLIP)] = value
    return {prefix + name: value for name, value in named.items()}
