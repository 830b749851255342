import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pseudoword.dvc.process import StageFailed, StageStopped, nothing_left_behind, reproduce
from tests.dvc_project import Project, alive, project, waiting_stage

__all__ = ["project"]


@pytest.fixture(autouse=True)
def _leave_nothing_behind() -> Iterator[None]:
    with nothing_left_behind():
        yield


def test_a_stage_runs_then_is_unchanged_then_restored(project: Project) -> None:
    def outcome() -> str:
        return reproduce("first", project.folder, lambda line: None)

    assert outcome() == "Ran"
    assert outcome() == "Unchanged"
    project.tell(first="something else")
    assert outcome() == "Ran"
    project.tell(first="write")
    assert outcome() == "Restored"


def test_a_failure_repeats_what_the_stage_said(project: Project) -> None:
    project.tell(first="fail")
    lines: list[str] = []
    with pytest.raises(StageFailed) as failure:
        reproduce("first", project.folder, lines.append)
    assert "first says fail" in lines
    assert failure.value.headline == "stage first failed (exit code 1): error: first was told to fail"
    assert not failure.value.may_heal


def test_a_failure_before_the_stage_ran_repeats_what_dvc_said(project: Project) -> None:
    (project.folder / "stage.py").unlink()
    with pytest.raises(StageFailed, match=r"before it ran.*\n.*stage\.py"):
        reproduce("first", project.folder, lambda line: None)


def test_a_killed_stage_may_heal(project: Project) -> None:
    project.tell(first="die once")
    with pytest.raises(StageFailed, match="killed by signal 9") as failure:
        reproduce("first", project.folder, lambda line: None)
    assert failure.value.may_heal
    assert reproduce("first", project.folder, lambda line: None) == "Ran"


def test_a_flow_that_ends_early_takes_its_stages_along(project: Project) -> None:
    project.tell(first="wait")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            reproduce("first", project.folder, lambda line: None)
        except StageStopped as stopped:
            raised.append(stopped)

    thread = threading.Thread(target=run)
    with pytest.raises(KeyboardInterrupt), nothing_left_behind():
        thread.start()
        pid = waiting_stage(project.folder)
        raise KeyboardInterrupt
    thread.join(timeout=10)
    assert raised
    assert not alive(pid)


def test_a_stage_does_not_outlive_its_dvc(project: Project) -> None:
    project.tell(first="wait")

    def kill_dvc() -> None:
        os.kill(os.getpgid(waiting_stage(project.folder)), signal.SIGKILL)

    killer = threading.Thread(target=kill_dvc)
    killer.start()
    with pytest.raises(StageFailed, match="killed by signal 9"):
        reproduce("first", project.folder, lambda line: None)
    killer.join()
    assert not alive(int((project.folder / "waiting").read_text()))
