"""Section latents."""

from typing import Annotated, Literal

from pydantic import Field

from pseudoword.settings.fields import Section


class LatentsSettings(Section):
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="Of the VAE that encodes; bf16 halves its memory, but errs by far more than the spread of a "
        "latent. Never fp16, in which some VAEs overflow.",
    )
    tile: Annotated[int, Field(strict=True, ge=64, multiple_of=64)] = Field(
        1536,
        description="Pictures with a longer side, in px, are encoded in overlapping tiles of this side: less memory, "
        "slightly other latents.",
    )
