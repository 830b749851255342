"""Judges that cannot be had are told before training, and not after it."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pseudoword.settings.judge import JudgeSettings
from tests.pseudoword.doctor.drawn import SCENERY, diagnose, preprocessed, scenery
from tests.tiny import TOYWORLD


def told(**judge: str) -> list[str]:
    preprocessed([scenery(at, 64, 64) for at in range(4)], SCENERY[:4])
    findings = diagnose("judges", resolution=64, judge=JudgeSettings.model_validate(judge))
    assert all(finding.severity == "error" and "doctor.ignore: [judges]" in finding.advice for finding in findings)
    return [finding.message for finding in findings]


def test_the_judges_beside_the_base_model_are_well() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        ({"texts": f"{TOYWORLD}/image_judge"}, "judge.texts: "),
        ({"texts": f"{TOYWORLD}/captioner"}, "judge.texts: "),
        ({"images": f"{TOYWORLD}/text_encoder"}, "judge.images: "),
        ({"images": "nobody/nothing"}, "judge.images: 'nobody/nothing'"),
        ({"images": f"{TOYWORLD}/captioner"}, "weights of a BlipModel"),  # made up ones would judge at random
    ],
)
def test_a_model_of_another_kind_or_one_that_is_not_there_is_told(judge: dict[str, str], reason: str) -> None:
    (message,) = told(**judge)
    assert reason in message and "Give a folder" in message


def test_a_judge_that_lacks_weights_is_told(tmp_path: Path) -> None:
    shutil.copytree(TOYWORLD / "judge", tmp_path / "judge")
    weights = load_file(tmp_path / "judge" / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "judge" / "model.safetensors", {"format": "pt"})
    (message,) = told(texts=str(tmp_path / "judge"))
    assert "its file lacks 1 of the weights of a CLIPModel, such as visual_projection.weight" in message
