"""What a run leaves behind: checkpoints, its losses, and everything that it was made with."""

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

from pseudoword.base.interface import Base
from pseudoword.files import write_table, write_text
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.writing import write_embedding
from pseudoword.word import to_embedding
from stages.train.loop import Training
from stages.train.pack import AUTO, Packed
from stages.train.state import RECORDED

PACKAGES = ("pseudoword", "torch", "diffusers", "transformers", "numpy")


def describe(own: Packed, training: Training, model: dict[str, Any], data_sha256: str) -> dict[str, Any]:
    """Everything that a run was made with: what it read of params.yaml, each `auto` resolved, versions, the
    base model, hashes of the data."""
    plan, base = training.plan, training.base
    precision, rows = str(base.dtype).removeprefix("torch."), int(training.state.rows)
    together = max(1, rows // len(training.runs))
    settings = own.settings.model_dump(mode="json", exclude={"sweep"})
    auto = _resolve(
        settings,
        {
            "base.attention": "sdpa",
            "base.device": str(base.device),
            "base.precision": precision,
            "word.vectors": len(own.run.vectors),
            "train.steps": own.run.steps,
            "train.batch": together,
            "train.accumulation": plan.samples // together if plan.samples % together == 0 else AUTO,
            "train.compile": training.compiled,
            "train.save_every": plan.every,
            "train.gradient_checkpointing": training.checkpointing,
            "train.preview.width": model["resolution"],
            "train.preview.height": model["resolution"],
        },
    )
    return {
        "settings": settings,
        "auto": auto,
        "pictures": len(own.texts.captions),
        "samples_per_update": plan.samples,
        "rows_at_once": rows,
        "templates": own.texts.templates,
        "windows": own.texts.vocabulary.windows,
        "data_sha256": data_sha256,
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "device": str(base.device),
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


def metadata_of(own: Packed, update: int, model: dict[str, Any]) -> dict[str, str]:
    commit = {"pseudoword.base_commit": model["commit"]} if model["commit"] else {}
    return (
        modelspec(own.settings.word.name, model["family"], model["resolution"])
        | commit
        | {
            "pseudoword.step": str(update),
            "pseudoword.run": own.run.name,
            "pseudoword.base_model": model["name"],
            "pseudoword.base_sha256": model["sha256"],
        }
    )


def write_checkpoint(
    folder: Path, own: Packed, update: int, vectors: Tensor, base: Base, model: dict[str, Any]
) -> None:
    """`<folder>/steps/<word>-<update>.safetensors`, named by the updates that were done."""
    word = own.settings.word.name
    embedding = to_embedding(word, vectors, base.widths, metadata_of(own, update, model))
    write_embedding(folder / "steps" / f"{word}-{update}.safetensors", embedding, overwrite=True)


def write_records(folder: Path, own: Packed, records: Tensor, end: int, report: dict[str, Any]) -> None:
    """loss.csv from `records` (updates, 4) and settings.json of a run that ended after `end` updates."""
    table = pd.DataFrame(
        {
            "step": range(1, end + 1),
            "epoch": [update * report["samples_per_update"] // report["pictures"] for update in range(end)],
            **dict(zip(RECORDED, records[:end].T.numpy(), strict=True)),
            "learn_rate": own.run.update.rates[:end],
        }
    )
    every = own.settings.train.log_every
    columns = ["step", "epoch", "loss", "learn_rate", "norm", "gradient", "evaluation"]
    logged = (table["step"] % every == 0) | (table["step"] == end)
    write_table(folder / "loss.csv", table.loc[logged, columns])
    write_text(folder / "settings.json", json.dumps(report, indent=2) + "\n")
