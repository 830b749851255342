"""The vocabularies of a base model's text encoders, read without loading the model."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.location import read_config
from pseudoword.base.single_file import BadCheckpoint, token_tables
from pseudoword.errors import UserError


class NoTokenTable(UserError):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} holds no safetensors file with token embeddings. Give a model that has one.")


def _encoders(folder: Path) -> list[str]:
    """Suffixes of its text encoders' and tokenizers' folders: SDXL has a second one of each."""
    return ["", "_2"] if (folder / "text_encoder_2").is_dir() else [""]


def base_widths(base: str, config: str | None = None) -> tuple[int, ...]:
    """Numbers in a token embedding of each text encoder of the base model, from its configs alone."""
    folder = ModelIdentity(base, config=config).configs
    return tuple(int(read_config(folder, f"text_encoder{end}/config.json")["hidden_size"]) for end in _encoders(folder))


def read_vocabularies(base: str, config: str | None) -> list[tuple[CLIPTokenizer, Tensor]]:
    """Of each text encoder the tokenizer and the (vocabulary, D) float32 token embeddings, without loading the model.

    Raises UserError.
    """
    model = ModelIdentity(base, config=config)
    place, folder = model.place, model.configs
    ends = _encoders(folder)
    tables = token_tables(place) if place.is_file() else [_table_in(folder / f"text_encoder{end}") for end in ends]
    if len(tables) != len(ends):
        raise BadCheckpoint(place, f"it holds {len(tables)} of the {len(ends)} token tables that {folder} speaks of")
    return [
        (CLIPTokenizer.from_pretrained(folder / f"tokenizer{end}"), table)
        for end, table in zip(ends, tables, strict=True)
    ]


def _table_in(encoder: Path) -> Tensor:
    files = sorted(encoder.glob("*.safetensors"), key=lambda path: ".fp16." in path.name)
    tables = (table for path in files if (table := _token_table(path)) is not None)
    if (table := next(tables, None)) is None:
        raise NoTokenTable(encoder)
    return table


def _token_table(path: Path) -> Tensor | None:
    try:
        with safe_open(path, framework="pt") as file:
            found = [key for key in file.keys() if key.endswith("token_embedding.weight")]  # noqa: SIM118 -- no dict
            return file.get_tensor(found[0]).float() if found else None
    except SafetensorError:
        return None
