"""The graph and the metrics, as DVC has them. The only module that reads DVC's inside.

Two facts it knows: `stage.addressing` is relative to the caller's folder, so names are built from `path_in_repo`;
and an edge of DVC's graph leads from a stage to what it needs.
"""

import contextlib
import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from pseudoword.errors import UserError


class NoGraph(UserError):
    def __init__(self, root: Path, why: str) -> None:
        super().__init__(
            f"DVC cannot read the graph of {root}: {why}\n`pseudoword check` tells what of it is params.yaml's."
        )


class NoHome(UserError):
    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"DVC cannot read its settings: {error.filename}: {error.strerror}. It looks below HOME, which is "
            f"'{os.environ.get('HOME', '')}': set that to a folder that you may write to."
        )


class UnknownTarget(UserError):
    def __init__(self, target: str, known: Sequence[str]) -> None:
        nearest = difflib.get_close_matches(target, known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
        super().__init__(f"dvc.yaml has no stage {target!r}{hint} It has: {', '.join(known)}.")


@dataclass(frozen=True)
class Stage:
    name: str
    needs: tuple[str, ...]  # the stages whose outputs it reads
    always: bool = False  # it runs each time, whatever has changed


def stages_in_order(root: Path, targets: Sequence[str] = ()) -> list[Stage]:
    """The stages that `dvc repro TARGET ...` would look at, each after all that it needs. No target: every stage."""
    with _repository(root) as repo:
        graph = repo.index.graph
        # A .dvc file is data without a command: there is nothing to run.
        commands = graph.subgraph([stage for stage in graph if stage.cmd])
        needs = {_name(stage): tuple(sorted(map(_name, commands.successors(stage)))) for stage in commands}
        always = {_name(stage) for stage in commands if stage.always_changed}
    order = list(TopologicalSorter(needs).static_order())
    for target in targets:
        if target not in needs:
            raise UnknownTarget(target, order)
    wanted = _with_all_they_need(targets, needs) if targets else set(needs)
    return [Stage(name, needs[name], name in always) for name in order if name in wanted]


def changed_stages(root: Path) -> dict[str, list[str]]:
    """The stages that are not as dvc.lock has them, each with the kinds of reasons, as `dvc status` gives them.

    What depends on such a stage is not among them until that has run. Waits while another process holds DVC's lock.
    """
    found = {}
    with _repository(root) as repo, repo.lock:
        for stage in repo.index.stages:
            if stage.cmd and (status := stage.status()):
                (entries,) = status.values()
                found[_name(stage)] = _reasons(entries)
    return found


@contextlib.contextmanager
def _repository(root: Path) -> Iterator[Repo]:
    """Raises NoGraph for whatever DVC does not get along with, NoHome where it cannot read the user's settings."""
    try:
        with _opened(root) as repo:
            yield repo
    except DvcException as error:
        raise NoGraph(root, str(error)) from None
    except AssertionError:  # for which DVC has no words
        raise NoGraph(root, "a path in it is empty") from None


def _opened(root: Path) -> Repo:
    try:
        return Repo(str(root), _wait_for_lock=True)
    except OSError as error:
        raise NoHome(error) from None


def _reasons(entries: list[str | dict[str, Any]]) -> list[str]:
    """`changed deps: data/sample` and the like, one for each file; `always changed` as it is."""
    found = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(entry)
        else:
            found += [f"{kind}: {path}" for kind, paths in entry.items() for path in paths]
    return found


def metrics(root: Path) -> dict[str, dict[str, Any]]:
    """The content of each metrics file by its path, as `dvc metrics show` reads it; a file not yet made is left out."""
    command = [sys.executable, "-m", "dvc", "metrics", "show", "--json"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    files = json.loads(shown.stdout).get("", {}).get("data", {})
    return {path: content["data"] for path, content in files.items() if "data" in content}


def _name(stage: Any) -> str:
    """What `dvc repro` takes as a target in the root folder."""
    return str(stage.name if stage.path_in_repo == "dvc.yaml" else f"{stage.path_in_repo}:{stage.name}")


def _with_all_they_need(targets: Sequence[str], needs: dict[str, tuple[str, ...]]) -> set[str]:
    wanted: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(needs[name])
    return wanted
