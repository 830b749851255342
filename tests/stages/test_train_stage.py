"""The train stage on tiny random models, as it is run: files, resume under SIGKILL, wrong settings."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding, load_embedding
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import write_embedding
from pseudoword.latents import Encoded, write_latents
from stages.train import __main__ as stage
from stages.train.__main__ import main
from stages.train.state import State, load_state, save_state
from tests.project import resolve_settings, shipped_params, write_checked
from tests.tiny import tiny_inpainting, tiny_sdxl, tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
IDS = [f"{number:012x}" for number in range(5)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the train stage runs: a tiny base model, five latents, captions."""
    monkeypatch.chdir(tmp_path)
    tiny_stable_diffusion().save_pretrained("base")
    shutil.copytree(ROOT / "templates", "templates")
    save_latents()
    captions = ["by the sea", "", "in a cave", "at night", "null"]
    pd.DataFrame({"id": IDS, "caption": captions}).to_csv("outputs/captions.csv", index=False)
    write_params({"train": {"steps": 30}})
    return tmp_path


def save_latents(seed: int = 0) -> None:
    means = torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    std = torch.full((4, 4, 4), 0.1)
    write_latents((Encoded(name, "", mean, std) for name, mean in zip(IDS, means, strict=True)), {})


def write_params(changes: dict[str, dict[str, object]]) -> None:
    content = shipped_params()
    content["base"] |= {"model": "base", "device": "cpu"}
    for section, values in changes.items():
        content[section] |= values
    write_checked(content)


def outputs(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_stage_writes_each_run_with_checkpoints_losses_and_settings(project: Path, prediction_type: str):
    tiny_stable_diffusion(prediction_type).save_pretrained("base")
    write_params({"train": {"steps": 20, "save_every": 5}, "sweep": {"word.vectors": [1, 3], "train.seed": [0, 1]}})
    main()
    assert sorted(path.name for path in Path("outputs/words").iterdir()) == ["run00", "run01", "run02", "run03"]
    for run, vectors in (("run00", 1), ("run03", 3)):
        folder = Path("outputs/words", run)
        assert {path.name for path in (folder / "steps").iterdir()} == {
            f"snorf-{step}.safetensors" for step in (0, 5, 10, 15, 20)
        }
        assert load_embedding(folder / "steps/snorf-20.safetensors").vectors.shape == (vectors, 16)
        losses = pd.read_csv(folder / "loss.csv")
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
    shown = read_embedding(folder / "previews/snorf-6.png")
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
    assert np.isfinite(pd.read_csv("outputs/words/run01/loss.csv")["loss"]).all()


def test_a_schedule_that_ends_early_ends_the_run_and_keeps_its_last_update(project: Path):
    write_params({"train": {"steps": 60, "save_every": 20}, "sweep": {"train.learn_rate": ["0.05:10", "0.05:25"]}})
    main()
    kept = {
        run: sorted(int(p.stem.split("-")[1]) for p in Path(f"outputs/words/{run}/steps").iterdir())
        for run in ("run00", "run01")
    }
    assert kept == {"run00": [0, 10], "run01": [0, 10, 20, 25]}
    assert len(pd.read_csv("outputs/words/run00/loss.csv")) == 10
    assert len(pd.read_csv("outputs/words/run01/loss.csv")) == 25


def test_a_later_training_leaves_nothing_of_an_earlier_one_behind(project: Path):
    write_params({"train": {"steps": 2}, "sweep": {"train.seed": [0, 1]}})
    main()
    write_params({"train": {"steps": 2}})
    main()
    assert [path.name for path in Path("outputs/words").iterdir()] == ["base"]
    assert len(list(Path(".scratch/train").iterdir())) == 1


def test_a_stopped_training_goes_on_after_another_one_was_made(project: Path, capsys: pytest.CaptureFixture[str]):
    main()
    expected = outputs(Path("outputs/words"))
    shutil.rmtree(".scratch")
    run = start_stage()
    wait_for_a_state(run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    for seed in range(stage.STOPPED_KEPT):
        Path(f".scratch/train/stopped{seed}").mkdir()
        write_params({"train": {"steps": 2, "seed": seed}})
        main()
    assert len(list(Path(".scratch/train").iterdir())) == stage.STOPPED_KEPT + 1
    shutil.rmtree(".scratch/train/stopped0")
    capsys.readouterr()
    write_params({"train": {"steps": 30}})
    main()
    assert outputs(Path("outputs/words")) == expected


def test_a_training_that_broke_begins_anew_when_tried_again(project: Path, capsys: pytest.CaptureFixture[str]):
    write_params({"train": {"steps": 6, "learn_rate": 1e38, "norm": "free"}})
    for _ in range(2):
        with pytest.raises(UserError, match="no longer finite"):
            main()
        assert "going on at" not in capsys.readouterr().out
        assert list(Path("outputs/words/base/steps").iterdir())


@pytest.mark.parametrize("settings", [{"batch": 16}, {"batch": 2, "accumulation": 1}, {"batch": 4}])
def test_any_batch_goes_with_any_number_of_pictures(project: Path, settings: dict[str, object]):
    write_params({"train": {"steps": 3, **settings}})
    main()
    assert len(pd.read_csv("outputs/words/base/loss.csv")) == 3


def test_the_same_settings_give_the_same_bytes(project: Path):
    main()
    first = outputs(Path("outputs/words"))
    shutil.rmtree("outputs/words")
    main()
    assert outputs(Path("outputs/words")) == first


KILLED: dict[str, dict[str, dict[str, object]]] = {
    "a pack": {"sweep": {"train.seed": [0, 1], "train.norm": ["rescale", "free"]}},
    "half precision": {"base": {"precision": "fp16"}},
}


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
@pytest.mark.parametrize("changes", KILLED.values(), ids=KILLED)
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    project: Path, changes: dict[str, dict[str, object]], kills: int
):
    """SIGKILL at random moments, again and again, then to the end."""
    write_params({"train": {"steps": 30 * kills, "save_every": 7}, **changes})
    main()
    expected = outputs(Path("outputs/words"))
    moments = random.Random(0)
    shutil.rmtree("outputs/words")
    shutil.rmtree(".scratch")
    went_on = 0
    for _ in range(kills):
        run = start_stage()
        wait_for_a_state(run)
        time.sleep(moments.uniform(0, 0.3))
        run.send_signal(signal.SIGKILL)
        went_on += "going on at update" in run.communicate()[0]
    assert went_on >= kills // 2
    main()
    assert outputs(Path("outputs/words")) == expected


def test_what_a_killed_process_was_writing_does_not_reach_the_outputs(project: Path, monkeypatch: pytest.MonkeyPatch):
    main()
    expected = outputs(Path("outputs/words"))
    (scratch,) = Path(".scratch/train").iterdir()
    (scratch / "base/steps/.snorf-15.safetensors.999.partial").write_bytes(b"half")
    main()
    assert outputs(Path("outputs/words")) == expected


def test_a_finished_training_that_is_run_again_writes_the_same_again(project: Path):
    """Also what it says of a run that broke, and TensorBoard's scalars."""
    changes = {"train": {"steps": 24, "norm": "free", "tensorboard": True}}
    write_params({**changes, "sweep": {"train.learn_rate": [0.005, 1e38]}})
    main()
    events = sorted(path.stat().st_size for path in Path("outputs/words").glob("*/tensorboard/*"))
    first = {name: content for name, content in outputs(Path("outputs/words")).items() if "tensorboard" not in name}
    main()
    again = {name: content for name, content in outputs(Path("outputs/words")).items() if "tensorboard" not in name}
    assert again == first
    assert sorted(path.stat().st_size for path in Path("outputs/words").glob("*/tensorboard/*")) == events


def start_stage() -> subprocess.Popen[str]:
    """The stage in a process of its own, at the start of its updates."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "stages.train"]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout is not None
    while "rows at once" not in (line := run.stdout.readline()) and line:
        pass
    return run


def wait_for_a_state(run: subprocess.Popen[str]) -> None:
    while run.poll() is None and not list(Path(".scratch/train").glob("*/state.safetensors")):
        time.sleep(0.01)


class Killed(BaseException):
    """Ends a stage as a signal would: no handler of ours catches it."""


@pytest.mark.parametrize("changes", KILLED.values(), ids=KILLED)
def test_every_moment_around_a_write_is_a_good_one_to_be_killed(
    project: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, dict[str, object]]
):
    """Before, within and after each write of the first updates, between write and rename too: what is there goes on
    to the same bytes."""
    monkeypatch.setattr(stage, "load_base", cache(stage.load_base))
    write_params({"train": {"steps": 25, "save_every": 5}, **changes})
    main()
    expected = outputs(Path("outputs/words"))
    replace, moments = Path.replace, 0

    def dying(at: int, renamed: bool) -> None:
        left = iter(range(at, -1, -1))

        def die(source: Path, target: Path) -> Path:
            last = next(left) == 0
            if not last or renamed:
                replace(source, target)
            if last:
                raise Killed
            return target

        monkeypatch.setattr(Path, "replace", die)

    for at in range(11):
        for renamed in (False, True):
            shutil.rmtree("outputs/words", ignore_errors=True)
            shutil.rmtree(".scratch")
            dying(at, renamed)
            with pytest.raises(Killed):
                main()
            monkeypatch.setattr(Path, "replace", replace)
            if moments % 5 == 0:  # the rest of the moments are seen to leave nothing half-written
                main()
                assert outputs(Path("outputs/words")) == expected
            moments += 1
            for state in Path(".scratch/train").glob("*/state.safetensors"):
                assert load_state(state, torch.device("cpu")) is not None
    assert moments >= 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_asked_to_stop_saves_and_says_how_to_go_on(project: Path, number: signal.Signals):
    write_params({"train": {"steps": 3000}})
    run = start_stage()
    time.sleep(0.3)
    run.send_signal(number)
    told = run.communicate(timeout=60)[0]
    assert run.returncode == 128 + number
    assert f"stopped by {number.name}" in told and "Traceback" not in told
    (state,) = Path(".scratch/train").glob("*/state.safetensors")
    read = load_state(state, torch.device("cpu"))
    assert read is not None and f"{read.step} of 3000 updates are saved" in told
    assert not list(state.parent.glob(".*partial"))


def test_a_full_disk_fails_the_stage_and_leaves_the_last_good_state(project: Path, monkeypatch: pytest.MonkeyPatch):
    saves = iter([stage.save_state] * 2)

    def full(path: Path, state: State) -> None:
        save = next(saves, None)
        if save is None:
            raise OSError(28, "No space left on device")
        save(path, state)

    monkeypatch.setattr(stage, "save_state", full)
    with pytest.raises(OSError, match="No space left"):
        main()
    (path,) = Path(".scratch/train").glob("*/state.safetensors")
    state = load_state(path, torch.device("cpu"))
    assert state is not None and state.step == 20


def test_a_run_that_breaks_is_told_and_the_others_are_written(project: Path, capsys: pytest.CaptureFixture[str]):
    write_params({"train": {"steps": 30, "norm": "free"}, "sweep": {"train.learn_rate": [0.005, 1e38]}})
    main()
    assert "run 'run01' is no longer finite at update 2, at picture 00000000000" in capsys.readouterr().out
    ended = [json.loads(Path(f"outputs/words/run0{at}/settings.json").read_text())["ended"] for at in (0, 1)]
    assert [end["step"] for end in ended] == [30, 1]
    assert len(pd.read_csv("outputs/words/run01/loss.csv")) == 1
    assert read_embedding(Path("outputs/words/run01/steps/snorf-1.safetensors")).vectors.isfinite().all()


def test_when_every_run_breaks_the_stage_fails_and_keeps_the_last_good_state(project: Path):
    write_params({"train": {"norm": "free", "learn_rate": 1e38}})
    with pytest.raises(UserError, match="run 'base' is no longer finite at update 2"):
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
    folder = Path("outputs/words/base/previews")
    assert sorted(path.name for path in folder.iterdir()) == ["snorf-10.png", "snorf-5.png"]
    for path in folder.iterdir():
        assert read_embedding(path).name == "snorf"
        with Image.open(path) as image:
            assert image.height == 32 * 16  # enlarged, so that the text can be read
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    main()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_a_checkpoint_is_named_by_the_updates_that_were_done(project: Path):
    """`snorf-5` is the word after five updates: what a training of five ends with. It says so inside, too."""
    write_params({"train": {"steps": 10, "save_every": 5}})
    main()
    longer = read_embedding(Path("outputs/words/base/steps/snorf-5.safetensors"))
    write_params({"train": {"steps": 5}})
    main()
    shorter = read_embedding(Path("outputs/words/base/steps/snorf-5.safetensors"))
    assert torch.equal(longer.vectors, shorter.vectors)
    assert longer.metadata["pseudoword.step"] == "5"


def test_a_preview_shows_the_word_as_it_is_at_that_update(project: Path):
    """The prompt and the noise stay the same, so whatever remembered an older picture of them would show that one."""
    preview = {"every": 5, "inference_steps": 2, "prompt": "a [name]", "embed": False}
    own = {"steps": 10, "save_every": 5, "norm": "free", "learn_rate": 1.0}
    write_params({"train": {**own, "preview": preview}})
    main()
    drawn = {step: pixels(step) for step in (5, 10)}
    assert (drawn[5] != drawn[10]).any()
    write_params({"train": {**own, "preview": {**preview, "every": 10}}})
    main()
    assert (pixels(10) == drawn[10]).all()
    write_params({"train": {**own, "preview": {**preview, "embed": True}}})
    main()
    for step in (5, 10):
        carried = read_embedding(Path(f"outputs/words/base/previews/snorf-{step}.png")).vectors
        assert torch.equal(carried, read_embedding(Path(f"outputs/words/base/steps/snorf-{step}.safetensors")).vectors)


def pixels(step: int) -> np.ndarray:
    with Image.open(f"outputs/words/base/previews/snorf-{step}.png") as image:
        return np.asarray(image.convert("RGB"))


def test_every_setting_of_a_run_is_written_down(project: Path):
    settings = {"steps": 2, "shuffle_tags": True, "tag_dropout": 0.5, "preview": {"sampler": "euler"}}
    write_params({"train": settings, "sweep": {"train.seed": [0, 7]}})
    main()
    report = json.loads(Path("outputs/words/run01/settings.json").read_text())
    written = flat(report["settings"])
    # A setting that is null, or an empty list or section, stands for itself.
    read = {section: shipped_params()[section] for section in ("base", "word", "train")}
    assert set(written) == set(flat(read)) - {"word.overwrite"}
    assert (written["train.shuffle_tags"], written["train.tag_dropout"]) == (True, 0.5)
    assert (written["train.preview.sampler"], written["train.seed"]) == ("euler", 7)
    assert not [
        key for key, value in written.items() if value == "auto" and key.split(".")[0] in ("base", "word", "train")
    ]
    assert (written["base.attention"], written["train.preview.width"], written["train.batch"]) == ("sdpa", 32, 5)
    assert {"base.attention", "train.preview.width", "train.batch"} <= set(report["auto"])
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
    assert sorted(outputs(Path("outputs/words/base"))) == [
        "loss.csv", "settings.json", "steps/snorf-0.safetensors", "steps/snorf-3.safetensors",
    ]  # fmt: skip
    assert pd.read_csv("outputs/words/base/loss.csv")["step"].tolist() == [3]


def test_previews_without_the_word_say_how_they_were_drawn(project: Path):
    preview = {"every": 4, "inference_steps": 2, "embed": False, "width": 64, "sampler": "euler"}
    write_params({"train": {"steps": 4, "preview": preview}})
    main()
    with Image.open("outputs/words/base/previews/snorf-4.png") as image:
        assert image.size == (64, 32)
        assert "snorf" in image.text["prompt"]  # type: ignore[attr-defined]


def test_tensorboard_gets_scalars_and_previews(project: Path):
    from tensorboardX.proto.event_pb2 import Event

    write_params({"train": {"steps": 6, "tensorboard": True, "preview": {"every": 3, "inference_steps": 1}}})
    main()
    (file,) = Path("outputs/words/base/tensorboard").iterdir()
    content, events = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    values = [(event.step, value) for event in events for value in event.summary.value]
    losses = {step: value.simple_value for step, value in values if value.tag == "train/loss"}
    assert list(losses) == list(range(1, 7))
    assert losses[6] == pytest.approx(pd.read_csv("outputs/words/base/loss.csv")["loss"].iloc[-1])
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


def test_only_every_nth_update_and_the_last_are_logged(project: Path):
    write_params({"train": {"steps": 10, "log_every": 4}})
    main()
    assert pd.read_csv("outputs/words/base/loss.csv")["step"].tolist() == [4, 8, 10]


def test_long_prompts_are_read_in_windows_when_asked_for(project: Path):
    changes = {"word": {"vectors": 75}, "train": {"steps": 2, "long_prompts": "window"}}
    write_params(changes)
    main()
    report = json.loads(Path("outputs/words/base/settings.json").read_text())
    assert report["windows"] >= 2
    assert load_embedding(Path("outputs/words/base/steps/snorf-2.safetensors")).vectors.shape == (75, 16)


def test_the_state_is_read_back_to_where_the_loop_wants_it(tmp_path: Path):
    """Records and rows stay on the CPU whatever the device, the rest goes there."""
    state = State.at_start(torch.rand(2, 3), 1, 1.0, 4)
    state.records = torch.rand(7, 1, 4)
    save_state(tmp_path / "state", state)
    read = load_state(tmp_path / "state", torch.device("meta"))
    assert read is not None and read.step == 7
    devices = [getattr(read, name).device.type for name in ("records", "rows", "vectors", "failed")]
    assert devices == ["cpu", "cpu", "meta", "meta"]


def test_a_state_that_was_cut_off_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "state").write_bytes(b"cut off")
    assert load_state(tmp_path / "state", torch.device("cpu")) is None
    assert "does not read" in capsys.readouterr().out


def another_setting() -> None:
    write_params({"train": {"steps": 30, "learn_rate": 0.1}})


def another_picture() -> None:
    save_latents(seed=1)


def another_caption() -> None:
    path = Path("outputs/captions.csv")
    path.write_text(path.read_text().replace("in a cave", "in a wood"))


def another_template() -> None:
    path = Path("templates/training/subject.txt")
    path.write_text(path.read_text() + "my [name]\n")
    resolve_settings()


def another_model() -> None:
    pipeline = tiny_stable_diffusion()
    pipeline.unet.conv_in.bias.data += 0.01
    pipeline.save_pretrained("base")


def another_schedule_of_noise() -> None:
    path = Path("base/scheduler/scheduler_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"beta_end": 0.013}))


@pytest.mark.parametrize(
    "change",
    [another_setting, another_picture, another_caption, another_template, another_model, another_schedule_of_noise],
)
def test_what_a_word_is_learned_from_has_changed_and_no_old_state_is_picked_up(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: Callable[[], None]
):
    def save_and_die(path: Path, state: State) -> None:
        save_state(path, state)
        raise Killed

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(stage, "save_state", save_and_die)
        main()
    change()
    main()
    assert "going on at" not in capsys.readouterr().out
    resumed = outputs(Path("outputs/words"))
    shutil.rmtree(".scratch")
    main()
    assert outputs(Path("outputs/words")) == resumed


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
