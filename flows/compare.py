"""The page that sets runs and experiments beside each other, as `pseudoword compare` makes it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.artifacts import as_link
from pseudoword.errors import UserError

FOLDER = Path(".scratch/comparison")


class NoComparison(UserError):
    """The words of the command."""


@flow(name="compare", persist_result=False, log_prints=True)
def compare(revisions: Sequence[str] = (), every: bool = False) -> State[object]:
    """Set runs, experiments and revisions beside each other on one page.

    Args:
        revisions: DVC experiments, git revisions or folders; none means what lies in the project.
        every: Every experiment of the project besides.
    """
    try:
        return Completed(message=comparison(Path.cwd(), [*revisions, *(["--all"] if every else [])]))
    except NoComparison as error:
        return Failed(message=str(error), data=error)


def comparison(root: Path, arguments: Sequence[str], folder: Path = FOLDER) -> str:
    """Write the page, show where it is, and return what it comes to in a line. Raises NoComparison."""
    out = str((root / folder).resolve())
    command = [sys.executable, "-m", "pseudoword", "compare", "--out", out, *arguments]
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoComparison(done.stderr.strip().removeprefix("error: "))
    upshot = done.stdout.strip().splitlines()
    # It names the page's path, and holds the page: a browser opens no file from a web page.
    text = "\n\n".join([*upshot, as_link(root / folder / "index.html")])
    create_markdown_artifact(text, key="comparison", description="Runs beside each other")
    return upshot[0] if upshot else ""
