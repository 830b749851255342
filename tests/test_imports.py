"""The floors of the house: `app` and `flows` stand on `stages` and `pseudoword`, and nothing imports upward."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("pseudoword", "stages", "app", "flows", "toyworld", "bench")
# Who may import what of ours beside its own package. `flows` starts the stages as processes and never imports them.
BELOW = {"pseudoword": set(), "stages": {"pseudoword"}, "app": {"pseudoword", "stages"}, "flows": {"pseudoword"}}
ENTRANCE = ROOT / "pseudoword/__main__.py"  # python -m pseudoword, which hands over to app


@pytest.mark.parametrize("floor", BELOW)
def test_a_floor_imports_nothing_above_it(floor: str) -> None:
    allowed = BELOW[floor] | {floor}
    upward = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in python_files(floor)
        for module in imported(path)
        if (package := module.split(".")[0]) in FLOORS and package not in allowed and path != ENTRANCE
    }
    assert not upward


def test_python_m_pseudoword_is_the_one_way_up() -> None:
    assert {module.split(".")[0] for module in imported(ENTRANCE)} & set(FLOORS) == {"app"}


def test_flows_reach_neither_torch_nor_a_stage() -> None:
    reached: set[Path] = set()
    waiting = python_files("flows")
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += files_of(imported(path))
    packages = {module.split(".")[0] for path in reached for module in imported(path)}
    assert not packages & {"stages", "app", "torch", "torchvision", "diffusers", "transformers"}


def test_nothing_but_pseudoword_dvc_has_to_do_with_dvc() -> None:
    place = ROOT / "pseudoword/dvc"
    others = [path for floor in BELOW for path in python_files(floor) if not path.is_relative_to(place)]
    importing = [path for path in others if "dvc" in {module.split(".")[0] for module in imported(path)}]
    starting = [path for path in others if any(is_text(node, "dvc") for node in ast.walk(parsed(path)))]
    assert not importing and not starting


def test_who_runs_dvc_repro_notices_nothing_of_prefect() -> None:
    """No import of it, also by way of `flows`, and nothing in the graph that names either."""
    below = [path for floor in FLOORS if floor != "flows" for path in python_files(floor)]
    assert not {path for path in below if "prefect" in {module.split(".")[0] for module in imported(path)}}
    assert not {word for word in ("flows", "prefect") if word in (ROOT / "dvc.yaml").read_text()}


def test_no_import_goes_in_a_circle() -> None:
    graph = {path: set(files_of(imported(path))) - {path} for floor in FLOORS for path in python_files(floor)}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def is_text(node: ast.AST, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that the file may import; `from a import b` as a.b where that is a module of ours, else as a."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}:{node.lineno}: write imports from the top"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in names if files_of(frozenset({name}))}
            found |= modules if modules == names else modules | {node.module}
    return frozenset(found)


def files_of(modules: frozenset[str]) -> list[Path]:
    """Those of our files that these modules are."""
    places = [ROOT.joinpath(*module.split(".")) for module in modules if module.split(".")[0] in FLOORS]
    candidates = [path for place in places for path in (place.with_suffix(".py"), place / "__init__.py")]
    return [path for path in candidates if path.is_file()]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python_files(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    return files
