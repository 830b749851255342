"""A stage's own progress on the page of its run, while it runs."""

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from flows.artifacts import as_picture
from pseudoword.progress import Progress, forget_progress, read_progress

EVERY_S = 2.0


@contextlib.contextmanager
def shown_progress(stage: str, root: Path) -> Iterator[None]:
    """Keep an artifact `progress-<stage>` at what the stage tells, and `latest-<stage>` at its latest picture."""
    forget_progress(root, stage)
    ended = threading.Event()
    # With the context of the task, so that the artifacts are the task's.
    watch = threading.Thread(target=contextvars.copy_context().run, args=[_follow, stage, root, ended], daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def _follow(stage: str, root: Path, ended: threading.Event) -> None:
    shown: Progress | None = None
    artifact: UUID | None = None
    last = False
    while not last:
        last = ended.wait(EVERY_S)
        now = read_progress(root, stage)
        if now is None or now == shown:
            continue
        percent, text = 100 * now.done / now.total, line(now)
        if artifact is None:
            artifact = cast(UUID, create_progress_artifact(percent, key=f"progress-{stage}", description=text))
        else:
            update_progress_artifact(artifact, percent, description=text)
        if now.picture and now.picture != (shown and shown.picture) and (image := as_picture(root / now.picture)):
            create_markdown_artifact(image, key=f"latest-{stage}", description=text)
        shown = now


def line(progress: Progress) -> str:
    """`train: 120 of 300 updates, loss 0.1234, 12.5 a second, 0:00:14 left`"""
    parts = [f"{progress.label}: {progress.done} of {progress.total} {progress.unit}s"]
    if progress.said:
        parts.append(progress.said)
    if progress.rate:
        parts.append(f"{progress.rate:.3g} a second" if progress.rate >= 1 else f"{1 / progress.rate:.3g} s each")
    if progress.seconds_left:
        parts.append(f"{timedelta(seconds=round(progress.seconds_left))} left")
    return ", ".join(parts)
