"""Hypernetworks as files: A1111's `.pt` of every age, and a `.safetensors` of the same content.

A `.pt` is one pickled dict. Its int keys are the widths of the contexts, each with a tuple of two state dicts, K and V;
its text keys say which layers these have. Files from before a key existed have what it then was. `<hypernet:name:1>`
goes by the file's name, and A1111 loads a file anew at each prompt where another name is stored in it, so the two are
always written alike.

A `.safetensors` has tensors `<width>.k.<key>` and `<width>.v.<key>`, and its metadata as JSON under `hypernetwork`
what the text keys say.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pseudoword.errors import UserError
from pseudoword.formats.a1111 import TRAINING, metadata_of, plain_text, training_entries
from pseudoword.formats.pickled import load_pickled, save_pickled
from pseudoword.formats.tensors import save_tensors
from pseudoword.hypernetwork import Hypernetwork, State
from pseudoword.structure import LINEAR, Structure

EXTENSIONS = (".pt", ".safetensors")
MAX_BYTES = 2**30  # the usual one for Stable Diffusion 1.x has 84 MiB; wide and deep ones several hundred
MAX_NUMBERS = MAX_BYTES // 4
MAX_WIDTH = 2**15
OLD_DROPOUT = 0.3  # after each inner layer but the last, of files that only say that there is dropout
# The oldest files name the only two layers that there were.
LEGACY = {"linear1.": "linear.0.", "linear2.": "linear.1."}
STATED = (*TRAINING, "weight_initialization", "optional_info")
TENSOR_KEY = re.compile(r"(\d{1,5})\.([kv])\.(linear\.\d{1,3}\.(?:weight|bias))")
OPTIONS = "hypernetwork"  # the key of the safetensors metadata


class BadHypernetwork(UserError):
    def __init__(self, path: Path, found: str) -> None:
        self.found = found
        super().__init__(
            f"{path} is not a hypernetwork file: {found}. Wanted: a file with a pair of modules for each width, such "
            "as A1111 and this project write."
        )


def load_hypernetwork(path: Path) -> Hypernetwork:
    """Read a `.pt` or `.safetensors`, whatever it is called. Raises BadHypernetwork; runs no code of the file."""
    if path.exists() and not path.is_file() and not path.is_dir():  # it would be waited for without end
        raise BadHypernetwork(path, "it is a pipe or a device")
    try:
        with path.open("rb") as file:
            is_tensors = file.read(9)[8:] == b"{"
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise BadHypernetwork(path, f"it cannot be read ({error.strerror})") from None
    return _load_tensors(path) if is_tensors else from_content(load_pickled(path, MAX_BYTES, BadHypernetwork), path)


def save_hypernetwork(path: Path, hypernetwork: Hypernetwork) -> None:
    """Write atomically in the format of the extension, under the name of the file; equal content gives equal bytes."""
    if path.suffix.lower() == ".pt":
        save_pickled(path, _to_content(path.stem, hypernetwork))
    else:
        _save_tensors(path, hypernetwork)


def from_content(content: object, path: Path) -> Hypernetwork:
    """A hypernetwork of A1111's dict. Raises BadHypernetwork."""
    if not isinstance(content, dict):
        raise BadHypernetwork(path, f"it holds a {type(content).__name__}, not a dict")
    pairs = {width: pair for width, pair in content.items() if type(width) is int}
    if not pairs:
        raise BadHypernetwork(path, f"none of its {len(content)} keys is a width")
    structure = _structure(content, path)
    _check_widths(list(pairs), structure, path)
    for width, pair in pairs.items():
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(module, dict) for module in pair):
            raise BadHypernetwork(path, f"for the width {width} it does not hold a pair of modules")
    modules = {
        width: (_state(_renewed(k), structure, width, path), _state(_renewed(v), structure, width, path))
        for width, (k, v) in pairs.items()
    }
    name = plain_text(content.get("name")) or path.stem
    return Hypernetwork(name, structure, modules, metadata_of(content, STATED))


def _structure(content: Mapping[object, object], path: Path) -> Structure:
    """Which layers the text keys say, each key that is not there being what it was before there was such a key."""
    multipliers = _numbers(content.get("layer_structure"), (1.0, 2.0, 1.0), "layer_structure", path)
    dropout = _numbers(content.get("dropout_structure"), (), "dropout_structure", path)
    if not dropout and content.get("use_dropout") and len(multipliers) > 2:
        last = OLD_DROPOUT if content.get("last_layer_dropout") else 0.0
        dropout = (0.0, *[OLD_DROPOUT] * (len(multipliers) - 3), last, 0.0)
    activation = content.get("activation_func")
    if activation is not None and not isinstance(activation, str):
        raise BadHypernetwork(path, f"activation_func is a {type(activation).__name__}, not text")
    name = (plain_text(activation) or LINEAR).lower()
    activate_output = name != LINEAR and bool(content.get("activate_output", True))
    try:
        return Structure(multipliers, name, bool(content.get("is_layer_norm")), dropout, activate_output)
    except ValueError as error:
        raise BadHypernetwork(path, str(error)) from None


def _numbers(value: object, default: tuple[float, ...], key: str, path: Path) -> tuple[float, ...]:
    if value is None:
        return default
    if not isinstance(value, list | tuple) or not all(type(number) in (int, float) for number in value):
        raise BadHypernetwork(path, f"{key} is not a list of numbers")
    try:
        return tuple(map(float, value))
    except OverflowError:
        raise BadHypernetwork(path, f"{key} holds a number that is too large") from None


def _check_widths(widths: list[int], structure: Structure, path: Path) -> None:
    """By the structure alone, before any tensor is looked at."""
    try:
        if not all(0 < width <= MAX_WIDTH for width in widths):
            raise BadHypernetwork(path, f"its widths are not from 1 to {MAX_WIDTH}")
        count = structure.count(widths)
    except ValueError as error:
        raise BadHypernetwork(path, str(error)) from None
    if count > MAX_NUMBERS:
        raise BadHypernetwork(path, f"its modules would hold {count} numbers, and more than {MAX_NUMBERS} are not read")


def _renewed(module: Mapping[object, object]) -> dict[object, object]:
    """With today's keys."""
    renewed: dict[object, object] = {}
    for key, value in module.items():
        old = next((old for old in LEGACY if isinstance(key, str) and key.startswith(old)), None)
        renewed[key if old is None else LEGACY[old] + str(key).removeprefix(old)] = value
    return renewed


def _state(module: Mapping[object, object], structure: Structure, width: int, path: Path) -> State:
    shapes = structure.shapes(width)
    if odd := sorted(map(repr, module.keys() ^ shapes.keys())):
        raise BadHypernetwork(
            path, f"its modules of width {width} do not have the layers that it says: {', '.join(odd[:4])}"
        )
    return {key: _parameter(module[key], shape, f"{width}: {key}", path) for key, shape in shapes.items()}


def _parameter(value: object, shape: tuple[int, ...], where: str, path: Path) -> Tensor:
    """float32 in memory of its own. Raises BadHypernetwork."""
    if not isinstance(value, Tensor):
        raise BadHypernetwork(path, f"{where} is a {type(value).__name__}, not a tensor")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise BadHypernetwork(path, f"{where} is not a plain tensor")
    if tuple(value.shape) != shape:
        raise BadHypernetwork(path, f"{where} has the shape {tuple(value.shape)}, wanted {shape}")
    if not value.is_floating_point():
        raise BadHypernetwork(path, f"{where} holds {str(value.dtype).removeprefix('torch.')}")
    parameter = value.detach().to(torch.float32, copy=True).contiguous()
    if not parameter.isfinite().all():
        raise BadHypernetwork(path, f"{where} holds NaN or infinite numbers")
    return parameter


def _options(name: str, structure: Structure) -> dict[str, Any]:
    """The text keys that say what the modules are."""
    dropout = list(structure.dropout)
    return {
        "name": name,
        "layer_structure": list(structure.multipliers),
        "activation_func": structure.activation,
        "is_layer_norm": structure.layer_norm,
        "activate_output": structure.activate_output,  # without the key A1111 takes it as true and ComfyUI as false
        "use_dropout": any(dropout),
        "dropout_structure": dropout,
        "last_layer_dropout": bool(dropout[-2]),
    }


def _to_content(name: str, hypernetwork: Hypernetwork) -> dict[object, object]:
    """A1111's dict, all its thirteen text keys and ours, `metadata`, which other readers pass over."""
    metadata = hypernetwork.metadata
    content: dict[object, object] = {
        width: tuple({key: value.detach().float().cpu().clone() for key, value in module.items()} for module in pair)
        for width, pair in hypernetwork.modules.items()
    }
    content |= dict(_options(name, hypernetwork.structure).items())
    content |= dict(training_entries(metadata).items())
    content["weight_initialization"] = metadata.get("weight_initialization", "Normal")
    content["optional_info"] = metadata.get("optional_info")
    more = {key: value for key, value in metadata.items() if key not in STATED}
    return content | ({"metadata": more} if more else {})


def _save_tensors(path: Path, hypernetwork: Hypernetwork) -> None:
    tensors = {
        f"{width}.{which}.{key}": value.float()
        for width, pair in hypernetwork.modules.items()
        for which, module in zip("kv", pair, strict=True)
        for key, value in module.items()
    }
    options = _options(path.stem, hypernetwork.structure) | {"widths": hypernetwork.widths}
    save_tensors(path, tensors, {**hypernetwork.metadata, OPTIONS: json.dumps(options)})


def _load_tensors(path: Path) -> Hypernetwork:
    if path.stat().st_size > MAX_BYTES:
        raise BadHypernetwork(path, f"it is larger than {MAX_BYTES // 2**20} MiB")
    pairs: dict[int, tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            for key in file.keys():  # noqa: SIM118 -- the file is no dict
                if not (match := TENSOR_KEY.fullmatch(key)):
                    raise BadHypernetwork(path, f"it holds a tensor {key!r}")
                pair = pairs.setdefault(int(match[1]), ({}, {}))
                pair["kv".index(match[2])][match[3]] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise BadHypernetwork(path, f"it cannot be read ({error})") from None
    options = _read_options(metadata.pop(OPTIONS, ""), path)
    order = options.get("widths")
    if isinstance(order, list) and sorted(map(repr, order)) == sorted(map(repr, pairs)):
        pairs = {width: pairs[width] for width in order}
    read = from_content(options | pairs, path)
    return Hypernetwork(read.name, read.structure, read.modules, metadata)


def _read_options(text: str, path: Path) -> dict[object, object]:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise BadHypernetwork(path, f"its metadata does not say under '{OPTIONS}' which layers it has")
    return options
