"""The preprocess stage on every odd kind of file that people keep among their pictures."""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.cbook import get_sample_data
from PIL import Image

from pseudoword.errors import UserError
from pseudoword.pictures.opening import is_large
from stages.preprocess.__main__ import main
from tests.preprocessing import FOLDER, ROOT, encoded, fill, pixels, run, start, write_model, write_params

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return start(tmp_path, monkeypatch)


def plain(colour: Any = RED, mode: str = "RGB", width: int = 40, height: int = 40) -> Image.Image:
    return Image.new(mode, (width, height), colour)


def grey(dtype: str, low: float, high: float) -> Image.Image:
    """Left half `low`, right half `high`."""
    return Image.fromarray(np.repeat([[low] * 20 + [high] * 20], 40, axis=0).astype(dtype))


def test_a_picture_becomes_a_row_and_a_square_png(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = encoded(plain(RED, width=60, height=40), "JPEG")
    fill({"dog 1.jpg": content})
    name = hashlib.sha256(content).hexdigest()[:12]
    assert run().loc["dog 1.jpg"].to_dict() == {
        "id": name, "state": "used", "reason": "", "width": "60", "height": "40",
        "crop": "10,0,50,40", "mirrored": "", "weighted": "",
    }  # fmt: skip
    with Image.open(f"outputs/pictures/{name}.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (32, 32))
    assert capsys.readouterr().out == "1 pictures used, 0 skipped\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.sampled_from([32, 64, 136]))
def test_any_size_is_covered_by_its_centred_square(project: Path, width: int, height: int, side: int) -> None:
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    ramps = np.stack([across * 255, down * 255, 0 * across], -1).round().astype(np.uint8)
    fill({"ramps.png": encoded(Image.fromarray(ramps))})
    write_params(side)
    square = pixels(run().loc["ramps.png", "id"])
    assert square.shape == (side, side, 3)
    kept, middle = min(width, height), slice(side // 4, 3 * side // 4)
    places = (np.arange(side) + 0.5) / side - 0.5
    for channel, length in ((0, width), (1, height)):
        wanted = (0.5 + places * kept / length) * 255
        found = square.mean(axis=channel)[:, channel]
        # A pixel's breadth of the source is all that the filter's reach may cost, away from the edges.
        assert np.abs(found - wanted)[middle].max() <= 255 / length + 1.5


UPRIGHT = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)).resize(
    (96, 64), Image.NEAREST
)
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_every_exif_orientation_is_turned_upright(project: Path, kind: str) -> None:
    exif = Image.Exif()
    files = {}
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        turned = UPRIGHT.transpose(STORED[orientation]) if orientation in STORED else UPRIGHT
        files[f"{orientation}.{kind}"] = encoded(turned, kind, exif=exif, quality=95)
    fill(files)
    table = run()
    assert set(zip(table["width"], table["height"], strict=True)) == {("96", "64")}
    wanted = pixels(table.loc[f"1.{kind}", "id"])
    for name in table["id"]:
        assert np.abs(pixels(name) - wanted).mean() < 6


def test_an_orientation_that_does_not_exist_is_no_reason_to_skip(project: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    fill({"a.png": encoded(UPRIGHT, exif=exif), "b.png": encoded(UPRIGHT)})
    assert (run()["state"] == "used").all()


def png(width: int, height: int, bits: int, data: bytes) -> bytes:
    """An RGB PNG of exactly these claims and bytes."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)), (b"IDAT", zlib.compress(data)))
    body = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def frames(kind: str) -> bytes:
    return encoded(plain(RED), kind, save_all=True, append_images=[plain(BLUE), plain(WHITE)], duration=50)


def see_through_palette() -> bytes:
    image = plain(0, "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    return encoded(image, transparency=b"\x01")


def key_colour() -> bytes:
    image = plain(BLUE)
    image.putpixel((20, 20), (252, 252, 252))
    return encoded(image, transparency=BLUE)


ODD = {
    "cmyk.jpg": (encoded(plain((0, 255, 255, 0), "CMYK"), "JPEG", quality=95), RED),
    "cmyk.tif": (encoded(plain((0, 255, 255, 0), "CMYK"), "TIFF"), RED),
    "palette.png": (encoded(plain(RED).convert("P")), RED),
    "palette.gif": (encoded(plain(BLUE).convert("P"), "GIF"), BLUE),
    "palette-clear.png": (see_through_palette(), WHITE),
    "bits.png": (encoded(plain(1, "1")), WHITE),
    "grey.png": (encoded(plain(100, "L")), (100, 100, 100)),
    "rgb-16.png": (png(40, 40, 16, (b"\0" + struct.pack(">3H", 65535, 0, 0) * 40) * 40), RED),
    "grey-alpha.png": (encoded(plain((0, 1), "LA")), WHITE),
    "clear.png": (encoded(plain((255, 0, 0, 1), "RGBA")), WHITE),
    "half.png": (encoded(plain((255, 0, 0, 128), "RGBA")), (255, 127, 127)),
    "half.webp": (encoded(plain((255, 0, 0, 128), "RGBA"), "WEBP", lossless=True), (255, 127, 127)),
    "key-colour.png": (key_colour(), WHITE),
    "frames.gif": (frames("GIF"), RED),
    "frames.png": (frames("PNG"), RED),
    "frames.webp": (frames("WEBP"), RED),
    "pages.tif": (frames("TIFF"), RED),
    "ycbcr.tif": (encoded(plain(RED).convert("YCbCr"), "TIFF"), RED),
    "old.bmp": (encoded(plain(BLUE), "BMP"), BLUE),
    "wrong-name.txt.jpg": (encoded(plain(BLUE), "PNG"), BLUE),
    "null": (encoded(plain((1, 2, 3))), (1, 2, 3)),
    'comma, "quoted".png': (encoded(plain((4, 5, 6))), (4, 5, 6)),
    "größe ☂.png": (encoded(plain((7, 8, 9))), (7, 8, 9)),
}  # fmt: skip


def test_odd_pictures_become_the_rgb_that_they_show(project: Path) -> None:
    fill({name: content for name, (content, _) in ODD.items()})
    table = run()
    assert list(table["state"]) == ["used"] * len(ODD)
    for name, (_, colour) in ODD.items():
        assert np.abs(pixels(table.loc[name, "id"]) - colour).max() <= 4, name


@pytest.mark.parametrize(
    ("content", "left", "right"),
    [
        (encoded(grey("uint16", 16448, 32896)), 64, 128),
        (encoded(grey("uint16", 16448, 32896), "TIFF"), 64, 128),
        (encoded(grey("int32", 16448, 32896), "TIFF"), 64, 128),
        (encoded(grey("int32", -100000, 100000), "TIFF"), 0, 255),
        (encoded(grey("float32", 0.25, 0.75), "TIFF"), 0, 255),
        (encoded(grey("float32", np.nan, 1), "TIFF"), 0, 255),
        (encoded(grey("float32", 3, 3), "TIFF"), 0, 0),
        (b"P5 40 40 65535\n" + np.asarray(grey("uint16", 16448, 32896)).astype(">u2").tobytes(), 64, 128),
    ],
    ids=["png-16", "tiff-16", "tiff-32", "tiff-32-signed", "float", "float-nan", "float-constant", "pgm-16"],
)
def test_grey_of_more_than_8_bits_is_scaled_and_not_clipped(
    project: Path, content: bytes, left: int, right: int
) -> None:
    fill({"grey": content})
    square = pixels(run().loc["grey", "id"])
    assert (square[:, 4] == left).all() and (square[:, 27] == right).all()


GOOD = encoded(UPRIGHT)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(ran) (w) file\n%%EOF\n"
SKIPPED: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb.png": (lambda path: path.write_bytes(png(30000, 30000, 8, bytes(99))), "more than 178 million pixels"),
    "broken-link.png": (lambda path: path.symlink_to("nowhere.png"), "a link to nothing"),
    "copy.png": (lambda path: path.write_bytes(GOOD), "same as a.png"),
    "cut.jpg": (
        lambda path: path.write_bytes(encoded(UPRIGHT, "JPEG")[:-200]),
        "cannot be decoded: ",
    ),
    "cut.png": (lambda path: path.write_bytes(GOOD[: len(GOOD) // 2]), "cannot be decoded"),
    "huge.tif": (lambda path: (path.touch(), os.truncate(path, 3 * 2**30)), "a file of more than 2 GiB"),
    "empty.jpg": (lambda path: path.touch(), "empty file"),
    "folder": (lambda path: path.mkdir(), "a folder; only the files of data.folder itself are read"),
    "loop.png": (lambda path: path.symlink_to(path.name), "a link to nothing"),
    "page.html": (lambda path: path.write_text("<html>"), "not a picture in a format that can be read here"),
    "pipe.jpg": (lambda path: os.mkfifo(path), "not a regular file"),
    "program.eps": (lambda path: path.write_bytes(EPS), "not a picture in a format that can be read here"),
    "second-name.png": (lambda path: path.symlink_to("a.png"), "same as a.png"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_what_cannot_be_used_is_skipped_with_its_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill({"a.png": GOOD})
    for name, (make, _) in SKIPPED.items():
        make(FOLDER / name)
    table = run()
    out = capsys.readouterr().out.splitlines()
    assert table.loc["a.png", "state"] == "used"
    for name, (_, reason) in SKIPPED.items():
        assert table.loc[name, "state"] == "skipped"
        assert set(table.loc[name].drop(["state", "reason"])) == {""}
        assert table.loc[name, "reason"].startswith(reason), name
    assert [line.split(":")[0] for line in out[:-1]] == [f"skipped {name}" for name in sorted(SKIPPED)]
    assert out[-1] == f"1 pictures used, {len(SKIPPED)} skipped"


def test_of_an_animation_the_first_frame_is_used_and_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill({"a.png": GOOD})
    frames = [plain(colour) for colour in (BLUE, RED)]
    for name in ("b.gif", "c.png", "d.tiff", "photograph.mpo"):
        frames[0].save(FOLDER / name, save_all=True, append_images=frames[1:])
    table = run()
    assert set(table["state"]) == {"used"}
    assert "only the first frame or page is used: b.gif, c.png and d.tiff\n" in capsys.readouterr().out
    assert Image.open(f"outputs/pictures/{table.loc['c.png', 'id']}.png").getpixel((0, 0)) == BLUE


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_link_to_a_picture_elsewhere_is_followed_and_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill({"a.png": GOOD})
    Path("out.png").write_bytes(encoded(plain(BLUE)))
    (FOLDER / "out.png").symlink_to(Path("../../out.png"))
    assert list(run()["state"]) == ["used", "used"]
    assert f"links to files outside {FOLDER} are followed: out.png\n" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_link_into_the_cache_of_dvc_is_the_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached = Path("cache/files/md5") / "1b" / ("c" * 30)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(GOOD)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "a.png").symlink_to(cached.resolve())
    assert list(run()["state"]) == ["used"]
    assert "link" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_a_name_that_is_no_text_is_skipped_and_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill({"a.png": GOOD, "Icon\r": b"", "two\nlines.png": encoded(plain(RED))})
    Path(os.fsdecode(os.fsencode(FOLDER) + b"/caf\xe9.png")).write_bytes(encoded(plain(BLUE)))
    table = run()
    assert list(table.index) == ["Icon\\r", "a.png", "caf\\xe9.png", "two\\nlines.png"]
    assert (table["reason"].drop("a.png") == "its name is not plain text; rename it").all()
    assert "skipped caf\\xe9.png: its name is not plain text" in capsys.readouterr().out


def test_a_name_may_be_as_long_as_names_can_be(project: Path) -> None:
    long, wide = "n" * 251 + ".png", "長" * 83 + ".png"
    fill({long: encoded(plain(RED)), wide: encoded(plain(BLUE))})
    assert list(run()["state"]) == ["used", "used"]
    fill({long: encoded(plain(RED)), "n" * 251 + ".txt": b"caption", "m" * 246 + ".mask.png": encoded(plain(RED))})
    assert list(run().index) == ["m" * 246 + ".mask.png", long]


def test_large_pictures_go_one_at_a_time_and_a_broken_one_does_not_block_the_next(project: Path) -> None:
    broken = {f"{side}.png": png(side, side, 8, bytes(99)) for side in (7000, 7001, 7002)}
    fill(broken | {"small.png": GOOD})
    assert [is_large(FOLDER / name) for name in [*broken, "small.png"]] == [True, True, True, False]
    assert list(run()["state"]) == ["skipped"] * 3 + ["used"]


def test_the_same_picture_under_another_name_is_the_same_picture(project: Path) -> None:
    fill({"a.png": GOOD, "b.png": encoded(plain(BLUE))})
    run()
    first = {path.name: path.read_bytes() for path in Path("outputs/pictures").iterdir()}
    fill({"z.png": GOOD, "0.png": encoded(plain(BLUE))})
    run()
    assert {path.name: path.read_bytes() for path in Path("outputs/pictures").iterdir()} == first


def test_of_broken_files_with_the_same_bytes_each_is_told_why(project: Path) -> None:
    fill({"a.png": GOOD, "b.png": GOOD[:50], "c.png": GOOD[:50]})
    reasons = run()["reason"]
    assert reasons["b.png"] == reasons["c.png"] != "" and "same as" not in reasons["c.png"]


def test_captions_and_hidden_files_are_no_pictures(project: Path) -> None:
    others = dict.fromkeys(["a.txt", "B.TXT", ".gitignore", "captions.yaml", "captions.yml"], b"x")
    fill({"a.png": GOOD, ".a.png": GOOD} | others)
    assert list(run().index) == ["a.png"]


def test_rows_are_sorted_by_name_and_a_second_run_gives_the_same_bytes(project: Path) -> None:
    names = [f"{number * 7919 % 1000}.png" for number in range(20)]
    fill({name: encoded(plain((at, 0, 0))) for at, name in enumerate(names)})
    assert list(run().index) == sorted(names)
    first = outputs()
    assert run() is not None and outputs() == first


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("outputs").rglob("*")) if path.is_file()}


def test_metadata_of_the_source_never_reaches_the_output(project: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    fill({"a.png": GOOD, "b.png": encoded(UPRIGHT, exif=exif, icc_profile=b"profile", dpi=(300, 300))})
    table = run()
    one, other = (Path(f"outputs/pictures/{name}.png").read_bytes() for name in table["id"])
    assert one == other


def test_nothing_of_an_earlier_run_stays_where_this_one_fails(project: Path) -> None:
    fill({"a.png": GOOD})
    run()
    fill({"a.png": b""})
    with pytest.raises(UserError, match="holds no picture"):
        main()
    assert {path.name for path in Path("outputs").iterdir()} == {"code", "settings"}


def test_pictures_of_an_earlier_run_do_not_stay(project: Path) -> None:
    fill({"a.png": GOOD})
    first = run().loc["a.png", "id"]
    fill({"b.png": encoded(plain(BLUE))})
    second = run().loc["b.png", "id"]
    assert first != second
    assert [path.stem for path in Path("outputs/pictures").iterdir()] == [second]


def test_auto_resolution_is_the_base_models(project: Path) -> None:
    write_params("auto", model=write_model(12))
    fill({"a.png": GOOD})
    assert pixels(run().loc["a.png", "id"]).shape == (96, 96, 3)


def test_a_folder_without_any_usable_picture_is_an_error_that_tells_what_was_found(project: Path) -> None:
    fill({f"{number}.jpg": b"" for number in range(12)})
    with pytest.raises(UserError, match=r"(?s)'data/thing' holds no picture.*12 files.*0.jpg: empty file.*and 2 more"):
        main()
    fill({"a.txt": b"only a caption"})
    with pytest.raises(UserError, match=r"Found no files that are no captions\."):
        main()
    assert not Path("outputs/pictures.csv").exists()


def test_a_missing_folder_is_an_error_that_names_the_setting(project: Path) -> None:
    shutil.rmtree(FOLDER)
    with pytest.raises(UserError, match=r"data.folder: 'data/thing' cannot be read: no such file.*params.yaml"):
        main()
    FOLDER.write_text("")
    with pytest.raises(UserError, match="not a directory"):
        main()


def test_the_command_prints_the_error_without_a_traceback(project: Path) -> None:
    command = [sys.executable, "-m", "stages.preprocess"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: data.folder: 'data/thing' holds no picture" in done.stderr
    assert "Traceback" not in done.stderr


def photograph() -> Image.Image:
    """A real one, of a person, as a camera's program saved it; scaled down."""
    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as portrait:
        return portrait.resize((128, 150))


DRAWN = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "PPM", "TGA", "JPEG2000")
CAMERA = Image.Exif()
CAMERA.update({0x0110: "a camera", 0x0112: 6, 0x0132: "2026:11:21 10:00:00"})
SEEDS = [encoded(UPRIGHT, kind) for kind in DRAWN] + [
    encoded(photograph(), "JPEG", exif=CAMERA, quality=90),
    encoded(photograph(), "JPEG", progressive=True),
    encoded(photograph(), "PNG", exif=CAMERA),
    encoded(photograph(), "WEBP", exif=CAMERA),
]


def test_what_is_damaged_below_is_whole_before(project: Path) -> None:
    fill({f"{at:02}": content for at, content in enumerate(SEEDS)})
    assert list(run()["state"]) == ["used"] * len(SEEDS)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers are short and matter most, so half of the changes go there.
        reach = draw(st.sampled_from([64, len(content)]))
        at = draw(st.integers(0, min(reach, len(content)) - 1))
        content[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content[: draw(st.integers(1, len(content)))] if draw(st.booleans()) else content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(mutated(), min_size=1, max_size=6))
def test_a_damaged_file_never_stops_the_stage_and_each_is_a_row(project: Path, contents: list[bytes]) -> None:
    fill({"a.png": encoded(plain(BLUE))} | {f"b{at}": content for at, content in enumerate(contents)})
    table = run()
    assert list(table.index) == sorted(path.name for path in FOLDER.iterdir())
    assert set(table["state"]) <= {"used", "skipped"}
    assert (table["reason"] != "").equals(table["state"] == "skipped")
    assert not table["reason"].str.contains("0x|\n").any()
