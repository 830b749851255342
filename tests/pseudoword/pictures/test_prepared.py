"""Pictures between files and tensors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pseudoword.errors import UserError
from pseudoword.pictures.prepared import (
    open_masks,
    open_pictures,
    read_pictures,
    read_pictures_table,
    to_image,
    to_tensor,
    used_ids,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_value_of_a_byte_survives_the_way_to_a_tensor_and_back(dtype: torch.dtype) -> None:
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = to_tensor(Image.fromarray(picture))
    assert np.array_equal(np.asarray(to_image(tensor.to(dtype))), picture)


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_tensor_has_channels_rows_and_columns_from_minus_one_to_one(width: int, height: int) -> None:
    picture = Image.new("RGB", (width, height), (0, 255, 0))
    tensor = to_tensor(picture)
    assert tensor.shape == (3, height, width) and tensor.dtype == torch.float32
    assert (tensor.amax((1, 2)) == torch.tensor([-1.0, 1, -1])).all()
    assert to_image(tensor).size == (width, height)


def test_values_out_of_range_are_clamped_and_half_precision_is_taken() -> None:
    tensor = torch.tensor([-7.0, 0.0, 7.0]).view(3, 1, 1).bfloat16().requires_grad_()
    assert to_image(tensor).getpixel((0, 0)) == (0, 128, 255)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three rows, two of them used, with an id and a name that a CSV reader likes to take for something else."""
    rows = {
        "id": ["", "123456789e12", "00000000000a"],
        "source": ["z.gif", "null", "a.png"],
        "state": ["skipped", "used", "used"],
        "reason": ["empty file", "", ""],
        "width": ["", 8, 8],
        "height": ["", 8, 8],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "pictures.csv", index=False)
    for at, name in enumerate(rows["id"][1:]):
        Image.new("RGB", (8, 8), (0, at * 255, 0)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_used_rows_come_in_the_order_of_their_ids_and_as_text(pictures: Path) -> None:
    table = read_pictures_table(pictures / "pictures.csv")
    assert list(table["id"]) == used_ids(pictures / "pictures.csv") == ["00000000000a", "123456789e12"]
    assert list(table["source"]) == ["a.png", "null"]


def test_pictures_are_read_in_the_order_that_was_asked_for(pictures: Path) -> None:
    ids = used_ids(pictures / "pictures.csv")
    assert read_pictures(ids, pictures)[:, 1].mean((1, 2)).tolist() == [1, -1]
    assert read_pictures(ids[::-1], pictures).shape == (2, 3, 8, 8)
    assert [image.getpixel((0, 0)) for image in open_pictures(ids[::-1], pictures)] == [(0, 0, 0), (0, 255, 0)]


def test_what_is_missing_or_broken_is_named_with_the_way_out(pictures: Path) -> None:
    with pytest.raises(UserError, match=r"gone.csv cannot be read: .*dvc repro preprocess"):
        used_ids(pictures / "gone.csv")
    (pictures / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"other.csv cannot be read: 'state'"):
        used_ids(pictures / "other.csv")
    (pictures / "cut.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"cut.png cannot be read: .*dvc repro preprocess"):
        open_pictures(["cut"], pictures)


def test_masks_come_in_order_with_none_where_all_counts_alike(pictures: Path) -> None:
    ids = used_ids(pictures / "pictures.csv")
    Image.new("L", (8, 8), 7).save(pictures / f"{ids[1]}.mask.png")
    first, second = open_masks(ids, pictures)
    assert first is None and second is not None
    assert (second.mode, second.size, second.getpixel((0, 0))) == ("L", (8, 8), 7)


def test_a_mask_that_is_broken_or_of_other_px_is_named_with_the_way_out(pictures: Path) -> None:
    name = used_ids(pictures / "pictures.csv")[0]
    Image.new("L", (8, 9)).save(pictures / f"{name}.mask.png")
    with pytest.raises(UserError, match=r"mask.png cannot be read: it is 8x9 px, its picture 8x8. .*dvc repro"):
        open_masks([name], pictures)
    (pictures / f"{name}.mask.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"mask.png cannot be read: .*dvc repro preprocess"):
        open_masks([name], pictures)
