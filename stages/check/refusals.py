"""What cannot work although each setting is valid: files that are missing or in the way."""

from collections.abc import Iterator

from pseudoword.settings.loading import Settings
from pseudoword.settings.word import EMBEDDINGS


def refusals(settings: Settings) -> Iterator[str]:
    """One line for each thing that has to change first."""
    yield from name_in_use(settings.word.name, settings.word.overwrite)


def name_in_use(name: str, overwrite: bool) -> Iterator[str]:
    if overwrite or not EMBEDDINGS.is_dir():
        return
    for path in sorted(EMBEDDINGS.iterdir()):
        if path.stem.lower() == name:
            yield f"word.name: {path} has the name '{name}' already; choose another, or set word.overwrite: true"
