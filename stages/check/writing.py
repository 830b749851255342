"""outputs/settings/<stage>.json: what a stage's settings come to. See `pseudoword.settings.stage`, which reads it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pseudoword.files import sha256_of, write_text
from pseudoword.settings.fields import Section
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.loading import Settings
from pseudoword.settings.stage import MACHINE, settings_file
from pseudoword.settings.sweep import runs
from pseudoword.settings.word import InitFile
from pseudoword.templates import Prompts

# By which a machine does the same work in another way: no stage runs again for them.
MACHINE_KEYS = (
    "base.attention", "base.device", "caption.batch", "train.accumulation", "train.batch", "train.compile",
    "train.gradient_checkpointing",
)  # fmt: skip


def write_settings(settings: Settings, keys: Mapping[str, Sequence[str]]) -> None:
    """The files of all stages.

    keys  of each stage: keys of params.yaml as section.key, or names of whole sections
    """
    for stage, names in keys.items():
        _write_json(settings_file(stage), stage_content(settings, names))
    _write_json(MACHINE, _picked(settings.model_dump(mode="json"), MACHINE_KEYS))


def stage_content(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    """The keys of these names but the machine's, and what is in the files that their values name."""
    wanted = {key for name in names if name != "sweep" for key in _keys(settings, name)} - set(MACHINE_KEYS)
    if settings.train.learn == "word":
        # Without effect, so nothing runs for it.
        settings = settings.model_copy(update={"hypernetwork": HypernetworkSettings.model_validate({})})
    content: dict[str, Any] = {"settings": _picked(settings.model_dump(mode="json"), wanted)}
    if "sweep" in names:
        content["settings"]["sweep"] = {axis: values for axis, values in settings.sweep.items() if axis in wanted}
    content["files"] = dict(_files(settings, wanted))
    if "train" in names and isinstance(settings.train.accumulation, int):
        # Batch and accumulation are the machine's, but not their product.
        content["samples_per_update"] = int(settings.train.batch) * settings.train.accumulation
    return content


def _keys(settings: Settings, name: str) -> list[str]:
    """`name` as a list of section.key. Raises KeyError for one that is not in params.yaml."""
    section, _, key = name.partition(".")
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    if key and key not in model.model_fields:
        raise KeyError(name)
    return [name] if key else [f"{section}.{key}" for key in model.model_fields]


def _picked(dumped: dict[str, Any], keys: Sequence[str] | set[str]) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = {}
    for section, _, key in (name.partition(".") for name in sorted(keys)):
        content.setdefault(section, {})[key] = dumped[section][key]
    return content


def _files(settings: Settings, keys: set[str]) -> Iterator[tuple[str, list[str] | str]]:
    """By path, what the files come to that the keys name in any run: prompts, or a digest."""
    for run in runs(settings).values():
        for section, _, key in (name.partition(".") for name in keys):
            for file in _single(getattr(getattr(run, section), key)):
                if isinstance(file, Prompts):
                    yield file.path.as_posix(), list(file.lines)
                elif isinstance(file, InitFile):
                    yield file.path.as_posix(), file.sha256
                elif isinstance(file, Path) and file.is_file():
                    yield file.as_posix(), sha256_of(file)


def _single(value: object) -> Iterator[object]:
    """The values that a list or a section below a section holds."""
    if isinstance(value, list):
        for each in value:
            yield from _single(each)
    elif isinstance(value, Section):
        for each in vars(value).values():
            yield from _single(each)
    else:
        yield value


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
