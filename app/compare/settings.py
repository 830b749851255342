"""The settings that trainings share or differ in, beside the shipped ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticUndefined

from pseudoword.results.resolved import AUTO
from pseudoword.results.settings import flat, plain
from pseudoword.settings.fields import Section
from pseudoword.settings.kind import BY_KIND
from pseudoword.settings.loading import Settings


@dataclass(frozen=True)
class Setting:
    """A value as it is written in params.yaml, or as `auto` came to it."""

    text: str
    is_auto: bool = False
    is_shipped: bool = False
    shipped: str = ""  # the shipped value; empty where there is none, as of the word's name


def shipped_values() -> dict[str, str]:
    """By key the values of the shipped settings, as written in params.yaml; without those that have to be given."""
    sections = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    values = flat({name: _defaults(section) for name, section in sections.items()})
    return {key: plain(value) for key, value in values.items() if value is not PydanticUndefined}


def _defaults(section: type[Section]) -> dict[str, Any]:
    values = {key: field.get_default(call_default_factory=True) for key, field in section.model_fields.items()}
    return {key: _defaults(type(value)) if isinstance(value, Section) else value for key, value in values.items()}


def setting(key: str, values: Mapping[str, str], auto: Iterable[str], shipped: Mapping[str, str]) -> Setting:
    """A setting among the `values` of a training, of which those in `auto` were worked out."""
    if key not in values:
        return Setting("–", is_shipped=True)
    text, usual = values[key], shipped.get(key, "")
    by_kind = BY_KIND.get(values.get("word.kind", "thing"), {}).get(key)
    is_auto = key in auto or (usual == AUTO and text == by_kind)
    return Setting(text, is_auto, is_shipped=text == usual or (is_auto and usual == AUTO), shipped=usual)
