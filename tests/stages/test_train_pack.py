"""From settings to the runs of a pack: what is told of before any update."""

from pathlib import Path
from typing import Any

import pytest

from pseudoword.prompts import PromptTooLong
from pseudoword.settings.sweep import runs
from stages.train.pack import Packed, make_pack
from stages.train.settings import Settings
from tests.packs import tiny_base
from tests.project import shipped_params, write_checked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a photo of a [name], [filewords]")
    return tmp_path


def packed(captions: list[str], **changes: dict[str, Any]) -> list[Packed]:
    content = shipped_params()
    content["train"] |= {"template": "prompts.txt", "steps": 10}
    for section, values in changes.items():
        content[section] |= values
    write_checked(content)
    return make_pack(runs(Settings.read("train")), tiny_base(), captions, len(captions), 10)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"train": {"norm": "direction", "pull": 0.1}}, []),
        (
            {"train": {"learn_rate": "0.001, 0.05:3"}},
            ["train.learn_rate '0.001, 0.05:3': item '0.05:3' comes after '0.001', which goes on to the end"],
        ),
        (
            {"train": {"clip": "norm", "clip_at": "0.1:6, 0.2:3"}},
            ["train.clip_at '0.1:6, 0.2:3': item '0.2:3' ends before it begins, at step 7"],
        ),
        ({"train": {"pull": 0.1}}, ["train.pull has no effect with train.norm: rescale"]),
        ({"train": {"clip_at": 1}}, ["train.clip_at has no effect with train.clip: none"]),
        (
            {"train": {"norm": "direction", "betas": [0.5, 0.9], "weight_decay": 0.1}},
            ["train.betas has no effect with train.norm: direction",
             "train.weight_decay has no effect with train.norm: direction"],
        ),
        (
            {"train": {"learn": "hypernetwork", "learn_rate": 0.005, "weight_decay": 0.1, "betas": [0.5, 0.9],
                       "norm": "direction", "huber_delta": 0.2}},
            ["train.huber_delta has no effect with train.loss: mse",
             "train.learn_rate has no effect with train.learn: hypernetwork",
             "train.weight_decay has no effect with train.learn: hypernetwork",
             "train.norm has no effect with train.learn: hypernetwork"],
        ),
        ({"train": {"learn": "hypernetwork"}}, []),
        (
            {"word": {"init_text": "a red flower", "vectors": 2}, "sweep": {"train.seed": [0, 1]}},
            ["the init text 'a red flower' has 3 tokens for 2 vectors: the word starts from 'a red' without 'flower'. "
             "Shorten the text, or take more vectors."],
        ),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_told_once(
    project: Path, changes: dict[str, Any], told: list[str], capsys: pytest.CaptureFixture[str]
):
    packed(["by the sea", "in a cave"], **changes)
    assert capsys.readouterr().out.splitlines() == [f"warning: {line}" for line in told]


def test_a_prompt_that_is_too_long_is_named_with_its_run_and_what_to_shorten(project: Path):
    long, changes = "by the sea " * 300, {"sweep": {"train.seed": [0, 1]}}
    with pytest.raises(
        PromptTooLong, match=r"^run 'seed0': the prompt .*\. Shorten the caption or the template"
    ) as error:
        packed([long, ""], **changes)
    assert len(str(error.value)) < 400
    for key in ("prompt", "negative"):
        preview = {"every": 1, key: f"[name] {long}"}
        with pytest.raises(PromptTooLong, match=f"Shorten train.preview.{key}, or"):
            packed([""], train={"template": "prompts.txt", "preview": preview}, **changes)
