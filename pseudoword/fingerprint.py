"""A name for one computation, so that what was worked out before is taken up again only where nothing has changed."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def fingerprint(settings: object, files: Iterable[Path], packages: Iterable[str]) -> str:
    """16 hex digits; any difference in these gives others.

    settings  whatever has a `repr` that tells all of it
    files     inputs and code, by name and content
    packages  by the versions that are installed
    """
    total = hashlib.sha256(repr(settings).encode())
    for path in files:
        total.update(path.name.encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for package in packages:
        total.update(f"{package} {version(package)}".encode())
    return total.hexdigest()[:16]
