"""Sections data and base: what to learn from, and on which model."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pseudoword.settings.fields import Section


class Data(Section):
    folder: Path = Field(description="Folder of pictures to learn from; captions may lie beside them as <picture>.txt.")


class Base(Section):
    model: str = Field(min_length=1, description="Folder in diffusers layout, or a hub id.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id; null for its default.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto takes a GPU when there is one."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="Of the frozen model; the word is always fp32. auto: bf16 or fp16 on a GPU, fp32 on a CPU."
    )
