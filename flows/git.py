"""git by its command, in any folder and from any hook; what it says of a failure becomes one of our messages."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pseudoword.errors import UserError

NO_PROMPT = {"GIT_TERMINAL_PROMPT": "0"}


class GitFailed(UserError):
    def __init__(self, arguments: Sequence[str], said: str) -> None:
        self.said = " ".join(said.split())
        super().__init__(f"`git {' '.join(arguments)}` failed: {self.said}")


class CannotFetch(UserError):
    def __init__(self, what: str, remote: str, why: str) -> None:
        super().__init__(f"{what} cannot be fetched from the git remote {remote}: {why}")


class NoIdentity(UserError):
    def __init__(self) -> None:
        super().__init__(
            "git knows no name and address of yours, with which an experiment is saved: `git config --global user.name "
            "NAME` and `git config --global user.email ADDRESS` tell it"
        )


def git(root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Its stdout. Raises GitFailed."""
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]  # no checkout of outputs by DVC's hooks
    # Inside a hook of git these would name another repository.
    inherited = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE")}
    env = {**inherited, **(env or {})}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GitFailed(arguments, done.stderr or f"exit code {done.returncode}")
    return done.stdout.strip()


def fetch(root: Path, what: str, remote: str, refs: str, *options: str) -> None:
    """Fetch it from the git remote. Raises CannotFetch."""
    try:
        git(root, "fetch", "--quiet", *options, "--", remote, refs, env=NO_PROMPT)
    except OSError as error:
        raise CannotFetch(what, remote, str(error)) from None
    except GitFailed as error:
        raise CannotFetch(what, remote, error.said) from None


def check_identity(root: Path) -> None:
    """DVC takes no other than what was told, and would say so when all has run."""
    try:
        for who in ("AUTHOR", "COMMITTER"):
            git(root, "-c", "user.useConfigOnly=true", "var", f"GIT_{who}_IDENT")
    except GitFailed:
        raise NoIdentity from None


def tree_of(root: Path, whole: Sequence[str], without: str) -> str:
    """The tracked files as they lie there but `without`, and all of the folders `whole`, as a tree of git.

    By an index of its own: neither the user's nor any of their files is touched.
    """
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary, "index")
        present = Path(git(root, "rev-parse", "--path-format=absolute", "--git-path", "index"))
        if present.exists():  # with what git knows of the files, so that it reads only those that changed
            shutil.copy(present, index)
        env = {"GIT_INDEX_FILE": str(index)}
        git(root, "add", "--update", "--", ".", f":(exclude){without}", env=env)
        new = [path for path in whole if (root / path).exists()]
        if new:
            git(root, "add", "--all", "--", *new, env=env)
        if git(root, "ls-files", "--", without, env=env):
            git(root, "reset", "--quiet", "HEAD", "--", without, env=env)
        return git(root, "write-tree", env=env)
