"""All that is to be measured on a GPU, in one run of at most eight minutes: tests, speed beside the reference, memory.

    python -m bench.gpu            # or `make gpu`; the last lines are a table for docs/decisions/0004
    python -m bench.gpu --tiny     # the same steps on a CPU, with a twentieth of the channels

Each step is a process of its own with a limit of its own: one that fails or takes too long is told, and the rest is
still measured. What matters most comes first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.cases import Case, Ours
from bench.models import Model
from pseudoword.base.placement import resolve_device, resolve_precision

TESTS = Path(__file__).parents[1] / "tests"
LIMIT_S = 480
TESTS_S, SPEED_S, PROBE_S = 220, 100, 60  # limits of one step each
MAX_TAIL = 1500  # characters of a failed step's output
# What comes first is measured if time runs short.
WAYS = (("bf16",), ("bf16", "--graphs"), ("bf16", "--compile"), ("fp16",))
# By layout: pictures at once, packs, updates between two looks at the clock, rounds, most rows to probe.
LAYOUTS = {"sd15": (8, "1,8", 5, 3, 256), "sdxl": (4, "4", 2, 2, 64)}
TINY = ["--width", "0.05", "--resolution", "64", "--device", "cpu", "--steps", "1", "--rounds", "1", "--batch", "2",
        "--packs", "2"]  # fmt: skip


@dataclass(frozen=True)
class Step:
    name: str
    command: list[str]
    limit_s: float
    figures: Path | None = None  # that it writes, as bench.train does


def steps(folder: Path, tiny: bool) -> list[Step]:
    marked = [str(file) for file in sorted(TESTS.rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    tests = Step("tests", ["-m", "pytest", "-q", "-m", "gpu", *marked, *(["--collect-only"] if tiny else [])], TESTS_S)
    speed, probes = [], []
    for way in WAYS:
        for layout, (batch, packs, updates, rounds, most) in LAYOUTS.items():
            name = " ".join((layout, *way)).replace("--", "")
            figures = folder / f"{name.replace(' ', '-')}.json"
            size = TINY if tiny else ["--batch", str(batch), "--packs", packs, "--steps", str(updates), "--rounds",
                                      str(rounds)]  # fmt: skip
            command = ["-m", "bench.train", "--layout", layout, "--precision", *way, "--no-memory", *size,
                       "--out", str(figures)]  # fmt: skip
            speed.append(Step(name, command, SPEED_S, figures))
            if way == WAYS[0]:
                probe = ["-m", "bench.gpu", "--probe", layout, "--rows", str(most), *(["--tiny"] if tiny else [])]
                probes.append(Step(f"memory {layout}", probe, PROBE_S))
    return [tests, *speed[:2], *probes, *speed[2:]]


def take(step: Step, left_s: float | None) -> str:
    """Run one step; what it printed, or why it came to nothing. Without `left_s` it may take as long as it likes."""
    limit = None if left_s is None else min(step.limit_s, left_s)
    if limit is not None and limit <= 0:
        return "not begun: the time is up"
    try:
        done = subprocess.run(
            [sys.executable, *step.command], capture_output=True, text=True, timeout=limit, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    nothing_to_test = step.name == "tests" and done.returncode == 5  # pytest's, where no test was chosen
    if done.returncode and not nothing_to_test:
        return f"failed ({done.returncode})\n{(done.stdout + done.stderr)[-MAX_TAIL:]}"
    return done.stdout.strip()


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Markdown rows, one for each case of each step."""
    lines = ["| layout, precision | case | pictures/s | against the reference with as many at once | of ceiling |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name, content in figures.items():
        for row in content["cases"]:
            spread = [row["times_reference_of_equal_pictures"], row["share_of_ceiling"]]
            ratio, share = (
                f"{each['median']:.2f} ({each['least']:.2f}-{each['most']:.2f})" if each else "not measured"
                for each in spread
            )
            lines.append(f"| {name} | {row['case']} | {row['pictures_per_second']:.3g} | {ratio} | {share} |")
    return "\n".join(lines)


def probe(layout: str, most: int, tiny: bool) -> str:
    """How many rows of one run fit, as a training finds out."""
    device = "cpu" if tiny else resolve_device("auto")
    model = Model(layout, 0.05 if tiny else 1.0, device, resolve_precision("bf16", device))
    resolution = 64 if tiny else {"sd15": 512, "sdxl": 1024}[layout]
    trainer = Case(1, 1).trainer(model, resolution, [], 1)
    assert isinstance(trainer, Ours)
    training = trainer.training
    if device == "cpu":
        for rows in (1, 2):
            training.probe(rows)
        return f"{layout}: two rows fit; a CPU is not asked for more"
    rows = training.capacity.probed_rows(training.probe, most)
    training.probe(rows)
    peak = torch.cuda.max_memory_allocated() / 2**30
    return f"{layout} bf16, {resolution} px: {rows} of {most} rows fit, {peak:.1f} GiB at their peak"


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="on a CPU, with a twentieth of the channels")
    parser.add_argument("--probe", choices=list(LAYOUTS), help="only find out how many rows fit")
    parser.add_argument("--rows", type=int, default=64, help="most rows to probe")
    options = parser.parse_args(given)
    if options.probe:
        print(probe(options.probe, options.rows, options.tiny))
        return
    end, figures, failed = time.monotonic() + LIMIT_S, {}, []
    with tempfile.TemporaryDirectory() as folder:
        for step in steps(Path(folder), options.tiny):
            print(
                f"--- {step.name}\n{(told := take(step, None if options.tiny else end - time.monotonic()))}", flush=True
            )
            if step.figures and step.figures.exists():
                figures[step.name] = json.loads(step.figures.read_text())
            elif step.figures or told.startswith(("failed", "stopped", "not begun")):
                failed.append(step.name)
    device = next((content["device"] for content in figures.values()), "no device")
    print(f"\n{device}, torch {torch.__version__}\n\n{table(figures)}")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
