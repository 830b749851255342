"""DVC experiments that were made in another workspace of the same repository: a git worktree with the cache in common.

An experiment is a commit under `refs/exps/<first two digits of its parent>/<the rest>/<name>`, which all worktrees of a
repository share. So what is saved in one is shown, applied and pushed in any other.
"""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.repo import Repo
from scmrepo.exceptions import SCMError

from pseudoword.errors import UserError
from pseudoword.processes import ending_with_parent


class CannotSave(UserError):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the experiment {name} ran, but DVC cannot save it: {why}. Do the same again to save it.")


class CannotTrack(UserError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"DVC cannot take {path} into its cache: {why}")


class CannotSend(UserError):
    def __init__(self, name: str, remote: str, why: str) -> None:
        super().__init__(
            f"the experiment {name} is kept on this machine, but cannot be sent to {remote}: {why}. "
            f"`dvc exp push {remote} {name}` tries again."
        )


class CannotReceive(UserError):
    def __init__(self, name: str, remote: str, why: str) -> None:
        super().__init__(f"{remote} has the experiment {name}, but it cannot be fetched with its files: {why}")


def share_cache(root: Path, workspace: Path) -> None:
    """Give the workspace the cache and the remotes of `root`, wherever their relative paths lead from there."""
    with Repo(str(root)) as repo:
        cache, config = repo.cache.local_cache_dir, Config(repo.dvc_dir)
        here = config.load_one("local")
        remotes = config.load_one("repo").get("remote", {}) | here.get("remote", {})
    with Config(str(workspace / ".dvc")).edit("local") as local:
        local.setdefault("cache", {})["dir"] = str(cache)
        local.setdefault("remote", {}).update(remotes)
        if default := here.get("core", {}).get("remote"):
            local.setdefault("core", {})["remote"] = default


def track(workspace: Path, folder: Path) -> None:
    """Take a folder of the workspace into the cache, with a .dvc file beside it. Raises CannotTrack."""
    if problem := _run(workspace, ["add", "--quiet", folder.as_posix()]):
        raise CannotTrack(folder, problem)


def check_out(workspace: Path, folder: Path) -> None:
    """Bring back a folder that a .dvc file names, from the cache or a remote. Raises CannotTrack."""
    if problem := _run(workspace, ["pull", "--quiet", f"{folder.as_posix()}.dvc"]):
        raise CannotTrack(folder, problem)


def save(workspace: Path, name: str, message: str, stages: Sequence[str] = ()) -> None:
    """Save what git sees of the workspace as the experiment `name`, in place of one of that name. Raises CannotSave.

    stages  whose outputs are there; none means all
    """
    if problem := _run(workspace, ["exp", "save", "--force", "--name", name, "--message", message, *stages]):
        raise CannotSave(name, problem)


def push(root: Path, remote: str, commit: str, name: str) -> None:
    """Send the experiment over this commit to a git remote, its files and what was made of what to the DVC remote.

    Raises CannotSend.
    """
    if problem := _run(root, ["exp", "push", "--quiet", "--force", "--run-cache", remote, ref(commit, name)]):
        raise CannotSend(name, remote, problem)


def pull(root: Path, remote: str, commit: str, name: str) -> None:
    """Fetch the experiment over this commit with its files from a git remote that has it. Raises CannotReceive."""
    if problem := _run(root, ["exp", "pull", "--quiet", remote, ref(commit, name)]):
        raise CannotReceive(name, remote, problem)


def figures(root: Path, revision: str) -> dict[str, Any]:
    """The content of the metrics files of an experiment, commit or branch; empty where there are none."""
    try:
        with Repo(str(root)) as repo:
            files = repo.metrics.show(revs=[revision]).get(revision, {}).get("data", {})
    except (DvcException, SCMError):
        return {}
    return {key: value for content in files.values() for key, value in content.get("data", {}).items()}


def message_of_experiment(root: Path, commit: str, name: str) -> str | None:
    """The message that the experiment over this commit was saved with; None where there is none of that name."""
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%B", ref(commit, name), "--"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout if shown.returncode == 0 else None


def ref(commit: str, name: str) -> str:
    """Where git keeps the experiment over this commit."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def _run(workspace: Path, arguments: Iterable[str]) -> str:
    """Why dvc failed; empty where it did not."""
    command = ending_with_parent("from dvc.cli import main; sys.exit(main(sys.argv[1:]))")
    done = subprocess.run(
        [*command, "--wait-for-lock", *arguments], cwd=workspace, capture_output=True, text=True, check=False
    )
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return "" if done.returncode == 0 else ("; ".join(errors) or done.stderr.strip() or f"exit code {done.returncode}")
