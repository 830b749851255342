"""Sections data and base: what to learn from, and on which model."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pseudoword.settings.fields import Section

DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"


def _device(text: str) -> str:
    if not re.search(DEVICE, text):
        raise ValueError("auto, cpu, mps, cuda, or cuda:1 for the second card")
    return text


def _named(value: object) -> object:
    if value is None or (isinstance(value, str) and not value.strip()):  # "" is the current folder to Path
        raise ValueError("the folder that the pictures lie in, such as data/my-cat")
    return value


class DataSettings(Section):
    folder: Annotated[Path, BeforeValidator(_named)] = Field(
        description="Folder of pictures to learn from; captions may lie beside them as <picture>.txt."
    )


class BaseSettings(Section):
    model: str = Field(min_length=1, description="Folder in diffusers layout, checkpoint file, or hub id.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id; null for its default.")
    config: str | None = Field(
        None,
        min_length=1,
        description="For a checkpoint file: folder or hub id (or id@revision) in diffusers layout whose configs and "
        "tokenizers fit it; null for those that diffusers takes for the file's layout.",
    )
    vae: str | None = Field(
        None, min_length=1, description="Folder, file, hub id or id@revision of another VAE; null for the model's own."
    )
    clip_skip: int = Field(
        0,
        strict=True,
        ge=0,
        description="Layers of the text encoders to leave out at the end; A1111 counts one more (its 2 is 1 here).",
    )
    attention: Literal["auto", "sdpa", "sliced", "xformers"] = Field(
        "auto", description="Of the UNet. auto: sdpa, torch's fused attention; sliced saves memory where that fails."
    )
    device: Annotated[str, AfterValidator(_device)] = Field(
        "auto", json_schema_extra={"pattern": DEVICE}, description="auto takes a GPU when there is one."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="Of the frozen model; the word is always fp32. auto: bf16 or fp16 on a GPU, fp32 on a CPU."
    )
