import re
import subprocess
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudoword.settings.naming import names_of, natural_order
from pseudoword.settings.sweep import SWEPT


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"train.learn_rate": 0.02, "train.seed": 1}, "lr0.02-seed1"),
        ({"train.learn_rate": 0.00001}, "lr1e-5"),
        ({"train.learn_rate": "1e+38"}, "lr1e38"),
        ({"train.learn_rate": "0.05:10, 0.02"}, "lr0.05_10_0.02"),
        ({"train.template": PurePosixPath("templates/training/style.txt")}, "template_style"),
        ({"base.model": "stable-diffusion-v1-5/stable-diffusion-v1-5"}, "model_stable-diffusion-v1-5"),
        ({"data.folder": "data/my-cat", "train.shuffle_tags": True}, "data_my-cat-shuffle_tags_on"),
        ({"train.betas": (0.9, 0.99), "train.min_snr_gamma": None}, "betas0.9_0.99-snr_none"),
        ({"word.init_text": "Blüte am Weg"}, "init_Blüte_am_Weg"),
        ({"latents.precision": "bf16"}, "latents.precision_bf16"),
    ],
)
def test_a_name_says_what_differs(values: dict[str, object], name: str) -> None:
    assert names_of([values]) == [name]


def test_those_that_would_be_named_alike_are_told_apart_whichever_comes_first() -> None:
    points: list[dict[str, object]] = [
        {"train.template": PurePosixPath(folder, "style.txt")} for folder in ("a", "b", "c")
    ]
    points.append({"word.init_text": "Cat"})
    points.append({"word.init_text": "cat"})  # one folder on macOS and on Windows
    names = names_of(points)
    assert all(re.fullmatch(r"(template_style|init_[Cc]at)_[0-9a-f]{6}", name) for name in names)
    assert names_of(points[::-1]) == names[::-1] and len({name.casefold() for name in names}) == 5


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.floats())


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=8, unique_by=str), st.lists(VALUES, max_size=8))
def test_any_values_make_safe_folders_that_differ(first: list[object], more: list[object]) -> None:
    axes = dict(zip(SWEPT, more, strict=False))
    names = names_of([{**axes, "train.seed": value} for value in first])
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"\w[\w.-]*", name) and len(name.encode()) < 255
        assert name[-1] not in ".-" and ".." not in name


def test_the_worst_of_names_are_git_refs() -> None:
    for text in (".lock", "a..b", "@{", "x.lock", "~^:?*[\\", "-", "\x7f", "//"):
        (name,) = names_of([{"word.init_text": text}])
        assert subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=False).returncode == 0, name


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    names = ["base", "lr1e-5", "lr0.005-seed2", "lr0.005-seed10", "lr0.02-seed1"]
    assert sorted(set(names), key=natural_order) == names
