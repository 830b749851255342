"""The base model from its configs, its tokenizer and the headers of its weights; no weight is loaded."""

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import CLIPTokenizer

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.location import read_config
from pseudoword.errors import UserError

TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


@dataclass(frozen=True, eq=False)
class Model:
    """Parameters are numbers; `levels` are the UNet's resolutions, `shrink` the px of a picture for one of a latent."""

    resolution: int
    levels: int
    shrink: int
    unet: int
    encoders: int
    vae: int
    tokenizers: list[CLIPTokenizer]
    layers: list[int]  # of each text encoder
    widths: list[int]  # of a token embedding of each text encoder

    @property
    def tokenizer(self) -> CLIPTokenizer:
        return self.tokenizers[0]

    @property
    def width(self) -> int:
        return sum(self.widths)


def read_model(identity: ModelIdentity) -> Model | str:
    """The model, or in a sentence why it cannot be used. A hub id is fetched."""
    try:
        folder = identity.configs
        encoders = [part for part in TOKENIZERS if (folder / part / "config.json").is_file()]
        return Model(
            resolution=identity.resolution,
            levels=len(read_config(folder, "unet/config.json")["block_out_channels"]),
            shrink=2 ** (len(read_config(folder, "vae/config.json")["block_out_channels"]) - 1),
            unet=_parameters(folder / "unet"),
            encoders=sum(_parameters(folder / part) for part in encoders),
            vae=_parameters(folder / "vae"),
            tokenizers=[CLIPTokenizer.from_pretrained(folder / TOKENIZERS[part]) for part in encoders],
            layers=[read_config(folder, f"{part}/config.json")["num_hidden_layers"] for part in encoders],
            widths=[read_config(folder, f"{part}/config.json")["hidden_size"] for part in encoders],
        )
    except UserError as error:
        return str(error)
    except (OSError, KeyError, ValueError, TypeError) as error:  # a folder that is not whole
        return f"base.model: '{identity.name}' cannot be read: {type(error).__name__} {error}."


def _parameters(folder: Path) -> int:
    """Numbers in the weights of a part of the model; 0 where there are no safetensors files."""
    files = sorted(folder.glob("*.safetensors"))
    whole = [path for path in files if not any(mark in path.name for mark in (".fp16.", ".non_ema."))] or files
    return sum(_numbers(path) for path in whole)


def _numbers(path: Path) -> int:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for length in tensor["shape"]:
                count *= length
            total += count
    return total
