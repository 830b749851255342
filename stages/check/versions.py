"""Whether libraries and threads are those that made the outputs. Nothing runs again for them."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pseudoword.records import BadRecord, RunRecord, read_record
from pseudoword.threads import thread_count

WORDS = Path("outputs/words")


def other_circumstances() -> str:
    """A sentence on packages of another version and on another number of threads than the word was learned with; empty
    where all are the same."""
    differences: dict[str, str] = {}
    for path in sorted(WORDS.glob("*/settings.json")):
        try:
            record = read_record(path, RunRecord)
        except BadRecord:
            continue  # the stages that read it say what is wrong
        for package, then in record.versions.items():
            if package != "pseudoword" and (now := _installed(package)) != then:
                differences[package] = f"{package} {then}, now {now}"
        if record.threads not in (None, threads := thread_count()):
            differences["threads"] = f"{record.threads} threads, now {threads}, which rounds otherwise"
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
