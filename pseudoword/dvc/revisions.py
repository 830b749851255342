"""Files of other git revisions and DVC experiments, without touching the workspace."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev
from dvc_data.index import DataIndexError
from scmrepo.exceptions import SCMError

from pseudoword.errors import UserError


class UnknownRevision(UserError):
    def __init__(self, revision: str, why: str) -> None:
        super().__init__(
            f"'{revision}' is no folder of outputs, git revision or DVC experiment here: {why}. "
            "`dvc exp list --all-commits` and `git log --oneline --all` name those that are."
        )


class NoGit(UserError):
    def __init__(self, root: Path) -> None:
        super().__init__(f"{root.resolve()} is no git repository, so it has no revisions or experiments to compare")


def experiments(root: Path) -> list[str]:
    """The names of all DVC experiments of the repository, of every commit. Raises NoGit."""
    try:
        with Repo(str(root)) as repo:
            found = repo.experiments.ls(all_commits=True)
    except (DvcException, SCMError):
        raise NoGit(root) from None
    return sorted({str(name) for names in found.values() for name, *_ in names})


class Revision:
    """The files of one revision, tracked by git or by DVC, from the repository, DVC's cache or its remote."""

    def __init__(self, root: Path, name: str) -> None:
        """Raises UnknownRevision."""
        try:
            with Repo(str(root)) as repo:
                commit = resolve_rev(repo.scm, name)
            self._files = DVCFileSystem(str(root.resolve()), rev=commit)
        except (RevError, SCMError, DvcException) as error:
            raise UnknownRevision(name, str(error) or type(error).__name__) from None

    def fetch(self, paths: Iterable[Path], folder: Path) -> list[Path]:
        """Copy files, and folders with all that is in them, to the same place below `folder`; those that cannot be
        had, because the revision lacks them or they were never pushed, are returned."""
        return [path for path in paths if not self._fetch(PurePosixPath(path.as_posix()), folder)]

    def _fetch(self, path: PurePosixPath, folder: Path) -> bool:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._files.get(str(path), str(target), recursive=True)
        except (OSError, DvcException, DataIndexError):
            return False
        return True
