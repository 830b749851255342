"""Objects of DVC's cache that were damaged. That DVC then makes them again is in tests/e2e/test_faults.py."""

import hashlib
import os
from pathlib import Path

import pytest

from pseudoword.dvc.cache import OBJECTS, remove_damaged

MEMORY = Path("memory.json")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cached(content: bytes, ending: str = "") -> Path:
    digest = hashlib.md5(content).hexdigest()
    path = OBJECTS / digest[:2] / f"{digest[2:]}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return written(path, content)


def written(path: Path, content: bytes, mode: int = 0o444) -> Path:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_what_is_whole_stays_and_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remove_damaged(MEMORY) == []
    kept = [cached(b"word"), cached(b"[]", ".dir"), cached(b"")]
    assert remove_damaged(MEMORY) == []
    monkeypatch.setattr("pseudoword.dvc.cache._md5", None)
    assert remove_damaged(MEMORY) == [] and all(path.exists() for path in kept)


@pytest.mark.parametrize("content", [b"wo", b"", b"wird", b"word and more"])
@pytest.mark.parametrize("ending", ["", ".dir"])
def test_what_is_cut_off_or_changed_goes_before_and_after_it_was_known(content: bytes, ending: str) -> None:
    kept, path = cached(b"another"), cached(b"word", ending)
    for _ in range(2):
        written(path, content)
        assert remove_damaged(MEMORY) == [path] and not path.exists() and kept.exists()
        assert remove_damaged(MEMORY) == []
        written(path, b"word")
        assert remove_damaged(MEMORY) == []


def test_what_dvc_looks_into_itself_is_left_to_it() -> None:
    path = written(cached(b"word"), b"wo", 0o644)
    assert remove_damaged(MEMORY) == [] and path.exists()


@pytest.mark.parametrize("memory", [b"{", b"[]", b"", b"\xff"])
def test_a_damaged_memory_is_made_again(memory: bytes) -> None:
    path = cached(b"word")
    os.utime(path, ns=(0, 0))
    MEMORY.write_bytes(memory)
    assert remove_damaged(MEMORY) == [] and path.exists()
    assert MEMORY.read_text() == f'{{"{hashlib.md5(b"word").hexdigest()}": [4, 0]}}'
