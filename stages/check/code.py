"""Digests of the modules that a stage reaches, over what they mean: no comment, no docstring, no layout.

The same on every Python that runs us. `ast.dump` is not: from version to version it prints other fields and leaves out
others, so the tree is walked here, by field name, without those that are empty or that the parser adds for tools.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pseudoword.errors import UserError
from pseudoword.files import write_text

PACKAGES = ("pseudoword", "stages")  # that a stage may import
WITHOUT_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}
DIGITS = 16
NO_DATA = {".py", ".pyc", ".pyi"}


class UnreadableCode(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


def code_list(stage: str, root: Path) -> str:
    """One line for each module, and each data file of a package, that the stage's folder reaches: digest and path."""
    return "".join(f"{file_digest(path)}  {path.relative_to(root).as_posix()}\n" for path in reached(stage, root))


def reached(stage: str, root: Path) -> list[Path]:
    """The modules of the stage's folder, all that they import of ours, and the data that lies beside these."""
    modules: set[Path] = set()
    waiting = sorted((root / "stages" / stage).rglob("*.py"))
    while waiting:
        path = waiting.pop()
        if path not in modules:
            modules.add(path)
            waiting += [file for module in imports(path) for file in _files_run(module, root)]
    return sorted(modules | {file for folder in {path.parent for path in modules} for file in _data_in(folder)})


class Module(NamedTuple):
    digest: str
    imports: tuple[str, ...]


# What was worked out before, by the SHA-256 of a module's bytes: parsing all of them takes a second.
_known: dict[str, Module] = {}


def recall(path: Path) -> None:
    """Take up what `remember` wrote, where it was written by this same code."""
    try:
        content = json.loads(path.read_bytes())
        modules = {key: Module(digest, tuple(names)) for key, (digest, names) in content["modules"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return
    if content["by"] == _by():
        _known.update(modules)


def remember(path: Path) -> None:
    """Write what is known of the modules that were read."""
    used = {_sha256(module): _module(module) for module in _read}
    write_text(path, json.dumps({"by": _by(), "modules": used}))


_read: set[Path] = set()


def file_digest(path: Path) -> str:
    """Of a module what it means, of another file its bytes."""
    return _module(path).digest if path.suffix == ".py" else _sha256(path)[:DIGITS]


def imports(path: Path) -> tuple[str, ...]:
    """Whatever the module may import, anywhere in it. `from a import b` counts as a and a.b, as b may be a module."""
    return _module(path).imports


@cache
def _module(path: Path) -> Module:
    _read.add(path)
    if (known := _known.get(_sha256(path))) is not None:
        return known
    tree = _tree(path)
    lines: list[str] = []
    _describe(tree, lines)
    return Module(hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGITS], tuple(_imports(tree, path)))


def _imports(tree: ast.Module, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise UnreadableCode(path, f"line {node.lineno}: a relative import; write it from the top")
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _by() -> str:
    return _sha256(Path(__file__))


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), path)
    except SyntaxError as error:
        raise UnreadableCode(path, f"line {error.lineno}: {error.msg}") from None


def forget_code() -> None:
    """Read every module anew, for a process in which some have changed."""
    for function in (_module, _sha256, _files_run, _data_in):
        function.cache_clear()
    _read.clear()


@cache
def _files_run(module: str, root: Path) -> list[Path]:
    """`a.b.c` runs a/__init__.py, a/b/__init__.py and a/b/c.py; a name that is not a file of ours runs nothing more."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return []
    places = [root.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    candidates = [path for place in places for path in (place / "__init__.py", place.with_suffix(".py"))]
    return [path for path in candidates if path.is_file()]


@cache
def _data_in(folder: Path) -> list[Path]:
    """Files of a package's folder that are no code, also in folders there that are no packages."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            found += [file for file in sorted(path.rglob("*")) if _is_data(file)]
        elif _is_data(path):
            found.append(path)
    return found


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix not in NO_DATA and not path.name.startswith(".")


def _describe(value: Any, lines: list[str]) -> None:
    """Add a line for each thing in a syntax tree: equal lines for equal trees, and for no others."""
    if isinstance(value, ast.JoinedStr):
        lines.append("JoinedStr")
        _describe(_parts(value), lines)
    elif isinstance(value, ast.Constant):
        lines.append(f"Constant {type(value.value).__name__} {value.value!r}")
    elif isinstance(value, ast.AST):
        lines.append(type(value).__name__)
        for name in _named(value._fields):
            field = _body(value) if name == "body" else getattr(value, name, None)
            if field is not None and field != [] and not (name == "format_spec" and not _parts(field)):
                lines.append(f".{name}")
                _describe(field, lines)
        lines.append("end")
    elif isinstance(value, list):
        lines.append(f"{len(value)} of")
        for item in value:
            _describe(item, lines)
    else:
        lines.append(f"{type(value).__name__} {value!r}")


@cache
def _named(fields: tuple[str, ...]) -> list[str]:
    """In an order of their own, without those that mean nothing."""
    return sorted(set(fields) - WITHOUT_MEANING)


def _body(node: Any) -> Any:
    """Without the docstring."""
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return node.body[1:] if documented and ast.get_docstring(node, clean=False) is not None else node.body


def _parts(text: ast.JoinedStr) -> list[ast.expr]:
    """Of an f-string, its plain texts joined and empty ones left out: versions cut them in different places."""
    parts: list[ast.expr] = []
    for part in text.values:
        if isinstance(part, ast.Constant) and parts and isinstance(before := parts[-1], ast.Constant):
            parts[-1] = ast.Constant(str(before.value) + str(part.value))
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            parts.append(part)
    return parts
