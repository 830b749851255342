"""What a run leaves behind: checkpoints, its losses, and everything that it was made with."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.files import write_table, write_text
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.writing import write_embedding
from pseudoword.word import to_embedding
from stages.train.loop import Training
from stages.train.pack import AUTO, Packed
from stages.train.state import RECORDED

PACKAGES = ("pseudoword", "torch", "diffusers", "transformers")


def describe(own: Packed, training: Training, model: dict[str, Any], data_sha256: str) -> dict[str, Any]:
    """Everything that a run was made with: each `auto` resolved, versions, the base model, hashes of the data."""
    plan, base = training.plan, training.base
    content = own.settings.model_dump(mode="json", include={"base", "word", "train"})
    precision = str(base.dtype).removeprefix("torch.")
    together = max(1, int(training.state.rows) // len(training.runs))
    resolved = {
        ("word", "vectors"): len(own.run.vectors),
        ("train", "steps"): own.run.steps,
        ("train", "batch"): together,
        ("train", "accumulation"): plan.samples // together if plan.samples % together == 0 else AUTO,
        ("train", "compile"): training.compiled,
        ("train", "save_every"): plan.every,
        ("train", "gradient_checkpointing"): training.checkpointing,
        ("base", "device"): str(base.device),
        ("base", "precision"): precision,
    }
    auto = [f"{section}.{key}" for section, key in resolved if content[section][key] == AUTO]
    for (section, key), value in resolved.items():
        if content[section][key] == AUTO:
            content[section][key] = value
    return {
        "settings": content,
        "auto": auto,
        "pictures": len(own.texts.captions),
        "samples_per_update": plan.samples,
        "templates": own.texts.templates,
        "windows": own.texts.vocabulary.windows,
        "data_sha256": data_sha256,
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "device": str(base.device),
        "precision": precision,
        "model": model,
    }


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
    write_table(folder / "loss.csv", table.loc[table["step"] % every == 0, columns])
    write_text(folder / "settings.json", json.dumps(report, indent=2) + "\n")
