"""dvc.yaml says what each stage depends on, and DVC looks no further: what it does not list can change unnoticed.

So these tests read the code. They hold dvc.yaml to the imports and the settings that they find there.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
OURS = ("pseudoword", "stages", "flows", "toyworld")
RUNTIME = "stages/_runtime.py"
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())

# DVC's run cache ignores parameters of these names: another value brings back the old result (treeverse/dvc#10296).
IGNORED_BY_DVC = {"size", "nfiles"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs(stage: str) -> None:
    listed = {dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in OURS}
    reached = code_of(stage)
    assert listed == reached, f"deps to add: {sorted(reached - listed)}, to remove: {sorted(listed - reached)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_sections_it_reads(stage: str) -> None:
    """A section stands for itself, or each of its keys that the stage reads does."""
    listed, read = set(STAGES[stage].get("params", [])), sections_read_by(stage)
    if by_key := {entry.split(".")[0] for entry in listed if "." in entry}:
        read = {
            entry for section in read for entry in (keys_read_by(stage, section) if section in by_key else [section])
        }
    assert listed == read, f"params to add: {sorted(read - listed)}, to remove: {sorted(listed - read)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_run_by_its_name(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_no_output_persists(stage: str) -> None:
    """A persisting output keeps what an earlier setting wrote, and turns the run cache off."""
    outs = STAGES[stage].get("outs", []) + STAGES[stage].get("metrics", [])
    assert not [out for out in outs if isinstance(out, dict) and any("persist" in flags for flags in out.values())]


def test_no_setting_has_a_name_that_dvc_ignores() -> None:
    assert not IGNORED_BY_DVC & set(keys(PARAMS))


def test_pseudoword_imports_nothing_above_it() -> None:
    assert packages_used_by(python_files("pseudoword")) & set(OURS) <= {"pseudoword"}


def test_stages_import_pseudoword_and_their_own_folder_only() -> None:
    for stage in STAGES:
        used = files_run_by_importing(modules_of(python_files(f"stages/{stage}")))
        allowed = (ROOT / "pseudoword", ROOT / "stages" / stage, ROOT / "stages/__init__.py", ROOT / RUNTIME)
        foreign = [path for path in used if not any(path.is_relative_to(place) for place in allowed)]
        assert not foreign, f"{stage} imports {foreign}"


def test_flows_import_neither_stages_nor_what_stages_need() -> None:
    used = packages_used_by(python_files("flows"))
    assert not used & {"pseudoword", "stages", "toyworld", "torch", "diffusers", "transformers"}


def code_of(stage: str) -> set[str]:
    """The stage's folder, and each part of pseudoword (a file or a folder right below it) that its imports reach."""
    reached: set[Path] = set()
    waiting = python_files(f"stages/{stage}")
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting.extend(files_run_by_importing(modules_of([path])))
    return {part for path in reached if (part := part_of(path))}


def part_of(path: Path) -> str | None:
    """pseudoword/base/sd.py -> pseudoword/base. An `__init__.py` with nothing but a docstring does nothing."""
    if path.name == "__init__.py" and not any(not is_docstring(node) for node in ast.parse(path.read_text()).body):
        return None
    return "/".join(path.relative_to(ROOT).parts[:2])


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def files_run_by_importing(modules: set[str]) -> list[Path]:
    """`a.b.c` runs a/__init__.py, a/b/__init__.py and a/b/c.py; a name that is not a file of ours runs nothing more."""
    files = []
    for module in modules:
        parts = module.split(".")
        if parts[0] in OURS:
            prefixes = [ROOT.joinpath(*parts[: end + 1]) for end in range(len(parts))]
            candidates = [path for prefix in prefixes for path in (prefix / "__init__.py", prefix.with_suffix(".py"))]
            files += [path for path in candidates if path.is_file()]
    return files


def modules_of(files: list[Path]) -> set[str]:
    """Whatever these files may import. `from a import b` counts as a and a.b, as b may be a module."""
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level and node.module, f"{path}:{node.lineno}: write imports from the top"
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def packages_used_by(files: list[Path]) -> set[str]:
    return {module.split(".")[0] for module in modules_of(files)}


def python_files(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} has no Python files"
    return files


def sections_read_by(stage: str) -> set[str]:
    """x of every `settings.x` in the stage's folder; `settings.model_dump` reads what its `include` names, or all."""
    found: set[str] = set()
    for path in python_files(f"stages/{stage}"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "runs":
                found.add("sweep")
            if isinstance(node, ast.Call) and (of_settings(node.func) == "model_dump"):
                include = [ast.literal_eval(option.value) for option in node.keywords if option.arg == "include"]
                found |= set(include[0] if include else PARAMS)
            elif isinstance(node, ast.expr) and (name := of_settings(node)) in PARAMS:
                found.add(name)
    return found


def keys_read_by(stage: str, section: str) -> set[str]:
    """section.x of every `settings.section.x`; the section itself where it is read as a whole."""
    whole, single = 0, []
    for path in python_files(f"stages/{stage}"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        whole += sum(isinstance(node, ast.expr) and of_settings(node) == section for node in nodes)
        single += [
            node.attr for node in nodes if isinstance(node, ast.Attribute) and of_settings(node.value) == section
        ]
    return {f"{section}.{key}" for key in single} | ({section} if whole > len(single) else set())


def of_settings(node: ast.expr) -> str:
    """x when the node is `settings.x`, else nothing."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings":
        return node.attr
    return ""


def keys(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield str(key)
            yield from keys(value)
