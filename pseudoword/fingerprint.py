"""Cache keys: a hash of settings, files and package versions."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version


def fingerprint(parts: object, packages: Iterable[str]) -> str:
    """16 hex digits; any difference in these gives others.

    parts     settings and digests of inputs and code: whatever has a `repr` that tells all of it
    packages  by the versions that are installed
    """
    total = hashlib.sha256(repr(parts).encode())
    for package in packages:
        total.update(f"{package} {version(package)}".encode())
    return total.hexdigest()[:16]
