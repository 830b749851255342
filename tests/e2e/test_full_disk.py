"""Each stage on a disk that is full: one message, no half of a file, and the next run goes on to the same bytes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.test_pipeline import ROOT, start
from tests.test_what_runs_again import QUICK, begin_project

STAGES = [stage for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"] if stage != "check"]
MIB = 64
FULL = (".scratch", "outputs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def mount(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk of {MIB} MiB can be had here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout whose outputs and scratch lie on a small disk of their own, reproduced once."""
    if not Path("/usr/bin/mount").exists():
        pytest.skip("no disk can be mounted here")
    folder, disk = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("disk")
    begin_project(folder, QUICK)
    mounted = [disk]
    mount("-t", "tmpfs", "-o", f"size={MIB}m", "tmpfs", disk)
    try:
        for name in FULL:
            (disk / name).mkdir()
            (folder / name).mkdir()
            mount("--bind", disk / name, folder / name)
            mounted.append(folder / name)
        code, printed = start([sys.executable, "-m", "dvc", "repro"], folder)
        assert code == 0, printed
        yield folder
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", place], check=False)


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in (folder / "outputs").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def fill(folder: Path) -> Path:
    """Leave not a byte of room."""
    ballast = folder / "outputs/ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_one_message_and_the_next_run_goes_on(project: Path, stage: str) -> None:
    before = contents(project)
    outs = yaml.safe_load((project / "dvc.lock").read_text())["stages"][stage]["outs"]
    own = [name for name in before if any(name == out["path"] or name.startswith(f"{out['path']}/") for out in outs)]
    for name in own:
        (project / name).unlink()  # as dvc does, so that there is no room even for as much as was there
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", stage]
    ballast = fill(project)
    code, printed = start(command, project)
    ballast.unlink()
    assert code != 0
    (message,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "no room is left on the disk" in message and ("outputs/" in message or ".scratch/" in message), message
    assert "Traceback" not in printed
    assert re.search(f"note: `dvc checkout (--force )?{stage}` brings back", printed)
    assert not [path for name in FULL for path in (project / name).rglob("*.partial")]
    left = contents(project)
    assert {name: left[name] for name in before if name not in own} == {
        name: content for name, content in before.items() if name not in own
    }
    code, printed = start(command, project)
    assert code == 0, printed
    assert contents(project) == before
