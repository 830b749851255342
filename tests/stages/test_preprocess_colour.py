"""Embedded colour profiles: what reaches the model are the colours that a person sees."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.preprocessing import encoded, fill, pixels, run, start

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return start(tmp_path, monkeypatch)


def plain(mode: str, colour: tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (40, 40), colour)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped() -> bytes:
    """sRGB with red and blue exchanged, and a name that does not claim to be sRGB."""
    names = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ", b"rTRC": b"bTRC", b"bTRC": b"rTRC"}
    content = bytearray(srgb())
    for at in range(132, 132 + 12 * struct.unpack(">I", content[128:132])[0], 12):
        content[at : at + 4] = names.get(bytes(content[at : at + 4]), content[at : at + 4])
    return bytes(content).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def linear() -> bytes:
    """sRGB with a straight curve, which is called sRGB all the same."""
    content = bytearray(srgb())
    for at in range(132, 132 + 12 * struct.unpack(">I", content[128:132])[0], 12):
        if content[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            begin = struct.unpack(">I", content[at + 4 : at + 8])[0]
            content[begin : begin + 12] = b"curv" + bytes(8)
    return bytes(content)


def printer() -> bytes:
    """A CMYK profile of a strange press whose cyan ink is red: Lab of paper white, ink black, and red for cyan."""
    white, red, black = (255, 128, 128), (136, 208, 195), (0, 128, 128)
    inks = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    grid = [value for c, m, y, k in inks for value in (black if k or m or y else red if c else white)]
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (at % 4 == 0) for at in range(9)))
    table += ramp * 4 + bytes(grid) + ramp * 3
    point = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text\0\0\0\0press\0\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 6) + b"press\0" + bytes(78)
    tags = {b"desc": name, b"cprt": text, b"wtpt": point, b"A2B0": table}
    body, entries, at = b"", b"", 128 + 4 + 12 * len(tags)
    for key, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        entries += key + struct.pack(">II", at + len(body), len(content))
        body += padded
    head = b"\0\0\0\0" + struct.pack(">I", 0x02400000) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(">I", at + len(body)) + b"\0\0\0\0" + head[4:]
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + entries + body


def test_colours_come_out_as_their_profile_means_them(project: Path) -> None:
    half = plain("RGBA", (*RED, 128))
    fill({
        "rgb.png": encoded(plain("RGB", RED), icc_profile=swapped()),
        "rgb.jpg": encoded(plain("RGB", BLUE), "JPEG", icc_profile=swapped(), quality=95, subsampling=0),
        "palette.png": encoded(plain("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE), icc_profile=swapped()),
        "half.png": encoded(half, icc_profile=swapped()),
        "linear.png": encoded(plain("RGB", (55, 55, 55)), icc_profile=linear()),
        "cmyk.jpg": encoded(plain("CMYK", (255, 0, 0, 0)), "JPEG", icc_profile=printer(), quality=95),
        "cmyk.tif": encoded(plain("CMYK", (255, 0, 0, 0)), "TIFF", icc_profile=printer()),
    })  # fmt: skip
    wanted = {"rgb.png": BLUE, "rgb.jpg": RED, "palette.png": BLUE, "half.png": (127, 127, 255),
              "linear.png": (128, 128, 128), "cmyk.jpg": RED, "cmyk.tif": RED}  # fmt: skip
    table = run()
    for name, colour in wanted.items():
        assert np.abs(pixels(table.loc[name, "id"]) - colour).max() <= 16, name


def test_srgb_changes_no_pixel_and_a_profile_that_is_broken_or_of_other_colours_says_nothing(project: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    profiles = {"srgb.png": srgb(), "broken.png": srgb()[:200], "none.png": None, "cmyk.png": printer()}
    fill({name: encoded(noise, icc_profile=profile, compress_level=at) for at, (name, profile) in
          enumerate(profiles.items())})  # fmt: skip
    assert {pixels(name).tobytes() for name in run()["id"]} == {np.asarray(noise).astype(int).tobytes()}


def test_grey_with_a_profile_of_three_colours_stays_grey(project: Path) -> None:
    fill(
        {
            "a.png": encoded(plain("L", (90,)), icc_profile=swapped()),
            "b.png": encoded(plain("LA", (90, 255)), icc_profile=swapped()),
        }
    )
    for name in run()["id"]:
        assert (pixels(name) == 90).all()
