"""The loop on tiny random models, with words and hypernetworks: independence of runs, exact resume, a frozen model,
runs that end or break."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pseudoword.base.interface import Conditioning
from pseudoword.deterministic_loss import DeterministicLoss
from pseudoword.errors import UserError
from pseudoword.latents import Latents
from pseudoword.structure import Structure
from pseudoword.word import vocabulary_norms
from stages.train.capacity import Capacity, rows_that_fit
from stages.train.early_stop import NOISE_LEVELS, levelled_out
from stages.train.loop import Checkpoint
from stages.train.run import StopRule
from stages.train.state import State
from tests.packs import copied, learn, make_run, make_training, rows_of, square_latents, tiny_base, two_shapes

MIXED = [
    {"vectors": 2, "seed": 1},
    {"vectors": 5, "seed": 2, "rate": 0.1, "norm": "direction", "pull": 1e-4},
    {"vectors": 1, "seed": 3, "clip": "norm", "clip_at": [0.01] * 12, "min_snr_gamma": 5.0},
    {"vectors": 3, "seed": 4, "clip": "value", "clip_at": [0.001] * 12, "huber_delta": 0.5, "noise_offset": 0.1},
    {"vectors": 1, "seed": 5, "weight_decay": 0.5, "average": 0.9, "once": True, "norm": "rescale"},
    {"vectors": 2, "seed": 6, "deterministic": True, "stratified": False, "tag_dropout": 0.5, "shuffle_tags": True},
]

PLAIN, DROPPED = Structure(), Structure((1, 2, 1), "relu", dropout=(0, 0.3, 0))
MIXED_NETWORKS = [
    {"structure": PLAIN, "seed": 1, "rate": 1e-3},
    {"structure": DROPPED, "seed": 2, "rate": 3e-3, "weight_decay": 0.01},
    {"structure": Structure((1, 1.5, 2, 1), "prelu", layer_norm=True), "seed": 3, "rate": 1e-3, "average": 0.9},
    {"structure": DROPPED, "seed": 4, "rate": 1e-3, "clip": "norm", "clip_at": [0.01] * 12, "huber_delta": 0.5},
]
PACKS = pytest.mark.parametrize("mixed", [MIXED, MIXED_NETWORKS], ids=["words", "hypernetworks"])
# What is said of one run holds for whatever it learns.
KINDS = pytest.mark.parametrize(
    "kind", [{}, {"structure": DROPPED, "rate": 1e-3, "weight_decay": 0.01}], ids=["a word", "a hypernetwork"]
)


def make_pack(base, mixed):
    used, pack = 0, []
    for settings in mixed:
        pack.append(make_run(base, used, **settings))
        used += settings.get("vectors", 0)
    return pack


def first_step_of(run):
    return replace(run, optimizer=replace(run.optimizer, rates=run.optimizer.rates[:1]))


@PACKS
def test_gradients_of_a_run_in_a_pack_are_those_alone(mixed):
    """In float64, where rounding cannot hide a leak from one run to another. After one update AdamW's first moment is
    a tenth of the gradient."""
    base = tiny_base(dtype=torch.float64)
    pack = [first_step_of(run) for run in make_pack(base, mixed)]
    together = learn(base, pack).first
    for i, settings in enumerate(mixed):
        alone = learn(base, [first_step_of(make_run(base, **settings))]).first
        assert alone.abs().max() > 1e-9
        mine = rows_of(together, pack, i)
        torch.testing.assert_close(mine[:, : alone.shape[1]], alone, rtol=0, atol=1e-12)
        assert not mine[:, alone.shape[1] :].any()


@PACKS
def test_a_run_in_a_pack_ends_where_it_ends_alone(mixed):
    base = tiny_base()
    pack = make_pack(base, mixed)
    together = learn(base, pack)
    for i, settings in enumerate(mixed):
        alone = learn(base, [make_run(base, **settings)])
        for name in ("parameters", "average"):
            expected = getattr(alone, name)
            mine = rows_of(getattr(together, name), pack, i)[:, : expected.shape[1]]
            torch.testing.assert_close(mine, expected, rtol=1e-3, atol=2e-5 if mixed is MIXED else 5e-4)
        torch.testing.assert_close(together.records[:, i, 0], alone.records[:, 0, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("latents", [square_latents(), two_shapes()], ids=["one shape", "two shapes"])
@KINDS
def test_the_split_into_micro_batches_does_not_change_the_result_beyond_rounding(kind, latents: Latents):
    base = tiny_base(dtype=torch.float64)
    run = make_run(base, **kind)
    whole, single = (learn(base, [run], rows=rows, latents=latents).parameters for rows in (9, 1))
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-7)


def test_a_wide_picture_counts_as_much_as_a_square_one():
    """Of three pictures, each once in an update, the wide one has a square error of 9 and the others of 1."""
    base = tiny_base()
    base.residual = lambda clean, noise, t, told: (  # type: ignore[method-assign]
        torch.full_like(clean, 3.0 if clean.shape[-1] == 8 else 1.0) + 0 * told.states.sum()
    )
    state = learn(base, [make_run(base)], latents=two_shapes())
    torch.testing.assert_close(state.records[:, 0, 0], torch.full((12,), 11 / 3))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    base = tiny_base()
    first = learn(base, [make_run(base)]).parameters
    assert torch.equal(first, learn(base, [make_run(base)]).parameters)
    run = make_run(base)
    other = learn(base, [replace(run, sampling=replace(run.sampling, seed=9))]).parameters
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@KINDS
def test_half_precision_learns_in_the_direction_of_full_precision(kind, dtype: torch.dtype):
    full, half = tiny_base(), tiny_base(dtype=dtype)
    start = make_training(full, [make_run(full, **kind)]).state.parameters.clone()
    moved = learn(full, [make_run(full, **kind)]).parameters - start
    ended = learn(half, [make_run(half, **kind)]).parameters
    assert ended.dtype is torch.float32
    assert torch.cosine_similarity((ended - start).flatten(), moved.flatten(), dim=0) > 0.8


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@KINDS
def test_the_frozen_model_is_bit_identical_after_training(kind, prediction_type: str):
    base = tiny_base(prediction_type)
    encoder = base.text_encoders[0].state_dict()
    parts = {**base.unet.state_dict(), **{f"text.{key}": value for key, value in encoder.items()}}
    before = {name: value.clone() for name, value in parts.items()}
    start = make_training(base, [make_run(base, **kind)]).state.parameters.clone()
    assert not torch.equal(learn(base, [make_run(base, **kind)]).parameters, start)
    assert all(torch.equal(before[name], value) for name, value in parts.items())


@KINDS
def test_training_from_a_saved_state_ends_with_the_same_bits(kind):
    base = tiny_base()
    saved: list[State] = []
    pack = [make_run(base, steps=25, average=0.9, **kind), make_run(base, 2, 1, 4, steps=17, **kind)]
    whole = learn(base, pack, each=lambda training, kept: saved.append(copied(training.state)))
    assert len(saved) > 3
    for state in saved[:-1]:
        resumed = learn(base, pack, state=copied(state))
        for field, value in vars(whole).items():
            torch.testing.assert_close(getattr(resumed, field), value, rtol=0, atol=0, equal_nan=True, msg=field)


@KINDS
def test_stopping_in_the_middle_of_a_block_loses_and_changes_nothing(kind):
    base = tiny_base()
    whole = learn(base, [make_run(base, **kind)])
    asked = iter([False, False, True])
    training = make_training(base, [make_run(base, **kind)], asked_to_stop=lambda: next(asked))
    training.advance()
    assert training.state.step == 3
    resumed = learn(base, [make_run(base, **kind)], state=training.state)
    assert torch.equal(resumed.parameters, whole.parameters)
    assert torch.equal(resumed.records[..., :3], whole.records[..., :3])


@KINDS
def test_a_run_whose_schedule_ends_early_stands_still_while_the_others_go_on(kind):
    base = tiny_base(dtype=torch.float64)
    pack = [make_run(base, seed=1, steps=5, **kind), make_run(base, 2, 2, seed=2, **kind)]
    kept: list[Checkpoint] = []
    state = learn(base, pack, each=lambda training, found: kept.extend(found))
    alone = learn(base, [make_run(base, seed=1, steps=5, **kind)])
    torch.testing.assert_close(rows_of(state.parameters, pack, 0), alone.parameters, rtol=0, atol=1e-7)
    assert sorted(step for run, step, _ in kept if run == 0) == [0, 4, 5]
    assert sorted(step for run, step, _ in kept if run == 1) == [0, 4, 5, 8, 10, 12]


def test_held_vectors_keep_the_vocabularys_norm_and_free_ones_do_not():
    base = tiny_base()
    (norm,) = vocabulary_norms(base.tables)
    for kind in ("rescale", "direction"):
        held = learn(base, [make_run(base, norm=kind)]).parameters.norm(dim=-1)
        torch.testing.assert_close(held, torch.full_like(held, norm))
    assert (learn(base, [make_run(base)]).parameters.norm(dim=-1) > 1.2 * norm).all()


@KINDS
def test_a_broken_run_keeps_its_last_good_state_and_leaves_the_others_alone(kind):
    base = tiny_base(dtype=torch.float64)
    wild = make_run(base, 2, 2, seed=2, **kind | {"rate": 1e308})
    pack = [make_run(base, seed=1, **kind), wild]
    kept: list[Checkpoint] = []
    training = make_training(base, pack)
    while not training.finished:
        kept += training.advance()
    failed = int(training.state.failed[1])
    assert training.ends == [12, failed] and 0 < failed < 12
    assert int(training.state.broken_by[1]) in (0, 1, 2)
    last = [parameters for run, step, parameters in kept if run == 1 and step == failed]
    assert len(last) == 1 and last[0].isfinite().all()
    alone = learn(base, [make_run(base, seed=1, **kind)])
    torch.testing.assert_close(rows_of(training.state.parameters, pack, 0), alone.parameters, rtol=0, atol=1e-7)


@KINDS
def test_the_picture_that_breaks_a_run_is_found(kind):
    base = tiny_base()
    latents = square_latents()
    latents.groups[0].mean[1, 0, 0, 0] = torch.nan
    training = make_training(base, [make_run(base, **kind)], latents=latents)
    while not training.finished:
        training.advance()
    assert training.ends == [0]
    assert training.state.broken_by.tolist() == [1]


@KINDS
def test_overflow_in_half_precision_lowers_the_scale_and_training_goes_on(kind):
    base = tiny_base(dtype=torch.float16)
    training = make_training(base, [make_run(base, **kind)])
    training.state.scale.fill_(2.0**24)
    while not training.finished:
        training.advance()
    assert training.ends == [12]
    assert 1 <= float(training.state.scale) < 2**24
    assert 0 < float(training.state.count) < 12
    assert training.state.parameters.isfinite().all()


def test_the_loss_scale_does_not_change_what_is_learned():
    base = tiny_base()
    plain = learn(base, [make_run(base)])
    training = make_training(base, [make_run(base)])
    training.state.scale.fill_(1024.0)
    while not training.finished:
        training.advance()
    torch.testing.assert_close(training.state.parameters, plain.parameters, rtol=1e-4, atol=1e-6)


@KINDS
def test_out_of_memory_takes_fewer_rows_and_gives_the_same_result(kind, capsys: pytest.CaptureFixture[str]):
    base = tiny_base(dtype=torch.float64)
    run = make_run(base, **kind)
    whole = learn(base, [run])
    predict = base.predict

    def little_memory(noisy: torch.Tensor, t: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        if len(noisy) > 1:
            raise torch.OutOfMemoryError
        return predict(noisy, t, conditioning)

    base.predict = little_memory  # type: ignore[method-assign]
    state = learn(base, [run])
    assert int(state.rows) == 1
    assert "going on with" in capsys.readouterr().out
    torch.testing.assert_close(state.parameters, whole.parameters, rtol=0, atol=1e-7)


@KINDS
def test_with_gradient_checkpointing_as_many_rows_as_fit_are_found_again(kind, capsys: pytest.CaptureFixture[str]):
    base = tiny_base()
    training = make_training(base, [make_run(base, **kind)])
    predict = base.predict

    def little_memory(noisy: torch.Tensor, t: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        if len(noisy) > 2 or not training.capacity.checkpointing:
            raise torch.OutOfMemoryError
        return predict(noisy, t, conditioning)

    base.predict = little_memory  # type: ignore[method-assign]
    while not training.finished:
        training.advance()
    assert int(training.state.rows) == 2
    assert "gradient checkpointing, 9 at once" in capsys.readouterr().out


@KINDS
def test_a_model_that_does_not_fit_at_all_is_told_so(kind):
    base = tiny_base()

    def no_memory(*_: object) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    base.predict = no_memory  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"not even one picture at a time fits.*preprocess\.resolution"):
        learn(base, [make_run(base, **kind)])


def test_another_error_is_not_taken_for_lack_of_memory():
    base = tiny_base()
    base.predict = lambda *_: (_ for _ in ()).throw(RuntimeError("a defect"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a defect"):
        learn(base, [make_run(base)])


@KINDS
def test_a_run_that_breaks_where_a_block_begins_keeps_what_it_had_learned(kind):
    base = tiny_base()
    for at in (9, 10, 11):
        rates = [0.01] * at + [1e38] + [0.01] * (24 - at)
        run = make_run(base, steps=25, **kind)
        training = make_training(base, [replace(run, optimizer=replace(run.optimizer, rates=rates))])
        kept: list[Checkpoint] = []
        while not training.finished:
            kept += training.advance()
        end = training.ends[0]
        assert at <= end <= at + 1
        assert kept[-1].step == end and kept[-1].parameters.isfinite().all()


def test_a_run_does_not_notice_that_another_one_needs_more_windows():
    """Windows that only fill up the batch are not read."""
    base = tiny_base(dtype=torch.float64)
    narrow, wide = (make_run(base, 0, 2, 1, windows=windows, steps=1) for windows in (1, 3))
    alone, filled = learn(base, [narrow]), learn(base, [wide])
    torch.testing.assert_close(alone.first, filled.first, rtol=0, atol=1e-12)
    long = make_run(base, 0, 40, 1, windows=3, steps=1, captions=["a red star by the sea " * 9] * 3)
    assert learn(base, [long]).first.abs().max() > 1e-9


def test_without_checkpointing_a_model_that_does_not_fit_is_refused():
    base = tiny_base()
    base.predict = lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError())  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"with train\.gradient_checkpointing: false"):
        learn(base, [make_run(base)], checkpointing=False)


@KINDS
def test_a_huge_gradient_breaks_a_run_before_it_breaks_what_it_has_learned(kind):
    base = tiny_base()
    residual = base.residual
    base.residual = lambda *told: residual(*told) * 1e15  # type: ignore[method-assign]
    training = make_training(base, [make_run(base, **kind)])
    while not training.finished:
        training.advance()
    assert training.ends == [0]
    assert training.state.parameters.isfinite().all()


def test_a_saved_average_has_the_norm_that_the_run_holds():
    base = tiny_base()
    (norm,) = vocabulary_norms(base.tables)
    kept: list[Checkpoint] = []
    learn(base, [make_run(base, norm="rescale", average=0.9, rate=0.1)], each=lambda training, new: kept.extend(new))
    for checkpoint in kept:
        torch.testing.assert_close(checkpoint.parameters.norm(dim=-1), torch.full((2,), norm))


def test_a_run_that_was_stopped_early_stands_still():
    base = tiny_base()
    rule = StopRule(every=2, window=8, threshold=1.0, floor=10)
    pack = [make_run(base, seed=1, steps=40, stop_rule=rule), make_run(base, 2, seed=2, steps=40)]
    kept: list[Checkpoint] = []
    training = make_training(base, pack)
    while not training.finished:
        kept += training.advance()
    last = [rows_of(found, pack, 0) for run, step, found in kept if run == 0 and step == training.ends[0]]
    assert training.ends[0] < 40
    assert torch.equal(rows_of(training.state.parameters, pack, 0), last[-1])


@pytest.mark.parametrize(("rows", "spared", "fit"), [(1, 1, 1), (0, 1, 1), (0, 2, 5)])
def test_a_probe_that_runs_out_of_memory_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, rows: int, spared: int, fit: int
):
    """A card that takes so many rows at once, and another number with gradient checkpointing."""
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))

    def probed_rows(checkpointing: bool | None) -> int:
        base = tiny_base()
        base.device = torch.device("cuda")
        capacity = Capacity(base, 5, checkpointing)

        def probe(wanted: int) -> None:
            if wanted > (spared if capacity.checkpointing else rows):
                raise torch.OutOfMemoryError

        return capacity.probed_rows(probe, 5)

    assert probed_rows(None) == fit
    if rows == 0:
        with pytest.raises(UserError, match="not even one picture"):
            probed_rows(False)


def test_rows_that_fit_are_measured():
    assert rows_that_fit(lambda rows: 100 + 10 * rows, 1000, 999) == 80
    assert rows_that_fit(lambda rows: 100 + 10 * rows, 1000, 16) == 16
    assert rows_that_fit(lambda rows: 100 + 10 * rows, 50, 16) == 1


@KINDS
def test_a_run_ends_early_when_its_deterministic_loss_has_levelled_out(kind):
    base = tiny_base()
    rule = StopRule(every=2, window=8, threshold=0.5, floor=10)
    pack = [
        make_run(base, steps=60, stop_rule=rule, seed=1, **kind | {"rate": 1e-9}),
        make_run(base, 2, 2, 2, steps=20, **kind),
    ]
    kept: list[Checkpoint] = []
    training = make_training(base, pack)
    while not training.finished:
        kept += training.advance()
    assert 10 <= training.ends[0] < 60
    assert training.ends[1] == 20
    assert (0, training.ends[0]) in {(run, step) for run, step, _ in kept}


def test_levelled_out_needs_a_floor_and_a_flat_end():
    rule = StopRule(every=1, window=10, threshold=0.15, floor=20)
    falling = np.linspace(1, 0, 20)
    flat = np.concatenate([np.linspace(1, 0, 30), np.full(10, 0.001)])
    assert not levelled_out(falling, 20, rule)
    assert levelled_out(flat, 40, rule)
    assert not levelled_out(flat, 19, rule)
    assert not levelled_out(flat[-10:], 30, rule)


def test_the_evaluation_is_the_same_for_equal_vectors_and_falls_as_they_learn():
    base = tiny_base()
    rule = StopRule(every=3, window=99, threshold=0.0, floor=999)
    pack = [
        make_run(base, stop_rule=rule, steps=30, rate=0.05),
        make_run(base, 2, stop_rule=rule, steps=30, rate=1e-12),
    ]
    records = learn(base, pack).records[2::3, :, 3]
    assert records.isfinite().all()
    assert float((records[:, 1] - records[0, 1]).abs().max()) < 1e-5
    assert float(records[-1, 0]) < float(records[0, 0])


def test_the_evaluation_is_the_deterministic_loss_of_the_word_as_it_is_kept():
    """What loss.csv has of a step is what `evaluate` finds for the checkpoint, on the same pictures and levels."""
    base, latents, kept = tiny_base(), two_shapes(), []
    rule = StopRule(every=2, window=99, threshold=0.0, floor=999)
    # Another loss to learn by does not change the one to compare by.
    pack = [make_run(base, stop_rule=rule, huber_delta=0.1, min_snr_gamma=5.0), make_run(base, 2, 3, 1)]
    state = learn(base, pack, lambda _, checkpoints: kept.extend(checkpoints), latents=latents)
    loss = DeterministicLoss(base, latents, NOISE_LEVELS)
    last = {run: rows_of(parameters, pack, run) for run, step, parameters in kept if step == 12}
    for place, vectors in last.items():
        alone = make_run(base, 0, len(vectors))
        ids = torch.from_numpy(np.stack([alone.plain_ids(picture) for picture in range(3)]))
        value = loss(lambda rows, ids=ids, vectors=vectors: base.encode(ids[rows], vectors))
        torch.testing.assert_close(value, state.records[-1, place, 3].float(), rtol=1e-5, atol=0)


@KINDS
def test_gradient_checkpointing_changes_nothing_but_memory(kind):
    plain = learn(tiny_base(), [make_run(tiny_base(), **kind)]).parameters
    base = tiny_base()
    spared = learn(base, [make_run(base, **kind)], checkpointing=True).parameters
    torch.testing.assert_close(spared, plain, rtol=1e-4, atol=1e-6)


def test_v_prediction_is_trained_on_v():
    """With clean = noise = 1 the two targets differ: a model that answers 1 is perfect only for epsilon."""
    for prediction_type, perfect in (("epsilon", True), ("v_prediction", False)):
        base = tiny_base(prediction_type)
        base.predict = lambda noisy, t, states: torch.ones_like(noisy)  # type: ignore[method-assign]
        one = torch.ones(2, 4, 4, 4)
        loss = base.loss(one, one, torch.tensor([100, 900]), Conditioning(torch.zeros(2, 77, 16)))
        assert bool((loss < 1e-6).all()) is perfect


def test_what_a_weight_map_leaves_out_does_not_count():
    base = tiny_base()
    plain = square_latents()
    weight = torch.zeros(3, 1, 4, 4)
    weight[..., 2:] = 2.0

    def weighed(left: float) -> torch.Tensor:
        """Losses of a training that sees the right half only, with an answer that is `left` wrong on the left."""
        base.predict = lambda noisy, t, states: noisy * (states.states.mean() + 1) + left * (weight[:1] == 0)
        latents = Latents(plain.ids, [plain.groups[0]._replace(weight=weight)])
        return learn(base, [make_run(base)], latents=latents).records[..., 0]

    assert torch.equal(weighed(0.0), weighed(100.0))
