"""What only a GPU can show: the stages give there what they give on a CPU, up to rounding, also where memory ends."""

import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bench.choice import Budget, Case, make_latents, prepare, run
from pseudoword.formats.reading import read_embedding
from pseudoword.latents import Encoded, write_latents
from pseudoword.records import Choice, read_record
from pseudoword.results.places import CHOICE, SCORES
from stages.check.__main__ import main as check
from stages.choose.__main__ import main as choose
from stages.evaluate.__main__ import main as evaluate
from stages.judge.__main__ import main as judge
from stages.train.__main__ import main as train
from stages.train.graphs import Recorded
from tests.project import write_checked
from tests.tiny import TOYWORLD, tiny_inpainting, tiny_sdxl, tiny_stable_diffusion
from tests.training import IDS, make_project, start_stage, wait_for_a_state, write_params

pytestmark = pytest.mark.gpu

GPU = "cuda:0"
STEPS = 30
# Of what is learned in these steps. On a CPU fp16 rounds away 0.02 at most, bf16 0.06.
ROUNDING = {"fp32": 0.02, "fp16": 0.05, "bf16": 0.15}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_project()
    return tmp_path


def of_toyworld() -> None:
    """Its latents are larger than those of the tiny models."""
    generator = torch.Generator().manual_seed(0)
    means, std = torch.randn(len(IDS), 4, 8, 8, generator=generator), torch.full((4, 8, 8), 0.1)
    write_latents((Encoded(name, "", mean, std) for name, mean in zip(IDS, means, strict=True)), {})


def settings(device: str, precision: str, more: dict[str, Any]) -> None:
    write_params({"base": {"model": more.get("model", "base"), "device": device, "precision": precision},
                  "train": {"steps": STEPS} | more.get("train", {}), "sweep": more.get("sweep", {}),
                  "word": more.get("word", {})})  # fmt: skip


def learned() -> torch.Tensor:
    """How far all vectors of all runs have moved."""
    moved = []
    for folder in sorted(Path("outputs/words").iterdir()):
        start, end = (read_embedding(folder / f"steps/snorf-{step}.safetensors") for step in (0, STEPS))
        moved.append((end.vectors - start.vectors).flatten())
        if end.vectors_g is not None and start.vectors_g is not None:
            moved.append((end.vectors_g - start.vectors_g).flatten())
    return torch.cat(moved)


def trained(device: str, precision: str = "fp32", **more: Any) -> torch.Tensor:
    settings(device, precision, more)
    train()
    return learned()


def forget() -> None:
    """What is trained is trained from the beginning."""
    for state in Path(".scratch/train").glob("*/state.safetensors"):
        state.unlink()


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The share of what was learned that is another."""
    assert found.isfinite().all()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "inpainting", "sdxl", "toyworld"])
def test_a_pack_learns_what_it_learns_on_a_cpu(project: Path, kind: str, precision: str):
    if kind == "toyworld":
        of_toyworld()
    else:
        made = {"sdxl": tiny_sdxl, "inpainting": tiny_inpainting}.get(kind, lambda: tiny_stable_diffusion(kind))
        made().save_pretrained("base")
    more = {"model": TOYWORLD.as_posix() if kind == "toyworld" else "base", "sweep": {"train.seed": [0, 1]}}
    expected = trained("cpu", **more)
    for compiled in (False, "graphs") if precision == "bf16" else (False,):
        assert off(trained(GPU, precision, **more, train={"compile": compiled}), expected) < ROUNDING[precision]
        forget()


def test_a_training_that_was_killed_goes_on(project: Path, capsys: pytest.CaptureFixture[str]):
    of_toyworld()
    more = {"model": TOYWORLD.as_posix(), "train": {"steps": 150, "save_every": STEPS}}
    settings(GPU, "bf16", more)
    stopped = start_stage()
    wait_for_a_state(stopped)
    stopped.send_signal(signal.SIGKILL)
    stopped.communicate()
    train()
    assert "going on at step" in capsys.readouterr().out
    went_on = learned()
    forget()
    train()
    assert "going on at step" not in capsys.readouterr().out
    assert off(went_on, learned()) < 0.05


@pytest.mark.parametrize("found", ["before", "within"])
def test_memory_that_ends_before_or_within_a_training_changes_nothing(
    found: str, project: Path, capsys: pytest.CaptureFixture[str]
):
    of_toyworld()
    more = {"model": TOYWORLD.as_posix(), "train": {"batch": 64, "accumulation": 1}}
    more["train"] |= {"batch": "auto", "accumulation": "auto"} if found == "before" else {}
    more["sweep"] = {"train.seed": list(range(16))} if found == "before" else {}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    expected = trained(GPU, **more)
    printed = capsys.readouterr().out
    assert "out of memory" not in printed
    peak = torch.cuda.max_memory_reserved()
    forget()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    if found == "before":
        fitted = next(line for line in printed.splitlines() if "rows fit" in line)
        full = torch.empty(free - peak // 2, dtype=torch.uint8, device=GPU)
        again = trained(GPU, **more)
        del full
        fewer = next(line for line in capsys.readouterr().out.splitlines() if "rows fit" in line)
        assert int(fewer.split()[0]) < int(fitted.split()[0]) == int(fitted.split()[2])
    else:
        torch.cuda.set_per_process_memory_fraction(peak * 0.7 / total)
        try:
            again = trained(GPU, **more)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert "out of memory with 64 at once; going on with 32" in capsys.readouterr().out
    torch.cuda.empty_cache()
    assert off(again, expected) < ROUNDING["fp32"]


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("compiled", ["graphs", True])
def test_what_is_recorded_or_compiled_learns_the_same(
    compiled: bool | str, precision: str, project: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    of_toyworld()
    replays = list[int]()
    replay = Recorded.__call__
    monkeypatch.setattr(Recorded, "__call__", lambda *given: replays.append(1) or replay(*given))
    more = {"model": TOYWORLD.as_posix()}
    expected = trained(GPU, precision, **more, train={"compile": False})
    assert not replays
    forget()
    try:
        found = trained(GPU, precision, **more, train={"compile": compiled})
    finally:
        torch.compiler.set_stance("default")
    assert "warning" not in capsys.readouterr().out
    # All but the first two steps, and one that was held against the second.
    assert len(replays) == (STEPS - 1 if compiled == "graphs" else 0)
    assert off(found, expected) < ROUNDING[precision]


def test_every_stage_finds_what_it_finds_on_a_cpu():
    """Pictures in, choice out, in the precision that a GPU is given by default."""
    case, budget = Case("good", "thing", 3), Budget(60, 2, 0, 10, 3, 8)
    found = {}
    for device in ("cpu", GPU):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            prepare(case, budget)
            content = yaml.safe_load(Path("params.yaml").read_text())
            content["base"]["device"] = device
            write_checked(content)
            run(check)
            make_latents()
            run(train, evaluate, judge, choose)
            drawn = {path: path.read_bytes() for path in Path("outputs/evaluation/sheets").rglob("*.png")}
            found[device] = pd.read_csv(SCORES).dropna(subset=["score"]).set_index("step"), read_record(CHOICE, Choice)
            for path in drawn:
                path.unlink()
            for kept in Path(".scratch").rglob("*.png"):
                kept.unlink()
            run(evaluate)
            assert {path: path.read_bytes() for path in drawn} == drawn  # drawn anew, to the same bits
    (on_cpu, _), (on_gpu, choice) = found["cpu"], found[GPU]
    both = on_cpu.index.intersection(on_gpu.index)
    assert len(both) >= 2 and choice.better_than_init
    for measure in ("likeness", "obedience", "identity"):
        assert np.abs(on_cpu.loc[both, measure] - on_gpu.loc[both, measure]).max() < 0.15, measure
