"""What one stage reads of params.yaml, from outputs/settings/<stage>.json as `check` resolved it.

    class Settings(StageSettings):
        base: Base
        latents: Latents

    settings = Settings.read("latents")

The file holds the keys that dvc.yaml lists for the stage, and what was in the files that they name. It is a dep of the
stage, so what is in it is all that may decide a result; a section is here without its other keys, and reading one of
those raises AttributeError. The keys by which a machine does the same work in another way (device, batch, ...) are no
one's dep and come from outputs/settings/machine.json.
"""

import json
from pathlib import Path
from typing import Any, Self

from pseudoword.errors import UserError
from pseudoword.settings.fields import Section
from pseudoword.settings.sweep import read_value

FOLDER = Path("outputs/settings")
Axes = dict[str, list[Any]]
MACHINE = FOLDER / "machine.json"


class NotChecked(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}. The stage check writes it: run `dvc repro check`.")


def settings_file(stage: str) -> Path:
    return FOLDER / f"{stage}.json"


class StageSettings(Section):
    """The sections that a stage reads, as its fields; `sweep`, where it is one, holds the axes over its keys."""

    @classmethod
    def read(cls, stage: str) -> Self:
        """Raises NotChecked."""
        content, machine = read_json(settings_file(stage)), read_json(MACHINE)
        context = {"files": content["files"]}
        sections: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            if name != "sweep":
                assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
                keys = content["settings"][name] | machine.get(name, {})
                sections[name] = _section(field.annotation, keys, context)
        if "sweep" in cls.model_fields:
            sections["sweep"] = {
                axis: [read_value(sections[section], key, value, context) for value in values]
                for axis, values in content["settings"]["sweep"].items()
                for section, key in [axis.split(".")]
            }
        return cls(**sections)


def read_plain(stage: str) -> dict[str, dict[str, Any]]:
    """The stage's settings by section, as params.yaml writes them. Raises NotChecked."""
    content: dict[str, dict[str, Any]] = read_json(settings_file(stage))["settings"]
    return content


def read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content
    except FileNotFoundError:
        raise NotChecked(path, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise NotChecked(path, f"cannot be read ({error})") from None


def _section(model: type[Section], content: dict[str, Any], context: dict[str, Any]) -> Section:
    """The section without the keys that `content` lacks."""
    section = model.model_validate(content, context=context)
    for key in model.model_fields.keys() - content.keys():
        del section.__dict__[key]
    return section
