"""A training that is stopped, killed, made longer or looked at goes on with the same bits, and never with others'."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pseudoword.errors import UserError
from pseudoword.scratch import KEPT_DAYS
from stages.train import __main__ as stage
from stages.train import session
from stages.train.__main__ import main
from stages.train.state import Saved, State, load_state, save_state
from tests import training
from tests.project import resolve_settings
from tests.tiny import tiny_stable_diffusion
from tests.training import make_project, outputs, save_latents, start_stage, wait_for_a_state, write_params


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_project()
    return tmp_path


@pytest.fixture
def learned(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the project learns from here on."""
    kind: str = getattr(request, "param", "word")
    if kind == "hypernetwork":
        monkeypatch.setattr(training, "DEFAULTS", training.DEFAULTS | training.HYPERNETWORK)
        write_params({"train": {"steps": 30}})
    return kind


SLOW_NETWORK = pytest.param("hypernetwork", marks=pytest.mark.slow)
BOTH = pytest.mark.parametrize("learned", ["word", "hypernetwork"], indirect=True)
BOTH_IN_TIME = pytest.mark.parametrize("learned", ["word", SLOW_NETWORK], indirect=True)


def test_a_later_training_leaves_nothing_of_an_earlier_one_behind(project: Path):
    write_params({"train": {"steps": 2}, "sweep": {"train.seed": [0, 1]}})
    main()
    write_params({"train": {"steps": 2}})
    main()
    assert [path.name for path in Path("outputs/words").iterdir()] == ["base"]
    assert [path.name for path in Path("outputs/training").iterdir()] == ["base"]


def test_what_nobody_has_used_for_long_is_deleted_and_no_other(project: Path):
    for seed in (0, 1, 2):
        write_params({"train": {"steps": 2, "seed": seed}})
        main()
    old, *others = sorted(Path(".scratch/train").iterdir(), key=lambda path: path.stat().st_mtime)
    long_ago = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    for path in (old, *old.iterdir()):
        os.utime(path, (long_ago, long_ago))
    write_params({"train": {"steps": 2, "seed": 1}})
    main()
    assert set(Path(".scratch/train").iterdir()) == set(others)


def test_a_stopped_training_goes_on_after_others_were_made(project: Path, capsys: pytest.CaptureFixture[str]):
    main()
    expected = outputs()
    shutil.rmtree(".scratch")
    run = start_stage()
    wait_for_a_state(run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    for seed in (1, 2):
        write_params({"train": {"steps": 2, "seed": seed}})
        main()
    capsys.readouterr()
    write_params({"train": {"steps": 30}})
    main()
    assert "steps are done already" in (told := capsys.readouterr().out) or "going on at step" in told
    assert outputs() == expected


def test_a_training_that_broke_begins_anew_when_tried_again(project: Path, capsys: pytest.CaptureFixture[str]):
    write_params({"train": {"steps": 6, "learn_rate": 1e38, "norm": "free"}})
    for _ in range(2):
        with pytest.raises(UserError, match="no longer finite"):
            main()
        assert "going on at" not in capsys.readouterr().out
        assert list(Path("outputs/words/base/steps").iterdir())


def test_the_same_settings_give_the_same_bytes(project: Path):
    main()
    first = outputs()
    shutil.rmtree("outputs/words")
    main()
    assert outputs() == first


PACK = {"sweep": {"train.seed": [0, 1], "train.latents": ["random", "once"]}}
HALF = pytest.param({"base": {"precision": "fp16"}}, id="half precision", marks=pytest.mark.slow)


@BOTH_IN_TIME
@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
@pytest.mark.parametrize("changes", [pytest.param(PACK, id="a pack"), HALF])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    project: Path, learned: str, changes: dict[str, dict[str, object]], kills: int
):
    """SIGKILL at random moments, again and again, then to the end."""
    write_params({"train": {"steps": 30 * kills, "save_every": 7}, **changes})
    main()
    expected = outputs()
    moments = random.Random(0)
    shutil.rmtree("outputs/words")
    shutil.rmtree(".scratch")
    went_on = 0
    for _ in range(kills):
        run = start_stage()
        wait_for_a_state(run)
        time.sleep(moments.uniform(0, 0.3))
        run.send_signal(signal.SIGKILL)
        went_on += "going on at step" in run.communicate()[0]
    assert went_on >= kills // 2
    main()
    assert outputs() == expected


def test_what_a_killed_process_was_writing_does_not_reach_the_outputs(project: Path, monkeypatch: pytest.MonkeyPatch):
    main()
    expected = outputs()
    (scratch,) = Path(".scratch/train").iterdir()
    (scratch / "base/steps/.snorf-15.safetensors.999.partial").write_bytes(b"half")
    main()
    assert outputs() == expected


@BOTH
def test_a_finished_training_that_is_run_again_writes_the_same_again(project: Path, learned: str):
    """Also what it says of a run that broke, and what TensorBoard shows."""
    rate = "train.learn_rate" if learned == "word" else "hypernetwork.learn_rate"
    looking = {"tensorboard": True, "preview": {"every": 10, "inference_steps": 1}}
    changes = {"train": {"steps": 24, "norm": "free", **looking}}
    write_params({**changes, "sweep": {rate: [0.005, 1e38]}})
    main()
    first = outputs()
    main()
    assert outputs() == first


class Killed(BaseException):
    """Ends a stage as a signal would: no handler of ours catches it."""


@BOTH_IN_TIME
@pytest.mark.parametrize(
    "changes", [pytest.param({}, id="one run"), pytest.param(PACK, id="a pack", marks=pytest.mark.slow), HALF]
)
def test_every_moment_around_a_write_is_a_good_one_to_be_killed(
    project: Path, learned: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, dict[str, object]]
):
    """Before, within and after each write of the first steps, between write and rename too: what is there goes on
    to the same bytes."""
    monkeypatch.setattr(stage, "load_base", cache(stage.load_base))
    write_params({"train": {"steps": 25, "save_every": 5}, **changes})
    main()
    expected = outputs()
    replace, moments = Path.replace, 0

    def dying(at: int, renamed: bool) -> None:
        left = iter(range(at, -1, -1))

        def die(source: Path, target: Path) -> Path:
            moment = next(left, None)
            if moment is None:  # who is dead writes nothing more, such as the last line of a progress bar
                raise Killed
            last = moment == 0
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
                assert outputs() == expected
            moments += 1
            for state in Path(".scratch/train").glob("*/state.safetensors"):
                assert load_state(state, torch.device("cpu")) is not None
    assert moments >= 20


@pytest.mark.parametrize(
    ("learned", "number"),
    [("word", signal.SIGTERM), ("word", signal.SIGINT), ("hypernetwork", signal.SIGTERM)],
    indirect=["learned"],
)
def test_a_training_that_is_asked_to_stop_saves_and_says_how_to_go_on(
    project: Path, learned: str, number: signal.Signals
):
    write_params({"train": {"steps": 3000}})
    run = start_stage()
    time.sleep(0.3)
    run.send_signal(number)
    told = run.communicate(timeout=60)[0]
    assert run.returncode == 128 + number
    assert f"stopped by {number.name}" in told and "Traceback" not in told
    (state,) = Path(".scratch/train").glob("*/state.safetensors")
    read = load_state(state, torch.device("cpu"))
    assert read is not None and f"{read.state.step} of 3000 steps are saved" in told
    assert not list(state.parent.glob(".*partial"))


@BOTH
def test_a_full_disk_fails_the_stage_and_leaves_the_last_good_state(
    project: Path, learned: str, monkeypatch: pytest.MonkeyPatch
):
    saves = iter([session.save_state] * 2)

    def full(path: Path, saved: Saved) -> None:
        save = next(saves, None)
        if save is None:
            raise OSError(28, "No space left on device")
        save(path, saved)

    monkeypatch.setattr(session, "save_state", full)
    with pytest.raises(OSError, match="No space left"):
        main()
    (path,) = Path(".scratch/train").glob("*/state.safetensors")
    state = load_state(path, torch.device("cpu"))
    assert state is not None and state.state.step == 20


# ---------------------------------------------------------------------------------------------- the state


def saved_state() -> Saved:
    state = State.at_start(torch.rand(2, 3), 1, 1.0, 4)
    state.records = torch.rand(7, 1, 4)
    return Saved(state, torch.rand(7, 1, 2, dtype=torch.float64), {"base/steps/snorf-5.safetensors": "ab"})


def test_the_state_is_read_back_to_where_the_loop_wants_it(tmp_path: Path):
    """Records and rows stay on the CPU whatever the device, the rest goes there."""
    save_state(tmp_path / "state", saved_state())
    read = load_state(tmp_path / "state", torch.device("meta"))
    assert read is not None and read.state.step == 7
    devices = [getattr(read.state, name).device.type for name in ("records", "rows", "parameters", "failed")]
    assert devices == ["cpu", "cpu", "meta", "meta"]
    assert read.checkpoints == {"base/steps/snorf-5.safetensors": "ab"}


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "state"
    save_state(path, saved_state())
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert load_state(path, torch.device("cpu")) is None, place
        assert f"warning: {path} is not used" in capsys.readouterr().out


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_another_kind(path: Path) -> None:
    save_file({"vectors": torch.zeros(2)}, path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def closed(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize("spoil", [cut_off, emptied, of_another_kind, a_folder, closed])
def test_a_state_that_cannot_be_read_is_told_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
):
    if spoil is closed and os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = tmp_path / "state"
    save_state(path, saved_state())
    spoil(path)
    assert load_state(path, torch.device("cpu")) is None
    assert f"warning: {path} is not used" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- what decides


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
    def save_and_die(path: Path, saved: Saved) -> None:
        save_state(path, saved)
        raise Killed

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(session, "save_state", save_and_die)
        main()
    change()
    main()
    assert "going on at" not in capsys.readouterr().out
    resumed = outputs()
    shutil.rmtree(".scratch")
    main()
    assert outputs() == resumed


# ---------------------------------------------------------------------------------------------- going on

PACK = {"sweep": {"train.norm": ["rescale", "free"], "train.learn_rate": [0.005, "0.05:10"]}}
NETWORKS = {"sweep": {"hypernetwork.activation": ["linear", "relu"], "hypernetwork.learn_rate": [0.001, "0.003:10"]}}


def trained(settings: dict[str, object], **changes: dict[str, object]) -> dict[str, bytes]:
    """The outputs of a training with these settings of train."""
    write_params({"train": settings, **changes})
    main()
    return outputs()


def in_one_go(settings: dict[str, object], **changes: dict[str, object]) -> dict[str, bytes]:
    shutil.rmtree(".scratch", ignore_errors=True)
    return trained(settings, **changes)


STOPPING = {"enabled": True, "every": 5, "window": 10, "threshold": 0.99, "floor": 20}


@pytest.mark.parametrize(
    ("learned", "settings", "changes"),
    [
        pytest.param("word", {}, {}, id="one run"),
        pytest.param("word", {"average": 0.9}, PACK, id="a pack"),
        pytest.param("word", {}, {"base": {"precision": "fp16"}}, id="half precision"),
        pytest.param("word", {"early_stop": STOPPING}, PACK, id="early stop"),
        pytest.param(
            "hypernetwork",
            {"average": 0.9, "early_stop": STOPPING},
            NETWORKS,
            id="hypernetworks",
            marks=pytest.mark.slow,
        ),
    ],
    indirect=["learned"],
)
def test_a_longer_training_goes_on_and_ends_as_in_one_go(
    project: Path,
    learned: str,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, object],
    changes: dict[str, dict[str, object]],
):
    expected = in_one_go({**settings, "steps": 40}, **changes)
    in_one_go({**settings, "steps": 20}, **changes)
    capsys.readouterr()
    assert trained({**settings, "steps": 40}, **changes) == expected
    assert "going on at step 20 of 40" in capsys.readouterr().out


def test_checkpoints_of_a_longer_training_are_those_of_one_go(project: Path):
    """By `save_every: auto`, which takes wider steps the longer the training is, and from one length to the next."""
    lengths = (7, 75, 76, 160, 301)
    whole = {steps: in_one_go({"steps": steps, "batch": 1, "accumulation": 1}) for steps in lengths}
    shutil.rmtree(".scratch")
    for steps in lengths:
        assert trained({"steps": steps, "batch": 1, "accumulation": 1}) == whole[steps]
    kept = {steps: len([name for name in files if "steps/" in name]) for steps, files in whole.items()}
    assert kept == {7: 3, 75: 16, 76: 9, 160: 9, 301: 9}


@BOTH_IN_TIME
@pytest.mark.parametrize("steps", [20, 23])
def test_a_shorter_training_takes_what_was_kept_or_starts_anew_and_says_so(
    project: Path, learned: str, capsys: pytest.CaptureFixture[str], steps: int
):
    expected = in_one_go({"steps": steps})
    in_one_go({"steps": 40})
    capsys.readouterr()
    assert trained({"steps": steps}) == expected
    anew = f"starting from the beginning: of the 40 steps that are done, the word after step {steps} was not kept"
    told = capsys.readouterr().out
    assert ("all 20 steps are done already" in told) if steps == 20 else (anew in told)


def test_a_schedule_that_depends_on_the_length_starts_anew_and_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    expected = in_one_go({"steps": 40, "decay": "cosine"})
    in_one_go({"steps": 20, "decay": "cosine"})
    capsys.readouterr()
    assert trained({"steps": 40, "decay": "cosine"}) == expected
    assert "starting from the beginning: train.decay shapes the rate by the length" in capsys.readouterr().out


def test_a_warm_up_does_not_depend_on_the_length(project: Path, capsys: pytest.CaptureFixture[str]):
    expected = in_one_go({"steps": 40, "warm_up": 10})
    in_one_go({"steps": 20, "warm_up": 10})
    assert trained({"steps": 40, "warm_up": 10}) == expected
    assert "going on at step 20 of 40" in capsys.readouterr().out


@BOTH_IN_TIME
def test_looking_on_afterwards_takes_the_finished_training_up_and_leaves_the_words_as_they_are(
    project: Path, learned: str, capsys: pytest.CaptureFixture[str]
):
    pack = PACK if learned == "word" else NETWORKS
    looking = {"preview": {"every": 10, "inference_steps": 2}, "tensorboard": True, "log_every": 5}
    expected = in_one_go({"steps": 20, **looking}, **pack)
    in_one_go({"steps": 20}, **pack)
    words = outputs("outputs/words")
    assert not any("preview" in name for name in outputs())
    capsys.readouterr()
    assert trained({"steps": 20, **looking}, **pack) == expected
    assert "all 20 steps are done already" in capsys.readouterr().out
    assert outputs("outputs/words") == words
    assert len(list(Path("outputs/training").glob("*/previews/*.png"))) == 6
    # Other pictures of the same word, and none at all.
    first = outputs("outputs/training")
    trained({"steps": 20, **looking, "preview": {**looking["preview"], "seed": 7}}, **pack)  # type: ignore[dict-item]
    assert outputs("outputs/training").keys() == first.keys() and outputs("outputs/training") != first
    trained({"steps": 20}, **pack)
    assert not any("preview" in name for name in outputs())


def test_looking_on_at_a_stopped_training_takes_it_up(project: Path, capsys: pytest.CaptureFixture[str]):
    looking = {"preview": {"every": 10, "inference_steps": 2}}
    expected = in_one_go({"steps": 40, **looking})
    in_one_go({"steps": 20})
    capsys.readouterr()
    assert trained({"steps": 40, **looking}) == expected
    assert "going on at step 20 of 40" in capsys.readouterr().out


def test_another_number_of_threads_rounds_otherwise_and_starts_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    in_one_go({"steps": 20})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 63)
    capsys.readouterr()
    trained({"steps": 30})
    assert "going on at" not in capsys.readouterr().out


def test_another_number_of_rows_at_once_rounds_otherwise_and_starts_anew_and_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    expected = in_one_go({"steps": 30, "batch": 2})
    in_one_go({"steps": 20})
    capsys.readouterr()
    assert trained({"steps": 30, "batch": 2}) == expected
    anew = "starting from the beginning: train.batch makes it 2 rows at once, the steps that are done had 5,"
    assert anew in capsys.readouterr().out
    trained({"steps": 30})
    assert "going on at step 20 of 30" in (told := capsys.readouterr().out) and "beginning" not in told


@pytest.mark.parametrize(
    "settings", [{"gradient_checkpointing": True}, {"save_every": 10}, {"batch": 5}, {"early_stop": {"window": 3}}]
)
def test_what_does_not_decide_the_next_step_does_not_start_a_training_anew(
    project: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, object]
):
    expected = in_one_go({"steps": 30, **settings})
    in_one_go({"steps": 20})
    capsys.readouterr()
    assert trained({"steps": 30, **settings}) == expected
    assert "going on at step 20 of 30" in capsys.readouterr().out


@BOTH_IN_TIME
def test_a_checkpoint_that_was_spoilt_is_noticed(project: Path, learned: str, capsys: pytest.CaptureFixture[str]):
    expected = in_one_go({"steps": 20})
    for spoil in (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), Path.unlink):
        (path,) = Path(".scratch/train").glob("*/base/steps/snorf-10.safetensors")
        spoil(path)
        capsys.readouterr()
        assert trained({"steps": 20}) == expected
        assert f"starting from the beginning: {path} is missing or not what was written" in capsys.readouterr().out


def test_workspaces_share_the_scratch(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Two trainings of one word at once: the second waits, and takes what the first has made."""
    shared = tmp_path / "shared"
    monkeypatch.setenv("PSEUDOWORD_SCRATCH", str(shared))
    other = tmp_path / "other"
    write_params({"train": {"steps": 400, "batch": 1, "accumulation": 1}})
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("other", "shared"))
    first = start_stage()
    monkeypatch.chdir(other)
    second = start_stage()
    with first, second:
        # Not by `communicate`, which loses what was read ahead.
        told = [run.stdout.read() if run.stdout else "" for run in (first, second)]
        assert [run.wait(timeout=60) for run in (first, second)] == [0, 0], told
    assert "all 400 steps are done already" in told[1]
    mine = outputs()
    monkeypatch.chdir(project)
    assert outputs() == mine
    assert not Path(".scratch/train").exists() and len(list((shared / "train").iterdir())) == 1
    assert not list((shared / "locks").glob("train-*"))
