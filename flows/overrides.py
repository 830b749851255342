"""Other settings for one run: as a form on Prefect's page, or as `{"train.learn_rate": 0.01}`."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import WithJsonSchema
from ruamel.yaml import YAML

from pseudoword.errors import UserError
from pseudoword.settings.loading import PARAMS, Settings, read_content
from pseudoword.settings.messages import keys_of

SWITCH = {"true": True, "false": False}
KINDS = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "string": "text",
}


def _form() -> dict[str, Any]:
    """The schema of params.yaml with nothing required and no default, so that only what was filled in is sent."""
    schema = Settings.model_json_schema()
    form: dict[str, Any] = _filled(schema, schema.pop("$defs"))
    shipped: Any = {}
    with contextlib.suppress(UserError, OSError):  # the run says what is wrong with it
        shipped = read_content(Path(__file__).parents[1] / PARAMS)
    _put_in_order(form, shipped)
    form["description"] = "What shall differ from params.yaml. Leave empty what is to stay as it is there."
    form["additionalProperties"] = True  # train.learn_rate in one, from another program
    return form


def _filled(schema: Any, definitions: dict[str, Any]) -> Any:
    """Each definition in its place: Prefect keeps all definitions of a flow under names of its own."""
    if isinstance(schema, list):
        return [_filled(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = definitions[name] | {key: value for key, value in schema.items() if key != "$ref"}
    kept = {key: _filled(value, definitions) for key, value in schema.items() if key not in ("default", "required")}
    if "const" in kept:  # which the page would show as a field that cannot be filled in
        kept["enum"] = [kept.pop("const")]
    if "properties" in kept:  # where a setting is called so
        kept["properties"] = {key: _filled(value, definitions) for key, value in schema["properties"].items()}
        for key, value in kept["properties"].items():
            value["title"] = key  # as params.yaml has it
            if limits := ", ".join(dict.fromkeys(_limits(value))):
                value["description"] = f"{value.get('description', '')} ({limits})".strip()
    return _fillable(kept)


def _put_in_order(form: dict[str, Any], content: Any) -> None:
    """As params.yaml has them, then what it leaves out: the page sorts by position, as PostgreSQL keeps no order."""
    fields = form.get("properties", {})
    there = [key for key in content if key in fields] if isinstance(content, dict) else []
    for position, key in enumerate(dict.fromkeys([*there, *fields])):
        fields[key]["position"] = position
        _put_in_order(fields[key], content[key] if key in there else {})


def _fillable(schema: dict[str, Any]) -> dict[str, Any]:
    """As the page can show it: it has no field for a list of types, and sends `false` for a switch nobody touched."""
    if isinstance(schema.get("type"), list):
        schema["anyOf"] = [{"type": kind} for kind in schema.pop("type")]
    if schema.get("type") == "boolean":
        schema |= {"type": "string", "enum": list(SWITCH)}
    options = schema.get("anyOf", [])
    if options and all("enum" in option for option in options):
        schema |= {"type": "string", "enum": [value for option in schema.pop("anyOf") for value in option["enum"]]}
        return schema
    for option in options:
        option["title"] = ", ".join(map(str, option["enum"])) if "enum" in option else KINDS[option["type"]]
    return schema


def _limits(schema: dict[str, Any]) -> Iterator[str]:
    """The range of a number in words, which the page does not show by itself."""
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    for option in (schema, *schema.get("anyOf", ())):
        yield from (f"{word} {option[key]:.9g}" for key, word in words.items() if key in option)


def _switches(form: dict[str, Any], path: str = "") -> Iterator[str]:
    """By section.key."""
    for key, value in form.get("properties", {}).items():
        if SWITCH.keys() <= set(value.get("enum", ())):
            yield f"{path}{key}"
        yield from _switches(value, f"{path}{key}.")


FORM = _form()
SWITCHES = frozenset(_switches(FORM))
Overrides = Annotated[dict[str, Any], WithJsonSchema(FORM)]


def flat(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """By section.key, whichever way they came; a key that there is not stays as it is."""
    found: dict[str, Any] = {}

    def collect(path: list[str], value: Any) -> None:
        if isinstance(value, Mapping) and keys_of(Settings, path):
            for key, inner in value.items():
                collect([*path, *str(key).split(".")], inner)
        else:
            name = ".".join(path)
            found[name] = SWITCH.get(value, value) if name in SWITCHES and isinstance(value, str) else value

    collect([], overrides)
    return found


def put(content: dict[Any, Any], overrides: Mapping[str, Any]) -> None:
    """Exchange these keys, by section.key, in the content of params.yaml."""
    for path, value in overrides.items():
        *sections, key = path.split(".")
        place = content
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        place[key] = value


def write_overrides(params: Path, overrides: Mapping[str, Any]) -> None:
    """Exchange the keys in the file; the remarks in it stay."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    content = yaml.load(params.read_text(encoding="utf-8-sig"))
    put(content, overrides)
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
