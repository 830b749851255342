"""What is true of hypernetworks in the loop and not of words; `test_train_loop` has what is true of both."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pseudoword.base import interface
from pseudoword.base.hypernetwork import Hypernetworks
from pseudoword.base.interface import Base, Conditioning
from pseudoword.formats.hypernetwork import load_hypernetwork
from pseudoword.structure import Structure
from stages.train import encoded
from stages.train.loop import Checkpoint, Training
from tests.packs import CAPTIONS, TEMPLATES, Learning, learn, make_run, make_training, tiny_base

PLAIN, DROPPED = Structure(), Structure((1, 2, 1), "relu", dropout=(0, 0.3, 0))
DEEP = Structure((1, 1.5, 2, 1), "prelu", layer_norm=True)


def runs_of(base: Base, *structures: Structure, **settings: Any) -> list[Learning]:
    return [make_run(base, seed=i, **{"structure": each, "rate": 1e-3} | settings) for i, each in enumerate(structures)]


def training_of(*structures: Structure, **settings: Any) -> Training:
    base = tiny_base()
    return make_training(base, runs_of(base, *structures, **settings))


def calls_of_the_text_encoder(base: Base) -> list[int]:
    """How many prompts each call is given, from here on."""
    calls: list[int] = []
    base.text_encoders[0].register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    return calls


def test_masks_do_not_depend_on_the_split_into_micro_batches() -> None:
    base = tiny_base(dtype=torch.float64)
    pack = runs_of(base, PLAIN, DROPPED, DEEP, DROPPED, steps=1)
    whole, single = (learn(base, pack, rows=rows).first for rows in (12, 1))
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-12)


def test_each_step_and_sample_has_masks_of_its_own() -> None:
    training = training_of(DROPPED, PLAIN)
    block = training.sampler.block(range(2), [0, 1])
    keys = torch.cat([rows.key for rows in block.rows if rows.key is not None])
    runs = torch.cat([rows.run for rows in block.rows])
    assert len(set(keys[runs == 0].tolist())) == 6 and not keys[runs == 1].any()
    assert training_of(PLAIN).sampler.block(range(2), [0]).rows[0].key is None


def test_what_is_looked_at_is_not_dropped() -> None:
    training = training_of(DROPPED)
    (rows, *_) = training.sampler.block(range(1), [0]).rows
    with torch.no_grad():
        dropped, plain = (training.losses(training.state.parameters, each) for each in (rows, replace(rows, key=None)))
    assert not torch.equal(dropped, plain)


def test_prompts_that_nothing_varies_are_encoded_once_and_each_alone() -> None:
    base = tiny_base()
    calls = calls_of_the_text_encoder(base)
    learn(base, runs_of(base, PLAIN, DROPPED))
    assert calls == [1] * len(TEMPLATES) * len(CAPTIONS)
    calls.clear()
    learn(base, runs_of(base, PLAIN, caption_dropout=0.5))  # the empty caption is one of them already
    assert calls == [1] * len(TEMPLATES) * len(CAPTIONS)


@pytest.mark.parametrize("varied", ["shuffled", "too many to keep"])
def test_other_prompts_are_encoded_as_they_come(varied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_base()
    if varied == "too many to keep":
        monkeypatch.setattr(encoded, "MAX_BYTES", 1000)
    calls = calls_of_the_text_encoder(base)
    learn(base, runs_of(base, PLAIN, shuffle_tags=varied == "shuffled"))
    assert calls == [3] * 12


def test_encoding_once_changes_what_is_learned_by_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    once = learn(base := tiny_base(dtype=torch.float64), runs_of(base, DEEP))
    monkeypatch.setattr(encoded, "MAX_BYTES", 0)
    each_time = learn(base := tiny_base(dtype=torch.float64), runs_of(base, DEEP))
    torch.testing.assert_close(once.parameters, each_time.parameters, rtol=0, atol=1e-9)


def test_text_encoders_leave_the_device_to_the_unet(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go where nothing can be computed, and are not missed."""
    expected = learn(base := tiny_base(), runs_of(base, PLAIN, DROPPED)).parameters
    monkeypatch.setattr(interface, "ASIDE", torch.device("meta"))
    parameters = learn(base := tiny_base(), runs_of(base, PLAIN, DROPPED)).parameters
    assert base.text_encoders[0].device.type == "meta" and base.unet.device.type == "cpu"
    assert torch.equal(parameters, expected)


def test_it_learns() -> None:
    training = training_of(PLAIN, steps=60, rate=1e-2)
    fixed = training_of(PLAIN).sampler.block(range(12), [0]).rows

    def loss() -> float:
        with torch.no_grad():
            return sum(float(training.losses(training.state.parameters, rows).sum()) for rows in fixed)

    before = loss()
    while not training.finished:
        training.advance()
    assert loss() < 0.97 * before


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_draws_what_the_loop_would_draw(tmp_path: Path, suffix: str) -> None:
    training = training_of(PLAIN, DROPPED, DEEP)
    base, kept = training.base, list[Checkpoint]()
    while not training.finished:
        kept += training.advance()
    last = next(checkpoint for checkpoint in kept if checkpoint.run == 2 and checkpoint.step == 12)
    path = tmp_path / f"style-12{suffix}"
    training.trainee.save(path, 2, last.parameters, {"pseudoword.step": "12"})
    loaded: Tensor = training.trainee.load(path, 2)
    assert torch.equal(loaded[2], last.parameters[2]) and not loaded[:2].any()

    read = load_hypernetwork(path)
    assert read.name == "style-12" and read.structure == DEEP
    assert read.metadata["pseudoword.step"] == "12" and read.metadata["weight_initialization"] == "XavierNormal"
    (rows, *_) = training.sampler.block(range(1), [0]).rows
    ids, noisy, t = rows.ids[:2], rows.noise[:2], rows.t[:2]
    with torch.no_grad():
        ours = training.trainee.condition(loaded, ids, [2, 2])
        theirs = Conditioning(ours.states, hypernetworks=Hypernetworks.of([(read, 1.0)], base.device))
        assert torch.equal(base.predict(noisy, t, ours), base.predict(noisy, t, theirs))
