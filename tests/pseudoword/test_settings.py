"""params.yaml: what is refused, and in which words."""

import contextlib
import json
import re
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dvc.utils.serialize import load_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from ruamel.yaml import YAML

from pseudoword.errors import UserError
from pseudoword.schedule import Schedule
from pseudoword.settings.loading import Settings, load_settings
from pseudoword.settings.messages import BadSettings
from pseudoword.settings.sweep import SWEPT, runs

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "params.schema.json"
MISTAKES, ANSWER = Path(__file__).with_name("settings_mistakes.txt"), "    -> "
PRESETS = sorted(ROOT.glob("docs/presets/*.yaml"))
SHIPPED = [*ROOT.glob("params*.yaml"), *ROOT.glob("docs/**/params*.yaml"), *PRESETS]


def shipped() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return content


def load(tmp_path: Path, content: object) -> Settings:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_settings(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_params_file_loads(path: Path) -> None:
    assert load_settings(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))


def test_the_shipped_file_names_every_setting() -> None:
    def check(content: dict[str, Any], model: type[BaseModel]) -> None:
        assert set(content) == set(model.model_fields)
        for key, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                check(content[key], field.annotation)

    check(shipped(), Settings)


def test_the_presets_are_short() -> None:
    assert {path.stem for path in PRESETS} == {"thing", "style", "person", "sdxl-12gb"}
    assert all(len(path.read_text().splitlines()) <= 15 for path in PRESETS)


def test_the_shipped_file_fits_the_screen_and_tells_what_is_seldom_changed() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert list(shipped()) == list(Settings.model_fields)
    assert lines.count("  # seldom") >= 9


# A list, axes or a quoted text as a whole, anything else to the end of the sentence.
EXAMPLE = re.compile(r"""e\.g\. (\[.*?\]|\{.*\}|'.*?'|".*?"|\S.*?(?=;|\. |   |$))""")


def hints() -> list[tuple[int, str]]:
    """What the remarks in the shipped file say that one could write there: (number of the line, value)."""
    found = []
    for number, line in enumerate((ROOT / "params.yaml").read_text().splitlines()):
        if match := re.match(r"\s*\w+:\s+.*?\s# (.*)", line):
            remark = match[1]
            clauses = re.split(r": |; |, |\. ", re.sub(r"\([^)]*\)", "", remark))
            choices = [choice for clause in clauses if " | " in clause for choice in clause.split(" | ")]
            values = [choice.split()[0] for choice in choices] + EXAMPLE.findall(remark)
            values += re.findall(r"\b(null): ", remark) + re.findall(r'(?:^|; )(true|\[\]|"")(?= )', remark)
            found += [(number, value) for value in values]
    return found


def test_many_hints_are_found() -> None:
    written = {value for _, value in hints()}
    assert {"cuda:1", "512x768", "[filename, captioner]", "0.05:10, 0.02:20, 0.005:200, 0.001", '"[name] in the snow"',
            "'[A-Za-z]+'", '""', "[]", "emp_params", "null", "true", "[red hair, freckles]"} <= written  # fmt: skip
    assert len(hints()) > 80


@pytest.mark.parametrize(("number", "value"), hints(), ids=[f"{number + 1}: {value}" for number, value in hints()])
def test_a_hint_of_the_shipped_file_works_when_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, value: str
) -> None:
    monkeypatch.chdir(ROOT)
    lines = (ROOT / "params.yaml").read_text().splitlines()
    key = lines[number][: lines[number].index(":")]
    lines[number] = f"{key}: {value}"
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    load_settings(tmp_path / "params.yaml")


def test_a_prompt_that_is_there_twice_is_no_further_evidence(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a [name]\na [name] at sea\na [name]\n")
    content = shipped()
    content["evaluate"]["prompts"] = str(tmp_path / "two.txt")
    with pytest.raises(BadSettings, match=r"evaluate\.prompts: .*each of them once; 'a \[name\]' is there 2 times"):
        load(tmp_path, content)


def test_the_schema_for_editors_is_the_one_of_the_settings() -> None:
    """To make it again: python -m tests.pseudoword.test_settings"""
    assert json.loads(SCHEMA.read_text()) == Settings.model_json_schema()


def mistakes() -> list[tuple[str, str]]:
    """Of each block of the file what is written into params.yaml, and what is answered."""
    found = []
    for block in MISTAKES.read_text().rstrip().split("\n\n")[1:]:
        lines = block.split("\n")
        written = [line for line in lines if not line.startswith(ANSWER)]
        told = [line.removeprefix(ANSWER) for line in lines if line.startswith(ANSWER)]
        found.append(("\n".join(written), "\n".join(told)))
    return found


def answer(folder: Path, written: str) -> str:
    """The message on params.yaml as shipped but for these sections or keys; on the text alone after a line `alone`."""
    path = folder / "params.yaml"
    if written.startswith("alone\n"):
        path.write_text(written.removeprefix("alone\n"))
    else:
        content = shipped()
        for section, values in YAML(typ="safe").load(written).items():
            merged = isinstance(values, dict) and section != "sweep" and section in content
            content[section] = content[section] | values if merged else values
        YAML(typ="safe").dump(content, path)
    try:
        load_settings(path)
    except BadSettings as error:
        first, *lines = str(error).splitlines()
        assert first == f"{path} is not valid:"
        return "\n".join(line.removeprefix("  ") for line in lines)
    return "loaded"


@pytest.mark.parametrize(("written", "message"), mistakes(), ids=[written for written, _ in mistakes()])
def test_a_mistake_is_answered_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, message: str
) -> None:
    """To write the answers anew: python -m tests.pseudoword.test_settings"""
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    assert answer(tmp_path, written) == message


def prepare(folder: Path) -> None:
    """The files that the mistakes are about."""
    (folder / "templates").symlink_to(ROOT / "templates")
    (folder / "bare.txt").write_text("a [name]\na photo\n")
    (folder / "empty.txt").write_text("\n")


def write_answers() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        prepare(Path(name))
        blocks = [f"{written}\n{textwrap.indent(answer(Path(name), written), ANSWER)}" for written, _ in mistakes()]
    head = MISTAKES.read_text().split("\n\n")[0]
    MISTAKES.write_text("\n\n".join([head, *blocks]) + "\n")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    content = shipped()
    content["train"] |= {"steps": -1, "sede": 3}
    content["word"]["vectors"] = 1000
    with pytest.raises(BadSettings) as error:
        load(tmp_path, content)
    assert len(str(error.value).splitlines()) == 4


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"# a remark\na: caf\xe9")
    with pytest.raises(UserError, match=r"(?s)params.yaml is not valid:.*not UTF-8: line 2 holds .*; save it as UTF-8"):
        load_settings(tmp_path / "params.yaml")


def test_brackets_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("sweep: " + "[" * 2000 + "]" * 2000)
    with pytest.raises(BadSettings, match="brackets in brackets, hundreds deep"):
        load_settings(tmp_path / "params.yaml")


def test_a_missing_file_tells_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match=f"no such file in {tmp_path}; run from the project's folder"):
        load_settings()


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xef\xbb\xbf" + (ROOT / "params.yaml").read_bytes())
    assert load_settings(tmp_path / "params.yaml") == load_settings(ROOT / "params.yaml")


@pytest.mark.parametrize(("value", "text"), [(0.005, "0.005"), (1, "1"), ("0.05:10, 0.001", "0.05:10, 0.001")])
def test_a_learning_rate_is_a_number_or_a_schedule(tmp_path: Path, value: object, text: str) -> None:
    content = shipped()
    content["train"]["learn_rate"] = value
    assert load(tmp_path, content).train.learn_rate.text == text


@pytest.mark.parametrize(
    ("key", "text"),
    [("clip_at", "1:50"), ("learn_rate", "1:5"), ("learn_rate", "0.05:10, 0.001"), ("eps", "1e-8"), ("eps", "5E-3"),
     ("seed", "010"), ("seed", "0x10"), ("seed", "1_000"), ("steps", "1e3"), ("tensorboard", "true"),
     ("tensorboard", "off"), ("min_snr_gamma", "~"), ("loss", "huber # a remark")],
)  # fmt: skip
def test_a_value_is_read_as_dvc_reads_it(tmp_path: Path, key: str, text: str) -> None:
    """So that what a run is trained with is what `dvc exp show` shows and `dvc exp run -S` writes."""
    lines = (ROOT / "params.yaml").read_text().splitlines()
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(f"  {key}: {text}" if line.startswith(f"  {key}: ") else line for line in lines))
    for_dvc = load_yaml(path)["train"][key]
    try:
        value = getattr(load_settings(path).train, key)
        assert (value.text if isinstance(value, Schedule) else value) == (
            str(for_dvc) if key in ("clip_at", "learn_rate") else for_dvc
        )
    except BadSettings as error:
        assert f"train.{key}: found {for_dvc!r}, wanted" in str(error)


def test_settings_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, shipped()).train.steps = 3


def test_a_sweep_is_the_product_of_its_axes(tmp_path: Path) -> None:
    content = shipped()
    assert list(runs(load(tmp_path, content))) == ["base"]
    content["sweep"] = {"train.seed": [0, 1], "word.vectors": ["auto", 2, 3]}
    loaded = load(tmp_path, content)
    found = runs(loaded)
    assert list(found) == [f"vectors{vectors}-seed{seed}" for seed in (0, 1) for vectors in ("_auto", 2, 3)]
    content["sweep"] = dict(reversed(content["sweep"].items()))
    assert set(runs(load(tmp_path, content))) == set(found), "the order in which the axes are written names no run"
    assert {(run.train.seed, run.word.vectors) for run in found.values()} == {
        (seed, vectors) for seed in (0, 1) for vectors in ("auto", 2, 3)
    }
    assert all(run.evaluate == loaded.evaluate for run in found.values())


def test_every_axis_that_may_be_swept_is_a_setting(tmp_path: Path) -> None:
    dumped = load(tmp_path, shipped()).model_dump()
    for axis in SWEPT:
        section, key = axis.split(".")
        assert key in dumped[section]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_at_any_place_loads_or_is_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    content = shipped()
    section = data.draw(st.sampled_from(list(content)))
    key = data.draw(st.none() | st.sampled_from([*content[section], "new"]))
    place, name = (content, section) if key is None else (content[section], key)
    place[name] = data.draw(ANYTHING)
    try:
        load(tmp_path, content)
    except BadSettings as error:
        assert section in str(error)


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(Settings.model_json_schema(), indent=2) + "\n")
    write_answers()
