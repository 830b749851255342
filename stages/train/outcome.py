"""The records of a run: its losses, and everything that its word was made with."""

import json
import platform
from functools import reduce
from importlib.metadata import version
from operator import getitem
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from pseudoword.files import write_table, write_text
from pseudoword.formats.modelspec import modelspec
from pseudoword.threads import thread_count
from stages.train.loop import Training
from stages.train.pack import Packed
from stages.train.state import RECORDED

AUTO = "auto"
PACKAGES = ("pseudoword", "torch", "diffusers", "transformers", "numpy")
# Settings of train that decide nothing of the word: how it is looked at.
LOOKING_ON = {"preview", "log_every", "tensorboard"}


def describe(packed: Packed, training: Training, model: dict[str, Any], data_sha256: str) -> dict[str, Any]:
    """Everything that the word of a run was made with: the settings that decide it, each `auto` resolved, versions, the
    base model, hashes of the data."""
    plan, base = training.plan, training.base
    precision, rows = str(base.dtype).removeprefix("torch."), int(training.state.rows)
    together = max(1, rows // len(training.runs))
    sections = ["base", "word", "train"]
    if packed.settings.train.learn == "hypernetwork":
        sections.append("hypernetwork")
    settings = {
        section: getattr(packed.settings, section).model_dump(mode="json", exclude=LOOKING_ON) for section in sections
    }
    auto = _resolve(
        settings,
        {
            "base.attention": "sdpa",
            "base.device": str(base.device),
            "base.precision": precision,
            **packed.learned.resolved(),
            "train.steps": packed.run.steps,
            "train.batch": together,
            "train.accumulation": plan.samples // together if plan.samples % together == 0 else AUTO,
            "train.compile": training.capacity.compiled,
            "train.save_every": plan.save_every,
            "train.gradient_checkpointing": training.capacity.checkpointing,
        },
    )
    return {
        "settings": settings,
        "auto": auto,
        "pictures": len(packed.texts.captions),
        "samples_per_update": plan.samples,
        "rows_at_once": rows,
        "templates": packed.texts.templates,
        "windows": packed.texts.vocabulary.windows,
        "data_sha256": data_sha256,
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "device": str(base.device),
        "threads": thread_count() if base.device.type == "cpu" else None,
        "device_name": torch.cuda.get_device_name(base.device) if base.device.type == "cuda" else "",
        "precision": precision,
        "model": model,
    }


def _resolve(settings: dict[str, Any], resolved: dict[str, Any]) -> list[str]:
    """Put what `auto` came to in its place; the keys where it stood."""
    keys = []
    for key, value in resolved.items():
        *sections, last = key.split(".")
        place = reduce(getitem, sections, settings)
        if place[last] == AUTO:
            place[last] = value
            keys.append(key)
    return keys


def metadata_of(packed: Packed, step: int, model: dict[str, Any]) -> dict[str, str]:
    """The metadata of a checkpoint."""
    commit = {"pseudoword.base_commit": model["commit"]} if model["commit"] else {}
    provenance = commit | {
        "pseudoword.step": str(step),
        "pseudoword.run": packed.run.name,
        "pseudoword.base_model": model["name"],
        "pseudoword.base_sha256": model["sha256"],
    }
    if packed.settings.train.learn == "hypernetwork":  # ModelSpec has no kind for it
        return provenance
    return modelspec(packed.learned.name, model["family"], model["resolution"]) | provenance


def write_losses(path: Path, packed: Packed, records: Tensor, end: int, samples: int) -> None:
    """loss.csv from `records` (steps, 4) of a run that ended after `end` steps of so many samples."""
    table = pd.DataFrame(
        {
            "step": range(1, end + 1),
            "epoch": [step * samples // len(packed.texts.captions) for step in range(end)],
            **dict(zip(RECORDED, records[:end].T.numpy(), strict=True)),
            "learn_rate": packed.run.optimizer.rates[:end],
        }
    )
    columns = ["step", "epoch", "loss", "learn_rate", "norm", "gradient", "evaluation"]
    logged = (table["step"] % packed.settings.train.log_every == 0) | (table["step"] == end)
    write_table(path, table.loc[logged, columns])


def write_settings(path: Path, report: dict[str, Any]) -> None:
    write_text(path, json.dumps(report, indent=2) + "\n")
