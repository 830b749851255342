"""Hypernetworks in the loop, on tiny random models: what is true of words there is true of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pseudoword.base.hypernetwork import Hypernetworks
from pseudoword.base.interface import Base, Conditioning
from pseudoword.formats.hypernetwork import load_hypernetwork
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.plan import make_plan
from pseudoword.structure import Structure
from stages.train.hypernetwork import Network, Networks
from stages.train.loop import Checkpoint, Training
from stages.train.run import Run
from stages.train.state import State
from tests.packs import copied, make_run, square_latents, tiny_base

STRUCTURES = {
    "plain": Structure(),
    "dropped": Structure((1, 2, 1), "relu", dropout=(0, 0.3, 0)),
    "deep": Structure((1, 1.5, 2, 1), "prelu", layer_norm=True),
}
PACK = [("plain", 1), ("dropped", 2), ("deep", 3), ("dropped", 4)]


def network(base: Base, kind: str, seed: int) -> Network:
    structure = STRUCTURES[kind]
    modules = initial_modules(structure, base.keys_and_values.widths, "XavierNormal", seed)
    return Network("style", Hypernetwork("style", structure, modules, {"weight_initialization": "XavierNormal"}))


def make_training(
    base: Base, pack: list[tuple[str, int]], steps: int = 12, rate: float = 1e-3, rows: int = 12,
    state: State | None = None, **more: object,
) -> Training:  # fmt: skip
    """Runs of three samples a step, each a structure and a seed."""
    runs = []
    for kind, seed in pack:
        run = make_run(base, vectors=1, seed=seed, rate=rate, steps=steps, weight_decay=0.01, **more)
        dropped = replace(run.sampling, dropout=any(STRUCTURES[kind].dropout))
        runs.append(Run(run.name, dropped, run.objective, run.optimizer, run.plain_ids))
    plan = make_plan(3, len(runs), steps, 3, 1, 4).ending([steps] * len(runs))
    networks = Networks(base, [network(base, kind, seed) for kind, seed in pack])
    return Training(base, networks, runs, square_latents(), replace(plan, rows=rows), state)


def learn(base: Base, pack: list[tuple[str, int]], states: list[State] | None = None, **more: object) -> State:
    training = make_training(base, pack, **more)  # type: ignore[arg-type]
    while not training.finished:
        training.advance()
        if states is not None:
            states.append(copied(training.state))
    return training.state


def row(parameters: Tensor, run: int, like: Tensor) -> Tensor:
    return parameters[run, : like.shape[1]]


def test_gradients_of_a_run_in_a_pack_are_those_alone() -> None:
    """After one step AdamW's first moment is a tenth of the gradient."""
    base = tiny_base(dtype=torch.float64)
    together = learn(base, PACK, steps=1)
    for run, one in enumerate(PACK):
        alone = learn(base, [one], steps=1).first
        assert alone.abs().max() > 1e-5
        torch.testing.assert_close(row(together.first, run, alone), alone[0], rtol=0, atol=1e-12)


def test_a_run_in_a_pack_ends_where_it_ends_alone() -> None:
    base = tiny_base()
    together = learn(base, PACK)
    for run, one in enumerate(PACK):
        alone = learn(base, [one])
        torch.testing.assert_close(
            row(together.parameters, run, alone.parameters), alone.parameters[0], rtol=1e-3, atol=5e-4
        )
        torch.testing.assert_close(together.records[:, run, 0], alone.records[:, 0, 0], rtol=1e-3, atol=1e-3)


def test_the_split_into_micro_batches_meets_the_same_masks() -> None:
    base = tiny_base(dtype=torch.float64)
    whole, single = (learn(base, PACK, steps=1, rows=rows).first for rows in (12, 1))
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-12)


def test_training_from_a_saved_state_ends_with_the_same_bits() -> None:
    base, saved = tiny_base(), []
    whole = learn(base, PACK, states=saved)
    assert len(saved) > 1
    for state in saved[:-1]:
        resumed = learn(base, PACK, state=copied(state))
        for field, value in vars(whole).items():
            torch.testing.assert_close(getattr(resumed, field), value, rtol=0, atol=0, equal_nan=True, msg=field)


def test_each_step_and_sample_has_masks_of_its_own() -> None:
    training = make_training(tiny_base(), [("dropped", 1), ("plain", 2)])
    block = training.sampler.block(range(2), [0, 1])
    keys = torch.cat([rows.key for rows in block.rows if rows.key is not None])
    runs = torch.cat([rows.run for rows in block.rows])
    assert len(set(keys[runs == 0].tolist())) == 6 and not keys[runs == 1].any()
    assert make_training(tiny_base(), [("plain", 1)]).sampler.block(range(2), [0]).rows[0].key is None


def test_what_is_looked_at_is_not_dropped() -> None:
    training = make_training(tiny_base(), [("dropped", 1)])
    (rows, *_) = training.sampler.block(range(1), [0]).rows
    with torch.no_grad():
        dropped, plain = (training.losses(training.state.parameters, each) for each in (rows, replace(rows, key=None)))
    assert not torch.equal(dropped, plain)


def test_the_frozen_model_is_bit_identical_after_training() -> None:
    base = tiny_base("v_prediction")
    parts = {**base.unet.state_dict(), **{f"text.{k}": v for k, v in base.text_encoders[0].state_dict().items()}}
    before = {name: value.clone() for name, value in parts.items()}
    start = make_training(base, PACK).state.parameters.clone()
    assert not torch.equal(learn(base, PACK).parameters, start)
    assert all(torch.equal(before[name], value) for name, value in parts.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_learns_in_the_direction_of_full_precision(dtype: torch.dtype) -> None:
    start = make_training(tiny_base(), PACK[:1]).state.parameters.clone()
    full, half = learn(tiny_base(), PACK[:1]), learn(tiny_base(dtype=dtype), PACK[:1])
    assert half.parameters.dtype is torch.float32
    moves = (full.parameters - start).flatten(), (half.parameters - start).flatten()
    assert torch.cosine_similarity(*moves, dim=0) > 0.8


def test_it_learns() -> None:
    base = tiny_base()
    training = make_training(base, [("plain", 1)], steps=60, rate=3e-3)
    fixed = make_training(base, [("plain", 1)]).sampler.block(range(12), [0]).rows

    def loss() -> float:
        with torch.no_grad():
            return sum(float(training.losses(training.state.parameters, rows).sum()) for rows in fixed)

    before = loss()
    while not training.finished:
        training.advance()
    assert loss() < 0.97 * before


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_draws_what_the_loop_would_draw(tmp_path: Path, suffix: str) -> None:
    base = tiny_base()
    training = make_training(base, PACK)
    kept: list[Checkpoint] = []
    while not training.finished:
        kept += training.advance()
    last = next(checkpoint for checkpoint in kept if checkpoint.run == 2 and checkpoint.step == 12)
    path = tmp_path / f"style-12{suffix}"
    training.trainee.save(path, 2, last.parameters, {"pseudoword.step": "12"})
    loaded = training.trainee.load(path, 2)
    assert torch.equal(loaded[2], last.parameters[2]) and not loaded[[0, 1, 3]].any()

    read = load_hypernetwork(path)
    assert read.name == "style-12" and read.structure == STRUCTURES["deep"]
    assert read.metadata["pseudoword.step"] == "12" and read.metadata["weight_initialization"] == "XavierNormal"
    (rows, *_) = make_training(base, PACK[:1]).sampler.block(range(1), [0]).rows
    ids, noisy, t = rows.ids[:2], rows.noise[:2], rows.t[:2]
    with torch.no_grad():
        ours = training.trainee.condition(loaded, ids, [2, 2])
        theirs = Conditioning(ours.states, hypernetworks=Hypernetworks.of([(read, 1.0)], base.device))
        assert torch.equal(base.predict(noisy, t, ours), base.predict(noisy, t, theirs))
