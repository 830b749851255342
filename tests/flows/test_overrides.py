from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import TypeAdapter

from flows.overrides import Overrides, flat
from tests.dvc_project import ROOT


def test_the_form_has_the_order_of_params_yaml_whatever_order_a_database_gives_its_keys() -> None:
    def check(form: dict[str, Any], content: Any) -> None:
        fields = form.get("properties", {})
        shuffled = sorted(fields, key=len)
        in_form = sorted(shuffled, key=lambda key: fields[key]["position"])
        assert in_form == (list(content) if fields else [])
        for key in fields:
            check(fields[key], content[key])

    check(TypeAdapter(Overrides).json_schema(), yaml.safe_load((ROOT / "params.yaml").read_text()))


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, field in schema.get("properties", {}).items():
        yield f"{path}{key}", field
        yield from fields(field, f"{path}{key}.")


def test_prefects_page_has_a_field_for_every_setting_and_sends_none_that_nobody_touched() -> None:
    """It has no field for a list of types, and sends `false` for each switch and null where that comes first."""
    form = dict(fields(TypeAdapter(Overrides).json_schema()))
    for name, field in form.items():
        options = field.get("anyOf", [field])
        assert all(isinstance(option["type"], str) for option in options), name
        assert not any(option["type"] == "boolean" for option in options), name
        assert options[0]["type"] != "null", name
    titles = [option["title"] for option in form["train.learn_rate"]["anyOf"]]
    assert titles == ["number", "text"]
    assert form["train.compile"]["enum"] == ["auto", "graphs", "true", "false"]


def test_a_switch_may_come_as_the_text_that_the_form_sends() -> None:
    sent = {"train": {"shuffle_tags": "true", "compile": "false"}, "word": {"name": "true"}, "train.tensorboard": False}
    assert flat(sent) == {
        "train.shuffle_tags": True, "train.compile": False, "word.name": "true", "train.tensorboard": False
    }  # fmt: skip
    assert flat({"train": {"compile": "auto", "shuffle_tags": "maybe"}}) == {
        "train.compile": "auto", "train.shuffle_tags": "maybe"
    }  # fmt: skip
