import pytest

from pseudoword.dvc.graph import NoGraph, Stage, UnknownTarget, stages_in_order
from tests.dvc_project import Project, project

__all__ = ["project"]


def test_every_stage_comes_after_what_it_needs(project: Project) -> None:
    first, *sides, last = stages_in_order(project.folder)
    assert first == Stage("first", ())
    assert {side.name for side in sides} == {"left", "right"}
    assert last == Stage("last", ("left", "right"))


def test_a_target_brings_along_what_it_needs_and_no_more(project: Project) -> None:
    assert [stage.name for stage in stages_in_order(project.folder, ["left"])] == ["first", "left"]


def test_an_unknown_target_is_named_with_its_nearest_neighbour(project: Project) -> None:
    with pytest.raises(UnknownTarget, match="no stage 'rigth'; did you mean 'right'"):
        stages_in_order(project.folder, ["rigth"])


def test_a_path_that_is_empty_is_told_with_who_knows_more(project: Project) -> None:
    (project.folder / "params.yaml").write_text('data: {folder: ""}\n')
    (project.folder / "dvc.yaml").write_text('stages: {first: {cmd: "true", deps: ["${data.folder}"]}}\n')
    with pytest.raises(NoGraph, match=r"a path in it is empty\n`pseudoword check` tells"):
        stages_in_order(project.folder)
