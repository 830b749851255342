"""dvc.yaml says what each stage depends on, and DVC looks no further: what it does not list can change unnoticed.

Code and settings are watched by two files of each stage, which `check` writes. So these tests hold every stage to its
two files, its `meta.settings` to what the stage reads, and all code to imports that `check` can follow.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pseudoword.settings.loading import load_settings
from stages.check.code import code_list, imports, reached
from stages.check.writing import MACHINE_KEYS, stage_content

ROOT = Path(__file__).parents[1]
OURS = ("pseudoword", "stages", "app", "flows", "toyworld", "bench")
RUNTIME = "stages/_runtime.py"
PARENT = "stages/_parent.py"
GRAPH: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
CHECK: dict[str, Any] = GRAPH["stages"]["check"]
STAGES: dict[str, dict[str, Any]] = {name: stage for name, stage in GRAPH["stages"].items() if name != "check"}
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())

# DVC's run cache ignores parameters of these names: another value brings back the old result (treeverse/dvc#10296).
IGNORED_BY_DVC = {"size", "nfiles"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_settings_and_its_code(stage: str) -> None:
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("outputs/settings/", "outputs/code/"))}
    assert listed == {f"outputs/settings/{stage}.json", f"outputs/code/{stage}.txt"}
    assert "params" not in STAGES[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_watches_code_by_its_bytes(stage: str) -> None:
    assert not [dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in OURS]


def test_check_always_runs_and_waits_for_nothing() -> None:
    assert CHECK["always_changed"] and "deps" not in CHECK


def test_dvc_knows_every_key_of_params_and_fills_in_the_folder_alone() -> None:
    assert GRAPH["params"] == ["params.yaml"]
    assert set(re.findall(r"\$\{(.*?)\}", (ROOT / "dvc.yaml").read_text())) == {"data.folder"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_settings_that_it_reads(stage: str) -> None:
    """What it does not list it cannot read: its settings lack it. So this is told here and not in a rare branch."""
    listed = STAGES[stage]["meta"]["settings"]
    held = {f"{section}.{key}" for section, keys in content_of(stage).items() for key in keys} | {*MACHINE_KEYS}
    read = {key for key in keys_read_by(stage) if key.split(".")[1] in PARAMS[key.split(".")[0]]}
    assert read <= held, f"meta.settings to add: {sorted(read - held)}"
    if declared := sections_declared_by(stage):
        assert declared == {name.split(".")[0] for name in listed}


@pytest.mark.parametrize("stage", STAGES)
def test_no_settings_of_a_stage_depend_on_the_machine(stage: str) -> None:
    assert not {f"{section}.{key}" for section, keys in content_of(stage).items() for key in keys} & {*MACHINE_KEYS}


@pytest.mark.parametrize("stage", GRAPH["stages"])
def test_a_stage_is_run_by_its_name(stage: str) -> None:
    assert GRAPH["stages"][stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", GRAPH["stages"])
def test_no_output_persists(stage: str) -> None:
    """A persisting output keeps what an earlier setting wrote, and turns the run cache off."""
    outs = GRAPH["stages"][stage]["outs"] + GRAPH["stages"][stage].get("metrics", [])
    assert not [out for out in outs if isinstance(out, dict) and any("persist" in flags for flags in out.values())]


def test_no_setting_has_a_name_that_dvc_ignores() -> None:
    assert not IGNORED_BY_DVC & set(keys(PARAMS))


@pytest.mark.parametrize("stage", GRAPH["stages"])
def test_a_stage_imports_pseudoword_and_its_own_folder_only(stage: str) -> None:
    allowed = (ROOT / "pseudoword", ROOT / "stages" / stage, ROOT / "stages/__init__.py", ROOT / RUNTIME, ROOT / PARENT)
    foreign = [path for path in reached(stage, ROOT) if not any(path.is_relative_to(place) for place in allowed)]
    assert not foreign
    assert packages_used_by(python_files(f"stages/{stage}")) & set(OURS) <= {"pseudoword", "stages"}


def test_check_starts_without_the_heavy_packages() -> None:
    told = "import sys, stages.check.__main__; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "diffusers", "transformers", "numpy", "pandas", "PIL", "cv2"} & {*modules.split()}


@pytest.mark.parametrize("folder", ["pseudoword", "stages"])
def test_every_import_can_be_read_from_the_code(folder: str) -> None:
    """`check` follows what is written as an import; a module that came in another way could change unnoticed."""
    loaders = {"__import__", "exec", "eval", "import_module", "spec_from_file_location", "run_module", "run_path"}
    for path in python_files(folder):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)} - {"eval"}  # torch's
        assert not (names | attributes | {name.split(".")[-1] for name in imports(path)}) & loaders, path


@pytest.mark.parametrize("stage", STAGES)
def test_the_list_of_a_stage_names_its_folder_and_the_code_that_all_run(stage: str) -> None:
    listed = {line.split("  ")[1] for line in code_list(stage, ROOT).splitlines()}
    assert {f"stages/{stage}/__main__.py", RUNTIME, "stages/__init__.py", "pseudoword/errors.py"} <= listed


def content_of(stage: str) -> dict[str, Any]:
    content: dict[str, Any] = stage_content(load_settings(ROOT / "params.yaml"), STAGES[stage]["meta"]["settings"])
    return content["settings"]


def packages_used_by(files: list[Path]) -> set[str]:
    return {module.split(".")[0] for path in files for module in imports(path)}


def python_files(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} has no Python files"
    return files


def keys_read_by(stage: str) -> set[str]:
    """section.key of every `settings.section.key` in the stage's folder."""
    return {
        f"{node.value.attr}.{node.attr}"
        for path in python_files(f"stages/{stage}")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "settings"
        and node.value.attr in PARAMS
    }


def sections_declared_by(stage: str) -> set[str]:
    """The fields of the stage's own `StageSettings`."""
    return {
        field.target.id
        for path in python_files(f"stages/{stage}")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "StageSettings" for base in node.bases)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


def keys(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield str(key)
            yield from keys(value)
