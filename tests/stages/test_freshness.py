"""A branch on the hub moves while a word is learned: what was made with the old commit never mixes with the new one."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pseudoword.formats.reading import read_embedding
from pseudoword.latents import OtherVae
from stages.choose.__main__ import main as choose
from stages.evaluate.__main__ import main as evaluate
from stages.evaluate.checkpoints import OtherBase
from stages.export.__main__ import main as export
from stages.judge.__main__ import main as judge
from stages.latents.__main__ import main as latents
from stages.train.__main__ import main as train
from tests.hub import Hub, hub_client, serving
from tests.project import shipped_params, write_checked
from tests.tiny import tiny_judge, tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
MODEL = "someone/model"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as served:
        yield served


@pytest.fixture
def project(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures and their captions; the hub has `base` as its main branch, and a judge."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("base", "other", "unet")):
        tiny_stable_diffusion(seed=seed).save_pretrained(f"pushed/{name}")
    shutil.copytree("pushed/base/vae", "pushed/unet/vae", dirs_exist_ok=True)
    tiny_judge(Path("pushed/judge"))
    hub.push(MODEL, Path("pushed/base"))
    hub.push("someone/judge", Path("pushed/judge"))
    ids = [f"{number:012x}" for number in range(4)]
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    Path("outputs/pictures").mkdir(parents=True)
    for name, picture in zip(ids, pixels, strict=True):
        Image.fromarray(picture).save(f"outputs/pictures/{name}.png")
    table = pd.DataFrame({"id": ids, "source": [f"{name}.jpg" for name in ids], "state": "used", "reason": ""})
    table.to_csv("outputs/pictures.csv", index=False)
    pd.DataFrame({"id": ids, "caption": ["by the sea", "", "at night", "x"]}).to_csv(
        "outputs/captions.csv", index=False
    )
    shutil.copytree(ROOT / "templates", "templates")
    write_params()
    return tmp_path


def write_params(revision: str | None = None) -> None:
    content = shipped_params()
    content["base"] |= {"model": MODEL, "revision": revision, "device": "cpu"}
    content["train"] |= {"steps": 4, "save_every": 2}
    content["judge"] |= {"images": "someone/judge", "texts": "someone/judge"}
    content["evaluate"] |= {"inference_steps": 1, "timesteps": 1, "shortlist": 2, "seeds": 1}
    content["export"] |= {"formats": ["safetensors"]}
    write_checked(content)


def run(hub: Hub, *stages: Callable[[], None]) -> None:
    """Each as a process of its own, which asks the hub anew."""
    for stage in stages:
        with hub_client(hub.address, Path("home")):
            stage()


def test_the_commits_that_were_used_are_recorded(hub: Hub, project: Path):
    run(hub, latents, train, evaluate, judge, choose)
    path = Path("outputs/choice/choice.json")  # random models are no better than the init
    path.write_text(json.dumps(json.loads(path.read_text()) | {"better_than_init": True}))
    run(hub, export)
    commit, judged_by = (hub.refs[repo, "main"] for repo in (MODEL, "someone/judge"))
    assert json.loads(Path("outputs/latents/index.json").read_text())["commit"] == commit
    assert json.loads(Path("outputs/words/base/settings.json").read_text())["model"]["commit"] == commit
    judges = json.loads(Path("outputs/judged/judges.json").read_text())
    assert judges["images"] == judges["texts"] == f"someone/judge@{judged_by}"
    for path in (Path("outputs/words/base/steps/snorf-4.safetensors"), Path("outputs/embedding/snorf.safetensors")):
        assert read_embedding(path).metadata["pseudoword.base_commit"] == commit


def test_latents_of_another_commit_are_noticed_and_its_name_leads_back(
    hub: Hub, project: Path, capsys: pytest.CaptureFixture[str]
):
    run(hub, latents, train)
    old = hub.refs[MODEL, "main"]
    new = hub.push(MODEL, Path("pushed/other"))
    with pytest.raises(OtherVae, match=rf"{MODEL}.*commit {old}, now {new}.*base\.revision.*dvc repro -f -s latents"):
        run(hub, train)
    assert Path("outputs/words/base/settings.json").is_file()
    write_params(revision=old)
    capsys.readouterr()
    run(hub, train)  # the same training, not one from the beginning
    assert "all 4 steps are done already" in capsys.readouterr().out
    write_params()
    run(hub, latents, train)
    assert "going on" not in capsys.readouterr().out
    assert json.loads(Path("outputs/words/base/settings.json").read_text())["model"]["commit"] == new


def test_a_training_is_not_taken_up_on_another_commit(hub: Hub, project: Path, capsys: pytest.CaptureFixture[str]):
    run(hub, latents, train)
    hub.push(MODEL, Path("pushed/unet"))  # with the same VAE, so the latents hold
    capsys.readouterr()
    run(hub, train)
    assert "going on" not in capsys.readouterr().out


def test_words_of_another_commit_are_not_judged(hub: Hub, project: Path):
    run(hub, latents, train)
    old = hub.refs[MODEL, "main"]
    new = hub.push(MODEL, Path("pushed/unet"))
    with pytest.raises(OtherBase, match=rf"outputs/words/base.*commit {old}, now {new}.*dvc repro -f -s train"):
        run(hub, evaluate)
    hub.push(MODEL, {**hub.commits[MODEL, old], "README.md": b"Nothing that is read has changed."})
    run(hub, evaluate)
