"""The outputs of an experiment as `compare` reads them, with measures that a test knows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pseudoword.results.tables import MEASURES, MEASURES_VERSION

PROMPTS = ("a [name]", "a [name] by the sea", "a [name] at night")
SEEDS = (0, 1)
STEPS = (20, 40)
TAKEN = 40
NUM_SAMPLES = 6  # of a step
MEASURED = dict.fromkeys(MEASURES, 0.5) | dict.fromkeys(("copying", "overbaked", "broken"), 0.0)
PICTURES = len(PROMPTS) * len(SEEDS)


def likeness_of(level: float, step: int) -> np.ndarray[Any, Any]:
    """Of each picture of a run; prompts and seeds differ alike in all runs."""
    spread = np.linspace(-0.1, 0.1, PICTURES)
    return level * (0.8 if step != TAKEN else 1.0) + spread


def write_experiment(
    root: Path,
    runs: Mapping[str, tuple[dict[str, Any], float]],
    *,
    evaluate: Mapping[str, Any] | None = None,
    judges: Mapping[str, Any] | None = None,
    pictures: int = 3,
    zeros: Mapping[str, float] | None = None,
    prompts: tuple[str, ...] = PROMPTS,
) -> None:
    """Write `outputs` below `root`.

    runs    by name its settings, as {section: {key: value}}, and its likeness; the best one is the chosen one
    zeros   by run, where 0 of the likeness lies; 0.2 elsewhere, and 1 at 0.9
    """
    outputs = root / "outputs"
    chosen = max(runs, key=lambda run: runs[run][1])
    swept = {f"{s}.{k}": [] for settings, _ in runs.values() for s, values in settings.items() for k in values}
    _write_settings(outputs / "settings", dict(evaluate or {}), swept if len(runs) > 1 else {})
    used = [(f"{i:012x}", f"{i}.png", "used", "") for i in range(pictures)]
    pd.DataFrame(used, columns=["id", "source", "state", "reason"]).to_csv(_made(outputs / "pictures.csv"), index=False)
    drawn, scores = [], []
    for number, (run, (settings, level)) in enumerate(runs.items()):
        _write(outputs / "words" / run / "settings.json", _record(settings, pictures))
        word = outputs / "words" / run / "steps" / f"snorf-{TAKEN}.safetensors"
        _made(word).write_bytes(b"a word " + run.encode())
        zero = (zeros or {}).get(run, 0.2)
        for prompt, seed in [(prompt, seed) for prompt in prompts for seed in SEEDS]:
            file = f"controls/init-{run}/{prompts.index(prompt)}-{seed}.png"
            Image.new("RGB", (16, 16), "grey").save(_made(outputs / "evaluation/sheets" / file))
            drawn.append({"run": run, "step": 0, "control": "init", "prompt": prompt, "seed": seed, "file": file,
                          **MEASURED, "likeness": 0.0, "similarity": zero, "nearest": used[0][0]})  # fmt: skip
        for step in STEPS:
            likeness = likeness_of(level, step)
            cells = [(prompt, seed) for prompt in prompts for seed in SEEDS]
            for (prompt, seed), value in zip(cells, likeness, strict=False):
                file = f"{run}-{step}/{prompts.index(prompt)}-{seed}.png"
                colour = (40 * number, 5 * step, int(200 * value) % 256)
                Image.new("RGB", (16, 16), colour).save(_made(outputs / "evaluation/sheets" / file))
                measured = MEASURED | {"likeness": value, "similarity": zero + value * (0.9 - zero)}
                drawn.append({"run": run, "step": step, "control": "", "prompt": prompt, "seed": seed, "file": file,
                              **measured, "nearest": used[0][0]})  # fmt: skip
            scores.append(_score(run, step, likeness, run == chosen))
    pd.DataFrame(drawn).to_csv(_made(outputs / "judged/pictures.csv"), index=False)
    pd.DataFrame(scores).to_csv(_made(outputs / "choice/scores.csv"), index=False)
    scales = {run: {"zero": (zeros or {}).get(run, 0.2), "one": 0.9} for run in runs}
    believed = {"images": "a judge", "texts": "a reader", "kind": "thing", "likeness": scales,
                "obedience": {"zero": 0.0, "one": 0.4}, "measures": MEASURES_VERSION}  # fmt: skip
    _write(outputs / "judged/judges.json", believed | dict(judges or {}))
    choice = {"word": "snorf", "run": chosen, "step": TAKEN, "file": "x", "reason": "It is best."}
    _write(outputs / "choice/choice.json", choice)


def _score(run: str, step: int, likeness: np.ndarray[Any, Any], chosen: bool) -> dict[str, Any]:
    values = MEASURED | {"likeness": likeness.mean(), "score": likeness.mean()}
    columns = {f"{name}{end}": value + shift for name, value in values.items()
               for end, shift in (("", 0), ("_low", -0.05), ("_high", 0.05))}  # fmt: skip
    return {"run": run, "step": step, "loss": 0.1, **columns, "veto": "", "tied": False,
            "chosen": chosen and step == TAKEN}  # fmt: skip


def _record(settings: dict[str, Any], pictures: int) -> dict[str, Any]:
    return {
        "settings": {"base": {"model": "models/toyworld"}, "word": {"name": "snorf"}, "train": {}} | settings,
        "pictures": pictures, "samples_per_update": NUM_SAMPLES, "windows": 1, "templates": ["a [name]"],
        "versions": {"pseudoword": "0.1.0"}, "device": "cpu", "precision": "fp32",
        "model": {"name": "models/toyworld", "family": "sd1", "resolution": 64},
    }  # fmt: skip


def _write_settings(folder: Path, evaluate: dict[str, Any], sweep: dict[str, Any]) -> None:
    drawing = {"guidance": 3.0, "inference_steps": 20, "timesteps": 8} | evaluate
    _write(folder / "evaluate.json", {"settings": {"evaluate": drawing}, "files": {}})
    _write(folder / "train.json", {"settings": {"train": {"norm": "rescale"}, "sweep": sweep}, "files": {}})
    _write(folder / "choose.json", {"settings": {"choose": {"likeness": 2.0}}, "files": {}})
    _write(folder / "judge.json", {"settings": {}, "files": {}})


def _write(path: Path, content: dict[str, Any]) -> None:
    _made(path).write_text(json.dumps(content))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
