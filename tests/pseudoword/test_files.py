"""Files are written whole or not at all."""

import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pseudoword.files import atomic, save_with, write_bytes, write_table, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "folder" / "file.txt", "größe\n")
    assert (tmp_path / "new" / "folder" / "file.txt").read_bytes() == "größe\n".encode()
    assert names(tmp_path / "new" / "folder") == ["file.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic(path) as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("rights", [0o600, 0o660, 0o644])
def test_a_file_that_is_written_again_keeps_its_rights(tmp_path: Path, rights: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(rights)
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == rights


def test_nothing_is_seen_under_the_name_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def save(partial: Path) -> None:
        partial.write_bytes(b"half")
        assert not path.exists() and partial.parent == path.parent
        partial.write_bytes(b"whole")

    save_with(path, save)
    assert path.read_bytes() == b"whole"


def test_a_killed_writer_leaves_no_file_that_looks_finished(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from pseudoword.files import save_with\n"
        "def save(part): part.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "save_with(Path('table.csv'), save)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    assert done.returncode == -9
    (left,) = names(tmp_path)
    assert left.startswith(".table.csv.") and left.endswith(".partial")
    write_text(tmp_path / "other.csv", "")
    assert left in names(tmp_path)
    write_text(tmp_path / "table.csv", "whole\n")
    assert names(tmp_path) == ["other.csv", "table.csv"]


def test_what_others_are_writing_is_left_alone(tmp_path: Path) -> None:
    """A process that lives, and one of another machine that shares the disk."""
    here = platform.node()[:32]
    others = [f".table[1].csv.{here}.{os.getppid()}.partial", f".table[1].csv.elsewhere-{here}.99999999.partial"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f".table[1].csv.{here}.99999999.partial").touch()
    write_text(tmp_path / "table[1].csv", "whole\n")
    assert names(tmp_path) == sorted([*others, "table[1].csv"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=8),
    # A bare carriage return is the one character that a reader takes for a line's end; nothing of ours holds it.
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")), min_size=8, max_size=8),
)
def test_a_table_reads_back_as_it_was(tmp_path: Path, numbers: list[float], texts: list[str]) -> None:
    path = tmp_path / "table.csv"
    write_table(path, pd.DataFrame({"number": numbers, "text": texts[: len(numbers)]}))
    table = pd.read_csv(path, dtype={"text": str}, keep_default_na=False)
    assert np.array_equal(table["number"], numbers)
    assert list(table["text"]) == texts[: len(numbers)]


def test_a_table_has_no_index_and_the_shortest_floats(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", pd.DataFrame({"a": [0.1, 1e-9], "b": [1, 2]}))
    assert (tmp_path / "table.csv").read_text() == "a,b\n0.1,1\n1e-09,2\n"
