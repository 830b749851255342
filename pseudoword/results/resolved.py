"""What `auto` came to, of all settings: the record of a run has those that decide its training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pseudoword.captions.models import captioner_name
from pseudoword.records import JudgesRecord, RunRecord
from pseudoword.results.settings import flat

AUTO = "auto"
OF_WORDS = (
    "word.vectors", "word.init_file", "train.learn_rate", "train.weight_decay", "train.norm", "train.pull",
)  # fmt: skip


def resolved(
    settings: Mapping[str, Any], record: RunRecord, judges: JudgesRecord, weighted: int, project: Path = Path()
) -> tuple[dict[str, Any], set[str]]:
    """The settings by dotted key with what `auto` came to in its place, and the keys where it stood.

    settings  of all stages, as `check` wrote them; what the run was trained with replaces them
    weighted  how many of the pictures have a loss weight by place
    project   where a relative path of the base model begins
    """
    values = in_effect({**settings, **flat(record.settings)}, record)
    drafters = values.get("caption.drafters", [])
    came_to = {
        "caption.model": captioner_name(AUTO, record.model.name, project) if "captioner" in drafters else "not used",
        "judge.images": judges.images,
        "judge.texts": judges.texts,
        "preprocess.masks": f"used for {weighted} of {record.pictures} pictures" if weighted else "there are none",
        "preprocess.resolution": record.model.resolution,
        "train.preview.height": record.model.resolution,
        "train.preview.width": record.model.resolution,
    }
    found = {key for key in came_to if values.get(key) == AUTO}
    return values | {key: came_to[key] for key in found}, found | set(record.auto)


def in_effect(settings: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """The settings by dotted key without those that say nothing of what the run learned, a word or a hypernetwork."""
    of_words = not record.of_hypernetwork
    return {
        key: value
        for key, value in settings.items()
        if not (key.startswith("hypernetwork.") if of_words else key in OF_WORDS)
    }
