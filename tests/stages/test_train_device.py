"""What keeps a GPU busy: updates that never wait for it, and parts of equal length for a compiled UNet."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Self

import pytest
import torch
import torch._dynamo
from torch.utils._python_dispatch import TorchDispatchMode

from pseudoword.base.interface import Base
from pseudoword.plan import make_plan
from pseudoword.structure import Structure
from stages.train import capacity, graphs
from stages.train.capacity import CannotCompile, compiles
from stages.train.graphs import Graphs, Recorded
from stages.train.loop import Training
from stages.train.run import StopRule
from tests.packs import make_run, make_training, tiny_base, two_shapes

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
LOOPS: list[dict[str, Any]] = [
    {},
    {"stop_rule": StopRule(1, 4, 0.1, 1)},
    {"huber_delta": 0.1, "min_snr_gamma": 5.0, "clip": "norm"},
    {"norm": "direction", "average": 0.9},
    {"norm": "rescale", "clip": "value", "noise_offset": 0.1},
]


# ---------------------------------------------------------------------------------------------- no waiting


class Waits(TorchDispatchMode):
    """Notes what would make the host wait for a GPU: values read back, lengths that depend on values, values sent."""

    WAIT = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "lift_fresh")

    def __init__(self, on_host: list[torch.Tensor]) -> None:
        super().__init__()
        self.on_host, self.found = [tensor.data_ptr() for tensor in on_host], []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = op.name().removeprefix("aten::").split(".")[0]
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        if any(name.startswith(wait) for wait in self.WAIT) and tensors[0].data_ptr() not in self.on_host:
            self.found.append(op.name())
        if name in ("index", "index_put", "index_put_") and any(
            t is not None and t.dtype is torch.bool for t in args[1]
        ):
            self.found.append(f"{op.name()} by a mask")
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("more", LOOPS)
def test_no_update_waits_for_the_device(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    training = make_training(tiny_base(), [make_run(tiny_base(), **more)], latents=two_shapes())
    training.advance()  # what is made once and kept
    waits = Waits([training.state.rows])
    watch(training, lambda: waits, monkeypatch)
    training.advance()
    assert waits.found == []


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("more", LOOPS)
def test_no_update_waits_for_a_gpu_as_cuda_itself_sees_it(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    base = tiny_base(device="cuda:0")
    training = make_training(base, [make_run(base, **more)], latents=two_shapes())
    training.advance()
    watch(training, no_waiting, monkeypatch)
    training.advance()


@contextmanager
def no_waiting() -> Iterator[None]:
    try:
        torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watch(
    training: Training, under: Callable[[], AbstractContextManager[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have each part of an update done `under` it."""

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def of_update(*args: Any) -> Any:
            with under():
                return function(*args)

        return of_update

    optimizer = training.optimizer
    for owner, name in ((training, "gradient"), (training.early_stop, "losses"), (optimizer, "step"),
                        (optimizer, "norms_of")):  # fmt: skip
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))


# ---------------------------------------------------------------------------------------------- recording


class ReplayedOnCpu(Recorded):
    """Does the recorded work on what was put into the recorded inputs."""

    wrong: ClassVar[float] = 1.0
    made: ClassVar[int] = 0

    @classmethod
    def of(cls, work: Any, parameters: Any, scale: Any, rows: Any, pool: Any) -> Self:
        ReplayedOnCpu.made += 1
        inputs = (parameters.clone(), scale.clone(), rows.copied())
        outputs = tuple(torch.zeros_like(made) for made in work(*inputs))

        class Graph:
            def replay(self) -> None:
                losses, gradient = work(*inputs)
                outputs[0].copy_(losses)
                outputs[1].copy_(gradient * ReplayedOnCpu.wrong)

        return cls(Graph(), inputs, outputs)  # type: ignore[arg-type]


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Training]]:
    """Makes a training that records as on a GPU, with some room for graphs."""
    monkeypatch.setattr(graphs, "Recorded", ReplayedOnCpu)
    monkeypatch.setattr(ReplayedOnCpu, "made", 0)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 100)

    def make(room: int = 1000, **more: Any) -> Training:
        base = tiny_base()
        runs = [make_run(base), make_run(base, used=2, seed=1, steps=5)]
        training = make_training(base, runs, latents=two_shapes(), **more)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (room, room))
        training.graphs = Graphs(CPU)
        return training

    yield make


def trained(training: Training) -> torch.Tensor:
    while not training.finished:
        training.advance()
    return training.state.parameters


@pytest.mark.parametrize("rows", [9, 2])  # with 2 a step has several parts of one kind
def test_replayed_steps_learn_the_same_bits(recording: Callable[..., Training], rows: int):
    plain = recording(rows=rows)
    plain.graphs = None
    assert trained(recording(rows=rows)).equal(trained(plain))
    assert 2 <= ReplayedOnCpu.made <= 4


@pytest.mark.parametrize(("room", "wrong", "made"), [(1000, 1.5, 1), (1000, math.nan, 1), (199, 1.0, 0)])
def test_a_step_that_cannot_be_recorded_is_done_as_it_is(
    room: int, wrong: float, made: int, recording: Callable[..., Training], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    plain = recording()
    plain.graphs = None
    monkeypatch.setattr(ReplayedOnCpu, "wrong", wrong)
    assert trained(recording(room)).equal(trained(plain))
    assert ReplayedOnCpu.made == made  # after the first no other one is tried
    printed = capsys.readouterr().out
    assert printed.count("cannot be recorded as a CUDA graph (the gradient is") == made
    assert printed.count("rows are not recorded as a CUDA graph") == (0 if made else 4)  # two shapes, two runs and one


def test_a_recording_that_fails_is_told_and_the_training_goes_on(
    recording: Callable[..., Training], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*given: object) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand much more")

    plain = recording()
    plain.graphs = None
    monkeypatch.setattr(ReplayedOnCpu, "of", fail)
    assert trained(recording()).equal(trained(plain))
    assert capsys.readouterr().out.count("warning: a step cannot be recorded as a CUDA graph (operation not") == 1


def test_memory_that_runs_out_takes_the_graphs_back(
    recording: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
):
    training = recording(rows=4)
    training.advance()
    assert training.graphs is not None
    before = dict(training.graphs.recorded)
    assert before
    done, fails = training._work, [True]

    def work(*given: Any) -> Any:
        if fails:
            fails.pop()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return done(*given)

    monkeypatch.setattr(training, "_work", work)
    trained(training)
    assert int(training.state.rows) == 2
    assert not set(before.values()) & set(training.graphs.recorded.values())


def test_hypernetworks_are_not_recorded():
    base = tiny_base()
    training = make_training(base, [make_run(base, structure=Structure())])
    base.device = CUDA
    training.record()
    assert training.graphs is None


# ---------------------------------------------------------------------------------------------- compiling


def test_auto_compiles_on_a_gpu_where_enough_passes_make_up_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capacity, "missing_for_compiling", lambda device: "")
    many, few = make_plan(16, 1, 1000, 16, 1, "auto"), make_plan(16, 1, 999, 16, 1, "auto")
    assert compiles("auto", CUDA, many, 1, 1) and not compiles("auto", CUDA, few, 1, 1)
    assert not compiles("auto", CUDA, many, 1, 2)
    assert not compiles("auto", CPU, many, 1, 1)
    assert not compiles(False, CUDA, many, 1, 1) and compiles(True, CPU, few, 1, 1)
    split = make_plan(16, 1, 250, 4, 4, "auto")
    assert compiles("auto", CUDA, split, 1, 1)


def test_without_a_compiler_auto_does_without_and_true_is_refused(monkeypatch: pytest.MonkeyPatch):
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    plan = make_plan(16, 1, 1000, 16, 1, "auto")
    assert not compiles("auto", CUDA, plan, 1, 1)
    for device in (CUDA, CPU):
        with pytest.raises(CannotCompile, match=r"train\.compile is true, .* needs a C"):
            compiles(True, device, plan, 1, 1)


def test_parts_are_filled_up_to_one_length_for_each_shape_without_another_result(monkeypatch: pytest.MonkeyPatch):
    def trained(compiled: bool) -> tuple[torch.Tensor, set[tuple[int, ...]]]:
        base, lengths = tiny_base(), set()
        runs = [make_run(base), make_run(base, used=2, seed=1, steps=5)]
        training = make_training(base, runs, rows=3, latents=two_shapes())
        training.capacity.compiled = compiled
        original = base.residual
        monkeypatch.setattr(base, "residual", lambda *given: lengths.add(tuple(given[0].shape)) or original(*given))
        while not training.finished:
            training.advance()
        return training.state.parameters, lengths

    vectors, lengths = trained(False)
    filled, equal = trained(True)
    torch.testing.assert_close(filled, vectors, rtol=1e-4, atol=1e-6)
    assert len(lengths) > 2 and sorted(equal) == [(2, 4, 4, 8), (3, 4, 4, 4)]


@pytest.fixture
def default_stance() -> Iterator[None]:
    yield
    torch.compiler.set_stance("default")


@pytest.mark.parametrize("scale", [1.0, 2.0**127])  # the second overflows, as the first ones of fp16 do
@pytest.mark.parametrize("factor", [1.0, 1.5, math.nan])
def test_a_compiler_that_gives_another_gradient_is_not_used(
    factor: float, scale: float, monkeypatch: pytest.MonkeyPatch, default_stance: None
):
    base = tiny_base()
    training = make_training(base, [make_run(base)], rows=2)
    training.state.scale.fill_(scale)
    predict = base.predict
    wrong = lambda *given: predict(*given) * factor  # noqa: E731
    monkeypatch.setattr(base, "compile", lambda shapes: monkeypatch.setattr(base, "predict", wrong))
    training.compile()
    assert training.capacity.compiled == (factor == 1)
    assert training.state.scale.tolist() == [scale]


def compile_with(base: Base, backend: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = base.unet.compile
    monkeypatch.setattr(base.unet, "compile", lambda **how: compiled(backend=backend, **how))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_auto_goes_on_without_a_compiler_that_fails_and_true_says_how_it_failed(
    monkeypatch: pytest.MonkeyPatch, default_stance: None, capsys: pytest.CaptureFixture[str]
):
    def fail(*given: object) -> Any:
        raise ValueError("no room for a kernel\nand much more")

    def training() -> Training:
        base = tiny_base()
        compile_with(base, fail, monkeypatch)
        return make_training(base, [make_run(base)], rows=2)

    with pytest.raises(CannotCompile, match=r"compiling for cpu failed: no room for a kernel\. Mend"):
        training().compile(True)
    going_on = training()
    going_on.compile("auto")
    assert "warning: the UNet cannot be compiled (no room for a kernel); going on" in capsys.readouterr().out
    going_on.advance()
    assert going_on.state.step and not going_on.capacity.compiled


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_each_shape_of_latents_is_compiled_however_many_there_are(monkeypatch: pytest.MonkeyPatch):
    compiled: list[object] = []
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    base = tiny_base()
    compile_with(base, lambda graph, inputs: compiled.append(graph) or graph, monkeypatch)
    base.compile(3)
    with torch.no_grad():
        for width in (2, 4, 6):
            base.predict(torch.zeros(1, 4, 4, width), torch.tensor([5]), base.nothing())
    assert len(compiled) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_training_learns_the_same(default_stance: None):
    def trained(compiled: bool) -> torch.Tensor:
        base = tiny_base()
        training = make_training(base, [make_run(base, steps=20, stop_rule=StopRule(2, 8, 0.0, 1))], rows=2)
        if compiled:
            training.compile()
        while not training.finished:
            training.advance()
        return training.state.parameters

    torch.testing.assert_close(trained(True), trained(False), rtol=1e-3, atol=1e-5)
