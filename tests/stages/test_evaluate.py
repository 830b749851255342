"""The choice as arithmetic, and the evaluate stage on tiny random models of both prediction types."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pseudoword.formats.embedding import Embedding, save_embedding
from pseudoword.formats.writing import write_embedding
from pseudoword.judge import similarity_among
from pseudoword.latents import Encoded, write_latents
from stages.evaluate.__main__ import main, shortlist
from stages.evaluate.choice import Candidate, choose, likeness_of, obedience_of
from tests.project import shipped_params, write_checked
from tests.tiny import tiny_inpainting, tiny_judge, tiny_sdxl, tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
ENCODERS = ("text_encoder", "text_encoder_2")
CEILING = 0.8


def candidate(
    step: int, image: float, text: float, run: str = "base", spread: float = 0.02, blank: float = 0.0
) -> Candidate:
    """A checkpoint of 16 pictures around two means; their scatter is the same for all, as with one noise."""
    scatter = np.random.default_rng(0).normal(0, spread, (2, 16))
    own = np.random.default_rng(step + 1).normal(0, 0.002, (2, 16))
    return Candidate(run, step, image + scatter[0] + own[0], text + scatter[1] + own[1], blank)


# ---------------------------------------------------------------------------------------------- the choice


def test_a_clearly_better_checkpoint_is_chosen():
    choice = choose([candidate(0, 0.4, 0.3), candidate(20, 0.5, 0.3), candidate(40, 0.7, 0.29)], CEILING, 0.5)
    assert choice.step == 40
    assert "Step 40" in choice.reason
    assert any("more train.steps" in line for line in choice.advice)


def test_among_ties_the_earliest_is_chosen_and_the_reason_says_so():
    later = [candidate(step, 0.70, 0.29) for step in (40, 60, 80)]
    choice = choose([candidate(0, 0.4, 0.3), candidate(20, 0.5, 0.3), *later], CEILING, 0.5)
    assert choice.step == 40
    assert choice.reason.count("earliest") == (choice.scores["base", 40] < max(choice.scores.values()))


def test_likeness_bought_with_disobedience_is_not_worth_it():
    flexible, burnt = candidate(40, 0.70, 0.29), candidate(200, 0.78, 0.05)
    assert choose([candidate(0, 0.4, 0.3), flexible, burnt], CEILING, 0.5).step == 40
    assert choose([candidate(0, 0.4, 0.3), flexible, burnt], CEILING, 1.0).step == 200


def test_more_than_the_pictures_own_likeness_earns_nothing():
    assert likeness_of(np.array([0.9]), np.array([0.4]), CEILING) == 1.0
    assert obedience_of(np.array([0.5]), np.array([0.3])) == 1.0


def test_blank_pictures_and_a_word_that_never_left_the_start_are_vetoed():
    blank, lost, good = candidate(20, 0.79, 0.3, blank=0.5), candidate(40, 0.39, 0.3), candidate(60, 0.6, 0.3)
    choice = choose([candidate(0, 0.4, 0.3), blank, lost, good], CEILING, 0.5)
    assert choice.step == 60
    assert set(choice.vetoes) == {("base", 20), ("base", 40)}


def test_when_nothing_is_better_than_the_start_the_advice_says_what_to_look_at():
    choice = choose([candidate(0, 0.6, 0.3), candidate(20, 0.4, 0.3), candidate(40, 0.5, 0.3)], CEILING, 0.5)
    assert "No checkpoint is better than the start" in choice.advice[0]


def test_each_run_is_measured_from_its_own_start():
    first = [candidate(0, 0.3, 0.3, "a"), candidate(20, 0.5, 0.3, "a")]
    second = [candidate(0, 0.6, 0.3, "b"), candidate(20, 0.75, 0.3, "b")]
    choice = choose([*first, *second], CEILING, 0.5)
    assert (choice.run, choice.step) == ("b", 20)


def test_prompts_that_say_nothing_besides_the_word_do_not_count_for_obedience():
    def with_silence(c: Candidate) -> Candidate:
        return Candidate(c.run, c.step, c.image, np.where(np.arange(16) < 4, np.nan, c.text), c.blank)

    choice = choose([with_silence(c) for c in (candidate(0, 0.4, 0.3), candidate(20, 0.7, 0.3))], CEILING, 0.5)
    assert np.isfinite(list(choice.scores.values())).all()


@given(st.integers(2, 30), st.integers(2, 12), st.integers(0, 29))
def test_the_shortlist_holds_the_start_the_last_and_the_lowest_loss(number: int, most: int, lowest: int):
    steps = [at * 20 for at in range(number)]
    losses = [0.1 if at == lowest % number else 0.2 for at in range(number)]
    chosen = shortlist(steps, losses, most)
    assert {0, steps[-1], steps[lowest % number]} <= set(chosen)
    assert min(most, number - 1) <= len(chosen) - 1 <= max(most, 2)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(steps)


def test_similarity_among_pictures_leaves_out_each_with_itself():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), dim=-1)
    assert similarity_among(vectors) == pytest.approx((0 + 2 * 2**-0.5) / 3)


# ---------------------------------------------------------------------------------------------- the stage


@pytest.fixture(params=["epsilon", "v_prediction", "inpainting"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the evaluate stage runs: a tiny base model with a judge, four pictures, two runs."""
    monkeypatch.chdir(tmp_path)
    pipeline = tiny_inpainting() if request.param == "inpainting" else tiny_stable_diffusion(request.param)
    pipeline.save_pretrained("base")
    tiny_judge(Path("base/judge"))
    ids = [f"{number:012x}" for number in range(4)]
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    Path("outputs/pictures").mkdir(parents=True)
    for name, picture in zip(ids, pixels, strict=True):
        Image.fromarray(picture).save(f"outputs/pictures/{name}.png")
    generator = torch.Generator().manual_seed(0)
    means, std = torch.randn(4, 4, 4, 4, generator=generator), torch.full((4, 4, 4), 0.1)
    write_latents((Encoded(name, "", mean, std) for name, mean in zip(ids, means, strict=True)), {})
    pd.DataFrame({"id": ids, "caption": ["by the sea", "", "at night", "x"]}).to_csv(
        "outputs/captions.csv", index=False
    )
    record = {
        "settings": {}, "pictures": 4, "samples_per_update": 4, "windows": 1,
        "templates": ["a [name] [filewords]"], "versions": {}, "device": "cpu",
        "precision": "float32", "model": {"name": "base", "family": "sd1", "resolution": 32},
    }  # fmt: skip
    for run, vectors in (("run00", 1), ("run01", 3)):
        Path(f"outputs/words/{run}").mkdir(parents=True)
        Path(f"outputs/words/{run}/settings.json").write_text(json.dumps(record))
        for step in (0, 5, 10, 15):
            path = Path(f"outputs/words/{run}/steps/snorf-{step}.safetensors")
            save_embedding(path, "snorf", torch.randn(vectors, 16, generator=generator) * (0.02 + step / 50), {})
    shutil.copytree(ROOT / "templates", "templates")
    Path("prompts.txt").write_text("a [name]\na [name] by the sea\n")
    content = shipped_params()
    content["base"] |= {"model": "base", "device": "cpu"}
    content["evaluate"] |= {"prompts": "prompts.txt", "inference_steps": 3, "timesteps": 2, "shortlist": 3, "seeds": 1}
    write_checked(content)
    return tmp_path


def outputs() -> dict[str, bytes]:
    folder = Path("outputs/evaluation")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pictures_of_several_shapes_are_judged_on_square_ones(project: Path):
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 4, 8), (4, 4, 8), (4, 4, 4), (4, 8, 4)]
    ids = [f"{number:012x}" for number in range(4)]
    means = [torch.randn(shape, generator=generator) for shape in shapes]
    write_latents((Encoded(name, "", mean, mean.abs()) for name, mean in zip(ids, means, strict=True)), {})
    main()
    drawn = pd.read_csv("outputs/evaluation/sheets/pictures.csv")["file"]
    for file in drawn:
        with Image.open(Path("outputs/evaluation/sheets", file)) as picture:
            assert picture.size == (32, 32)


def test_words_of_sdxl_are_scored_and_drawn(project: Path):
    tiny_sdxl().save_pretrained("base")
    widths = [json.loads(Path(f"base/{part}/config.json").read_text())["hidden_size"] for part in ENCODERS]
    generator = torch.Generator().manual_seed(1)
    for path in Path("outputs/words").glob("*/steps/*.safetensors"):
        clip_l, clip_g = (torch.randn(2, width, generator=generator) * 0.1 for width in widths)
        write_embedding(path, Embedding("snorf", clip_l, {}, clip_g), overwrite=True)
    main()
    scores = pd.read_csv("outputs/evaluation/scores.csv")
    assert np.isfinite(scores["loss"]).all() and scores["loss"].nunique() == 8
    assert scores["chosen"].sum() == 1


def test_a_run_without_checkpoints_is_left_out(project: Path, capsys: pytest.CaptureFixture[str]):
    for path in Path("outputs/words/run01/steps").glob("*-[15]*"):
        path.unlink()
    main()
    assert "run 'run01' has no checkpoint but its start" in capsys.readouterr().out
    assert set(pd.read_csv("outputs/evaluation/scores.csv")["run"]) == {"run00"}


def test_the_stage_scores_every_checkpoint_and_chooses_one(project: Path):
    main()
    scores = pd.read_csv("outputs/evaluation/scores.csv")
    assert len(scores) == 8
    assert np.isfinite(scores["loss"]).all()
    assert scores["loss"].nunique() == 8
    chosen = scores[scores["chosen"]]
    assert len(chosen) == 1
    choice = json.loads(Path("outputs/evaluation/choice.json").read_text())
    assert (choice["run"], choice["step"]) == (chosen["run"].item(), chosen["step"].item())
    assert Path(choice["file"]).is_file()
    metrics = json.loads(Path("outputs/evaluation/metrics.json").read_text())
    assert set(metrics["chosen"]) == {"run", "step", "loss", "image_similarity", "text_similarity"}
    assert set(metrics["init"]) == {"loss", "image_similarity", "text_similarity"}
    pictures = pd.read_csv("outputs/evaluation/sheets/pictures.csv")
    assert len(pictures) == 2 * 4 * 2
    for file in [*pictures["file"], "chosen.png"]:
        with Image.open(Path("outputs/evaluation/sheets", file)) as picture:
            picture.load()
    first = outputs()
    shutil.rmtree("outputs/evaluation")
    main()
    assert outputs() == first
