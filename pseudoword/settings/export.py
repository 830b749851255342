"""Section export."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pseudoword.errors import UserError
from pseudoword.settings.fields import Section

Format = Literal["safetensors", "pt", "bin", "png"]
OF_HYPERNETWORKS: tuple[Format, ...] = ("safetensors", "pt")


class NoFormatForHypernetworks(UserError):
    def __init__(self, formats: Sequence[str]) -> None:
        super().__init__(
            f"export.formats: found {', '.join(formats)}, and a hypernetwork is written as safetensors or pt. Add one."
        )


def _each_once(formats: list[Format]) -> list[Format]:
    if len(set(formats)) < len(formats):
        raise ValueError("each format once")
    return formats


class ExportSettings(Section):
    formats: Annotated[list[Format], AfterValidator(_each_once)] = Field(
        ["safetensors", "pt", "png"],
        min_length=1,
        description="Files of the word to write: safetensors for all tools, pt as A1111 writes it, bin for old "
        "versions of diffusers, png a picture of the word that carries it.",
    )
    key: Literal["word", "emb_params", "emp_params"] = Field(
        "word",
        description="What the tensor in a safetensors or bin is called, for Stable Diffusion 1 and 2: the word, which "
        "diffusers takes from there; emb_params for InvokeAI; emp_params to go on from it in OneTrainer.",
    )

    @property
    def of_hypernetworks(self) -> list[Format]:
        """The formats that a hypernetwork has. Raises NoFormatForHypernetworks."""
        if not (formats := [kind for kind in self.formats if kind in OF_HYPERNETWORKS]):
            raise NoFormatForHypernetworks(self.formats)
        return formats
