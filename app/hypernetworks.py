"""Hypernetworks on the command line: what `inspect`, `convert`, `list` and `create` do with one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pseudoword.base.identity import ModelIdentity
from pseudoword.errors import UserError
from pseudoword.formats.hypernetwork import EXTENSIONS, save_hypernetwork
from pseudoword.formats.writing import AlreadyThere
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.settings.word import can_name
from pseudoword.structure import Structure
from pseudoword.terminal import printable


class NoFormat(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: a hypernetwork is written as {' or '.join(EXTENSIONS)}, not as '{path.suffix}'.")


class DoesNotApply(UserError):
    def __init__(self, path: Path, option: str) -> None:
        super().__init__(f"{path} is a hypernetwork, to which {option} does not apply. Leave it out.")


class NamedByItsFile(UserError):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path}: a hypernetwork has the name of its file, so '{name}' would be lost. "
            f"Write to {path.with_name(name + path.suffix)}."
        )


class BadName(UserError):
    def __init__(self, name: str) -> None:
        shown = printable(name if len(name) <= 64 else f"{name[:64]}...")
        super().__init__(
            f"'{shown}' cannot be the name of a hypernetwork, which is that of its file. Wanted are 1 to 64 letters, "
            "digits, '_', '-' and '.', a letter or digit first, such as 'watercolour'."
        )


class CannotBe(UserError):
    def __init__(self, problem: str) -> None:
        super().__init__(f"No such hypernetwork can be made: {problem}.")


class OtherWidths(UserError):
    def __init__(self, found: Sequence[int], base: str, wanted: Sequence[int]) -> None:
        super().__init__(
            f"The hypernetwork has modules for the widths {_listed(found)}, but the UNet of {base} has "
            f"{_listed(wanted)}. Name its own base model."
        )


def facts(hypernetwork: Hypernetwork, base: str | None, config: str | None) -> dict[str, Any]:
    """What `inspect` tells. Raises OtherWidths for a base model that it is not made for."""
    if base is not None and reason_to_skip(hypernetwork, wanted := ModelIdentity(base, config=config).context_widths):
        raise OtherWidths(hypernetwork.widths, base, wanted)
    structure = hypernetwork.structure
    return {
        "name": hypernetwork.name,
        "kind": "hypernetwork",
        "widths": hypernetwork.widths,
        "layers": structure.summary,
        "numbers": structure.count(hypernetwork.widths),
        "note": structure.told_of_comfyui(),
    }


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The facts for a terminal."""
    yield f"name     {facts['name']}"
    yield "kind     hypernetwork"
    yield f"widths   {_listed(facts['widths'])}"
    yield f"layers   {facts['layers']}"
    yield f"numbers  {facts['numbers']}"
    if facts["note"]:
        yield f"note     {facts['note']}"


def summary(hypernetwork: Hypernetwork) -> str:
    widths, layers = _listed(hypernetwork.widths), hypernetwork.structure.summary
    return f"hypernetwork '{hypernetwork.name}', widths {widths}, layers {layers}"


def reason_to_skip(hypernetwork: Hypernetwork, widths: Sequence[int]) -> str:
    """Why it is not for a base model with contexts of these widths; empty where it is."""
    strange = [width for width in hypernetwork.widths if width not in widths]
    return f"its modules for {_listed(strange)} have no use, the base model has {_listed(widths)}" if strange else ""


def convert(
    hypernetwork: Hypernetwork, source: Path, out: Path, picture: Path | None, word: str | None, name: str | None,
    overwrite: bool,
) -> Hypernetwork:  # fmt: skip
    """Write one that was read from `source`; returned as it is called from now on. Raises UserError."""
    for option, value in (("--picture", picture), ("--word", word)):
        if value is not None:
            raise DoesNotApply(source, option)
    return _write(out, hypernetwork, name, overwrite)


def create(
    name: str, out: Path, layers: str, activation: str, layer_norm: bool, dropout: str, initialisation: str, seed: int,
    base: str, config: str | None, overwrite: bool,
) -> Hypernetwork:  # fmt: skip
    """Write one that was not trained, near the identity, for every width of the base model. Raises UserError.

    layers, dropout  rows of numbers, such as `1, 2, 1`; no dropout where empty
    """
    if not can_name(name):
        raise BadName(name)
    widths = ModelIdentity(base, config=config).context_widths
    try:
        structure = Structure(_numbers(layers), activation, layer_norm, _numbers(dropout))
        modules = initial_modules(structure, widths, initialisation, seed)
    except ValueError as error:
        raise CannotBe(str(error)) from None
    origin = {
        "pseudoword.base_model": base,
        "pseudoword.step": "0",
        "weight_initialization": initialisation,
    }
    return _write(out, Hypernetwork(name, structure, modules, origin), name, overwrite)


def _write(path: Path, hypernetwork: Hypernetwork, name: str | None, overwrite: bool) -> Hypernetwork:
    if path.suffix.lower() not in EXTENSIONS:
        raise NoFormat(path)
    if name is not None and name != path.stem:
        if not can_name(name):
            raise BadName(name)
        raise NamedByItsFile(path, name)
    if path.exists() and not overwrite:
        raise AlreadyThere(path)
    save_hypernetwork(path, hypernetwork)
    return replace(hypernetwork, name=path.stem)


def _numbers(text: str) -> tuple[float, ...]:
    """`1, 2, 1` as numbers. Raises ValueError."""
    parts = [part.strip() for part in text.split(",")] if text else []
    try:
        return tuple(map(float, parts))
    except ValueError:
        raise ValueError(f"'{text}' is not a row of numbers with commas between them") from None


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
