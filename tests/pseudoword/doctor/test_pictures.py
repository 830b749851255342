"""What is wrong with pictures: each check on a data set that must trigger it and on one that must not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from pseudoword.errors import UserError
from tests.pseudoword.doctor.drawn import (
    SCENERY,
    diagnose,
    everything,
    named,
    preprocessed,
    save,
    scenery,
    symmetric,
    thing,
    things_everywhere,
    why_not,
)  # fmt: skip


def test_nothing_is_said_against_one_thing_in_many_scenes() -> None:
    preprocessed([picture.resize((64, 64)) for picture in things_everywhere()], SCENERY)
    assert everything().at_least("warning") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture.crop((90, 60, 440, 410)),
        lambda picture: picture.crop((20, 100, 400, 480)),
        lambda picture: picture.resize((150, 150)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
        ImageOps.mirror,
        ImageOps.grayscale,
    ],
    ids=["centre", "corner", "small", "bright", "mirrored", "grey"],
)
def test_one_photograph_is_found_twice(change) -> None:
    first = scenery(0, 512, 512)
    save([scenery(1), first, scenery(2), change(first).convert("RGB"), scenery(3)])
    (finding,) = diagnose("alike")
    assert named(finding) == ["01.png", "03.png"] and finding.severity == "warning"
    assert ("mirrored" in finding.message) == (change is ImageOps.mirror)
    assert "01.png and 03.png" in finding.message


def test_many_copies_are_one_finding_and_count_once_for_the_other_checks() -> None:
    pictures = [scenery(at) for at in range(5)]
    save([*pictures, *(picture.crop((8, 8, 250, 250)) for picture in pictures)])
    (finding,) = diagnose("alike")
    assert finding.figure["groups"] == [[f"{at:02d}.png", f"{at + 5:02d}.png"] for at in range(5)]
    assert len(finding.pictures) == 10 and finding.message.startswith("5 photographs are there more than once (")
    assert "03.png and 08.png; and 1 more)" in finding.message


def test_a_photograph_that_is_there_often_is_no_shared_background() -> None:
    save([scenery(0), *(scenery(0).crop((at, at, 250, 250)) for at in range(4)), scenery(1), scenery(2)])
    assert "background" not in {finding.check for finding in everything().findings}
    assert "background" in {finding.check for finding in everything(ignore=["alike"]).findings}


def test_two_pictures_of_one_thing_are_not_one_photograph() -> None:
    save([*things_everywhere(), thing(20, "room"), thing(21, "cave")])
    assert diagnose("alike") == []


def test_a_mirrored_copy_that_preprocess_made_is_no_duplicate() -> None:
    preprocessed([scenery(at) for at in range(4)], mirrored=True)
    assert diagnose("alike") == []


def test_animations_are_told_and_not_what_a_camera_keeps_beside_a_photograph() -> None:
    save([scenery(0)])
    for name in ("cat.gif", "dog.webp", "camera.mpo"):
        scenery(1).save(Path("data", name), save_all=True, append_images=[scenery(2)])
    (finding,) = diagnose("animated")
    assert named(finding) == ["cat.gif", "dog.webp"] and finding.severity == "info"
    preprocessed([scenery(0), scenery(1)])
    assert diagnose("animated") == []


def test_a_duplicate_among_many_is_found() -> None:
    pictures = [scenery(at, 128, 128) for at in range(44)]
    save([*pictures, pictures[7].crop((10, 10, 118, 118))])
    (finding,) = diagnose("alike", resolution=128)
    assert named(finding) == ["07.png", "44.png"]


@pytest.mark.parametrize(("side", "severity"), [(100, "warning"), (230, "info"), (256, None), (900, None)])
def test_a_picture_that_is_enlarged(side: int, severity: str | None) -> None:
    save([scenery(0, 600, 400), scenery(1, 256, 256), scenery(2, side, side + 40)])
    findings = diagnose("small")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert [named(finding) for finding in findings] == ([["02.png"]] if severity else [])
    if severity == "warning":
        assert "2.6 times (100 x 140 px)" in findings[0].message


def test_a_blurred_picture_among_sharp_ones() -> None:
    pictures = [scenery(at) for at in range(5)]
    pictures[2] = pictures[2].filter(ImageFilter.GaussianBlur(2))
    save(pictures)
    (finding,) = diagnose("blurred")
    assert named(finding) == ["02.png"] and finding.severity == "warning"


@pytest.mark.parametrize(
    "picture",
    [scenery(2).filter(ImageFilter.GaussianBlur(12)), Image.new("RGB", (256, 256), "teal")],
    ids=["blurred by 12 px", "plain"],
)
def test_a_picture_without_an_edge_is_told_and_not_taken_for_a_sharp_one(picture: Image.Image) -> None:
    save([scenery(0), scenery(1), picture, scenery(3)])
    (finding,) = diagnose("blurred")
    assert (finding.severity, named(finding)) == ("info", ["02.png"])
    assert "has an edge from which its sharpness could be told" in finding.message


def test_neither_dark_pictures_nor_a_shallow_focus_are_blurred() -> None:
    pictures = [scenery(at) for at in range(5)]
    pictures[1] = ImageEnhance.Brightness(pictures[1]).enhance(0.3)
    sharp = pictures[2].crop((80, 80, 176, 176))
    pictures[2] = pictures[2].filter(ImageFilter.GaussianBlur(4))
    pictures[2].paste(sharp, (80, 80))
    save([*pictures, *things_everywhere()])
    assert diagnose("blurred") == []


def test_a_set_that_is_soft_as_a_whole_is_only_told() -> None:
    save([scenery(at).filter(ImageFilter.GaussianBlur(2)) for at in range(4)])
    (finding,) = diagnose("blurred")
    assert finding.severity == "info" and len(finding.pictures) == 4


def test_twelve_bits_in_a_file_of_sixteen_are_nearly_black(folder: Path) -> None:
    save([scenery(0), ImageEnhance.Brightness(scenery(1)).enhance(0.4)])
    assert diagnose("dark") == []
    Image.fromarray(np.asarray(scenery(2).convert("L")).astype(np.uint16) * 16).save(folder / "data/raw.png")
    (finding,) = diagnose("dark")
    assert finding.severity == "warning" and named(finding) == ["raw.png"] and "10 or 12 bits" in finding.advice


def beside(picture: Image.Image, left: int) -> Image.Image:
    """A subject on a wide, smooth ground."""
    wide = Image.linear_gradient("L").resize((512, 256)).convert("RGB")
    wide.paste(picture.resize((120, 120)), (left, 70))
    return wide


@pytest.mark.parametrize(("left", "lost"), [(0, True), (392, True), (196, False)])
def test_a_crop_that_loses_the_subject(left: int, lost: bool) -> None:
    save([scenery(0), beside(scenery(1), left), scenery(2, 512, 256)])
    findings = diagnose("crop")
    assert [named(finding) for finding in findings] == ([["01.png"]] if lost else [])
    assert all(finding.severity == "warning" for finding in findings)


def test_a_focal_crop_that_misses_is_not_answered_by_a_focal_crop() -> None:
    preprocessed([beside(scenery(0), 0)], crop=["256,0,512,256"])
    assert "crop to focal" in diagnose("crop")[0].advice
    assert diagnose("crop", crop="focal")[0].advice.startswith("Crop it by hand")


def test_the_crop_that_preprocess_chose_is_the_one_that_counts() -> None:
    wide = [beside(scenery(at), 0) for at in range(2)]
    crops = ["0,0,256,256", "256,0,512,256"]
    preprocessed(wide, crop=crops)
    (finding,) = diagnose("crop")
    assert named(finding) == ["01.png"]


def barred(picture: Image.Image, box: tuple[int, int, int, int], colour: str) -> Image.Image:
    canvas = Image.new("RGB", picture.size, colour)
    canvas.paste(picture.resize((box[2] - box[0], box[3] - box[1])), box)
    return canvas


@pytest.mark.parametrize("box", [(0, 30, 256, 226), (20, 0, 236, 256), (12, 12, 244, 244)])
@pytest.mark.parametrize("colour", ["black", "white"])
def test_bars_at_the_edges(box: tuple[int, int, int, int], colour: str, folder: Path) -> None:
    save([scenery(0), barred(scenery(1), box, colour), scenery(2)])
    (folder / "data/01.png").unlink()
    barred(scenery(1), box, colour).save("data/01.jpg", quality=80)
    (finding,) = diagnose("borders")
    assert named(finding) == ["01.jpg"] and finding.severity == "warning"


def test_a_plain_ground_is_no_bar() -> None:
    cut_out = Image.new("RGB", (256, 256), "white")
    cut_out.paste(scenery(0, 90, 170), (80, 40))
    night = Image.new("RGB", (256, 256), "black")
    night.paste(scenery(1, 256, 100), (0, 156))
    save([cut_out, night, *things_everywhere()])
    assert diagnose("borders") == []


def marked(picture: Image.Image, at: tuple[int, int]) -> Image.Image:
    copy = picture.copy()
    ImageDraw.Draw(copy).text(
        at, "(c) example", "white", font=ImageFont.load_default(22), stroke_width=1, stroke_fill="black"
    )
    return copy


def test_lettering_at_one_spot() -> None:
    save([marked(scenery(at), (130, 215)) for at in range(5)])
    (finding,) = diagnose("lettering")
    assert finding.severity == "info" and "bottom right" in finding.message


@pytest.mark.parametrize("number", [5, 8])
def test_what_is_rough_everywhere_is_no_lettering(number: int) -> None:
    """Grass and fur: edges of many pictures meet by chance."""
    random = np.random.default_rng(0)
    save([Image.fromarray(random.integers(0, 256, (256, 256, 3), np.uint8)) for _ in range(number)])
    assert diagnose("lettering") == []


def test_of_few_pictures_nothing_is_said_of_lettering() -> None:
    save([marked(scenery(at), (130, 215)) for at in range(4)])
    assert diagnose("lettering") == []
    assert why_not("lettering") == "marks show from 5 pictures on, and there are 4"


def test_lettering_that_belongs_to_the_picture() -> None:
    save([marked(scenery(at), (10 + 25 * at, 200 - 40 * at)) for at in range(5)])
    assert diagnose("lettering") == []


def test_letter_boxes_and_one_thing_are_no_lettering() -> None:
    save([barred(scenery(at), (0, 30, 256, 226), "black") for at in range(5)])
    assert diagnose("lettering") == []
    save(things_everywhere())
    assert diagnose("lettering") == []


def test_mirrored_copies_of_what_has_a_left_and_a_right() -> None:
    preprocessed(things_everywhere(), mirrored=True)
    (finding,) = diagnose("mirrored")
    assert finding.severity == "warning" and len(finding.pictures) == 8


def test_mirrored_copies_of_what_is_the_same_from_both_sides_are_only_told() -> None:
    preprocessed([symmetric(at) for at in range(5)], mirrored=True)
    (finding,) = diagnose("mirrored")
    assert finding.severity == "info"


def test_without_mirrored_copies_nothing_is_said_of_them() -> None:
    preprocessed(things_everywhere())
    assert diagnose("mirrored") == []


def test_files_that_do_not_open_are_named(folder: Path) -> None:
    save(things_everywhere(3))
    (folder / "data/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for number in range(4):
        (folder / f"data/IMG_{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    for name in ("00.txt", ".hidden", "notes.pages", "Thumbs.db"):
        (folder / "data" / name).write_text("no picture")
    (folder / "data/copy.png").write_bytes((folder / "data/00.png").read_bytes())
    (finding,) = diagnose("skipped")
    assert finding.severity == "warning" and finding.message.startswith(
        "5 files are skipped beside the 3 that are used"
    )
    assert named(finding) == [*(f"IMG_{number}.HEIC" for number in range(4)), "broken.jpg"]
    assert "IMG_0.HEIC (not a picture in a format that can be read here" in finding.message
    assert everything().pictures == 3


def test_files_that_preprocess_skipped_are_told_of_too() -> None:
    preprocessed(things_everywhere(3))
    assert diagnose("skipped") == []
    with Path("outputs/pictures.csv").open("a") as table:
        table.write(",portrait.heic,,skipped,not a picture,,\n,folder,,skipped,a folder,,\n")
    (finding,) = diagnose("skipped")
    assert "portrait.heic (not a picture)" in finding.message and "folder" not in finding.message


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_pictures_is_refused(folder: Path, make: bool) -> None:
    if make:
        (folder / "data").mkdir()
        (folder / "data/notes.txt").write_text("")
    with pytest.raises(UserError, match=r"data.folder: 'data' (holds no picture|cannot be read)"):
        everything()


def test_a_photograph_on_its_side_is_measured_upright(folder: Path) -> None:
    save([scenery(0)])
    exif = Image.Exif()
    exif[274] = 6
    scenery(1, 300, 200).save(folder / "data/01.jpg", exif=exif)
    (finding,) = diagnose("small")
    assert "(200 x 300 px)" in finding.message
