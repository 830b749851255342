"""Digests of the modules that a stage reaches, over what they mean: no comment, no docstring, no layout.

The same on every Python that runs us. `ast.dump` is not: from version to version it prints other fields and leaves out
others, so the tree is walked here, by field name, without those that are empty or that the parser adds for tools.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pseudoword.errors import UserError

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
    return sorted(modules | {file for path in modules for file in _data_beside(path)})


@cache
def file_digest(path: Path) -> str:
    """Of a module what it means, of another file its bytes."""
    if path.suffix == ".py":
        lines: list[str] = []
        _describe(_tree(path), lines)
        content = "\n".join(lines).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:DIGITS]


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Whatever the module may import, anywhere in it. `from a import b` counts as a and a.b, as b may be a module."""
    found: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise UnreadableCode(path, f"line {node.lineno}: a relative import; write it from the top")
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), path)
    except SyntaxError as error:
        raise UnreadableCode(path, f"line {error.lineno}: {error.msg}") from None


def forget_code() -> None:
    """Read every module anew, for a process in which some have changed."""
    for known in (file_digest, imports, _tree):
        known.cache_clear()


def _files_run(module: str, root: Path) -> Iterator[Path]:
    """`a.b.c` runs a/__init__.py, a/b/__init__.py and a/b/c.py; a name that is not a file of ours runs nothing more."""
    parts = module.split(".")
    if parts[0] in PACKAGES:
        for end in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:end])
            yield from (path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file())


def _data_beside(module: Path) -> Iterator[Path]:
    """Files that are no code in the module's folder, and in folders there that are no packages."""
    for path in sorted(module.parent.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            yield from (file for file in sorted(path.rglob("*")) if _is_data(file))
        elif _is_data(path):
            yield path


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
