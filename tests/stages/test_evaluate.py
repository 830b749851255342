"""Shortlist and measures, and the evaluate stage on tiny random models of both prediction types."""

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
from stages.evaluate.measures import MEASURES
from stages.evaluate.measures.measure import Evidence, Measure, mean

from pseudoword.base.identity import ModelIdentity
from pseudoword.formats.embedding import Embedding, save_embedding
from pseudoword.formats.hypernetwork import save_hypernetwork
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.judge import similarity_among
from pseudoword.latents import Encoded, write_latents
from pseudoword.structure import Structure
from stages.evaluate.__main__ import main
from stages.evaluate.checkpoints import shortlisted_steps
from tests.project import shipped_params, write_checked
from tests.tiny import tiny_inpainting, tiny_judge, tiny_sdxl, tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
ENCODERS = ("text_encoder", "text_encoder_2")


@given(st.integers(2, 30), st.integers(2, 12), st.integers(0, 29))
def test_the_shortlist_holds_the_start_the_last_and_the_lowest_loss(number: int, most: int, lowest: int):
    steps = [i * 20 for i in range(number)]
    losses = [0.1 if i == lowest % number else 0.2 for i in range(number)]
    chosen = shortlisted_steps(steps, losses, most)
    assert {0, steps[-1], steps[lowest % number]} <= set(chosen)
    assert min(most, number - 1) <= len(chosen) - 1 <= max(most, 2)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(steps)


def test_similarity_among_pictures_leaves_out_each_with_itself():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), dim=-1)
    assert similarity_among(vectors) == pytest.approx((0 + 2 * 2**-0.5) / 3)


# ---------------------------------------------------------------------------------------------- the measures


class WrittenJudge:
    """Sees in a picture of one colour that colour as a unit vector, and in a text the number of its letters."""

    def pictures(self, pictures: list[Image.Image]) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.tensor([picture.getpixel((0, 0)) for picture in pictures]).float())

    def texts(self, texts: list[str]) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor([len(text) for text in texts]), 3).float()


RED, GREEN, BOTH = (Image.new("RGB", (4, 4), colour) for colour in ((9, 0, 0), (0, 9, 0), (9, 9, 0)))


def evidence(pictures: list[Image.Image], texts: list[str]) -> Evidence:
    judge = WrittenJudge()
    return Evidence(pictures, texts, judge, judge.pictures([RED, GREEN]))  # type: ignore[arg-type]


def test_every_measure_has_a_value_for_each_picture():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8))
    seen = evidence([RED, BOTH, noise, RED], ["", "x", "xx", "x"])  # lengths 0 to 2 are red, green and blue
    found = {measure.name: measure.of(seen).tolist() for measure in MEASURES}
    assert found["image_similarity"][:2] == pytest.approx([0.5, 0.5**0.5])
    assert found["text_similarity"][1] == pytest.approx(0.5**0.5) and found["text_similarity"][3] == 0
    assert np.isnan(found["text_similarity"][0])  # its prompt is the word alone
    assert found["blank"] == [1.0, 1.0, 0.0, 1.0]
    assert mean(np.array(found["text_similarity"][:2])) == pytest.approx(0.5**0.5)
    assert {len(values) for values in found.values()} == {4}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_measure_looks_at_what_it_says_it_needs_and_at_one_picture_at_a_time(measure: Measure):
    """So a judge that nothing needs is never asked, and a value does not depend on what else was drawn."""
    together = measure.of(evidence([RED, BOTH, GREEN], ["x", "xx", ""]))
    alone = [measure.of(evidence([picture], [text]))[0] for picture, text in ((RED, "x"), (BOTH, "xx"), (GREEN, ""))]
    assert together.tolist() == pytest.approx(alone, nan_ok=True)
    without_judge = Evidence([RED], ["x"], None, torch.eye(3))  # type: ignore[arg-type]
    if "embeddings" not in measure.needs:
        measure.of(without_judge)


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
    for run, vectors in (("vectors1", 1), ("vectors3", 3)):
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


def test_hypernetworks_are_scored_and_drawn(project: Path):
    widths = ModelIdentity("base").context_widths
    for seed, path in enumerate(sorted(Path("outputs/words").glob("*/steps/*.safetensors"))):
        modules = initial_modules(Structure(), widths, "XavierNormal", seed)
        save_hypernetwork(path, Hypernetwork("snorf", Structure(), modules, {}))
    main()
    scores = pd.read_csv("outputs/evaluation/scores.csv")
    assert np.isfinite(scores["loss"]).all() and scores["loss"].nunique() == 8
    assert scores["chosen"].sum() == 1
    sheets = Path("outputs/evaluation/sheets")
    drawn = [(sheets / file).read_bytes() for file in pd.read_csv(sheets / "pictures.csv")["file"]]
    assert len(set(drawn)) == len(drawn)


def test_a_run_without_checkpoints_is_left_out(project: Path, capsys: pytest.CaptureFixture[str]):
    for path in Path("outputs/words/vectors3/steps").glob("*-[15]*"):
        path.unlink()
    main()
    assert "run 'vectors3' has no checkpoint but its start" in capsys.readouterr().out
    assert set(pd.read_csv("outputs/evaluation/scores.csv")["run"]) == {"vectors1"}


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
    measured = {"loss", *(measure.name for measure in MEASURES)}
    assert set(metrics["chosen"]) == {"run", "step", *measured} and set(metrics["init"]) == measured
    pictures = pd.read_csv("outputs/evaluation/sheets/pictures.csv")
    assert len(pictures) == 2 * 4 * 2
    drawn = pictures.groupby(["run", "step"])[[measure.name for measure in MEASURES]].mean()
    of_checkpoints = scores.dropna(subset=["image_similarity"]).set_index(["run", "step"])[drawn.columns]
    pd.testing.assert_frame_equal(drawn, of_checkpoints)
    for file in [*pictures["file"], "chosen.png"]:
        with Image.open(Path("outputs/evaluation/sheets", file)) as picture:
            picture.load()
    first = outputs()
    shutil.rmtree("outputs/evaluation")
    main()
    assert outputs() == first
