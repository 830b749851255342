"""Runs with other settings, each a DVC experiment in a workspace of its own, so that the user's stays as it is.

    experiment = Experiment.planned(root, {"train.learn_rate": 0.01})   # raises BadSettings before anything is made
    with experiment.workspace() as folder:
        ...                                                             # run the stages there
        experiment.save(folder, stages, note)

A workspace is a git worktree in the scratch, with the cache and the scratch of the project. It begins as the project's
tracked files are now, edits included, or as they are in another commit, which `fetched` brings from a git remote. DVC's
own `exp run --temp` would run all stages as one command that ends with 255 when the experiment is there already, and
its `--queue` loses experiments.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows.git import NO_PROMPT, GitFailed, check_identity, fetch, git, tree_of
from flows.overrides import flat, put, write_overrides
from pseudoword.dvc import experiments
from pseudoword.dvc.experiments import CannotSend
from pseudoword.dvc.revisions import Revision
from pseudoword.errors import UserError
from pseudoword.files import sha256_of, write_text
from pseudoword.locks import file_lock
from pseudoword.scratch import VARIABLE, held, mark_used, prune
from pseudoword.settings.loading import PARAMS, read_content, read_settings
from pseudoword.settings.naming import names_of
from pseudoword.settings.word import EMBEDDINGS

FOLDER = Path(".scratch/workspaces")
LOCK = Path(".scratch/locks/git.lock")
ORIGIN = Path(".scratch/origin")  # in a workspace: what it was begun from
LINKS = Path(".scratch/links")  # there: what leads back into the project, and is none of the experiment's
LOCKED = "dvc.lock"
COMMIT_DIGITS = 40
ALL = "all"
MAX_NAME_BYTES = 250  # a folder's name takes 255, and git locks a ref by a file with `.lock` behind it
WITH_OVERRIDES = Path("params.yaml with these overrides")


class NoExperiments(UserError):
    def __init__(self, root: Path, why: str) -> None:
        super().__init__(f"{root} {why}, so a run cannot have settings of its own. Edit {PARAMS} there in their place.")


class NoSuchRevision(UserError):
    def __init__(self, root: Path, revision: str) -> None:
        super().__init__(f"revision: found {revision!r}, wanted a commit, branch or tag of {root}")


class BadName(UserError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"name: found {name!r}, wanted letters, digits, '.', '-' and '_', such as lr0.02-seed1, or nothing: it "
            "becomes a folder and a git ref"
        )


class NameTaken(UserError):
    def __init__(self, name: str, remote: str = "") -> None:
        there, by = (f" at {remote}", f" --git-remote {remote}") if remote else ("", "")
        super().__init__(
            f"there is an experiment {name}{there} with other settings, code or pictures. Choose another name, leave "
            f"it out, or remove that one by `dvc exp remove{by} {name}`."
        )


@dataclass(frozen=True)
class Experiment:
    """What a run with these overrides would be made of; nothing is written yet."""

    root: Path
    name: str
    commit: str  # that it is over
    tree: str  # the tracked files that it begins from, as git has them
    overrides: dict[str, Any]  # by section.key
    pictures: Path | None  # what to carry into data.folder: git does not have it
    folder: Path  # data.folder, below the workspace

    @classmethod
    def planned(
        cls, root: Path, overrides: Mapping[str, Any], name: str = "", revision: str = "", remote: str = ""
    ) -> "Experiment":
        """`root` is the current folder. Raises BadSettings for wrong overrides, BadName, NoExperiments, NameTaken.

        revision  commit, branch or tag to begin from. Empty: the tracked files as they lie in the project
        remote    git remote whose experiments count as well, as `fetched` found them
        """
        commit = _commit(root, revision)
        if name and not _is_name(root, name):
            raise BadName(name)
        exchanged = flat(overrides)
        content = _content_in(root, commit) if revision else read_content(PARAMS)
        put(content, exchanged)
        # A path below the project is written as it is there, so that it means the same in the workspace.
        source = Path(read_settings(content, WITH_OVERRIDES).data.folder)
        pictures = root / source
        folder = Path(os.path.relpath(pictures, root))
        if ".." in folder.parts:  # lies elsewhere
            folder = Path("data", pictures.name)
            if (root / folder).exists():
                folder = Path("data", f"{pictures.name}-{_digest(str(pictures))}")
        if folder != source:
            exchanged["data.folder"] = folder.as_posix()
            put(content, exchanged)
        if revision:
            tree = git(root, "rev-parse", f"{commit}^{{tree}}")
            # Or named by a .dvc file, of which each machine gets the content by itself.
            in_git = bool(git(root, "ls-tree", tree, "--", str(folder), f"{folder}.dvc"))
        else:
            in_git = bool(git(root, "ls-files", "--", str(folder)))
            whole = ["templates", *([str(folder)] if in_git else [])]
            # dvc.lock changes with each run and decides nothing: the cache knows what was made of what.
            tree = tree_of(root, whole, LOCKED)
        carried = pictures if not in_git and pictures.is_dir() else None
        planned = cls(root, name, commit, tree, exchanged, carried, folder)
        if name:
            return planned._named([name], remote)
        name = _what_differs(root, commit, content, tree)
        return planned._named([name, planned._apart(name)], remote)

    @classmethod
    def all_planned(
        cls, root: Path, points: Sequence[Mapping[str, Any]], revision: str = "", remote: str = ""
    ) -> list["Experiment"]:
        """One for each of these overrides, as `planned` makes it; no two different ones have a name in common."""
        planned = [cls.planned(root, point, revision=revision, remote=remote) for point in points]
        different = {(experiment.name.casefold(), experiment.origin) for experiment in planned}
        times = Counter(name for name, _origin in different)
        return [
            e if times[e.name.casefold()] == 1 or e._owners(remote) else e._named([e._apart(e.name)], remote)
            for e in planned
        ]

    def _named(self, names: Sequence[str], remote: str) -> "Experiment":
        """By the name that it has already, else by the first that is free."""
        named = [replace(self, name=name) for name in names]
        owners = [experiment._owners(remote) for experiment in named]
        for wanted in ({self.origin}, set[str]()):
            if wanted in owners:
                return named[owners.index(wanted)]
        raise NameTaken(names[0], "" if named[0]._message() else remote)

    def _apart(self, name: str) -> str:
        return f"{name}_{_digest(self.origin)}"

    def _owners(self, remote: str = "") -> set[str]:
        """The origins of what has the name, here and at the git remote."""
        messages = (self._message(), self._message_at(remote) if remote else None)
        return {_noted(message, "Origin") for message in messages if message is not None}

    @property
    def revision(self) -> str:
        """What git and DVC call it here, in the commit's own words where its name alone could be another's."""
        return self.name if self.commit == _commit(self.root) else experiments.ref(self.commit, self.name)

    @property
    def origin(self) -> str:
        """A digest of all that decides the outcome: equal ones are one experiment."""
        pictures = _pictures(self.pictures) if self.pictures else []
        parts = [self.commit, self.tree, sorted((key, repr(value)) for key, value in self.overrides.items()), pictures]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def is_saved(self, stages: Collection[str]) -> bool:
        """Whether it is there already, with these stages and all that they need; none means every stage."""
        message = self._message()
        if message is None or _noted(message, "Origin") != self.origin:
            return False
        done = _noted(message, "Stages").split()
        return ALL in done or (bool(stages) and set(stages) <= set(done))

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """The workspace, begun anew where it is from something else; no other run works in it meanwhile."""
        folder = self.root / FOLDER / self.name
        # The stages that are started from here share the project's scratch.
        os.environ[VARIABLE] = str(Path(os.environ.get(VARIABLE) or self.root / ".scratch").expanduser().absolute())
        folder.parent.mkdir(parents=True, exist_ok=True)
        prune(folder.parent)
        check_identity(self.root)
        with held(folder):
            if self._owners() - {self.origin}:  # another run of that name was saved meanwhile
                raise NameTaken(self.name)
            there = self._is_worktree(folder)
            for lock in Path(git(folder, "rev-parse", "--absolute-git-dir")).glob("*.lock") if there else ():
                lock.unlink()  # by a git that was killed: whoever holds the workspace is the only one in it
            if not there or not (folder / ORIGIN).exists() or (folder / ORIGIN).read_text() != self.origin:
                self._begin(folder)
            mark_used(folder)
            yield folder

    def _begin(self, folder: Path) -> None:
        # git takes a lock of its own for this, and does not wait for it.
        with self._alone():
            git(self.root, "worktree", "prune")
            if not self._is_worktree(folder):
                shutil.rmtree(folder, ignore_errors=True)
                git(self.root, "worktree", "add", "--quiet", "--detach", "--force", str(folder), self.commit)
        (folder / ORIGIN).unlink(missing_ok=True)
        git(folder, "checkout", "--quiet", "--force", "--detach", self.commit)
        git(folder, "read-tree", "-u", "--reset", self.tree)
        git(folder, "clean", "-fdq")
        experiments.share_cache(self.root, folder)
        self._carry_pictures(folder)
        content = read_content(folder / PARAMS)
        put(content, self.overrides)
        self._link(folder, content)
        outward = {
            key: led for key, value in _leaves(content).items() if (led := _from_anywhere(self.root, value)) != value
        }
        write_overrides(folder / PARAMS, self.overrides | outward)
        write_text(folder / ORIGIN, self.origin)

    def _is_worktree(self, folder: Path) -> bool:
        """Of this repository: one that was moved or copied has what is none, or another's."""
        ask = ("rev-parse", "--path-format=absolute", "--git-common-dir")
        try:
            return (folder / ".git").exists() and Path(git(folder, *ask)).samefile(git(self.root, *ask))
        except GitFailed:
            return False

    def _carry_pictures(self, folder: Path) -> None:
        target = folder / self.folder
        if self.pictures is not None:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(self.pictures, target, ignore=_no_files)
            experiments.track(folder, self.folder)
        elif not target.exists() and target.with_name(f"{target.name}.dvc").exists():
            experiments.check_out(folder, self.folder)

    def _link(self, folder: Path, content: dict[str, Any]) -> None:
        """Let the workspace see the models, embeddings and other files that params.yaml names and git does not have."""
        named = [Path(text) for text in _texts(content) if text]
        own = self.root / EMBEDDINGS
        named += [path.relative_to(self.root) for path in (own.iterdir() if own.is_dir() else ())]
        links = []
        for path in named:
            here, there = self.root / path, folder / path
            if path.is_absolute() or ".." in path.parts or path == self.folder or _is_there(there):
                continue
            if _is_there(here):
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(here)
                links.append(path.as_posix())
            elif _is_there(there.with_name(f"{there.name}.dvc")):
                experiments.check_out(folder, path)
        write_text(folder / LINKS, "\n".join(links))

    def save(self, folder: Path, stages: Sequence[str], note: str) -> None:
        """Keep what lies in the workspace as the DVC experiment. `stages` that ran with what they need; none: all."""
        links = (folder / LINKS).read_text().splitlines()
        git(folder, "add", "--all", "--", ".", *(f":(exclude){link}" for link in links))
        settings = " ".join(", ".join(f"{key}={value}" for key, value in self.overrides.items()).split())
        message = [f"{self.name}: {settings}", f"Stages: {' '.join(stages) or ALL}", f"Origin: {self.origin}", note]
        # DVC writes down in refs that all worktrees share what it is about to save: two at once lose one.
        with self._alone():
            experiments.save(folder, self.name, "\n".join([message[0], "", *message[1:]]), stages)

    def exchange(self, remote: str) -> None:
        """Have it both here and at the git remote, if it is at one of them, as `fetched` found.

        Raises CannotReceive, CannotSend.
        """
        here, there = self._message() is not None, self._message_at(remote) is not None
        if there and not here:
            self._receive(remote)
        elif here and not there:  # an earlier run could not send it
            self.send(remote)

    def _receive(self, remote: str) -> None:
        whole = False
        with self._alone():
            try:
                experiments.pull(self.root, remote, self.commit, self.name)
                whole = self._is_whole()
            finally:
                if not whole:  # its ref alone would pass for it
                    git(self.root, "update-ref", "-d", self._ref)

    def _is_whole(self) -> bool:
        """Whether all that its stages made can be had: DVC fetches what there is and goes on without the rest."""
        known = _content_in(self.root, self._ref, "dvc.yaml")["stages"]
        locked = _content_in(self.root, self._ref, LOCKED)["stages"]
        done = _noted(self._message() or "", "Stages").split()
        stages = [name for name in locked if name.partition("@")[0] in known and (ALL in done or name in done)]
        outputs = [Path(out["path"]) for name in stages for out in locked[name].get("outs", ())]
        if git(self.root, "ls-tree", self._ref, "--", f"{self.folder}.dvc"):
            outputs.append(self.folder)
        with tempfile.TemporaryDirectory(dir=self.root / LOCK.parent) as folder:
            return not Revision(self.root, self._ref).fetch(outputs, Path(folder))

    def send(self, remote: str) -> None:
        """Send the experiment to a git remote, its files and pictures to the DVC remote. Raises CannotSend, NameTaken.

        The ref goes last: where it is, the files are.
        """
        with self._alone():
            _look(self.root, remote, self.commit)
            there = self._message_at(remote)
            if there is not None and _noted(there, "Origin") != self.origin:
                raise NameTaken(self.name, remote)
            before = "" if there is None else git(self.root, "rev-parse", _ref_at(remote, self.commit, self.name))
            # DVC sends the ref before the files, so to this repository, which has it.
            here = git(self.root, "rev-parse", "--path-format=absolute", "--git-common-dir")
            try:
                experiments.push(self.root, here, self.commit, self.name)
            except CannotSend as error:
                error.args = (str(error).replace(here, remote),)
                raise
            try:
                lease = f"--force-with-lease={self._ref}:{before}"
                git(self.root, "push", "--quiet", lease, "--", remote, f"{self._ref}:{self._ref}", env=NO_PROMPT)
            except GitFailed as error:
                raise CannotSend(self.name, remote, error.said) from None

    @property
    def _ref(self) -> str:
        return experiments.ref(self.commit, self.name)

    def _message(self) -> str | None:
        """The message that it was saved with; None where there is none of that name."""
        return experiments.message_of_experiment(self.root, self.commit, self.name)

    def _message_at(self, remote: str) -> str | None:
        """The same of the git remote, as `fetched` found it."""
        try:
            return git(self.root, "log", "-1", "--format=%B", _ref_at(remote, self.commit, self.name), "--")
        except GitFailed:
            return None

    def _alone(self) -> contextlib.AbstractContextManager[bool]:
        return _alone(self.root)


def fetched(root: Path, remote: str, revision: str = "") -> str:
    """The commit that a branch, tag or commit of the git remote is, once all of it is here, and which experiments over
    it the remote has. Raises CannotFetch.

    revision  empty: the remote's default branch
    """
    commit = ""
    with _alone(root):
        if len(revision) == COMMIT_DIGITS:
            with contextlib.suppress(GitFailed):  # it is here already
                commit = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        if not commit:
            fetch(root, revision or "the default branch", remote, revision or "HEAD")
            commit = git(root, "rev-parse", "FETCH_HEAD^{commit}")
        _look(root, remote, commit)
    return commit


def _look(root: Path, remote: str, commit: str) -> None:
    """Note which experiments over this commit a git remote has, as git does it with branches. Raises CannotFetch."""
    refs = f"+{experiments.ref(commit, '*')}:{_ref_at(remote, commit, '*')}"
    fetch(root, "its experiments", remote, refs, "--prune", "--no-tags")


def _ref_at(remote: str, commit: str, name: str) -> str:
    return f"refs/pseudoword/{_digest(remote)}/{commit}/{name}"


def _noted(message: str, key: str) -> str:
    """What the experiment's message says of it; empty where it does not."""
    return next((line.removeprefix(f"{key}: ") for line in message.splitlines() if line.startswith(f"{key}: ")), "")


def _alone(root: Path) -> contextlib.AbstractContextManager[bool]:
    """The one process that works on what the worktrees share."""
    return file_lock(root / LOCK, "another workspace to be made or saved")


def _commit(root: Path, revision: str = "") -> str:
    try:
        commit = git(root, "rev-parse", "--verify", f"{revision or 'HEAD'}^{{commit}}")
    except (OSError, GitFailed):
        if revision and (root / ".git").exists():
            raise NoSuchRevision(root, revision) from None
        raise NoExperiments(root, "is no git repository with a commit") from None
    if git(root, "rev-parse", "--show-prefix"):
        raise NoExperiments(root, "is a sub-folder of its git repository")
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise NoExperiments(root, "is a shallow clone, in which DVC loses experiments (`git fetch --unshallow`)")
    return commit


def _is_name(root: Path, name: str) -> bool:
    """Whether it is a folder's name, which leads nowhere else, and one that git takes for a ref."""
    try:
        git(root, "check-ref-format", f"refs/exps/{name}")
    except GitFailed:
        return False
    return re.fullmatch(r"[\w.-]+", name) is not None and name[0] not in ".-" and len(name.encode()) <= MAX_NAME_BYTES


def _content_in(root: Path, commit: str, path: str = str(PARAMS)) -> dict[str, Any]:
    """What the YAML file holds in the commit. Raises UserError."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(git(root, "show", f"{commit}:./{path}"))
        file.flush()
        return read_content(Path(file.name))


def _what_differs(root: Path, commit: str, content: dict[str, Any], tree: str) -> str:
    """The settings that are not those of the commit, and a digest of whatever else is not."""
    try:
        before = _leaves(_content_in(root, commit))
    except UserError:
        before = {}
    now = _leaves(content)
    differing = {key: now[key] for key in sorted(now) if key not in before or before[key] != now[key]}
    (name,) = names_of([differing]) if differing else ["unchanged"]
    rest = git(root, "diff", "--name-only", commit, tree, "--", ".", f":(exclude){PARAMS}", f":(exclude){LOCKED}")
    return f"{name}_{_digest(tree)}" if rest else name


def _leaves(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and name != "sweep":
            found |= _leaves(value, f"{name}.")
        else:
            found[name] = value
    return found


def _texts(value: Any) -> Iterator[str]:
    """All that are in it, also in lists and in the axes of a sweep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is too long for a path
        return False


def _from_anywhere(root: Path, value: Any) -> Any:
    """With what leads out of the project as it is from a workspace too."""
    if isinstance(value, Mapping):
        return {key: _from_anywhere(root, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_from_anywhere(root, inner) for inner in value]
    leads_out = isinstance(value, str) and ".." in Path(value).parts and _is_there(root / value)
    return str(root / value) if leads_out else value


def _pictures(folder: Path) -> list[tuple[str, str]]:
    """Each file by its path with a digest of its content."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.append((path.relative_to(folder).as_posix(), sha256_of(path)))
    return found


def _no_files(folder: str, names: list[str]) -> set[str]:
    """What a pipe or a dangling link is: it has no content that could be carried."""
    return {name for name in names if not (Path(folder, name).is_file() or Path(folder, name).is_dir())}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
