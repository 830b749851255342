"""Which model drafts the captions."""

from pathlib import Path

FALLBACK = "Salesforce/blip-image-captioning-base"


def captioner_name(setting: str, base_model: str, project: Path = Path()) -> str:
    """`auto` is the captioner that lies in the base model's folder, else BLIP base from the hub."""
    if setting != "auto":
        return setting
    beside = Path(base_model) / "captioner"
    return str(beside) if (project / beside).is_dir() else FALLBACK
