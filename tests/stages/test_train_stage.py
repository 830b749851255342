"""The train stage on tiny random models, as it is run: files and wrong settings."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pseudoword.base import interface
from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding, load_embedding
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.tensors import save_tensors
from pseudoword.formats.writing import write_embedding
from pseudoword.latents import Encoded, write_latents
from pseudoword.progress import read_progress
from stages.train.__main__ import main
from tests.project import shipped_params
from tests.tiny import tiny_inpainting, tiny_sdxl, tiny_stable_diffusion
from tests.training import make_project, outputs, write_params


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_project()
    return tmp_path


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_stage_writes_each_run_with_checkpoints_losses_and_settings(project: Path, prediction_type: str):
    tiny_stable_diffusion(prediction_type).save_pretrained("base")
    write_params({"train": {"steps": 20, "save_every": 5}, "sweep": {"word.vectors": [1, 3], "train.seed": [0, 1]}})
    main()
    names = ["vectors1-seed0", "vectors1-seed1", "vectors3-seed0", "vectors3-seed1"]
    assert sorted(path.name for path in Path("outputs/words").iterdir()) == names
    for run, vectors in ((names[0], 1), (names[3], 3)):
        folder = Path("outputs/words", run)
        assert {path.name for path in (folder / "steps").iterdir()} == {
            f"snorf-{step}.safetensors" for step in (0, 5, 10, 15, 20)
        }
        assert load_embedding(folder / "steps/snorf-20.safetensors").vectors.shape == (vectors, 16)
        losses = pd.read_csv(f"outputs/training/{run}/loss.csv")
        assert list(losses.columns) == ["step", "epoch", "loss", "learn_rate", "norm", "gradient", "evaluation"]
        assert losses["step"].tolist() == list(range(1, 21))
        assert np.isfinite(losses.drop(columns="evaluation")).all().all()
        report = json.loads((folder / "settings.json").read_text())
        assert report["settings"]["word"]["vectors"] == vectors
        assert "train.batch" in report["auto"]


def test_mirrored_copies_bring_no_more_vectors(project: Path):
    ids = [f"{number:012x}{copy}" for number in range(6) for copy in ("", "-t0-h")]
    write_latents((Encoded(name, "", torch.zeros(4, 4, 4), torch.ones(4, 4, 4)) for name in ids), {})
    pd.DataFrame({"id": ids, "caption": "by the sea"}).to_csv("outputs/captions.csv", index=False)
    write_params({"train": {"steps": 1}})
    main()
    assert len(load_embedding(Path("outputs/words/base/steps/snorf-1.safetensors")).vectors) == 2


def test_both_text_encoders_of_sdxl_learn_and_are_written(project: Path):
    tiny_sdxl().save_pretrained("base")
    write_params({"train": {"steps": 6, "norm": "rescale", "preview": {"every": 6, "inference_steps": 1}}})
    main()
    folder = Path("outputs/words/base")
    start, end = (read_embedding(folder / f"steps/snorf-{step}.safetensors") for step in (0, 6))
    assert start.vectors_g is not None and end.vectors_g is not None
    assert start.vectors.shape[1] != start.vectors_g.shape[1]
    for before, after in ((start.vectors, end.vectors), (start.vectors_g, end.vectors_g)):
        assert not torch.equal(before, after)
        torch.testing.assert_close(before.norm(dim=-1), after.norm(dim=-1))
    assert json.loads((folder / "settings.json").read_text())["model"]["family"] == "sdxl"
    shown = read_embedding(Path("outputs/training/base/previews/snorf-6.png"))
    assert shown.vectors_g is not None
    torch.testing.assert_close(shown.vectors_g, end.vectors_g)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_an_inpainting_model_learns(project: Path, prediction_type: str):
    tiny_inpainting(prediction_type).save_pretrained("base")
    write_params({"train": {"steps": 4}})
    main()
    assert json.loads(Path("outputs/words/base/settings.json").read_text())["model"]["family"].endswith("inpainting")
    start, end = (load_embedding(Path(f"outputs/words/base/steps/snorf-{step}.safetensors")).vectors for step in (0, 4))
    assert not torch.equal(start, end)


def test_pictures_of_several_shapes_learn_together(project: Path):
    ids = [f"{number:012x}" for number in range(5)]
    shapes = [(4, 4, 4), (4, 4, 8), (4, 8, 4), (4, 4, 4), (4, 4, 8)]
    generator = torch.Generator().manual_seed(0)
    pictures = [
        Encoded(name, "", torch.randn(shape, generator=generator), torch.full(shape, 0.1))
        for name, shape in zip(ids, shapes, strict=True)
    ]
    write_latents(pictures, {})
    write_params({"train": {"steps": 10, "batch": 2}, "sweep": {"train.seed": [0, 1]}})
    main()
    assert np.isfinite(pd.read_csv("outputs/training/seed1/loss.csv")["loss"]).all()


def test_a_schedule_that_ends_early_ends_the_run_and_keeps_its_last_step(project: Path):
    write_params({"train": {"steps": 60, "save_every": 20}, "sweep": {"train.learn_rate": ["0.05:10", "0.05:25"]}})
    main()
    kept = {
        run: sorted(int(p.stem.split("-")[1]) for p in Path(f"outputs/words/{run}/steps").iterdir())
        for run in ("lr0.05_10", "lr0.05_25")
    }
    assert kept == {"lr0.05_10": [0, 10], "lr0.05_25": [0, 10, 20, 25]}
    assert len(pd.read_csv("outputs/training/lr0.05_10/loss.csv")) == 10
    assert len(pd.read_csv("outputs/training/lr0.05_25/loss.csv")) == 25


@pytest.mark.parametrize("settings", [{"batch": 16}, {"batch": 2, "accumulation": 1}, {"batch": 4}])
def test_any_batch_goes_with_any_number_of_pictures(project: Path, settings: dict[str, object]):
    write_params({"train": {"steps": 3, **settings}})
    main()
    assert len(pd.read_csv("outputs/training/base/loss.csv")) == 3


def test_a_run_that_breaks_is_told_and_the_others_are_written(project: Path, capsys: pytest.CaptureFixture[str]):
    write_params({"train": {"steps": 30, "norm": "free"}, "sweep": {"train.learn_rate": [0.005, 1e38]}})
    main()
    assert "run 'lr1e38' is no longer finite at step 2, at picture 00000000000" in capsys.readouterr().out
    ended = [
        json.loads(Path(f"outputs/words/{run}/settings.json").read_text())["ended"] for run in ("lr0.005", "lr1e38")
    ]
    assert [end["step"] for end in ended] == [30, 1]
    assert not any(end["levelled_out"] for end in ended)
    assert len(pd.read_csv("outputs/training/lr1e38/loss.csv")) == 1
    assert read_embedding(Path("outputs/words/lr1e38/steps/snorf-1.safetensors")).vectors.isfinite().all()


def test_a_run_that_has_learned_what_it_will_says_so(project: Path):
    stopping = {"enabled": True, "every": 5, "window": 10, "threshold": 0.99, "floor": 20}
    write_params({"train": {"steps": 60, "early_stop": stopping}})
    main()
    ended = json.loads(Path("outputs/words/base/settings.json").read_text())["ended"]
    assert 20 <= ended["step"] < 60 and ended["levelled_out"]
    assert (
        ended["early"]
        == f"run 'base' stopped early after step {ended['step']}: its deterministic loss has levelled out"
    )


def test_when_every_run_breaks_the_stage_fails_and_keeps_the_last_good_state(project: Path):
    write_params({"train": {"norm": "free", "learn_rate": 1e38}})
    with pytest.raises(UserError, match="run 'base' is no longer finite at step 2"):
        main()
    assert Path("outputs/words/base/steps/snorf-1.safetensors").exists()


def test_previews_carry_the_word_and_disturb_no_draw(project: Path):
    write_params({"train": {"steps": 12}})
    main()
    plain = load_embedding(Path("outputs/words/base/steps/snorf-12.safetensors")).vectors
    preview = {"every": 5, "inference_steps": 2, "prompt": "a [name] at night", "negative": "red"}
    write_params({"train": {"steps": 12, "preview": preview}})
    main()
    assert torch.equal(load_embedding(Path("outputs/words/base/steps/snorf-12.safetensors")).vectors, plain)
    folder = Path("outputs/training/base/previews")
    assert sorted(path.name for path in folder.iterdir()) == ["snorf-10.png", "snorf-5.png"]
    for path in folder.iterdir():
        assert read_embedding(path).name == "snorf"
        with Image.open(path) as image:
            assert image.height == 32 * 16  # enlarged, so that the text can be read
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    main()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_the_vae_leaves_the_device_and_comes_back_for_a_preview_alone(project: Path, monkeypatch: pytest.MonkeyPatch):
    """It goes where nothing can be computed: without previews nobody notices, and a preview asks for it."""
    write_params({"train": {"steps": 4}})
    main()
    expected = outputs()
    monkeypatch.setattr(interface, "ASIDE", torch.device("meta"))
    shutil.rmtree(".scratch")
    main()
    assert outputs() == expected
    write_params({"train": {"steps": 4, "preview": {"every": 2, "inference_steps": 2}}})
    with pytest.raises(NotImplementedError, match="meta tensor"):
        main()


def test_a_checkpoint_is_named_by_the_steps_that_were_done(project: Path):
    """`snorf-5` is the word after five steps: what a training of five ends with. It says so inside, too."""
    write_params({"train": {"steps": 10, "save_every": 5}})
    main()
    longer = read_embedding(Path("outputs/words/base/steps/snorf-5.safetensors"))
    write_params({"train": {"steps": 5}})
    main()
    shorter = read_embedding(Path("outputs/words/base/steps/snorf-5.safetensors"))
    assert torch.equal(longer.vectors, shorter.vectors)
    assert longer.metadata["pseudoword.step"] == "5"


def test_a_preview_shows_the_word_as_it_is_at_that_step(project: Path):
    """The prompt and the noise stay the same, so whatever remembered an older picture of them would show that one."""
    preview = {"every": 5, "inference_steps": 2, "prompt": "a [name]", "embed": False}
    settings = {"steps": 10, "save_every": 5, "norm": "free", "learn_rate": 1.0}
    write_params({"train": {**settings, "preview": preview}})
    main()
    drawn = {step: pixels(step) for step in (5, 10)}
    assert (drawn[5] != drawn[10]).any()
    write_params({"train": {**settings, "preview": {**preview, "every": 10}}})
    main()
    assert (pixels(10) == drawn[10]).all()
    write_params({"train": {**settings, "preview": {**preview, "embed": True}}})
    main()
    for step in (5, 10):
        carried = read_embedding(Path(f"outputs/training/base/previews/snorf-{step}.png")).vectors
        assert torch.equal(carried, read_embedding(Path(f"outputs/words/base/steps/snorf-{step}.safetensors")).vectors)


def pixels(step: int) -> np.ndarray:
    with Image.open(f"outputs/training/base/previews/snorf-{step}.png") as image:
        return np.asarray(image.convert("RGB"))


def test_every_setting_that_decides_a_word_is_written_down(project: Path):
    settings = {"steps": 2, "shuffle_tags": True, "tag_dropout": 0.5, "preview": {"sampler": "euler"}}
    write_params({"train": settings, "sweep": {"train.seed": [0, 7]}})
    main()
    report = json.loads(Path("outputs/words/seed7/settings.json").read_text())
    written = flat(report["settings"])
    # A setting that is null, or an empty list or section, stands for itself.
    read = set(flat({section: shipped_params()[section] for section in ("base", "word", "train")}))
    looking_on = {"train.log_every", "train.tensorboard", *(key for key in read if key.startswith("train.preview."))}
    # The kind decides by the template alone.
    assert set(written) == read - looking_on - {"word.overwrite", "word.kind"}
    assert (written["train.shuffle_tags"], written["train.tag_dropout"]) == (True, 0.5)
    assert written["train.seed"] == 7
    assert "auto" not in written.values()
    assert (written["base.attention"], written["train.batch"]) == ("sdpa", 5)
    assert {"base.attention", "train.batch"} <= set(report["auto"])
    assert report["templates"] and report["rows_at_once"] == 10 and "device_name" in report
    assert {"torch", "diffusers", "pseudoword", "numpy"} <= set(report["versions"])


def flat(settings: object, above: str = "") -> dict[str, object]:
    if not isinstance(settings, dict) or not settings:
        return {above: settings}
    parts = [flat(value, f"{above}.{key}" if above else key) for key, value in settings.items()]
    return {key: value for part in parts for key, value in part.items()}


def test_nothing_but_the_end_can_be_asked_for(project: Path):
    """No previews, no checkpoint before the end, hardly a row of losses, and no folder that is there already."""
    write_params({"train": {"steps": 3, "save_every": 100, "log_every": 100, "preview": {"every": 0}}})
    assert not Path("outputs/words").exists()
    main()
    assert sorted(outputs()) == [
        "outputs/training/base/loss.csv", "outputs/words/base/settings.json",
        "outputs/words/base/steps/snorf-0.safetensors", "outputs/words/base/steps/snorf-3.safetensors",
    ]  # fmt: skip
    assert pd.read_csv("outputs/training/base/loss.csv")["step"].tolist() == [3]


def test_previews_without_the_word_say_how_they_were_drawn(project: Path):
    preview = {"every": 4, "inference_steps": 2, "embed": False, "width": 64, "sampler": "euler"}
    write_params({"train": {"steps": 4, "preview": preview}})
    main()
    with Image.open("outputs/training/base/previews/snorf-4.png") as image:
        assert image.size == (64, 32)
        assert "snorf" in image.text["prompt"]  # type: ignore[attr-defined]
    told = read_progress(project, "train")
    assert told and (told.done, told.total, told.unit) == (4, 4, "step")
    assert re.fullmatch(r"\d+\.\d pictures/s, loss \d\.\d{4}", told.said)
    assert told.picture and (project / told.picture).name == "snorf-4.png"


def test_tensorboard_gets_scalars_and_previews(project: Path):
    from tensorboardX.proto.event_pb2 import Event

    write_params({"train": {"steps": 6, "tensorboard": True, "preview": {"every": 3, "inference_steps": 1}}})
    main()
    (file,) = Path("outputs/training/base/tensorboard").iterdir()
    content, events = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    values = [(event.step, value) for event in events for value in event.summary.value]
    losses = {step: value.simple_value for step, value in values if value.tag == "train/loss"}
    assert list(losses) == list(range(1, 7))
    assert losses[6] == pytest.approx(pd.read_csv("outputs/training/base/loss.csv")["loss"].iloc[-1])
    assert [step for step, value in values if value.tag == "preview"] == [3, 6]


@pytest.mark.parametrize("norm", ["rescale", "direction", "free"])
def test_a_word_starts_from_a_file_and_keeps_the_norms_that_it_has_there(project: Path, norm: str):
    old = torch.randn(3, 16, generator=torch.Generator().manual_seed(2)) * torch.tensor([[4.0], [0.0], [0.1]])
    Path("data/embeddings").mkdir(parents=True)
    write_embedding(Path("data/embeddings/old.safetensors"), Embedding("old", old, {}))
    write_params({"word": {"init_file": "old.safetensors"}, "train": {"steps": 2, "norm": norm}})
    main()
    start, end = (load_embedding(Path(f"outputs/words/base/steps/snorf-{step}.safetensors")).vectors for step in (0, 2))
    torch.testing.assert_close(start, old)
    assert not torch.equal(start, end)
    if norm != "free":
        torch.testing.assert_close(end.norm(dim=1)[[0, 2]], old.norm(dim=1)[[0, 2]])
        assert 0 < end[1].norm() < 1


def test_runs_start_from_several_words_of_a_lora(project: Path):
    words = {name: torch.randn(2, 16, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}
    save_tensors(Path("data/embeddings/lora.safetensors"), {f"bundle_emb.{name}.*": words[name] for name in words}, {})
    axis = [f"lora.safetensors:{name}" for name in words]
    write_params({"sweep": {"word.init_file": axis}, "train": {"steps": 1, "norm": "free"}})
    main()
    for name, vectors in words.items():
        (start,) = Path("outputs/words").glob(f"file_lora.safetensors_{name}/steps/snorf-0.safetensors")
        torch.testing.assert_close(load_embedding(start).vectors, vectors)


def test_only_every_nth_step_and_the_last_are_logged(project: Path):
    write_params({"train": {"steps": 10, "log_every": 4}})
    main()
    assert pd.read_csv("outputs/training/base/loss.csv")["step"].tolist() == [4, 8, 10]


def test_long_prompts_are_read_in_windows_when_asked_for(project: Path):
    changes = {"word": {"vectors": 75}, "train": {"steps": 2, "long_prompts": "window"}}
    write_params(changes)
    main()
    report = json.loads(Path("outputs/words/base/settings.json").read_text())
    assert report["windows"] >= 2
    assert load_embedding(Path("outputs/words/base/steps/snorf-2.safetensors")).vectors.shape == (75, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"word": {"name": "Snorf"}}, "word.name: found 'Snorf', wanted lower case"),
        ({"train": {"seed": 2**64}}, "train.seed: found"),
        ({"word": {"name": "forest"}}, "word.name: 'forest' is a word that the base model knows"),
        ({"train": {"learn_rate": "0.1:x"}}, "item '0.1:x'"),
        ({"train": {"template": "no.txt"}}, "no.txt: there is no such file"),
        ({"base": {"model": "nowhere"}}, "base.model: 'nowhere'"),
        ({"base": {"device": "cuda:7"}}, "base.device: 'cuda:7'"),
        ({"word": {"vectors": 75}}, "takes"),
        ({"word": {"init_file": "none.pt"}}, "none.pt does not exist"),
        ({"word": {"init_file": "../none.pt"}}, "word.init_file: found '../none.pt', wanted the name of a file"),
        ({"train": {"clip_at": "0.1:x"}}, "train.clip_at: found '0.1:x'"),
        ({"train": {"preview": {"sampler": "plms"}}}, "train.preview.sampler: found 'plms'"),
        ({"train": {"preview": {"evry": 3}}}, "train.preview.evry: unknown key, did you mean 'every'?"),
        ({"train": {"warm_up": 300}}, "train.warm_up: found 300, wanted less than the run's"),
        ({"train": {"preview": {"every": 5, "prompt": "[name] " + "red " * 99}}}, "takes"),
        ({"train": {"preview": {"every": 5, "prompt": "a photo"}}}, "wanted a prompt that holds [name]"),
        ({"train": {"betas": [0.9, 1.0]}}, "train.betas"),
        ({"sweep": {"train.template": ["elsewhere.txt"]}}, "elsewhere.txt: there is no such file"),
        ({"sweep": {"train.batch": [1]}}, "'train.batch' cannot be swept"),
    ],
)
def test_wrong_settings_are_refused_with_the_way_out(
    project: Path, changes: dict[str, dict[str, object]], message: str
):
    with pytest.raises(UserError) as error:
        write_params(changes)
        main()
    assert message in str(error.value)
    assert not Path("outputs/words").exists()


def test_a_template_without_name_is_refused(project: Path):
    Path("bare.txt").write_text("a photo of a [name]\na photo of [filewords]\n")
    with pytest.raises(UserError, match=r"'a photo of \[filewords\]' does not hold \[name\]"):
        write_params({"train": {"template": "bare.txt"}})
