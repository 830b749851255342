"""Faults under a whole pipeline: two runs at once, a clock that jumps, a damaged cache, a file without rights."""

import os
import random
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.test_full_disk import contents
from tests.e2e.test_pipeline import STAGES, begin, repro, start
from tests.test_what_runs_again import QUICK, begin_project

REPRO = [sys.executable, "-m", "dvc", "repro"]
YEAR_S = 365 * 24 * 3600
# Imported by every Python of the project: no two of its processes agree on the time, and none with itself for long.
CLOCK = f"""
import os, random, time

clock = time.time
jumps = [random.Random(os.getpid()).uniform(-50, 10) * {YEAR_S} for _ in range(7)]
time.time = lambda: max(0.0, clock() + jumps[int(clock()) % 7])
time.time_ns = lambda: int(time.time() * 1e9)
"""
# What root may do and nobody else.
WITHOUT_RIGHTS = "-dac_override,-dac_read_search"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with quick settings, reproduced once."""
    folder = tmp_path_factory.mktemp("project")
    begin_project(folder, QUICK)
    assert repro(folder) == STAGES
    return folder


def forget(folder: Path) -> None:
    """Take away all that a run could go on from."""
    for name in ("outputs", ".scratch", ".dvc/cache"):
        shutil.rmtree(folder / name)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: content[::-1]])
def test_what_is_damaged_in_the_cache_is_made_again(project: Path, damage) -> None:  # type: ignore[no-untyped-def]
    before = contents(project)
    outs = yaml.safe_load((project / "dvc.lock").read_text())["stages"]["choose"]["outs"]
    (digest,) = [out["md5"] for out in outs if out["path"] == "outputs/choice/scores.csv"]
    damaged = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(damage(damaged.read_bytes()))
    damaged.chmod(0o444)
    shutil.rmtree(project / "outputs/choice")
    code, printed = start(REPRO, project)
    assert code == 0 and f"{digest[2:]} was damaged and is gone" in printed and "Running stage 'choose'" in printed
    assert contents(project) == before


def test_a_picture_that_may_not_be_read_is_named_and_nothing_is_lost(project: Path) -> None:
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may read everything")
    weaker = ["setpriv", f"--bounding-set={WITHOUT_RIGHTS}", f"--inh-caps={WITHOUT_RIGHTS}"]
    before, picture = contents(project), project / "data/sample/thing-01.png"
    picture.chmod(0)
    try:
        code, printed = start([*(weaker if os.geteuid() == 0 else []), *REPRO], project)
    finally:
        picture.chmod(0o644)
    assert code != 0 and "data/sample/thing-01.png may not be read; change its permissions" in printed
    assert "Traceback" not in printed
    of_check = ("outputs/code/", "outputs/settings/")  # which DVC deletes each time
    assert contents(project) == {name: was for name, was in before.items() if not name.startswith(of_check)}
    assert repro(project) == ["check"]
    assert contents(project) == before


@pytest.mark.parametrize("made", ["", "outputs/latents"])
def test_of_two_at_once_one_ends_well_and_the_other_says_why_not(project: Path, made: str) -> None:
    """made: what the first has begun to make when the second begins."""
    before = contents(project)
    forget(project)
    first = begin(REPRO, project)
    while not (project / made).exists():
        assert first.poll() is None
        time.sleep(0.1)
    second = begin(REPRO, project)
    told = {running.communicate()[0]: running.returncode for running in (first, second)}
    assert 0 in told.values(), "\n\n".join(told)
    for printed, code in told.items():
        assert code == 0 or ("is busy, it is being blocked by" in printed and "Traceback" not in printed), printed
    assert contents(project) == before
    assert repro(project) == ["check"]


def test_a_clock_that_jumps_changes_nothing(project: Path) -> None:
    before = contents(project)
    forget(project)
    (project / "sitecustomize.py").write_text(CLOCK)
    try:
        assert repro(project) == STAGES
        assert contents(project) == before
        moments = random.Random(0)
        for path in [*project.glob("outputs/**/*"), *project.glob("data/sample/*"), *project.glob("stages/**/*.py")]:
            os.utime(path, (moments.uniform(0, 60 * YEAR_S),) * 2)
        assert repro(project) == ["check"]
    finally:
        (project / "sitecustomize.py").unlink()
    assert repro(project) == ["check"]
