"""Which px a picture becomes and which part it shows: the arithmetic that users know, and what must always hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pseudoword.pictures.shapes import (
    autosized,
    buckets,
    cover_box,
    cut_down,
    long_side,
    nearest_bucket,
    tile_box,
    tile_offsets,
    whole,
)
from pseudoword.settings.preprocess import AutosizeSettings

SIDES = st.integers(1, 5000)
SOURCES = st.tuples(SIDES, SIDES)
TARGETS = st.tuples(st.integers(32, 1024), st.integers(32, 1024))
SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1))


def autosize(**keys: object) -> AutosizeSettings:
    return AutosizeSettings.model_validate(keys)


def inside(box: tuple[float, float, float, float], source: tuple[int, int]) -> bool:
    return 0 <= box[0] < box[2] <= source[0] and 0 <= box[1] < box[3] <= source[1]


@pytest.mark.parametrize(
    ("source", "offsets"),
    [
        ((512, 1536), [0, 341, 682, 1024]),
        ((1920, 800), [0, 358, 716]),
        ((512, 1024), [0, 256, 512]),
        ((600, 900), []),
        ((512, 512), []),
    ],
)
def test_a_long_picture_is_split_as_in_the_worked_examples(source: tuple[int, int], offsets: list[int]) -> None:
    assert tile_offsets(source, (512, 512), threshold=0.5, overlap=0.2) == offsets


def test_the_long_side_of_1920x800_is_1228_px_once_the_short_one_has_512() -> None:
    assert long_side((1920, 800), (512, 512)) == long_side((800, 1920), (512, 512)) == 1228


@settings(deadline=None)
@given(SOURCES, TARGETS, st.floats(0, 1), st.floats(0, 0.9))
def test_tiles_reach_from_end_to_end_and_overlap_enough(
    source: tuple[int, int], target: tuple[int, int], threshold: float, overlap: float
) -> None:
    offsets = tile_offsets(source, target, threshold, overlap)
    if not offsets:
        return
    tall = source[1] > source[0]
    tile, length = target[tall], long_side(source, target)
    assert offsets[0] == 0 and offsets[-1] == length - tile and offsets == sorted(offsets)
    # Offsets are cut to whole px, so two neighbours may share one px less.
    assert max(np.diff(offsets)) <= tile * (1 - overlap) + 1
    assert all(inside(tile_box(source, target, offset), source) for offset in offsets)


def test_a_picture_is_never_split_at_threshold_0_and_hardly_longer_ones_give_no_tiles() -> None:
    assert tile_offsets((10, 5000), (512, 512), threshold=0, overlap=0.2) == []
    assert tile_offsets((1000, 1001), (512, 512), threshold=1, overlap=0.2) == []


@pytest.mark.parametrize(
    ("source", "prefer", "shape"),
    [
        ((1920, 1080), "area", (768, 448)),
        ((1920, 1080), "fit", (704, 384)),
        ((1000, 1000), "area", (640, 640)),
        ((3000, 1000), "area", None),
    ],
)
def test_autosize_chooses_as_in_the_worked_examples(
    source: tuple[int, int], prefer: str, shape: tuple[int, int] | None
) -> None:
    assert autosized(source, autosize(prefer=prefer)) == shape


@settings(deadline=None)
@given(SOURCES, st.sampled_from(["area", "fit"]), st.floats(0, 1))
def test_autosize_keeps_to_its_bounds(source: tuple[int, int], prefer: str, error: float) -> None:
    shape = autosized(source, autosize(prefer=prefer, max_error=error))
    if shape:
        ratio = source[0] * shape[1] / (source[1] * shape[0])
        assert 1 - min(ratio, 1 / ratio) <= error + 1e-9
        assert all(384 <= side <= 768 and side % 64 == 0 for side in shape)
        assert 4096 <= shape[0] * shape[1] <= 409600


@settings(deadline=None)
@given(SOURCES, TARGETS, SHARES)
def test_a_crop_lies_in_the_picture_and_is_the_largest_of_its_aspect_ratio(
    source: tuple[int, int], target: tuple[int, int], centre: tuple[float, float]
) -> None:
    box = cover_box(source, target, centre)
    assert inside(box, source) and inside(whole(box, source), source)
    across, down = box[2] - box[0], box[3] - box[1]
    assert across / down == pytest.approx(target[0] / target[1], rel=1e-9)
    assert across == pytest.approx(source[0]) or down == pytest.approx(source[1])


@settings(deadline=None)
@given(SOURCES, TARGETS, SHARES)
def test_a_crop_lies_as_near_to_what_was_asked_for_as_it_can(
    source: tuple[int, int], target: tuple[int, int], centre: tuple[float, float]
) -> None:
    box = cover_box(source, target, centre)
    for low, high, length, share in ((box[0], box[2], source[0], centre[0]), (box[1], box[3], source[1], centre[1])):
        middle, half = (low + high) / 2, (high - low) / 2
        assert middle == pytest.approx(min(max(share * length, half), length - half), abs=1e-6)


@settings(deadline=None)
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.tuples(st.integers(8, 64), st.integers(8, 64)))
def test_a_centred_crop_is_pillows_own_to_the_bit(source: tuple[int, int], target: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (source[1], source[0], 3), np.uint8)
    image = Image.fromarray(noise)
    ours = image.resize(target, Image.Resampling.LANCZOS, box=cover_box(source, target))
    assert ours.tobytes() == ImageOps.fit(image, target, Image.Resampling.LANCZOS).tobytes()


def test_buckets_of_sdxl_are_those_that_it_was_trained_on() -> None:
    shapes = buckets(1024, 64)
    for shape in [(1024, 1024), (896, 1152), (832, 1216), (768, 1344), (640, 1536), (512, 2048)]:
        assert shape in shapes and shape[::-1] in shapes
    assert len(shapes) < 50


@settings(deadline=None)
@given(st.integers(4, 256).map(lambda eighths: 8 * eighths), st.sampled_from([8, 16, 32, 64]))
def test_buckets_have_about_the_area_and_sides_that_the_unet_takes(side: int, multiple: int) -> None:
    shapes = buckets(side, multiple)
    edge = max(side // multiple, 1) * multiple
    assert (edge, edge) in shapes
    for width, height in shapes:
        assert width % multiple == 0 == height % multiple and 1 / 4 <= width / height <= 4
        longer, shorter = max(width, height), min(width, height)
        assert width * height <= edge**2 < longer * (shorter + multiple)
    assert {(height, width) for width, height in shapes} == set(shapes)


@settings(deadline=None)
@given(SOURCES)
def test_the_bucket_is_the_one_of_nearest_aspect_ratio(source: tuple[int, int]) -> None:
    shapes = buckets(512, 64)
    chosen = nearest_bucket(source, shapes)
    off = [abs(np.log(width / height * source[1] / source[0])) for width, height in shapes]
    assert off[shapes.index(chosen)] == pytest.approx(min(off), abs=1e-8)


@settings(deadline=None)
@given(SOURCES, st.sampled_from([8, 16, 64]))
def test_keeping_cuts_less_than_one_multiple(source: tuple[int, int], multiple: int) -> None:
    kept = cut_down(source, multiple)
    assert (kept is None) == (min(source) < multiple)
    if kept:
        assert all(
            side % multiple == 0 and 0 <= full - side < multiple for side, full in zip(kept, source, strict=True)
        )
