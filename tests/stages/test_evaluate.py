"""Shortlist and pictures, and the evaluate stage on tiny random models of both prediction types."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base
from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding, save_embedding
from pseudoword.formats.hypernetwork import save_hypernetwork
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.latents import Encoded, write_latents
from pseudoword.structure import Structure
from stages.evaluate.__main__ import main
from stages.evaluate.checkpoints import OtherBase, shortlisted_steps
from tests.original_layout import original
from tests.project import shipped_params, write_checked
from tests.tiny import tiny_inpainting, tiny_sdxl, tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
ENCODERS = ("text_encoder", "text_encoder_2")
SHEETS = Path("outputs/evaluation/sheets")


@given(st.integers(2, 30), st.integers(2, 12), st.integers(0, 29))
def test_the_shortlist_holds_the_last_and_the_lowest_loss(number: int, most: int, lowest: int):
    steps = [20 * (i + 1) for i in range(number)]
    losses = [0.1 if i == lowest % number else 0.2 for i in range(number)]
    chosen = shortlisted_steps(steps, losses, most)
    assert {steps[-1], steps[lowest % number]} <= set(chosen)
    assert min(most, number) <= len(chosen) <= max(most, 2)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(steps)


def test_a_loss_that_is_no_number_is_not_the_lowest():
    assert shortlisted_steps([5, 10, 15, 20], [float("nan"), 0.3, 0.1, 0.2], 2) == [15, 20]


@pytest.fixture(params=["epsilon", "v_prediction", "inpainting"])
def each_kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return begin(request.param, tmp_path, monkeypatch)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return begin("epsilon", tmp_path, monkeypatch)


def begin(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the evaluate stage runs: a tiny base model, latents of four pictures, two runs."""
    monkeypatch.chdir(folder)
    pipeline = tiny_inpainting() if kind == "inpainting" else tiny_stable_diffusion(kind)
    pipeline.save_pretrained("base")
    ids = [f"{number:012x}" for number in range(4)]
    generator = torch.Generator().manual_seed(0)
    means, std = torch.randn(4, 4, 4, 4, generator=generator), torch.full((4, 4, 4), 0.1)
    write_latents((Encoded(name, "", mean, std) for name, mean in zip(ids, means, strict=True)), {})
    captions = ["by the sea", "", "at night", "x"]
    pd.DataFrame({"id": ids, "caption": captions}).to_csv("outputs/captions.csv", index=False)
    for run, vectors, text in (("vectors1", 1, "flower"), ("vectors3", 3, "*")):
        write_record(run, text)
        for step in (0, 5, 10, 15):
            path = Path(f"outputs/words/{run}/steps/snorf-{step}.safetensors")
            save_embedding(path, "snorf", torch.randn(vectors, 16, generator=generator) * (0.02 + step / 50), {})
    shutil.copytree(ROOT / "templates", "templates")
    settings()
    return folder


def write_record(run: str, text: str) -> None:
    record = {
        "settings": {"word": {"init_text": text}}, "pictures": 4, "samples_per_update": 4, "windows": 1,
        "templates": ["a [name] [filewords]"], "versions": {}, "device": "cpu",
        "precision": "float32", "model": {"name": "base", "family": "sd1", "resolution": 32},
    }  # fmt: skip
    Path(f"outputs/words/{run}").mkdir(parents=True, exist_ok=True)
    Path(f"outputs/words/{run}/settings.json").write_text(json.dumps(record))


def settings(*prompts: str, **changes: object) -> None:
    Path("prompts.txt").write_text("\n".join(prompts or ("a [name]", "a [name] by the sea")) + "\n")
    content = shipped_params()
    content["base"] |= {"model": "base", "device": "cpu"}
    quick = {"prompts": "prompts.txt", "inference_steps": 2, "timesteps": 2, "shortlist": 2, "seeds": 1}
    content["evaluate"] |= quick | changes
    write_checked(content)


def outputs() -> dict[str, bytes]:
    folder = Path("outputs/evaluation")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pictures() -> dict[tuple[object, ...], bytes]:
    """What was drawn at home, by run, step, control, prompt and seed."""
    return elsewhere("")


def elsewhere(label: str) -> dict[tuple[object, ...], bytes]:
    table = pd.read_csv("outputs/evaluation/pictures.csv", keep_default_na=False)
    rows = table[table["elsewhere"] == label].drop(columns="elsewhere")
    return {tuple(row[:-1]): (SHEETS / row[-1]).read_bytes() for row in rows.itertuples(index=False, name=None)}


def test_pictures_are_square_where_the_pictures_have_several_shapes(project: Path):
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 4, 8), (4, 4, 8), (4, 4, 4), (4, 8, 4)]
    ids = [f"{number:012x}" for number in range(4)]
    means = [torch.randn(shape, generator=generator) for shape in shapes]
    write_latents((Encoded(name, "", mean, mean.abs()) for name, mean in zip(ids, means, strict=True)), {})
    main()
    for file in pd.read_csv("outputs/evaluation/pictures.csv")["file"]:
        with Image.open(SHEETS / file) as picture:
            assert picture.size == (32, 32)


def test_words_of_sdxl_are_scored_and_drawn(project: Path):
    tiny_sdxl().save_pretrained("base")
    widths = [json.loads(Path(f"base/{part}/config.json").read_text())["hidden_size"] for part in ENCODERS]
    generator = torch.Generator().manual_seed(1)
    for path in Path("outputs/words").glob("*/steps/*.safetensors"):
        clip_l, clip_g = (torch.randn(2, width, generator=generator) * 0.1 for width in widths)
        write_embedding(path, Embedding("snorf", clip_l, {}, clip_g), overwrite=True)
    main()
    losses = pd.read_csv("outputs/evaluation/losses.csv")
    assert np.isfinite(losses["loss"]).all() and losses["loss"].nunique() == 8
    drawn = pictures()
    assert len(drawn) == 2 * (2 + 2) * 2  # runs x (shortlist and controls) x prompts


def test_hypernetworks_are_scored_and_drawn(project: Path):
    widths = ModelIdentity("base").context_widths
    for seed, path in enumerate(sorted(Path("outputs/words").glob("*/steps/*.safetensors"))):
        modules = initial_modules(Structure(), widths, "XavierNormal", seed)
        save_hypernetwork(path, Hypernetwork("snorf", Structure(), modules, {}))
    main()
    losses = pd.read_csv("outputs/evaluation/losses.csv")
    assert np.isfinite(losses["loss"]).all() and losses["loss"].nunique() == 8
    drawn = [content for key, content in pictures().items() if key[2] == ""]
    assert len(set(drawn)) == len(drawn) == 8


def test_a_hypernetwork_is_drawn_at_other_strengths_too(project: Path, capsys: pytest.CaptureFixture[str]):
    widths = ModelIdentity("base").context_widths
    for seed, path in enumerate(sorted(Path("outputs/words").glob("*/steps/*.safetensors"))):
        modules = initial_modules(Structure(), widths, "XavierNormal", seed)
        save_hypernetwork(path, Hypernetwork("snorf", Structure(), modules, {}))
    settings(strengths=[0.5, 1.0])
    main()
    home, half, whole = pictures(), elsewhere("at strength 0.5"), elsewhere("at strength 1")
    assert whole == home
    for control, same in (("", False), ("nothing", True)):
        assert {half[key] == home[key] for key in home if key[2] == control} == {same}
    assert "for hypernetworks" not in capsys.readouterr().out


def test_strengths_of_a_word_are_told_to_be_none(project: Path, capsys: pytest.CaptureFixture[str]):
    settings(strengths=[0.5])
    main()
    assert "a word is weighted in its prompt, as in (snorf:0.8)" in capsys.readouterr().out
    assert elsewhere("at strength 0.5") == {}


def test_a_run_without_checkpoints_is_left_out(project: Path, capsys: pytest.CaptureFixture[str]):
    for path in Path("outputs/words/vectors3/steps").glob("*-[15]*"):
        path.unlink()
    main()
    assert "run 'vectors3' has no checkpoint but its start" in capsys.readouterr().out
    assert set(pd.read_csv("outputs/evaluation/losses.csv")["run"]) == {"vectors1"}


def test_the_stage_scores_every_checkpoint_and_draws_the_shortlist_and_the_controls(each_kind: Path):
    main()
    losses = pd.read_csv("outputs/evaluation/losses.csv")
    assert len(losses) == 8 and losses["loss"].nunique() == 8 and np.isfinite(losses["loss"]).all()
    table = pd.read_csv("outputs/evaluation/pictures.csv", keep_default_na=False)
    drawn = {(row.run, row.step) for row in table[table["control"] == ""].itertuples()}
    assert drawn == {(row.run, row.step) for row in losses[losses["drawn"]].itertuples()} and len(drawn) == 4
    for run in ("vectors1", "vectors3"):
        of_run = table[table["run"] == run]
        for control in ("init", "nothing"):
            assert list(of_run[of_run["control"] == control]["prompt"]) == ["a [name]", "a [name] by the sea"]
    first = outputs()
    shutil.rmtree("outputs/evaluation")
    main()
    assert outputs() == first
    shutil.rmtree("outputs/evaluation")
    shutil.rmtree(".scratch")
    main()
    assert outputs() == first


def test_the_controls_are_the_init_text_and_nothing_in_the_words_place(project: Path):
    """Where the init text is a sign such as "*", `init` is the start itself."""
    main()
    drawn = pictures()
    assert drawn["vectors1", 0, "nothing", "a [name]", 0] == drawn["vectors3", 0, "nothing", "a [name]", 0]
    assert drawn["vectors1", 0, "init", "a [name]", 0] != drawn["vectors3", 0, "init", "a [name]", 0]
    start = Path("outputs/words/vectors3/steps/snorf-0.safetensors").read_bytes()
    Path("outputs/words/vectors3/steps/snorf-15.safetensors").write_bytes(start)
    main()
    assert pictures()["vectors3", 15, "", "a [name]", 0] == drawn["vectors3", 0, "init", "a [name]", 0]


def count_drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each batch that is drawn from now on."""
    rows: list[int] = []
    drawing = Base.draw

    def draw(base: Base, conditioning: object, negative: object, noise: torch.Tensor, *more: object) -> object:
        rows.append(len(noise))
        return drawing(base, conditioning, negative, noise, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Base, "draw", draw)
    return rows


def test_more_seeds_prompts_and_checkpoints_draw_what_is_new_and_leave_the_rest_its_bits(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = count_drawn(monkeypatch)
    main()
    before = pictures()
    rows.clear()
    main()
    assert not rows
    settings("a new [name]", "a [name]", "a [name] by the sea", seeds=2, shortlist=3)
    main()
    after = pictures()
    assert before.items() <= after.items()
    assert set(rows) == {8} and 8 * len(rows) < len(after) - len(before) + 8
    shutil.rmtree(".scratch")
    main()
    assert pictures() == after


def test_a_damaged_picture_in_the_scratch_is_drawn_anew(project: Path, monkeypatch: pytest.MonkeyPatch):
    main()
    before = pictures()
    kept = sorted(Path(".scratch/evaluate").rglob("*.png"))
    kept[0].write_bytes(kept[0].read_bytes()[:50])
    rows = count_drawn(monkeypatch)
    main()
    assert len(rows) == 1 and pictures() == before


def write_other_word(name: str, number: int = 2) -> bytes:
    path = Path("data/embeddings", f"{name}.safetensors")
    save_embedding(path, name, torch.randn(number, 16, generator=torch.Generator().manual_seed(number)), {})
    return path.read_bytes()


def test_the_word_is_drawn_elsewhere_too_and_what_is_drawn_at_home_keeps_its_bits(project: Path):
    main()
    home = pictures()
    write_other_word("gloop")
    tiny_stable_diffusion("v_prediction").save_pretrained("another")
    settings(together_with=["gloop.safetensors"], also_on=["another"])
    main()
    assert pictures() == home
    beside, on_another = elsewhere("with gloop"), elsewhere("on another")
    assert beside.keys() == on_another.keys() == home.keys()
    for key, picture in home.items():
        assert len({picture, beside[key], on_another[key]}) == 3, key
    # Beside the other word alone, as at home with it in the prompt.
    settings("a [name], gloop", "a [name] by the sea, gloop")
    Path("outputs/words/vectors1/steps/snorf-5.safetensors").unlink()
    main()
    assert pictures()["vectors1", 15, "", "a [name], gloop", 0] != beside["vectors1", 15, "", "a [name]", 0]


def test_another_file_of_the_word_beside_is_drawn_anew(project: Path):
    write_other_word("gloop")
    settings(together_with=["gloop.safetensors"])
    main()
    first = elsewhere("with gloop")
    write_other_word("gloop", 3)
    settings(together_with=["gloop.safetensors"])
    main()
    assert all(elsewhere("with gloop")[key] != picture for key, picture in first.items())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"also_on": ["wide"]}, "'wide' reads vectors of 24 numbers, base.model of 16"),
        ({"also_on": ["xl"]}, "'xl' is of the family sdxl, base.model of sd1"),
        ({"together_with": ["broad.safetensors"]}, "broad.safetensors has vectors of 24 numbers, wanted 16"),
        ({"together_with": ["snorf.safetensors"]}, "is called 'snorf', as the one that is learned"),
    ],
)
def test_what_the_word_does_not_go_with_is_told_before_anything_is_drawn(
    project: Path, changes: dict[str, object], told: str
):
    tiny_sdxl().save_pretrained("xl")
    tiny_stable_diffusion(width=24).save_pretrained("wide")
    save_embedding(Path("data/embeddings/broad.safetensors"), "broad", torch.randn(1, 24), {})
    write_other_word("snorf")
    settings(**changes)
    with pytest.raises(UserError, match=re.escape(told)):
        main()
    assert not Path("outputs/evaluation").exists()


def from_one_file(**options: object) -> None:
    """The tiny model as a file, which is read with the configs in `configs`, whose scheduler has these options."""
    tiny_stable_diffusion().save_pretrained("configs")
    scheduler = Path("configs/scheduler/scheduler_config.json")
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | options))
    save_file(original(tiny_stable_diffusion()), "base.safetensors")
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["base"] |= {"model": "base.safetensors", "config": "configs"}
    write_checked(content)


def test_a_file_with_other_configs_is_scored_and_drawn_anew(project: Path):
    results = {}
    for prediction in ("epsilon", "v_prediction"):
        from_one_file(prediction_type=prediction)
        main()
        results[prediction] = outputs()
    shutil.rmtree(".scratch")
    main()
    assert outputs() == results["v_prediction"]
    assert not set(results["epsilon"].values()) & set(results["v_prediction"].values())


def test_weights_beside_the_configs_of_a_file_are_not_the_model(project: Path):
    from_one_file()
    first = ModelIdentity("base.safetensors", config="configs").record()
    tiny_stable_diffusion(seed=1).unet.save_pretrained("configs/unet")
    assert ModelIdentity("base.safetensors", config="configs").record() == first


def test_words_that_were_learned_with_other_configs_are_refused(project: Path):
    from_one_file()
    model = ModelIdentity("base.safetensors", config="configs").record()
    for path in Path("outputs/words").glob("*/settings.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": model}))
    main()
    from_one_file(prediction_type="v_prediction")
    with pytest.raises(OtherBase, match=r"words/vectors.: learned on .*base\.config.*dvc repro -f -s train"):
        main()
