"""The train stage with train.learn: hypernetwork: what it writes, and that it goes on as a word's training does."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pseudoword.errors import UserError
from pseudoword.formats.embedding import save_embedding
from pseudoword.formats.hypernetwork import load_hypernetwork, save_hypernetwork
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.structure import Structure
from stages.train import session
from stages.train.__main__ import main
from stages.train.state import Pace, Saved, State, save_state
from tests.training import make_project, outputs, write_params

LEARN = {"learn": "hypernetwork", "steps": 20, "save_every": 5}
PACK = {
    "train": LEARN | {"preview": {"every": 10, "inference_steps": 1}},
    "hypernetwork": {"dropout": [0, 0.2, 0], "learn_rate": 0.001},
    "sweep": {"hypernetwork.activation": ["linear", "relu"], "train.seed": [0, 1]},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_project()
    Path("plain.txt").write_text("a picture of a [filewords]\n")
    return tmp_path


class Killed(Exception):
    pass


def test_four_in_one_pack_are_written_and_go_on_with_the_same_bytes(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(PACK)

    def save_and_die(path: Path, saved: Saved) -> None:
        save_state(path, saved)
        raise Killed

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(session, "save_state", save_and_die)
        main()
    main()
    assert "going on at step" in capsys.readouterr().out
    resumed = outputs()
    shutil.rmtree(".scratch")
    main()
    assert outputs() == resumed

    names = [f"seed{seed}-activation_{activation}" for seed in (0, 1) for activation in ("linear", "relu")]
    assert sorted(path.name for path in Path("outputs/words").iterdir()) == names
    for run, activation in ((names[0], "linear"), (names[3], "relu")):
        folder = Path("outputs/words", run)
        kept = {f"snorf-{step}.safetensors" for step in (0, 5, 10, 15, 20)}
        assert {path.name for path in (folder / "steps").iterdir()} == kept
        start, end = (load_hypernetwork(folder / f"steps/snorf-{step}.safetensors") for step in (0, 20))
        assert end.structure == Structure(activation=activation, dropout=(0, 0.2, 0)) and end.widths == [16, 8]
        assert any((start.modules[8][0][key] != value).any() for key, value in end.modules[8][0].items())
        losses = pd.read_csv(f"outputs/training/{run}/loss.csv")
        assert np.isfinite(losses["loss"]).all() and (losses["learn_rate"] == 0.001).all()
        report = json.loads((folder / "settings.json").read_text())
        assert report["settings"]["hypernetwork"]["widths"] == [16, 8] and "hypernetwork.widths" in report["auto"]
        with Image.open(f"outputs/training/{run}/previews/snorf-20.png") as picture:
            assert json.loads(picture.text["pseudoword"])["pseudoword.step"] == "20"  # type: ignore[attr-defined]


def test_a_copy_goes_on_with_the_moments_that_belong_to_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More steps go on from the finished training, and end where as many in one go end."""
    write_params({"train": LEARN | {"steps": 10}})
    main()
    write_params({"train": LEARN})
    main()
    assert "going on at step 10 of 20" in capsys.readouterr().out
    longer = outputs("outputs/words")
    shutil.rmtree(".scratch")
    main()
    assert outputs("outputs/words") == longer


def test_a_template_without_the_name_teaches_a_hypernetwork_and_no_word(project: Path) -> None:
    write_params({"train": LEARN | {"steps": 2, "template": "plain.txt"}})
    main()
    assert Path("outputs/words/base/steps/snorf-2.safetensors").exists()
    with pytest.raises(UserError, match=r"train\.template: .* does not hold \[name\]"):
        write_params({"train": {"learn": "word", "template": "plain.txt"}})


def test_writing_a_large_state_takes_a_twentieth_of_the_time_at_most() -> None:
    """A small one is written each time. On a clock of its own: a block takes 3 s, and writing 2 s."""
    now, written = 0.0, 0.0
    pace = Pace(lambda: now)
    small, large = (State.at_start(torch.zeros(1, n), 1, 1.0, 1) for n in (2**10, 2**21))
    for _ in range(1000):
        now += 3
        assert pace.due(small)
        if pace.due(large):
            with pace.writing():
                now, written = now + 2, written + 2
    assert 0.04 * now < written <= 0.05 * now + 2


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"widths": [768]}, "hypernetwork.widths: found 768, wanted some of the base model's own: 16, 8"),
        ({"layers": [1, 0.05, 1]}, "hypernetwork.layers: .* leaves nothing of a width of 16"),
    ],
)
def test_what_this_base_model_does_not_take_is_refused(project: Path, values: dict[str, object], told: str) -> None:
    write_params({"train": LEARN, "hypernetwork": values})
    with pytest.raises(UserError, match=told):
        main()
    assert not Path("outputs/words").exists()


def test_a_hypernetwork_goes_on_from_a_file(project: Path) -> None:
    write_params({"train": LEARN | {"steps": 5}, "hypernetwork": {"activation": "relu", "learn_rate": 0.001}})
    main()
    first = load_hypernetwork(Path("outputs/words/base/steps/snorf-5.safetensors"))
    Path("data/embeddings").mkdir(parents=True, exist_ok=True)
    for suffix in ("pt", "safetensors"):
        save_hypernetwork(Path(f"data/embeddings/old.{suffix}"), replace(first, name="old"))
        section = {"activation": "relu", "learn_rate": 0.001, "init_file": f"old.{suffix}"}
        write_params({"train": LEARN | {"steps": 5}, "hypernetwork": section})
        main()
        start = load_hypernetwork(Path("outputs/words/base/steps/snorf-0.safetensors"))
        assert start.structure == first.structure
        for width, pair in first.modules.items():
            for module, begun in zip(pair, start.modules[width], strict=True):
                assert all(torch.equal(value, begun[key]) for key, value in module.items())


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({}, "has the layers 1, 2, 1; relu, wanted 1, 2, 1, as hypernetwork.layers"),
        ({"activation": "relu", "widths": [8]}, "has the widths 16, 8, wanted 8, as hypernetwork.widths says"),
        ({"activation": "relu", "init_file": "word.safetensors"}, "is an embedding, wanted a hypernetwork"),
    ],
)
def test_a_file_that_it_cannot_go_on_from_is_told(project: Path, section: dict[str, object], told: str) -> None:
    modules = initial_modules(Structure(activation="relu"), [16, 8], "Normal", 0)
    Path("data/embeddings").mkdir(parents=True, exist_ok=True)
    old = Hypernetwork("old", Structure(activation="relu"), modules, {})
    save_hypernetwork(Path("data/embeddings/old.safetensors"), old)
    save_embedding(Path("data/embeddings/word.safetensors"), "word", torch.randn(1, 16), {})
    write_params({"train": LEARN, "hypernetwork": {"init_file": "old.safetensors"} | section})
    with pytest.raises(UserError, match=re.escape(told)):
        main()
