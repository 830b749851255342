"""Flows schedule, spread and show the stages of dvc.yaml; whatever they do can be done by hand with `dvc repro`.

A flow knows nothing of pictures or models: it runs DVC, and DVC runs the stages.
"""

import contextlib
import io
import os
import sys
import warnings

from pydantic import ValidationError

from pseudoword.processes import end_with_parent

if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker's, whatever flow it is
    end_with_parent()
# Read by prefect when it is imported, so set before. Nothing is sent anywhere unless asked for.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# By Prefect's 180 s every run would fall silent for longer than flows.serve bears. For a worker's runs, which have read
# it before they see this, prefect.yaml says the same.
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
# Nothing of ours lies there.
warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")


def _refuse_unreadable_settings() -> None:
    """Say in one message which of Prefect's settings are wrong; every import of it would fail at them at length."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            from prefect.settings import get_current_settings

            get_current_settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'an address'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
            if problem["type"] != "default_factory_not_called"  # follows from another one
        )
        names = [name for name in sorted(os.environ) if name.startswith("PREFECT_")]
        sys.exit(
            f"error: Prefect's settings cannot be read: {problems}. They are read from {', '.join(names)} and from "
            "profiles, which `prefect profile ls` lists. Without Prefect: dvc repro"
        )
    sys.stderr.write(said.getvalue())


_refuse_unreadable_settings()
