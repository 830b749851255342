"""Measure the training loop: speed, share of the ceiling, memory, packs, and the usual loop beside it.

    python -m bench.train                                        # toyworld
    python -m bench.train --pictures FOLDER                      # the reference reads photographs at each use
    python -m bench.train --hypernetwork                         # one run and a pack of hypernetworks beside words
    python -m bench.train --layout sd15 --resolution 512         # random weights, on a GPU
    python -m bench.train --layout sdxl --width 0.2 --resolution 256   # a fifth of the channels, on a CPU

All cases take turns, so that other work on the machine disturbs them alike: ratios are medians over the rounds of
what was measured next to each other, with the smallest and the largest.
"""

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.cases import Case, Ours, Trainer, draw_pictures
from bench.measuring import ceiling, flops, peak_memory, seconds
from bench.models import Model
from pseudoword.base.placement import PRECISIONS, resolve_device, resolve_precision
from pseudoword.files import write_text

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default="models/toyworld", help="folder of a Stable Diffusion 1.x or 2.x")
    which.add_argument("--layout", choices=["sd15", "sdxl"], help="random weights in this layout instead")
    parser.add_argument("--width", type=float, default=1.0, help="factor on all channels of a layout")
    parser.add_argument("--resolution", type=int, help="px; default: what the model is trained on")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="that the usual loop reads at each use; default: drawn, in --resolution",
    )
    parser.add_argument("--batch", type=int, default=16, help="pictures through the UNet at once, over all runs")
    parser.add_argument("--packs", default="1,4,16", help="numbers of runs that share a batch; each divides --batch")
    parser.add_argument("--steps", type=int, default=10, help="updates between two looks at the clock")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each case")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--hypernetwork", action="store_true", help="also train hypernetworks")
    parser.add_argument("--compile", action="store_true", help="torch.compile our UNet")
    parser.add_argument("--graphs", action="store_true", help="record our steps as CUDA graphs")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    parser.add_argument("--out", type=Path, help="write all figures to this JSON file")
    own = parser.parse_args(given)
    own.packs = [int(number) for number in own.packs.split(",")]
    own.files = own.pictures and sorted(file for file in own.pictures.glob("*") if file.suffix.lower() in SUFFIXES)
    if own.files == []:
        parser.error(f"--pictures {own.pictures}: no {', '.join(SUFFIXES)} there")
    if any(own.batch % number for number in own.packs):
        parser.error(f"--packs {own.packs}: each must divide --batch {own.batch}")
    if own.layout is None and own.width != 1:
        parser.error("--width shrinks a layout; give --layout too")
    return own


def cases_of(packs: list[int], batch: int) -> list[Case]:
    """Packs with equal pictures at once; one run with as few as a run of the largest pack has; the same references."""
    few = batch // max(packs)
    cases = [*(Case(number, batch // number) for number in packs), Case(1, few), Case(0, batch), Case(0, few)]
    return list(dict.fromkeys(cases))


def measure(cases: list[Case], model: Model, resolution: int, own: argparse.Namespace, files: list[Path]) -> list[Any]:
    """For each case its FLOP per update and its seconds per update and ceilings of each round."""
    trainers: list[Trainer] = []
    results: list[Any] = [{"flop_per_update": 0, "seconds": [], "ceilings": []} for _ in cases]
    for case, result in zip(cases, results, strict=True):
        trainer = case.trainer(model, resolution, files, own.steps)
        result["flop_per_update"] = flops(_work(trainer, own.steps), model.device) // own.steps
        if isinstance(trainer, Ours):
            if own.compile:
                trainer.training.compile()
            if own.graphs:
                trainer.training.record()
        trainer.advance(own.steps)
        trainers.append(trainer)
    for _ in range(own.rounds):
        for trainer, result in zip(trainers, results, strict=True):
            result["ceilings"].append(ceiling(model.device, model.dtype))
            result["seconds"].append(seconds(_work(trainer, own.steps), model.device) / own.steps)
    return results


def _work(trainer: Trainer, updates: int) -> Callable[[], None]:
    return lambda: trainer.advance(updates)


def summary(cases: list[Case], results: list[Any], at: int, memory: int | None) -> dict[str, Any]:
    """Figures of one case. Each is compared by pictures per second, round by round."""
    case, result = cases[at], results[at]
    taken = result["seconds"]
    shares = [result["flop_per_update"] / s / top for s, top in zip(taken, result["ceilings"], strict=True)]

    def times(other: Case) -> dict[str, float] | None:
        if other not in cases:
            return None
        others = results[cases.index(other)]["seconds"]
        factor = case.pictures / other.pictures
        return _spread([factor * theirs / own for theirs, own in zip(others, taken, strict=True)])

    return {
        "case": case.name,
        "updates_per_second": 1 / statistics.median(taken),
        "pictures_per_second": case.pictures / statistics.median(taken),
        "gigaflop_per_picture": result["flop_per_update"] / case.pictures / 1e9,
        "share_of_ceiling": _spread(shares),
        "times_reference_of_equal_pictures": times(Case(0, case.pictures)),
        "times_reference_of_equal_batch": times(Case(0, case.batch)),
        "times_first_case": times(cases[0]),
        "peak_memory_mib": None if memory is None else memory / 2**20,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def table(rows: list[dict[str, Any]]) -> str:
    """Pictures per second count all runs of a pack; "ref. at once" has as many pictures in an update as the whole pack,
    "ref. a run" as many as each of its runs."""

    def spread(value: dict[str, float] | None, form: str) -> str:
        return f"{value['median']:{form}} ({value['least']:{form}}-{value['most']:{form}})" if value else ""

    head = f"{'case':<17}{'updates/s':>10}{'pictures/s':>11}{'GFLOP/pict.':>12}{'of ceiling':>16}"
    lines = [head + "".join(f"{name:>21}" for name in ("x ref. at once", "x ref. a run", "x first")) + f"{'MiB':>8}"]
    compared = ("times_reference_of_equal_pictures", "times_reference_of_equal_batch", "times_first_case")
    for row in rows:
        memory = "" if row["peak_memory_mib"] is None else f"{row['peak_memory_mib']:.0f}"
        lines.append(
            f"{row['case']:<17}{row['updates_per_second']:>10.2f}{row['pictures_per_second']:>11.1f}"
            f"{row['gigaflop_per_picture']:>12.2f}{spread(row['share_of_ceiling'], '.0%'):>16}"
            + "".join(f"{spread(row[name], '.2f'):>21}" for name in compared)
            + f"{memory:>8}"
        )
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    own = arguments(given)
    device = resolve_device(own.device)
    model = Model(own.layout or own.model, own.width, device, resolve_precision(own.precision, device))
    resolution = own.resolution or {"sd15": 512, "sdxl": 1024}.get(own.layout or "", 64)
    cases = cases_of(own.packs, own.batch)
    if own.hypernetwork:
        cases += [Case(number, own.batch // number, "hypernetwork") for number in (1, max(own.packs))]
    # First, because on a GPU the cases of this process would take the room.
    counted = own.memory and (device != "cpu" or Path("/proc/self/status").exists())
    memory = [peak_memory(case, model, resolution) if counted else None for case in cases]
    with tempfile.TemporaryDirectory() as folder:
        files = own.files or draw_pictures(Path(folder), resolution)
        results = measure(cases, model, resolution, own, files)
    rows = [summary(cases, results, at, taken) for at, taken in enumerate(memory)]
    about = {
        "model": model.name, "width": own.width, "resolution": resolution,
        "pictures": str(own.pictures or "drawn"), "steps": own.steps, "rounds": own.rounds,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine(),
        "threads": torch.get_num_threads(), "precision": str(model.dtype).removeprefix("torch."),
        "compiled": own.compile, "graphs": own.graphs, "torch": torch.__version__,
        "ceiling_gigaflop_per_second": statistics.median(c for result in results for c in result["ceilings"]) / 1e9,
    }  # fmt: skip
    print(
        ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in about.items()
        )
    )
    print(table(rows))
    if own.out:
        write_text(own.out, json.dumps(about | {"cases": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
