"""word.kind, and what it sets in other sections: the values that `auto` of these keys comes to."""

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["thing", "style", "person"]

BY_KIND: Mapping[str, Mapping[str, str]] = {
    "thing": {
        "curate.cut": "subject",
        "train.template": "templates/training/subject.txt",
        "evaluate.prompts": "templates/evaluation/subject.txt",
    },
    "style": {
        "curate.cut": "manner",
        "train.template": "templates/training/style.txt",
        "evaluate.prompts": "templates/evaluation/style.txt",
    },
    "person": {
        "curate.cut": "traits",
        "train.template": "templates/training/person.txt",
        "evaluate.prompts": "templates/evaluation/person.txt",
    },
}


def resolve_kind(content: Any) -> Any:
    """The content of params.yaml with each key of BY_KIND that is left out or `auto`, axes too, as the kind sets it.

    Whatever is malformed is left as it is, for the validation to refuse.
    """
    if not isinstance(content, dict):
        return content
    word = content.get("word")
    kind = word.get("kind", "thing") if isinstance(word, dict) else "thing"
    values = BY_KIND.get(kind, BY_KIND["thing"]) if isinstance(kind, str) else BY_KIND["thing"]
    resolved = dict(content)
    for key, value in values.items():
        section, _, name = key.partition(".")
        keys = resolved.get(section, {})
        if isinstance(keys, dict) and keys.get(name, "auto") == "auto":
            resolved[section] = keys | {name: value}
    if isinstance(axes := content.get("sweep"), dict):
        resolved["sweep"] = {axis: _resolved(axis, values, axes[axis]) for axis in axes}
    return resolved


def _resolved(axis: str, values: Mapping[str, str], axis_values: Any) -> Any:
    if axis not in values or not isinstance(axis_values, list):
        return axis_values
    return [values[axis] if value == "auto" else value for value in axis_values]
