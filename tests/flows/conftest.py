import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows  # noqa: F401 - before prefect, which reads the environment that it sets
from tests.dvc_project import ROOT, project

__all__ = ["project"]


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness  # seconds, which only its users need to wait for

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def flow_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person types; in any folder, and with a Prefect that has never been used."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return [sys.executable, "-m", "flows.pipeline"]
