"""A maintained list of words beside a module: `[sections]` of entries, one a line."""

import re
from functools import cache
from pathlib import Path


@cache
def read_sections(path: Path) -> dict[str, tuple[str, ...]]:
    """The entries of each section, lower case, without comments and empty lines."""
    sections: dict[str, list[str]] = {}
    entries: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip().lower()
        if text.startswith("["):
            entries = sections.setdefault(text.strip("[]"), [])
        elif text:
            entries.append(text)
    return {name: tuple(entries) for name, entries in sections.items()}


def any_of(*sections: tuple[str, ...]) -> str:
    """A regular expression for any of the entries, the longest first; a space also matches a hyphen."""
    entries = sorted({entry for section in sections for entry in section}, key=lambda entry: (-len(entry), entry))
    return "(?:" + "|".join(re.escape(entry).replace(r"\ ", r"[\s-]+") for entry in entries) + ")"
