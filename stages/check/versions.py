"""Whether the libraries that are installed are those that made the outputs. Nothing runs again for them."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pseudoword.records import BadRecord, RunRecord, read_record

WORDS = Path("outputs/words")


def other_versions() -> str:
    """A sentence on the packages whose version is not the one that the word was learned with; empty where all are."""
    differences: dict[str, str] = {}
    for path in sorted(WORDS.glob("*/settings.json")):
        try:
            used = read_record(path, RunRecord).versions
        except BadRecord:
            continue  # the stages that read it say what is wrong
        for package, then in used.items():
            if package != "pseudoword" and (now := _installed(package)) != then:
                differences[package] = f"{package} {then}, now {now}"
    if not differences:
        return ""
    return (
        f"note: {WORDS} was learned with {'; '.join(differences.values())}. Nothing runs again for that; "
        "`dvc repro -f` makes all of it anew."
    )


def _installed(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
