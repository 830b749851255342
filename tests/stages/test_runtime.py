"""Taking a GPU alone. The card is a stand-in: what counts are the processes that wait for each other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages._runtime import alone_on

pytest.importorskip("fcntl", reason="this system has no file locks")

HOLDER = """
import sys
from types import SimpleNamespace
cuda = SimpleNamespace(get_device_properties=lambda device: SimpleNamespace(uuid="0f-1e"))
sys.modules["torch"] = SimpleNamespace(cuda=cuda)
from stages._runtime import alone_on
with alone_on(sys.argv[1]):
    print("got it", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PSEUDOWORD_GPU_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


def hold(device: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, device]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("other", ["cuda:0", "cuda:1"])
def test_a_card_is_waited_for_by_whichever_number_it_is_seen(locks: Path, other: str):
    first = hold("cuda:0")
    assert said(first) == "got it"
    second = hold(other)
    assert said(second) == f"waiting for {other}: another stage is using it"
    first.kill()  # the kernel frees the lock of whoever dies
    assert said(second) == "got it"
    second.communicate("")
    first.communicate()
    assert second.returncode == 0


def test_the_locks_are_for_all_users_of_a_machine(locks: Path):
    old = os.umask(0o077)
    try:
        with alone_on("mps"):
            pass
    finally:
        os.umask(old)
    assert locks.stat().st_mode & 0o7777 == 0o1777
    assert (locks / "mps.lock").stat().st_mode & 0o777 == 0o644
    (locks / "mps.lock").chmod(0o444)
    with alone_on("mps"):
        pass


def test_a_lock_is_not_followed_to_somebody_elses_file(locks: Path, tmp_path: Path):
    (tmp_path / "precious").write_text("kept")
    locks.mkdir()
    (locks / "mps.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"mps\.lock"), alone_on("mps"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_processor_is_shared(locks: Path):
    with alone_on("cpu"), alone_on("cpu"):
        assert not locks.exists()
