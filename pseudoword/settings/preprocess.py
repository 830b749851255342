"""Section preprocess."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from pseudoword.settings.fields import PositiveInt, Section

Weight = Annotated[float, Field(strict=True, ge=0, le=1)]
LEAST, MOST, STEP = 32, 4096, 8  # px of a picture's side
PX = re.compile(r"(\d+)x(\d+)")


def _checked_px(value: object) -> object:
    found = PX.fullmatch(value) if isinstance(value, str) else None
    sides = [int(side) for side in found.groups()] if found else [value]
    if value != "auto" and not all(type(side) is int and LEAST <= side <= MOST and not side % STEP for side in sides):
        raise ValueError(f"'auto', a multiple of {STEP} from {LEAST} to {MOST}, or two of them such as 512x768")
    return value


Resolution = Annotated[
    int | str,
    BeforeValidator(_checked_px),  # one message in place of one for each type
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": LEAST, "maximum": MOST, "multipleOf": STEP},
                   {"type": "string", "pattern": r"^(auto|\d+x\d+)$"}]}
    ),
]  # fmt: skip
Side = Annotated[int, Field(strict=True, ge=64, le=4096, multiple_of=64)]


class FocalSettings(Section):
    face: Weight = Field(0.9, description="Weight of the faces' middle.")
    edges: Weight = Field(0.5, description="Weight of the corners' middle: where there is structure.")
    entropy: Weight = Field(0.15, description="Weight of the window with the richest mix of greys.")
    face_model: Path | None = Field(
        None, description="Another YuNet of OpenCV's as .onnx to find faces with; null: the one that is installed."
    )
    debug: bool = Field(
        False, strict=True, description="Draw the points, their weights and the faces into the contact sheet."
    )


class SplitSettings(Section):
    threshold: Weight = Field(
        0.0, description="Pictures whose short side is at most this share of the long one become tiles; 0: none."
    )
    overlap: Annotated[float, Field(strict=True, ge=0, le=0.9)] = Field(
        0.2, description="Least share of a tile that its neighbour shows too."
    )


class AutosizeSettings(Section):
    min_side: Side = Field(384, description="Shortest side in px, a multiple of 64.")
    max_side: Side = Field(768, description="Longest side in px.")
    min_area: PositiveInt = Field(4096, description="Least width x height in px.")
    max_area: PositiveInt = Field(409600, description="Most width x height in px.")
    prefer: Literal["area", "fit"] = Field("area", description="The largest area, or the aspect ratio that fits best.")
    max_error: Weight = Field(0.1, description="How far the aspect ratio may be off: 1 - (smaller ratio / larger).")

    @model_validator(mode="after")
    def _some_shape_is_possible(self) -> Self:
        if self.min_side > self.max_side:
            raise ValueError(f"a min_side ({self.min_side}) up to max_side ({self.max_side})")
        if self.min_area > self.max_area:
            raise ValueError(f"a min_area ({self.min_area}) up to max_area ({self.max_area})")
        sides = range(self.min_side, self.max_side + 1, 64)
        if not any(self.min_area <= width * height <= self.max_area for width in sides for height in sides):
            raise ValueError(
                f"a shape with an area from {self.min_area} to {self.max_area} px; sides of {self.min_side} to "
                f"{self.max_side} px give {self.min_side**2} to {sides[-1] ** 2}, in steps of 64 px of the side"
            )
        return self


class PreprocessSettings(Section):
    resolution: Resolution = Field(
        "auto",
        description="Side in px of square pictures and tiles, a multiple of 8, or width x height such as 512x768 for "
        "shape: square, which is then no square; buckets have about the square as area. auto: what the base model was "
        "trained on.",
    )
    shape: Literal["square", "buckets", "keep", "autosize"] = Field(
        "square",
        description="square: all alike, of resolution. buckets: the aspect ratio nearest to the picture's own, about "
        "the same area. keep: the picture's own px, cut down to the multiple that the UNet takes. autosize: by the "
        "keys of autosize. Tiles are what a square picture would be.",
    )
    crop: Literal["centre", "focal"] = Field(
        "centre", description="Where to cut what does not fit: keep the centre, or what the section focal finds."
    )
    focal: FocalSettings = Field(
        default_factory=lambda: FocalSettings.model_validate({}),
        description="What crop: focal looks for; what is not found drops out.",
    )
    split: SplitSettings = Field(
        default_factory=lambda: SplitSettings.model_validate({}),
        description="Cut long pictures into overlapping square tiles.",
    )
    autosize: AutosizeSettings = Field(
        default_factory=lambda: AutosizeSettings.model_validate({}),
        description="The shapes that shape: autosize chooses from.",
    )
    mirror: Literal["none", "horizontal", "vertical", "both"] = Field(
        "none",
        description="Add mirrored copies. Wrong for lettering, and for faces and things whose left differs from their "
        "right. both: left to right, top to bottom, and the two together.",
    )
    masks: Literal["none", "alpha", "files", "auto"] = Field(
        "auto",
        description="Loss weight by place: <picture>.mask.png beside the picture (white counts, black does not), its "
        "transparency, or auto: the file where there is one, else the transparency.",
    )
    recursive: bool = Field(False, strict=True, description="Read the sub-folders of data.folder too.")

    @property
    def px(self) -> tuple[int, int] | None:
        """Width and height of `resolution`; None for auto."""
        if self.resolution == "auto":
            return None
        width, _, height = str(self.resolution).partition("x")
        return int(width), int(height or width)

    @field_validator("shape")
    @classmethod
    def _only_squares_may_be_none(cls, shape: str, info: ValidationInfo) -> str:
        resolution = info.data.get("resolution", "auto")
        if shape != "square" and resolution != "auto" and not isinstance(resolution, int):
            raise ValueError(
                f"square, as preprocess.resolution is {resolution}; the other shapes take one number there"
            )
        return shape
