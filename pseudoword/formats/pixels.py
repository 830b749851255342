"""Bytes in the low four bits of pixels, as A1111 hides an embedding beside a picture.

The picture gets a block of data on its left and one on its right, a black column between each and the picture: the
left block carries the low halves of the compressed bytes, the right one the high halves. Only storage without loss
and without scaling keeps them.
"""

import itertools
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]

MAX_BYTES = 64 * 2**20  # what may come out of decompression
MAX_NIBBLES = 2**23  # of a block: four times what the largest word takes, so that no picture is scrambled for minutes
MIN_HEIGHT_PX = 8  # below it a column of data may be black by chance, which would pass for the border
# A reader crops away black edges; with this bit no pixel of data is black in any channel.
NEVER_BLACK = 0x10


def conceal(image: Image.Image, payload: bytes) -> Image.Image:
    """An RGB picture of the same height, with `payload` in blocks at its left and right."""
    picture = np.asarray(image.convert("RGB"))
    height = len(picture)
    assert height >= MIN_HEIGHT_PX, f"{height} px are too few"
    packed = np.frombuffer(zlib.compress(payload, 9), np.uint8)
    border = np.zeros((height, 1, 3), np.uint8)
    low, high = _block(packed & np.uint8(15), height), _block(packed >> np.uint8(4), height)
    return Image.fromarray(np.hstack([low, border, picture, border, high]))


def _block(nibbles: Bytes, height: int) -> Bytes:
    """(height, w, 3) of at least as many pixels as the nibbles take; what is left over repeats them."""
    count = len(nibbles) + height - len(nibbles) % height
    count += 3 * height - count % (3 * height)
    scrambled = np.resize(nibbles, count) ^ _keys(count)
    return scrambled.reshape(height, -1, 3) | np.uint8(NEVER_BLACK)


def _keys(count: int) -> Bytes:
    """The scrambling sequence: a linear congruential generator of 32 bits from 0, modulo 255, its low four bits."""
    states = itertools.accumulate(
        itertools.repeat(None, count), lambda state, _: (1664525 * state + 1013904223) % 2**32, initial=0
    )
    next(states)
    return np.fromiter((state % 255 & 15 for state in states), np.uint8, count)


def reveal(image: Image.Image) -> bytes | None:
    """The payload, or None for a picture that carries none. Black around the whole is passed over."""
    low_bits = _without_black_edges(np.asarray(image.convert("RGB"))) & 15
    (borders,) = np.nonzero(low_bits.sum((0, 2)) == 0)
    if len(borders) < 2:
        return None
    left, right = low_bits[:, : borders[0]], low_bits[:, borders[-1] + 1 :]
    if not 0 < left.size <= MAX_NIBBLES or left.shape != right.shape:
        return None
    keys = _keys(left.size)
    packed = (right.ravel() ^ keys) << 4 | (left.ravel() ^ keys)
    return _inflate(packed.tobytes())


def _without_black_edges(pixels: Bytes) -> Bytes:
    bright = pixels.min(2) > 0
    rows, columns = np.flatnonzero(bright.max(1)), np.flatnonzero(bright.max(0))
    if len(rows) == 0:
        return pixels[:0, :0]
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _inflate(packed: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        payload = inflater.decompress(packed, MAX_BYTES)
    except zlib.error:
        return None
    return payload if inflater.eof else None
