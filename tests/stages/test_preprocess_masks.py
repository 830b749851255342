"""Loss weights: from a mask file or from transparency, and always by the same geometry as the picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pseudoword.pictures.prepared import open_masks, open_pictures
from tests.preprocessing import FOLDER, encoded, fill, run, start, write_model, write_params


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return start(tmp_path, monkeypatch)


def blob(width: int = 60, height: int = 40) -> Image.Image:
    """White where it counts, off the middle."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, height // 8, width * 3 // 4, height // 2))
    return mask


def coloured(mask: Image.Image) -> Image.Image:
    """A picture that shows its own mask."""
    return Image.merge("RGB", [mask, mask.point(lambda value: 255 - value), Image.new("L", mask.size)])


def weight(name: str) -> np.ndarray:
    mask = open_masks([name])[0]
    assert mask is not None and mask.mode == "L"
    return np.asarray(mask).astype(int)


@pytest.mark.parametrize("wanted", [
    {}, {"mirror": "both"}, {"shape": "buckets"}, {"shape": "keep"}, {"crop": "focal"},
    {"split": {"threshold": 0.7, "overlap": 0.0}, "mirror": "vertical"},
])  # fmt: skip
def test_a_mask_goes_where_its_picture_goes(project: Path, wanted: dict[str, Any]) -> None:
    fill({"a.png": encoded(coloured(blob())), "a.mask.png": encoded(blob())})
    write_params(model=write_model(8, unet_levels=2), **wanted)
    table = run()
    assert set(table["weighted"]) <= {"yes", ""} and "yes" in set(table["weighted"])
    for name in table["id"][table["weighted"] == "yes"]:
        red = np.asarray(open_pictures([name])[0]).astype(int)[..., 0]
        assert np.abs(weight(name) - red).mean() < 4


def test_a_mask_may_carry_the_whole_name_and_many_forms(project: Path) -> None:
    see_through = Image.new("RGBA", (60, 40), (255, 255, 255, 0))
    see_through.paste((255, 255, 255, 255), (0, 0, 30, 40))
    deep = Image.fromarray(np.asarray(blob()).astype(np.uint16) * 257)
    picture = Image.new("RGB", (60, 40), "red")
    forms = {"a": blob().convert("RGB"), "b": blob().convert("1"), "c": see_through, "d": deep}
    fill(
        {f"{name}.jpg": encoded(picture.rotate(at), "JPEG") for at, name in enumerate(forms)}
        | {f"{name}.jpg.mask.png": encoded(mask) for name, mask in forms.items()}
    )
    table = run()
    assert list(table["weighted"]) == ["yes"] * 4
    left, right = slice(0, 14), slice(18, 32)
    assert weight(table.loc["c.jpg", "id"])[:, left].min() == 255
    assert weight(table.loc["c.jpg", "id"])[:, right].max() == 0
    assert np.abs(weight(table.loc["d.jpg", "id"]) - weight(table.loc["a.jpg", "id"])).max() <= 1


def test_a_mask_belongs_to_its_picture_in_whatever_case(project: Path) -> None:
    fill({
        "h.jpg": encoded(coloured(blob()), "JPEG"), "h.Mask.PNG": encoded(blob()),
        "J.jpg": encoded(coloured(blob()).rotate(180), "JPEG", quality=90), "j.mask.png": encoded(blob().rotate(180)),
        "k.PNG": encoded(coloured(blob())), "K.png.MASK.png": encoded(blob()),
    })  # fmt: skip
    table = run()
    assert list(table["state"]) == ["used"] * 3 and list(table["weighted"]) == ["yes"] * 3


def test_a_mask_that_fits_one_picture_exactly_is_of_no_other(project: Path) -> None:
    fill({
        "a.jpg": encoded(coloured(blob()), "JPEG"), "A.jpg": encoded(coloured(blob()), "JPEG", quality=60),
        "a.mask.png": encoded(blob()),
    })  # fmt: skip
    table = run()
    assert table["weighted"].to_dict() == {"A.jpg": "", "a.jpg": "yes"}


def test_what_is_nearly_called_as_a_mask_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [coloured(blob()).rotate(at) for at in range(7)]
    names = ["n.jpg", "n.mask.jpg", "o.png", "O-mask.png", "p.png.mask.jpeg", "p.png", "carnival-mask.png"]
    fill({name: encoded(picture) for name, picture in zip(names, pictures, strict=True)})
    table = run()
    assert set(table["state"]) == {"used"}
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "seem to be masks" in line]
    assert (
        "O-mask.png, n.mask.jpg and p.png.mask.jpeg. A mask is a PNG called as its picture, such as O.mask.png" in told
    )


def test_of_two_pictures_of_one_stem_each_has_its_own_mask_or_both_share_it(project: Path) -> None:
    files = {"a.jpg": encoded(coloured(blob()), "JPEG"), "a.png": encoded(coloured(blob()))}
    fill(files | {"a.mask.png": encoded(blob()), "a.png.mask.png": encoded(Image.new("L", (60, 40), 255))})
    table = run()
    assert list(table["weighted"]) == ["yes", ""], "an even mask says nothing"


def test_transparency_is_a_weight_unless_a_file_says_otherwise(project: Path) -> None:
    cut_out = coloured(blob())
    cut_out.putalpha(blob())
    fill({"a.png": encoded(cut_out), "b.png": encoded(cut_out.rotate(180)), "b.mask.png": encoded(blob())})
    results = {}
    for masks in ("none", "alpha", "files", "auto"):
        write_params(masks=masks)
        table = run()
        results[masks] = list(table["weighted"])
        if masks == "auto":
            red = np.asarray(open_pictures([table.loc["a.png", "id"]])[0]).astype(int)
            assert (red[weight(table.loc["a.png", "id"]) == 0] > 250).all(), "white where it is transparent"
            assert weight(table.loc["b.png", "id"])[6:14, 21:25].min() > 250, "the file's, not the turned transparency"
    assert results == {"none": ["", ""], "alpha": ["yes", "yes"], "files": ["", "yes"], "auto": ["yes", "yes"]}


@pytest.mark.parametrize("masks", ["none", "alpha", "files", "auto"])
def test_a_picture_that_is_transparent_all_over_is_skipped(project: Path, masks: str) -> None:
    """Over white it would be trained as a white one."""
    unseen = coloured(blob())
    unseen.putalpha(0)
    fill({"a.png": encoded(unseen), "a.mask.png": encoded(blob()), "b.png": encoded(blob()), "c.png": encoded(unseen)})
    write_params(masks=masks)
    table = run()
    assert list(table["state"]) == ["skipped", "used", "skipped"]
    assert table.loc["a.png", "reason"] == "transparent all over: nothing of it is seen"


def test_masks_that_are_not_used_are_told_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill({"a.png": encoded(coloured(blob())), "a.mask.png": encoded(blob()), "lost.mask.png": encoded(blob())})
    write_params(masks="none")
    table = run()
    assert table.loc["lost.mask.png", "reason"] == "a mask, but there is no picture of its name beside it"
    out = capsys.readouterr().out
    assert "skipped lost.mask.png: a mask, but" in out
    assert "1 pictures have a mask file that is not used: preprocess.masks is none" in out


@pytest.mark.parametrize(("mask", "reason"), [
    (encoded(Image.new("L", (60, 40))), "its mask a.mask.png is black all over; draw in white what counts"),
    (encoded(Image.new("L", (40, 60), 255)), "its mask a.mask.png is 40x60 px, the picture 60x40; save it with"),
    (b"no", "its mask a.mask.png: not a picture in a format"),
    (b"", "its mask a.mask.png: empty file"),
])  # fmt: skip
def test_a_picture_whose_mask_cannot_be_meant_is_skipped(project: Path, mask: bytes, reason: str) -> None:
    fill({"a.png": encoded(coloured(blob())), "a.mask.png": mask, "b.png": encoded(blob())})
    table = run()
    assert table.loc["a.png", "reason"].startswith(reason) and list(table.index) == ["a.png", "b.png"]


def test_a_mask_of_other_px_but_the_same_shape_is_scaled(project: Path) -> None:
    fill({"a.png": encoded(coloured(blob())), "a.mask.png": encoded(blob(600, 400))})
    name = run().loc["a.png", "id"]
    assert np.abs(weight(name) - np.asarray(open_pictures([name])[0]).astype(int)[..., 0]).mean() < 4


def test_a_tile_without_anything_that_counts_is_no_picture(project: Path) -> None:
    mask = Image.new("L", (96, 32))
    mask.paste(255, (0, 0, 16, 32))
    fill({"a.png": encoded(Image.new("RGB", (96, 32), "red")), "a.mask.png": encoded(mask)})
    write_params(split={"threshold": 0.5})
    table = run()
    assert list(table["state"]) == ["used", "skipped", "skipped", "skipped"]
    assert list(table["reason"].str[:14]) == ["", *(f"tile t{at}: nothi" for at in (1, 2, 3))]


def test_a_mask_follows_the_upright_picture(project: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = coloured(blob()).transpose(Image.Transpose.ROTATE_90)
    fill({"a.png": encoded(stored, exif=exif), "a.mask.png": encoded(blob())})
    name = run().loc["a.png", "id"]
    assert np.abs(weight(name) - np.asarray(open_pictures([name])[0]).astype(int)[..., 0]).mean() < 4


def test_a_second_copy_with_a_mask_of_its_own_is_told_that_it_is_not_used(project: Path) -> None:
    fill({"a.png": encoded(blob()), "b.png": encoded(blob()), "b.mask.png": encoded(blob())})
    assert run().loc["b.png", "reason"] == "same as a.png, so its mask b.mask.png is not used"
    assert not list(FOLDER.parent.glob("*.mask.png"))
