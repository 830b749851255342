"""The preprocess stage with each shape, crop, tile and mirrored copy; and its contact sheet."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pseudoword.errors import UserError
from pseudoword.pictures.prepared import open_masks, open_pictures
from stages.preprocess.__main__ import main
from stages.preprocess.sheet import compose, draw_skipped
from tests.preprocessing import FOLDER, encoded, fill, pixels, run, start, write_model, write_params

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return start(tmp_path, monkeypatch)


def thirds(width: int, height: int) -> Image.Image:
    """Red, green and blue from left to right."""
    image = Image.new("RGB", (width, height), GREEN)
    image.paste(RED, (0, 0, width // 3, height))
    image.paste(BLUE, (width - width // 3, 0, width, height))
    return image


def shapes(table: pd.DataFrame) -> set[tuple[int, int]]:
    return {image.size for image in open_pictures(list(table["id"][table["state"] == "used"]))}


def sheet_px() -> np.ndarray:
    with Image.open("outputs/preprocess.png") as sheet:
        return np.asarray(sheet).astype(int)


def quarters() -> bytes:
    """Red, green over blue, white."""
    image = Image.new("RGB", (40, 40), RED)
    for colour, place in ((GREEN, (20, 0)), (BLUE, (0, 20)), (WHITE, (20, 20))):
        image.paste(colour, (*place, place[0] + 20, place[1] + 20))
    return encoded(image)


CORNERS = {
    "": [RED, GREEN, BLUE, WHITE], "h": [GREEN, RED, WHITE, BLUE],
    "v": [BLUE, WHITE, RED, GREEN], "hv": [WHITE, BLUE, GREEN, RED],
}  # fmt: skip


@pytest.mark.parametrize(
    ("mirror", "copies"),
    [("none", [""]), ("horizontal", ["", "h"]), ("vertical", ["", "v"]), ("both", ["", "h", "v", "hv"])],
)
def test_mirrored_copies_are_pictures_of_their_own_beside_the_first(
    project: Path, mirror: str, copies: list[str]
) -> None:
    fill({"a.png": quarters()})
    write_params(mirror=mirror)
    main()
    table = pd.read_csv("outputs/pictures.csv", dtype=str, keep_default_na=False)
    name = table.loc[0, "id"]
    assert list(table["mirrored"]) == copies
    assert list(table["id"]) == [f"{name}-{copy}" if copy else name for copy in copies]
    assert set(table["crop"]) == {"0,0,40,40"} and set(table["source"]) == {"a.png"}
    for own, copy in zip(table["id"], copies, strict=True):
        picture = open_pictures([own])[0]
        found = [picture.getpixel(place) for place in ((4, 4), (27, 4), (4, 27), (27, 27))]
        assert found == CORNERS[copy]


def test_mirroring_warns_and_names_the_pictures_with_faces(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.stages.test_preprocess_focus import with_face

    fill({"a.png": quarters(), "me.png": encoded(with_face(300, 300, 150, 150))})
    write_params()
    run()
    assert "mirror" not in capsys.readouterr().out
    write_params(mirror="horizontal")
    run()
    lines = capsys.readouterr().out.splitlines()
    assert "warning: preprocess.mirror is horizontal: lettering, and faces" in lines[0]
    assert lines[1] == "warning: there seem to be faces in me.png, which are mirrored now"


def test_a_long_picture_becomes_tiles_that_show_all_of_it(project: Path) -> None:
    fill({"wide.png": encoded(thirds(96, 32)), "square.png": quarters()})
    write_params(split={"threshold": 0.5})
    table = run()
    tiles = table.loc["wide.png"]
    assert list(tiles["id"].str.split("-").str[1]) == ["t0", "t1", "t2", "t3"]
    assert list(tiles["crop"]) == ["0,0,32,32", "21,0,53,32", "42,0,74,32", "64,0,96,32"]
    colours = [pixels(name).reshape(-1, 3).mean(0) for name in tiles["id"]]
    assert np.abs(colours[0] - RED).max() < 3 and np.abs(colours[-1] - BLUE).max() < 3
    assert table.loc["square.png", "id"].count("-") == 0 and shapes(table) == {(32, 32)}


def test_a_resolution_of_width_and_height_is_what_all_pictures_have(project: Path) -> None:
    """With its masks and the sheet, and for long pictures tiles of it."""
    mask = encoded(Image.linear_gradient("L").resize((90, 60)))
    fill(
        {
            "a.png": encoded(thirds(90, 60)),
            "a.mask.png": mask,
            "b.png": quarters(),
            "tall.png": encoded(thirds(40, 440)),
        }
    )
    write_params("32x64", split={"threshold": 0.2}, crop="focal", mirror="horizontal")
    table = run()
    assert shapes(table) == {(32, 64)}
    (weight,) = open_masks(list(table.loc["a.png", "id"])[:1])
    assert weight is not None and weight.size == (32, 64)
    left, top, right, bottom = (int(edge) for edge in table.loc["a.png", "crop"].iloc[0].split(","))
    assert (right - left, bottom - top) == (30, 60)
    assert len(table.loc["tall.png"]) == 2 * 7
    assert sheet_px().size


@pytest.mark.parametrize(("shape", "px"), [("buckets", (64, 64)), ("keep", (64, 64)), ("autosize", (640, 640))])
def test_tiles_have_px_that_other_pictures_of_the_shape_have(project: Path, shape: str, px: tuple[int, int]) -> None:
    fill({"wide.png": encoded(thirds(192, 64))})
    write_params(72, model=write_model(8, unet_levels=2), shape=shape, split={"threshold": 0.5})
    assert shapes(run()) == {px}


def test_tiles_are_mirrored_too(project: Path) -> None:
    fill({"wide.png": encoded(thirds(64, 32))})
    write_params(split={"threshold": 0.5, "overlap": 0.0}, mirror="horizontal")
    table = run()
    assert list(table["id"].str.split("-", n=1).str[1]) == ["t0", "t0-h", "t1", "t1-h"]


def test_a_picture_that_would_be_thousands_of_tiles_is_skipped(project: Path) -> None:
    fill({"thread.png": encoded(Image.new("RGB", (9000, 1))), "a.png": quarters()})
    write_params(split={"threshold": 0.5})
    assert run().loc["thread.png", "reason"] == "9000x1 px would be split into 11250 tiles; crop it"


def test_buckets_keep_the_aspect_ratio_and_are_multiples_of_what_the_unet_takes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill({name: encoded(thirds(*px)) for name, px in {"a": (120, 40), "b": (40, 120), "c": (50, 50)}.items()})
    write_params("auto", model=write_model(8, unet_levels=2), shape="buckets")
    table = run()
    assert [open_pictures([name])[0].size for name in table["id"]] == [(96, 32), (32, 96), (64, 64)]
    assert "px: 1 of 32x96, 1 of 64x64, 1 of 96x32" in capsys.readouterr().out
    assert list(table["crop"]) == ["0,0,120,40", "0,0,40,120", "0,0,50,50"]


def test_kept_pictures_lose_less_than_a_multiple_and_are_not_resized(project: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 75, 3), np.uint8)
    fill({"a.png": encoded(Image.fromarray(noise)), "small.png": encoded(Image.fromarray(noise[:15]))})
    write_params(model=write_model(8, unet_levels=2), shape="keep")
    table = run()
    left, top, right, bottom = (int(edge) for edge in table.loc["a.png", "crop"].split(","))
    assert (right - left, bottom - top) == (64, 48) and 5 <= left <= 6 and top == 1
    assert np.array_equal(pixels(table.loc["a.png", "id"]), noise[top:bottom, left:right])
    assert table.loc["small.png", "reason"] == "75x15 px; preprocess.shape 'keep' needs 16 px on each side"


def test_autosized_pictures_have_the_worked_examples_px(project: Path) -> None:
    fill({"a": encoded(thirds(192, 108)), "b": encoded(thirds(100, 100)), "c": encoded(thirds(300, 100))})
    write_params(model=write_model(64), shape="autosize")
    table = run()
    assert [open_pictures([name])[0].size for name in table["id"][:2]] == [(768, 448), (640, 640)]
    assert table.loc["c", "state"] == "skipped"
    assert table.loc["c", "reason"].startswith("300x100 px: no shape of preprocess.autosize is near its aspect ratio")


def test_autosize_is_refused_where_the_unet_cannot_take_its_sides(project: Path) -> None:
    fill({"a": quarters()})
    write_params(model=write_model(64, unet_levels=5), shape="autosize")
    with pytest.raises(UserError, match=r"preprocess.shape: autosize .* multiples of 64 px.* takes multiples of 128\."):
        main()


def test_a_focal_crop_follows_what_there_is_to_see_and_a_centred_one_does_not(project: Path) -> None:
    wide = Image.new("RGB", (120, 40), "grey")
    wide.paste(Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)), (85, 5))
    fill({"a.png": encoded(wide)})
    assert run().loc["a.png", "crop"] == "40,0,80,40"
    write_params(crop="focal")
    left, _, right, _ = (int(edge) for edge in run().loc["a.png", "crop"].split(","))
    assert left >= 70 and right - left == 40


def test_squares_of_a_given_resolution_need_no_model(project: Path) -> None:
    fill({"a.png": quarters()})
    write_params(40, model="gone")
    assert shapes(run()) == {(40, 40)}


def test_the_sheet_shows_each_source_with_its_crop_and_each_skipped_file(project: Path) -> None:
    fill({"wide.png": encoded(Image.new("RGB", (176, 88), WHITE)), "x.jpg": b"no"})
    run()
    sheet = sheet_px()
    # The first cell's thumbnail is 176 x 88 px at (8, 52): what is kept is white in a green frame, the rest is dimmed.
    row = sheet[96, 8:184]
    assert (row[60:120] == 255).all() and (row[:40] < 100).all() and (row[-40:] < 100).all()
    frame = np.flatnonzero((row[:, 1] > 150) & (row[:, 0] < 100))
    assert frame.min() == 44 and frame.max() == 131
    assert (sheet[:, 192:, 0] - sheet[:, 192:, 1] > 120).any(), "the reason is written in red"


@pytest.mark.parametrize("px", [(1, 1), (9000, 1), (1, 9000), (3, 700)])
@pytest.mark.parametrize("wanted", [{}, {"crop": "focal", "focal": {"debug": True}}, {"split": {"threshold": 0.01}}])
def test_the_thinnest_picture_is_used_and_shown(project: Path, px: tuple[int, int], wanted: dict[str, Any]) -> None:
    fill({"a.png": encoded(Image.new("RGB", px, RED)), "b.png": quarters(), "c.mask.png": b""})
    write_params(**wanted)
    table = run()
    assert set(table.loc[["a.png"], "state"]) == ({"skipped"} if "split" in wanted and max(px) > 1 else {"used"})
    assert shapes(table) == {(32, 32)} and sheet_px().size


def test_the_sheet_has_room_for_100_files_and_tells_of_the_rest(project: Path) -> None:
    fill({f"{at:03}.png": encoded(Image.new("RGB", (40, 40), (at, 0, 0))) for at in range(100)})
    run()
    small = sheet_px().shape
    fill({f"{at:03}.png": encoded(Image.new("RGB", (40, 40), (at, 0, 0))) for at in range(130)})
    assert len(run()) == 130
    large = sheet_px().shape
    assert small[1] == large[1] and 0 < large[0] - small[0] < 20


def test_what_focal_found_is_drawn_on_request(project: Path) -> None:
    wide = Image.new("RGB", (120, 40), "grey")
    wide.paste(Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)), (85, 5))
    fill({"a.png": encoded(wide)})
    write_params(crop="focal", focal={"debug": True})
    run()
    sheet = sheet_px().reshape(-1, 3).tolist()
    assert [70, 140, 255] in sheet and [255, 225, 0] in sheet


def test_a_split_picture_has_no_focus_to_draw(project: Path) -> None:
    fill({"wide.png": encoded(Image.new("RGB", (120, 40), "grey"))})
    sheets = []
    for debug in (True, False):
        write_params(split={"threshold": 0.5, "overlap": 0.0}, focal={"debug": debug})
        run()
        sheets.append(sheet_px())
    # The picture's middle is in the middle tile, whose outline is far from it.
    middle = sheets[0][8 + 304 // 2 - 4 : 8 + 304 // 2 + 4, 8 + 304 // 2 - 4 : 8 + 304 // 2 + 4]
    assert sheets[0].shape[0] > sheets[1].shape[0] and (np.abs(middle - 128) < 3).all()


def test_of_a_long_reason_the_sheet_shows_the_beginning_and_of_a_long_name_both_ends() -> None:
    name, reason = "n" * 80, "m" * 80
    sheets = [np.asarray(compose([draw_skipped(*texts)], 1)) for texts in (
        (name, reason), (name, reason[:-1] + "i"), (name[:-1] + "i", reason))]  # fmt: skip
    assert np.array_equal(sheets[0], sheets[1]), "the end of the reason is not to be seen"
    assert not np.array_equal(sheets[0], sheets[2])


def test_all_settings_together_give_the_same_bytes_each_time(project: Path) -> None:
    rng = np.random.default_rng(0)
    fill({f"{at}.png": encoded(Image.fromarray(rng.integers(0, 256, px, np.uint8))) for at, px in enumerate(
        [(40, 90, 3), (90, 40, 3), (64, 64, 3), (30, 200, 3), (100, 101, 4)] * 3)})  # fmt: skip
    model = write_model(8, unet_levels=2)
    write_params("auto", model=model, shape="buckets", crop="focal", mirror="both", split={"threshold": 0.3},
                 focal={"debug": True})  # fmt: skip
    run()
    first = {str(path): path.read_bytes() for path in Path("outputs").rglob("*.*")}
    run()
    assert {str(path): path.read_bytes() for path in Path("outputs").rglob("*.*")} == first
    assert len(first) > 15 * 4


def test_sub_folders_are_read_on_request(project: Path) -> None:
    files = {"a.png": quarters(), "b/a.png": encoded(thirds(9, 9)), "b/c/d.png": encoded(thirds(12, 12))}
    fill(files | {"b/a.txt": b"caption", "b/.hidden/x.png": b"x", "b/copy.png": quarters()})
    (FOLDER / "link").symlink_to("b")
    assert list(run().index) == ["a.png", "b", "link"]
    write_params(recursive=True)
    table = run()
    assert list(table.index) == ["a.png", "b/a.png", "b/c/d.png", "b/copy.png", "link"]
    assert table.loc["b/copy.png", "reason"] == "same as a.png"
    assert table.loc["link", "reason"].startswith("a link to a folder")
    assert list(table["state"]) == ["used", "used", "used", "skipped", "skipped"]
