"""params.yaml: what is refused, and in which words."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dvc.utils.serialize import load_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pseudoword.errors import UserError
from pseudoword.schedule import Schedule
from pseudoword.settings.loading import Settings, load_settings
from pseudoword.settings.messages import BadSettings
from pseudoword.settings.sweep import SWEPT, runs

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "params.schema.json"
SHIPPED = [*ROOT.glob("params*.yaml"), *ROOT.glob("docs/**/params*.yaml")]


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


def test_the_schema_for_editors_is_the_one_of_the_settings() -> None:
    """To make it again: python -m tests.pseudoword.test_settings"""
    assert json.loads(SCHEMA.read_text()) == Settings.model_json_schema()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "stpes", 3, "train.stpes: unknown key, did you mean 'steps'?; valid here: template, steps,"),
        ("train", "zzz", 3, "train.zzz: unknown key; valid here: template"),
        ("train", "steps", "many", "train.steps: found 'many', wanted 'auto' or a valid integer"),
        ("train", "steps", 0, "train.steps: found 0, wanted 'auto' or greater than or equal to 1"),
        ("train", "steps", True, "train.steps: found True, wanted 'auto' or a valid integer"),
        ("train", "seed", None, "train.seed: found None, wanted a valid integer"),
        ("train", "learn_rate", True, "train.learn_rate: found True, wanted a number, or a schedule"),
        ("evaluate", "guidance", True, "evaluate.guidance: found True, wanted a valid number"),
        ("evaluate", "guidance", float("inf"), "evaluate.guidance: found inf, wanted a finite number"),
        ("preprocess", "resolution", 100, "preprocess.resolution: found 100, wanted 'auto', a multiple of 8 from 32"),
        ("preprocess", "resolution", True, "preprocess.resolution: found True, wanted a valid integer"),
        ("preprocess", "resolution", "512x770", "preprocess.resolution: found '512x770', wanted 'auto', a multiple of"),
        ("preprocess", "resolution", "512x", "preprocess.resolution: found '512x', wanted 'auto', a multiple of 8"),
        ("preprocess", "resolution", "16x64", "preprocess.resolution: found '16x64', wanted 'auto', a multiple of 8"),
        ("preprocess", "split", 3, "preprocess.split: found 3, wanted the keys threshold, overlap"),
        ("preprocess", "split", {"overlap": 0.95}, "preprocess.split.overlap: found 0.95, wanted less than or equal"),
        ("preprocess", "split", {"treshold": 1}, "preprocess.split.treshold: unknown key, did you mean 'threshold'?"),
        (
            "preprocess",
            "autosize",
            {"min_side": 832},
            "preprocess.autosize: found values that do not fit together, wanted a min_side",
        ),
        (
            "preprocess",
            "autosize",
            {"max_area": 100000, "min_side": 512},
            "preprocess.autosize: found values that do not fit together, wanted a shape with an area from 4096",
        ),
        (
            "preprocess",
            "autosize",
            {"max_side": 448, "min_area": 300000},
            "preprocess.autosize: found values that do not fit together, wanted a shape with an area from 300000",
        ),
        (
            "preprocess",
            "autosize",
            {"min_side": 100},
            "preprocess.autosize.min_side: found 100, wanted a multiple of 64",
        ),
        ("curate", "subject", "dorp", "curate.subject: found 'dorp', wanted 'drop' or 'keep'"),
        ("base", "device", "gpu", "base.device: found 'gpu', wanted text that matches pattern"),
        ("word", "name", "../x", "word.name: found '../x', wanted up to 64 letters, digits, '_', '-' and '.'"),
        (
            "word",
            "name",
            "<Cat toy>",
            "word.name: found '<Cat toy>', wanted up to 64 letters, digits, '_', '-' and '.', "
            "since it also names files; for example 'cat-toy'",
        ),
        ("word", "name", "", "word.name: found ''"),
        ("base", "model", "", "base.model: found ''"),
        ("sweep", "train.seed", 3, "sweep.train.seed: found 3, wanted a valid list"),
        ("sweep", "train.seed", [], "sweep.train.seed: found []"),
        ("sweep", "train.seed", [0, -1], "sweep: train.seed: found -1, wanted greater than or equal to 0"),
        ("sweep", "train.sede", [0], "sweep: 'train.sede' cannot be swept, did you mean 'train.seed'?"),
        ("sweep", "zzz", [0], "sweep: 'zzz' cannot be swept; can be: word.vectors, word.init_text"),
        (
            "sweep",
            "base.model",
            ["x"],
            "sweep: 'base.model' cannot be swept: the runs of a sweep share it. Use `dvc exp",
        ),
        (
            "sweep",
            "train.steps",
            [9],
            "sweep: 'train.steps' cannot be swept: the runs of a sweep share it. Use `dvc exp",
        ),
        ("sweep", "word.name", ["a"], "sweep: 'word.name' cannot be swept: the runs of a sweep share it. Use `dvc exp"),
        (
            "sweep",
            "train.preview.every",
            [1],
            "sweep: 'train.preview.every' cannot be swept: the runs of a sweep share",
        ),
        ("sweep", "train.seed", [0, 1, 0], "sweep: train.seed: 0 and 0 would train the same run twice"),
        (
            "sweep",
            "train.learn_rate",
            [5e-3, "0.005"],
            "sweep: train.learn_rate: 0.005 and '0.005' would train the same",
        ),
        (
            "sweep",
            "train.betas",
            [[0.9, 1]],
            "sweep: train.betas: found [0.9, 1], wanted two numbers from 0 to below 1,",
        ),
        (
            "train",
            "betas",
            [0.9, 1],
            "train.betas: found [0.9, 1], wanted two numbers from 0 to below 1, such as [0.9, ",
        ),
        (
            "train",
            "betas",
            [0.9] * 3,
            "train.betas: found [0.9, 0.9, 0.9], wanted two numbers from 0 to below 1, such as",
        ),
        ("train", "betas", 0.9, "train.betas: found 0.9, wanted two numbers from 0 to below 1, such as"),
        ("train", "tensorboard", "yes", "train.tensorboard: found 'yes', wanted true or false"),
        ("train", "template", None, "train.template: found None, wanted the path of a file with one prompt a line"),
        ("caption", "drafters", ["tagger"], "caption: found values that do not fit together, wanted a caption.tagger."),
        ("caption", "prefix", {"x": "y" * 999}, f"caption.prefix: found {{'x': '{'y' * 93}..., wanted a valid string"),
        ("word", "name", date(2026, 1, 2), "word.name: found 2026-01-02, wanted a valid string, in quotes"),
        ("evaluate", "inference_steps", 151, "evaluate.inference_steps: found 151, wanted less than or equal to 150"),
        ("train", "preview", {"inference_steps": 151}, "train.preview.inference_steps: found 151, wanted less than or"),
    ],
)
def test_a_wrong_key_or_value_is_refused(tmp_path: Path, section: str, key: str, value: object, message: str) -> None:
    content = shipped()
    content[section][key] = value
    with pytest.raises(BadSettings) as error:
        load(tmp_path, content)
    first, line, *more = str(error.value).splitlines()
    assert first == f"{tmp_path / 'params.yaml'} is not valid:" and not more
    assert line.startswith(f"  {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("word"), "word: missing"),
        (
            lambda content: content["preprocess"].update(resolution="512x768", shape="buckets"),
            "preprocess.shape: found 'buckets', wanted square, as preprocess.resolution is 512x768",
        ),
        (lambda content: content["data"].pop("folder"), "data.folder: missing"),
        (lambda content: content.update(trian={}), "trian: unknown key, did you mean 'train'?"),
        (lambda content: content.update(word=None), "word: found None, wanted the keys name, vectors, init_text"),
        (lambda content: content.update(sweep=3), "sweep: found 3, wanted axes such as {train.seed: [0, 1]}"),
        (lambda content: content.update({5: 1}), "5: found 5, wanted keys that are text"),
    ],
)
def test_a_wrong_section_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    content = shipped()
    change(content)
    with pytest.raises(BadSettings, match=r"(?s)is not valid:\n  ") as error:
        load(tmp_path, content)
    assert message in str(error.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    content = shipped()
    content["train"] |= {"steps": -1, "sede": 3}
    content["word"]["vectors"] = 1000
    with pytest.raises(BadSettings) as error:
        load(tmp_path, content)
    assert len(str(error.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train": {"template": "bare.txt"}},
            r"train.template: found 'bare.txt', wanted .*: bare.txt: 'a photo' does not hold \[name\]",
        ),
        ({"train": {"template": "."}}, r"train.template: found '\.', wanted .*: \.: cannot be read"),
        ({"train": {"steps": 9, "warm_up": 9}}, "train.warm_up: found 9, wanted less than the run's 9 updates"),
        ({"sweep": {"train.warm_up": [2, 9]}, "train": {"steps": 9}}, "train.warm_up: found 9, wanted less than"),
        (
            {"word": {"init_file": "none.pt"}},
            "word.init_file: found 'none.pt', wanted .*; data/embeddings/none.pt does not exist",
        ),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, dict[str, Any]], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("templates").symlink_to(ROOT / "templates")
    Path("bare.txt").write_text("a [name]\na photo\n")
    content = shipped()
    for section, values in changes.items():
        content[section] |= values
    with pytest.raises(BadSettings, match=f"is not valid:\n  {message}"):
        load(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"word:\n  name: [\nbase: 1", r"not YAML: line \d: did not find"),
        (b"word:\n  vectors: 2\n  name: a\n  vectors: 3", 'not YAML: line 4: found duplicate key "vectors"$'),
        (b"word: {name: a}\ndata: 2026-13-01", "not YAML: month must be in 1..12"),
        (b"\ttrain: 1", "not YAML"),
        (b"a: caf\xe9", "not YAML: .*utf-8"),
        (b"- train", r"found \['train'\], wanted sections such as 'train:'"),
        (b"", "found nothing, wanted sections"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"(?s)params.yaml is not valid:.*{message}"):
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
    assert list(found) == [f"run{at:02d}" for at in range(6)]
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
