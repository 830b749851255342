"""The train stage on tiny random models: independence of packed runs, keyed draws, exact resume, a frozen table."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor

from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.errors import UserError
from pseudoword.formats.embedding import load_embedding
from pseudoword.formats.tensors import save_tensors
from pseudoword.plan import make_plan
from pseudoword.prompts import Vocabulary
from pseudoword.word import vocabulary_norm
from stages.train.__main__ import main
from stages.train.loop import Diverged, Run, train
from stages.train.optimizer import RowAdamW, rescale
from stages.train.samples import draw_samples
from stages.train.state import State, load_state, save_state
from tests.tiny import tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
PROMPTS = ["a snorf by the sea", "a photo of a snorf", "a snorf in a cave, left"]


def tiny_base(prediction_type: str = "epsilon", dtype: torch.dtype = torch.float32) -> StableDiffusion:
    pipeline = tiny_stable_diffusion(prediction_type).to(dtype)
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        part.requires_grad_(False).eval()
    return StableDiffusion(pipeline)


def make_run(
    base: StableDiffusion,
    first_id: int,
    vectors: int = 2,
    seed: int = 0,
    rate: float = 0.02,
    steps: int = 12,
    **more: bool,
) -> Run:
    vocabulary = Vocabulary(base.tokenizer, "snorf", first_id, vectors)
    start = torch.randn(vectors, base.table.shape[1], generator=torch.Generator().manual_seed(seed)) * 0.02
    prompts = torch.stack([vocabulary.encode_all([prompt, prompt + ", flat"]) for prompt in PROMPTS])
    settings = {"rescaled": False, "deterministic": False} | more
    return Run(f"run{seed}", seed, [rate] * steps, start, prompts, **settings)


def learn(
    base: StableDiffusion, runs: list[Run], batch: int = 3, steps: int = 12, state: State | None = None,
    save: Callable[[State, list[float]], None] = lambda state, losses: None,
) -> State:  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    mean = torch.randn(len(PROMPTS), 4, 4, 4, generator=generator)
    std = torch.rand(len(PROMPTS), 4, 4, 4, generator=generator) * 0.2
    plan = replace(make_plan(len(PROMPTS), 1, False, steps, "auto", "auto", 4), batch=batch)
    return train(base, runs, mean, std, plan, vocabulary_norm(base.table), state, save)


def rows(state: State, runs: list[Run], index: int) -> Tensor:
    start = sum(len(run.vectors) for run in runs[:index])
    return state.vectors[start : start + len(runs[index].vectors)]


# ---------------------------------------------------------------------------------------------- the loop


def test_a_run_in_a_pack_ends_where_it_ends_alone():
    base = tiny_base()
    first = len(base.table)
    pack = [
        make_run(base, first, 2, seed=1),
        make_run(base, first + 2, 5, seed=2, rate=0.1),
        make_run(base, first + 7, 1, seed=3),
    ]
    together = learn(base, pack)
    for index, (vectors, seed, rate) in enumerate([(2, 1, 0.02), (5, 2, 0.1), (1, 3, 0.02)]):
        alone = learn(base, [make_run(base, first, vectors, seed, rate)])
        torch.testing.assert_close(rows(together, pack, index), alone.vectors, rtol=1e-3, atol=2e-5)


def test_the_split_into_micro_batches_does_not_change_the_result_beyond_rounding():
    base = tiny_base()
    run = make_run(base, len(base.table))
    torch.testing.assert_close(
        learn(base, [run], batch=1).vectors, learn(base, [run], batch=3).vectors, rtol=1e-3, atol=2e-5
    )


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    base = tiny_base()
    run = make_run(base, len(base.table))
    first = learn(base, [run]).vectors
    assert torch.equal(first, learn(base, [run]).vectors)
    assert not torch.equal(first, learn(base, [replace(run, seed=9)]).vectors)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_learns_in_the_direction_of_full_precision(dtype: torch.dtype):
    full, half = tiny_base(), tiny_base(dtype=dtype)
    start = make_run(full, len(full.table))
    moved = learn(full, [start]).vectors - start.vectors
    ended = learn(half, [start]).vectors
    assert ended.dtype is torch.float32
    assert torch.cosine_similarity((ended - start.vectors).flatten(), moved.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_frozen_model_is_bit_identical_after_training(prediction_type: str):
    base = tiny_base(prediction_type)
    parts = {**base.unet.state_dict(), **{f"text.{k}": v for k, v in base.text_encoder.state_dict().items()}}
    before = {name: value.clone() for name, value in parts.items()}
    run = make_run(base, len(base.table))
    state = learn(base, [run])
    assert not torch.equal(state.vectors, run.vectors)
    assert all(torch.equal(before[name], value) for name, value in parts.items())


def test_training_from_a_saved_state_ends_with_the_same_bits():
    base = tiny_base()
    run = make_run(base, len(base.table), steps=25)
    saved: list[State] = []

    def save(state: State, losses: list[float]) -> None:
        saved.append(
            State(
                **{name: value.clone() if isinstance(value, Tensor) else value for name, value in vars(state).items()}
            )
        )

    whole = learn(base, [run], steps=25, save=save)
    for state in saved[:-1]:
        resumed = learn(base, [run], steps=25, state=state)
        assert torch.equal(resumed.vectors, whole.vectors)
        assert torch.equal(resumed.kept, whole.kept)
        assert torch.equal(resumed.records, whole.records)


def test_a_run_whose_schedule_ends_early_stands_still_while_the_others_go_on():
    base = tiny_base()
    first = len(base.table)
    short, long = make_run(base, first, seed=1, steps=5), make_run(base, first + 2, seed=2)
    pack = [short, long]
    state = learn(base, pack)
    alone = learn(base, [short], steps=5)
    torch.testing.assert_close(rows(state, pack, 0), alone.vectors, rtol=1e-3, atol=2e-5)


def test_rescaled_vectors_keep_the_vocabularys_norm_and_free_ones_do_not():
    base = tiny_base()
    norm = vocabulary_norm(base.table)
    held = learn(base, [make_run(base, len(base.table), rescaled=True)]).vectors.norm(dim=-1)
    free = learn(base, [make_run(base, len(base.table))]).vectors.norm(dim=-1)
    torch.testing.assert_close(held, torch.full_like(held, norm))
    assert (free > 1.2 * norm).all()


def test_a_run_that_is_no_longer_finite_is_named_with_its_update():
    base = tiny_base()
    with pytest.raises(Diverged, match="run 'run0' is no longer finite at update"):
        learn(base, [make_run(base, len(base.table), rate=1e38)])


def test_v_prediction_is_trained_on_v():
    """With clean = noise = 1 the two targets differ: a model that answers 1 is perfect only for epsilon."""
    for prediction_type, perfect in (("epsilon", True), ("v_prediction", False)):
        base = tiny_base(prediction_type)
        base.unet.forward = lambda noisy, t, states: type("Out", (), {"sample": torch.ones_like(noisy)})()
        one = torch.ones(2, 4, 4, 4)
        loss = base.loss(one, one, torch.tensor([100, 900]), torch.zeros(2, 77, 16))
        assert bool((loss < 1e-6).all()) is perfect


# ---------------------------------------------------------------------------------------------- the optimiser


def test_row_adamw_is_torchs_adamw():
    torch.manual_seed(0)
    ours, rates = torch.randn(3, 5, dtype=torch.float64), torch.tensor([[0.1], [0.01], [0.0]], dtype=torch.float64)
    theirs = [torch.nn.Parameter(row.clone()) for row in ours]
    reference = torch.optim.AdamW(
        [{"params": [p], "lr": float(r)} for p, r in zip(theirs, rates, strict=True)], weight_decay=0
    )
    optimizer = RowAdamW(ours)
    for count in range(1, 30):
        gradient = torch.randn(3, 5, dtype=torch.float64)
        for parameter, row in zip(theirs, gradient, strict=True):
            parameter.grad = row.clone()
        reference.step()
        optimizer.step(gradient, rates, torch.tensor(float(count), dtype=torch.float64))
    torch.testing.assert_close(ours, torch.stack([p.detach() for p in theirs]), rtol=1e-12, atol=1e-12)


def test_rescaling_leaves_a_zero_vector_alone():
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    rescale(vectors, torch.tensor([[2.0], [2.0]]))
    assert vectors.tolist() == [[0.0, 0.0], pytest.approx([1.2, 1.6])]


# ---------------------------------------------------------------------------------------------- the draws


def test_draws_do_not_depend_on_how_updates_are_grouped():
    whole = draw_samples(3, range(0, 9), 4, 5, 2, 1000, (4, 2, 2))
    for part in (range(0, 1), range(4, 9), range(8, 9)):
        own = draw_samples(3, part, 4, 5, 2, 1000, (4, 2, 2))
        for name, value in vars(own).items():
            assert torch.equal(value, getattr(whole, name)[part.start : part.stop])


def test_each_pass_sees_every_picture_once_and_each_update_every_noise_level():
    samples = draw_samples(0, range(10), 6, 6, 1, 1000, (1, 1, 1))
    assert all(sorted(row) == list(range(6)) for row in samples.picture.tolist())
    assert all(sorted(t * 6 // 1000 for t in row) == list(range(6)) for row in samples.t.tolist())
    assert len({tuple(row) for row in samples.picture.tolist()}) > 1


def test_noise_is_standard_normal_and_all_of_it_differs():
    noise = draw_samples(0, range(20), 8, 3, 1, 1000, (4, 8, 8)).noise
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert len(noise.flatten(0, 1)[:, 0, 0, 0].unique()) == 160


# ---------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    ("pictures", "runs", "batch", "accumulation", "expected"),
    [
        (15, 1, "auto", "auto", (300, 15, 15)),
        (17, 1, "auto", "auto", (300, 9, 17)),
        (40, 1, "auto", "auto", (300, 14, 40)),
        (15, 4, "auto", "auto", (300, 4, 15)),
        (15, 99, "auto", "auto", (300, 1, 15)),
        (33, 1, 3, "auto", (300, 3, 33)),
        (33, 1, 3, 11, (300, 3, 33)),
        (17, 1, 1, "auto", (300, 1, 17)),
        (20, 1, 4, 1, (1500, 4, 4)),
        (3, 1, 8, "auto", (112, 8, 8)),
        (1, 1, "auto", "auto", (300, 1, 1)),
    ],
)
def test_auto_makes_an_update_see_each_picture_once(
    pictures: int, runs: int, batch: int | str, accumulation: int | str, expected: tuple[int, int, int]
):
    plan = make_plan(pictures, runs, False, "auto", batch, accumulation, "auto")
    assert (plan.steps, plan.batch, plan.samples) == expected
    assert plan.saved[0] == 0
    assert plan.saved[-1] == plan.steps


def test_accumulation_without_batch_is_refused():
    with pytest.raises(UserError, match=r"train\.batch"):
        make_plan(10, 1, False, "auto", "auto", 4, "auto")


def test_a_plan_ends_with_the_last_schedule_and_keeps_each_end():
    plan = make_plan(10, 2, False, 300, "auto", "auto", 20).ending([10, 45])
    assert (plan.steps, plan.saved) == (45, (0, 10, 20, 40, 45))


# ---------------------------------------------------------------------------------------------- the stage


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the train stage runs: a tiny base model, five latents, captions."""
    monkeypatch.chdir(tmp_path)
    tiny_stable_diffusion().save_pretrained("base")
    shutil.copytree(ROOT / "templates", "templates")
    ids = [f"{number:012x}" for number in range(5)]
    generator = torch.Generator().manual_seed(0)
    tensors = {"mean": torch.randn(5, 4, 4, 4, generator=generator), "std": torch.full((5, 4, 4, 4), 0.1)}
    save_tensors(Path("outputs/latents.safetensors"), tensors, {"ids": json.dumps(ids), "model": "base"})
    captions = ["by the sea", "", "in a cave", "at night", "null"]
    pd.DataFrame({"id": ids, "caption": captions}).to_csv("outputs/captions.csv", index=False)
    write_params({"train": {"steps": 30}})
    return tmp_path


def write_params(changes: dict[str, dict[str, object]], path: Path = Path("params.yaml")) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["base"] |= {"model": "base", "device": "cpu"}
    for section, values in changes.items():
        content[section] |= values
    path.write_text(yaml.safe_dump(content))


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
        assert list(losses.columns) == ["step", "epoch", "loss", "learn_rate", "norm"]
        assert losses["step"].tolist() == list(range(1, 21))
        assert np.isfinite(losses).all().all()
        report = json.loads((folder / "settings.json").read_text())
        assert report["settings"]["word"]["vectors"] == vectors
        assert "train.batch" in report["auto"]


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


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(project: Path):
    """SIGKILL at random moments, again and again, then to the end."""
    write_params({"train": {"steps": 60}})
    main()
    expected = outputs(Path("outputs/words"))
    moments = random.Random(0)
    shutil.rmtree("outputs/words")
    shutil.rmtree(".scratch")
    command = [sys.executable, "-m", "stages.train"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    went_on = 0
    for _ in range(5):
        run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert run.stdout is not None
        while "updates" not in (line := run.stdout.readline()) and line:
            pass
        time.sleep(moments.uniform(0.1, 0.5))
        run.send_signal(signal.SIGKILL)
        went_on += "going on at update" in run.stdout.read()
        run.wait()
        run.stdout.close()
    assert went_on
    main()
    assert outputs(Path("outputs/words")) == expected


def test_the_state_is_read_back_to_where_the_loop_wants_it(tmp_path: Path):
    """The records stay on the CPU whatever the device, the rest goes there."""
    save_state(
        tmp_path / "state", State(7, *(torch.rand(2, 3) for _ in range(3)), torch.rand(4, 2, 3), torch.rand(7, 1, 2))
    )
    state = load_state(tmp_path / "state", torch.device("meta"))
    assert state is not None and state.step == 7
    assert (state.records.device.type, state.vectors.device.type, state.kept.device.type) == ("cpu", "meta", "meta")


def test_a_state_that_was_cut_off_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "state").write_bytes(b"cut off")
    assert load_state(tmp_path / "state", torch.device("cpu")) is None
    assert "does not read" in capsys.readouterr().out


def test_a_changed_setting_never_picks_up_an_old_state(project: Path):
    main()
    expected = load_embedding(Path("outputs/words/base/steps/snorf-30.safetensors")).vectors
    write_params({"train": {"steps": 30, "learn_rate": 0.1}})

    class Stop(Exception):
        pass

    import stages.train.__main__ as stage

    original = stage.save_state
    try:
        stage.save_state = lambda path, state: (original(path, state), (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            main()
    finally:
        stage.save_state = original
    assert list(Path(".scratch/train").glob("*/state.safetensors"))
    write_params({"train": {"steps": 30}})
    shutil.rmtree("outputs/words")
    main()
    assert torch.equal(load_embedding(Path("outputs/words/base/steps/snorf-30.safetensors")).vectors, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"word": {"name": "Snorf"}}, "word.name: found 'Snorf', wanted lower case"),
        ({"train": {"seed": 2**64}}, "train.seed: found"),
        ({"word": {"name": "forest"}}, "word.name: 'forest' is a word that the base model knows"),
        ({"train": {"learn_rate": "0.1:x"}}, "item '0.1:x'"),
        ({"train": {"template": "no.txt"}}, "no.txt: cannot be read"),
        ({"base": {"model": "nowhere"}}, "base.model: 'nowhere'"),
        ({"base": {"device": "cuda:7"}}, "base.device: 'cuda:7'"),
        ({"word": {"vectors": 75}}, "takes"),
    ],
)
def test_wrong_settings_are_refused_with_the_way_out(
    project: Path, changes: dict[str, dict[str, object]], message: str
):
    write_params(changes)
    with pytest.raises(UserError) as error:
        main()
    assert message in str(error.value)
    assert not Path("outputs/words").exists()


def test_a_template_without_name_is_refused(project: Path):
    Path("bare.txt").write_text("a photo of a [name]\na photo of [filewords]\n")
    write_params({"train": {"template": "bare.txt"}})
    with pytest.raises(UserError, match=r"'a photo of \[filewords\]' does not hold \[name\]"):
        main()
