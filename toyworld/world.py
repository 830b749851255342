"""A small drawn world: things, styles and scenes, each a point in a space that is sampled densely.

A *thing* is a fixed draw of outline, two colours, pattern and detail; a *style* is a fixed draw of tint, contour and
texture. About 200 things and 20 styles carry made-up names that the captions use. Others are drawn from the same
generators and never named: those are the new things and styles to teach a model a word for.

Pictures are uint8 (H, W, 3). Plane coordinates run from -1 (left, top) to 1 (right, bottom).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.84, 0.16, 0.16),
    "orange": (0.96, 0.56, 0.14),
    "yellow": (0.97, 0.86, 0.25),
    "green": (0.22, 0.62, 0.26),
    "blue": (0.18, 0.36, 0.82),
    "purple": (0.50, 0.22, 0.66),
    "pink": (0.97, 0.58, 0.74),
    "brown": (0.48, 0.30, 0.16),
    "white": (0.96, 0.96, 0.94),
    "black": (0.10, 0.10, 0.12),
}
OUTLINES = ("circle", "square", "triangle", "star", "flower", "cross", "egg", "bean")
PATTERNS = ("plain", "striped", "spotted", "checked", "ringed", "halved")
DETAILS = ("nothing", "an eye", "two eyes", "a hole", "horns", "a hat")
POSITIONS = {"left": -0.33, "middle": 0.0, "right": 0.33}
PLAIN_STYLES = ("flat", "outlined", "pixelated", "chalk")

NUM_NOUNS = 200
NUM_STYLES = 20
NUM_NEW_THINGS = 12
NUM_NEW_STYLES = 6


@dataclass(frozen=True)
class Thing:
    """What a noun means. Angles in radians, lengths in units of the thing's radius."""

    outline: str
    colour: str
    second_colour: str
    pattern: str
    detail: str
    stretch: float
    tilt: float
    bumps: tuple[float, float, float, float]
    pattern_angle: float
    pattern_period: float


@dataclass(frozen=True)
class Style:
    """What a style word means: a tint, a contour around the thing and a texture over the picture."""

    tint: Colour = (0.5, 0.5, 0.5)
    tint_strength: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    contour: Colour | None = None
    texture: str = "none"
    texture_angle: float = 0.0
    texture_period: float = 0.25
    texture_strength: float = 0.0
    shading: float = 1.0
    blocks: int = 0


DEFAULT_STYLE = Style()
NAMED_STYLES: dict[str, Style] = {
    "flat": Style(shading=0.0, saturation=1.15),
    "outlined": Style(contour=(0.05, 0.05, 0.05)),
    "pixelated": Style(blocks=16),
    "chalk": Style(
        tint=(0.16, 0.22, 0.2), tint_strength=0.45, saturation=0.6, contour=(0.95, 0.95, 0.9), texture="hatch",
        texture_angle=0.8, texture_period=0.3, texture_strength=0.06, shading=0.0,
    ),
}  # fmt: skip


class Scene(NamedTuple):
    phrase: str
    word: str
    paint: Callable[[Array, Array, Generator], Array]


# ------------------------------------------------------------------------------------------------ the generators


def draw_thing(random: Generator) -> Thing:
    """A thing drawn from the whole space, each factor independent of the others."""
    colour, second = random.choice(list(COLOURS), 2, replace=False)
    low, high = random.uniform(-0.1, 0.1, 2), random.uniform(0, 2 * np.pi, 2)
    return Thing(
        outline=str(random.choice(OUTLINES)),
        colour=str(colour),
        second_colour=str(second),
        pattern=str(random.choice(PATTERNS)),
        detail=str(random.choice(DETAILS)),
        stretch=float(np.exp(random.uniform(-0.3, 0.3))),
        tilt=float(random.uniform(-0.4, 0.4)),
        bumps=(float(low[0]), float(high[0]), float(low[1]), float(high[1])),
        pattern_angle=float(random.uniform(0, np.pi)),
        pattern_period=float(random.uniform(0.6, 0.95)),
    )


def draw_style(random: Generator) -> Style:
    """A style drawn from the whole space."""
    contour = [None, (0.05, 0.05, 0.05), (0.97, 0.97, 0.95)][random.integers(3)]
    return Style(
        tint=tuple(float(v) for v in random.uniform(0.1, 0.95, 3)),  # type: ignore[arg-type]
        tint_strength=float(random.uniform(0.15, 0.42)),
        saturation=float(random.uniform(0.6, 1.3)),
        contrast=float(random.uniform(0.75, 1.15)),
        contour=contour,
        texture=str(random.choice(["none", "hatch", "waves", "dots", "vignette"])),
        texture_angle=float(random.uniform(0, np.pi)),
        texture_period=float(random.uniform(0.3, 0.5)),
        texture_strength=float(random.uniform(0.05, 0.11)),
        shading=float(random.choice([0.0, 1.0])),
        blocks=int(random.choice([0, 0, 0, 0, 16])),
    )


def made_up_words(number: int, endings: tuple[str, ...], seed: int) -> list[str]:
    """`number` pronounceable words that share no first four letters, so that no two look alike."""
    random = default_rng(seed)
    onsets = "b bl d dr f fl g gl h j k kr l m n p pl qu r s sk sn t tr v w y z zw".split()  # noqa: SIM905
    heads = [onset + vowel for onset in onsets for vowel in "aeiou"]
    middles = "b bb d dd f g gg k l lm m n nd p r rk st v x z".split()  # noqa: SIM905
    words: dict[str, str] = {}
    while len(words) < number:
        word = "".join(str(random.choice(part)) for part in (heads, middles, list(endings)))
        words.setdefault(word[:4], word)
    return list(words.values())


NOUNS = made_up_words(NUM_NOUNS, ("a", "o", "et", "il", "um", "ek", "on", "ish"), seed=1)
STYLE_WORDS = made_up_words(NUM_STYLES, ("ic", "esque", "oid"), seed=2)


@cache
def thing_of(noun: str) -> Thing:
    return draw_thing(default_rng([11, NOUNS.index(noun)]))


@cache
def style_of(word: str) -> Style:
    return NAMED_STYLES[word] if word in NAMED_STYLES else draw_style(default_rng([12, STYLE_WORDS.index(word)]))


def new_thing(index: int) -> Thing:
    """The held-out thing `index` (0 to NUM_NEW_THINGS - 1): same generator, no name, never in the training pictures."""
    return draw_thing(default_rng([21, index]))


def new_style(index: int) -> Style:
    """The held-out style `index` (0 to NUM_NEW_STYLES - 1)."""
    return draw_style(default_rng([22, index]))


# ------------------------------------------------------------------------------------------------ scenes


def _mix(below: Array | Colour, above: Array | Colour, share: Array) -> Array:
    """Blend two colours or pictures; `share` (H, W) is 0 where `below` shows and 1 where `above` does."""
    a, b = np.asarray(below, np.float32), np.asarray(above, np.float32)
    return np.asarray(a + (b - a) * share[..., None], np.float32)


def _step(distance: Array, softness: float = 0.03) -> Array:
    """An anti-aliased edge: 1 where `distance` < 0, 0 where it is > 0."""
    return np.asarray(np.clip(0.5 - distance / softness, 0, 1), np.float32)


def _disc(x: Array, y: Array, cx: float, cy: float, radius: float) -> Array:
    return _step(np.hypot(x - cx, y - cy) - radius)


def _sky(y: Array, top: Colour, bottom: Colour) -> Array:
    return _mix(top, bottom, np.clip((y + 1) / 1.6, 0, 1))


def _sea(x: Array, y: Array, random: Generator) -> Array:
    shift = random.uniform(0, 6)
    sea = _mix((0.20, 0.50, 0.75), (0.08, 0.28, 0.55), np.clip(y, 0, 1))
    foam = np.clip(np.sin(14 * y + 1.5 * np.sin(3 * x + shift)) - 0.6, 0, 1)
    return _mix(_sky(y, (0.62, 0.82, 0.95), (0.90, 0.95, 0.97)), _mix(sea, (0.8, 0.9, 0.95), foam), _step(-y))


def _desert(x: Array, y: Array, random: Generator) -> Array:
    dunes = y - 0.1 - 0.12 * np.sin(2.5 * x + random.uniform(0, 6))
    near = y - 0.55 - 0.1 * np.sin(2 * x + random.uniform(0, 6))
    picture = _mix(_sky(y, (0.98, 0.85, 0.55), (1.0, 0.95, 0.8)), (0.90, 0.70, 0.40), _step(-dunes))
    return _mix(picture, (0.80, 0.57, 0.30), _step(-near))


def _forest(x: Array, y: Array, random: Generator) -> Array:
    trunks = np.cos(7 * (x + random.uniform(-0.3, 0.3))) - 0.72
    picture = _mix((0.30, 0.48, 0.28), (0.13, 0.28, 0.15), np.clip((y + 1) / 2, 0, 1))
    return _mix(picture, (0.33, 0.22, 0.13), np.clip(trunks * 8, 0, 1) * _step(y - 0.62))


def _night(x: Array, y: Array, random: Generator) -> Array:
    picture = _sky(y, (0.04, 0.05, 0.18), (0.14, 0.16, 0.36))
    picture = _mix(picture, (0.95, 0.93, 0.75), _disc(x, y, random.choice([-0.62, 0.62]), -0.62, 0.2))
    return _mix(picture, (0.03, 0.06, 0.08), _step(0.62 + 0.08 * np.sin(3 * x + random.uniform(0, 6)) - y))


def _snow(x: Array, y: Array, random: Generator) -> Array:
    hills = y - 0.25 - 0.15 * np.sin(2.2 * x + random.uniform(0, 6))
    picture = _mix(_sky(y, (0.62, 0.68, 0.76), (0.80, 0.84, 0.88)), (0.96, 0.97, 1.0), _step(-hills))
    for cx in random.uniform(-0.9, 0.9, 1):
        tree = np.maximum(np.abs(x - cx) - 0.35 * (y + 0.55), y - 0.3)
        picture = _mix(picture, (0.20, 0.36, 0.32), _step(tree))
    return picture


def _sunset(x: Array, y: Array, random: Generator) -> Array:
    picture = _sky(y, (0.36, 0.16, 0.42), (0.98, 0.55, 0.25))
    picture = _mix(picture, (1.0, 0.85, 0.45), _disc(x, y, random.uniform(-0.6, 0.6), 0.45, 0.32))
    return _mix(picture, (0.22, 0.10, 0.18), _step(0.5 - y))


def _meadow(x: Array, y: Array, random: Generator) -> Array:
    hill = y - 0.15 - 0.12 * np.cos(1.7 * x + random.uniform(0, 6))
    picture = _mix(_sky(y, (0.45, 0.72, 0.95), (0.78, 0.90, 0.98)), (0.45, 0.75, 0.30), _step(-hill))
    cloud = np.maximum(_disc(x, y, -0.55, -0.7, 0.2), _disc(x, y, -0.3, -0.66, 0.16))
    return _mix(picture, (1.0, 1.0, 1.0), np.roll(cloud, int(random.integers(x.shape[1])), 1))


def _city(x: Array, y: Array, random: Generator) -> Array:
    heights = random.uniform(-0.75, 0.05, 6)
    towers = heights[np.clip(((x + 1) * 3).astype(int), 0, 5)]
    picture = _sky(y, (0.70, 0.74, 0.80), (0.88, 0.86, 0.84))
    picture = _mix(picture, (0.36, 0.38, 0.46), _step(towers - y))
    return _mix(picture, (0.25, 0.25, 0.27), _step(0.65 - y))


def _cave(x: Array, y: Array, random: Generator) -> Array:
    mouth = np.hypot(x / 0.95 + random.uniform(-0.2, 0.2), y / 0.8) + 0.08 * np.sin(5 * np.arctan2(y, x))
    return _mix((0.62, 0.52, 0.42), (0.16, 0.12, 0.11), np.clip((mouth - 0.75) * 4, 0, 1))


def _room(x: Array, y: Array, random: Generator) -> Array:
    side = float(random.choice([-0.62, 0.62]))
    picture = _mix(np.asarray((0.90, 0.82, 0.68)), (0.55, 0.36, 0.22), _step(0.5 - y))
    window = np.maximum(np.abs(x - side) - 0.26, np.abs(y + 0.45) - 0.34)
    picture = _mix(picture, (0.98, 0.97, 0.94), _step(window - 0.06))
    return _mix(picture, (0.50, 0.72, 0.90), _step(window))


def _space(x: Array, y: Array, random: Generator) -> Array:
    picture = _mix((0.02, 0.02, 0.05), (0.13, 0.04, 0.18), np.clip((x + y + 2) / 4, 0, 1))
    cx, cy = random.choice([-0.7, 0.7]), random.choice([-0.7, 0.7])
    planet = _mix((0.85, 0.55, 0.40), (0.45, 0.25, 0.30), np.clip((x - cx + 0.4) / 0.8, 0, 1))
    return _mix(picture, planet, _disc(x, y, cx, cy, 0.42))


def _stage(x: Array, y: Array, random: Generator) -> Array:
    folds = 0.5 + 0.5 * np.sin(13 * x + random.uniform(0, 6))
    picture = _mix((0.50, 0.05, 0.10), (0.72, 0.12, 0.16), folds)
    picture = _mix(picture, (0.62, 0.44, 0.26), _step(0.5 - y))
    return _mix(picture, (1.0, 0.95, 0.75), 0.55 * _step(np.hypot(x / 0.7, (y - 0.72) / 0.16) - 1, 0.15))


SCENES = {
    scene.word: scene
    for scene in (
        Scene("by the sea", "sea", _sea), Scene("in the desert", "desert", _desert),
        Scene("in the forest", "forest", _forest), Scene("at night", "night", _night),
        Scene("in the snow", "snow", _snow), Scene("at sunset", "sunset", _sunset),
        Scene("in a meadow", "meadow", _meadow), Scene("in the city", "city", _city),
        Scene("in a cave", "cave", _cave), Scene("in a room", "room", _room),
        Scene("in space", "space", _space), Scene("on a stage", "stage", _stage),
    )
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ drawing


@cache
def _plane(side: int) -> tuple[Array, Array]:
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    return x.astype(np.float32), y.astype(np.float32)


def _radius(outline: str, angle: Array) -> Array:
    """The outline's radius at each angle, 1 on average. Angle 0 points up."""
    match outline:
        case "square" | "triangle":
            corners = 4 if outline == "square" else 3
            sector = 2 * np.pi / corners
            side = np.cos(np.pi / corners) / np.cos(np.mod(angle, sector) - sector / 2)
            return np.asarray(side * (1.12 if corners == 4 else 1.35), np.float32)
        case "star":
            return np.asarray(0.92 + 0.30 * np.cos(5 * angle), np.float32)
        case "flower":
            return np.asarray(0.74 + 0.36 * np.abs(np.cos(3 * angle)), np.float32)
        case "cross":
            return np.asarray(0.88 + 0.36 * np.cos(4 * angle), np.float32)
        case "egg":
            return np.asarray(0.95 - 0.2 * np.cos(angle) + 0.12 * np.cos(2 * angle), np.float32)
        case "bean":
            return np.asarray(0.95 + 0.22 * np.cos(2 * angle + 1.57) + 0.2 * np.cos(angle + 0.8), np.float32)
        case _:
            return np.ones_like(angle)


def _pattern(thing: Thing, u: Array, v: Array) -> Array:
    """Where the second colour shows, 0 to 1, over the thing's own coordinates."""
    c, s = np.cos(thing.pattern_angle), np.sin(thing.pattern_angle)
    p, q = (c * u + s * v) / thing.pattern_period, (c * v - s * u) / thing.pattern_period
    match thing.pattern:
        case "striped":
            wave = np.cos(2 * np.pi * p)
        case "spotted":
            wave = np.cos(2 * np.pi * p) + np.cos(2 * np.pi * q) - 0.55
        case "checked":
            wave = 2 * np.sin(np.pi * p) * np.sin(np.pi * q)
        case "ringed":
            wave = np.cos(2 * np.pi * np.hypot(u, v) / thing.pattern_period)
        case "halved":
            wave = 3 * p
        case _:
            return np.zeros_like(u)
    return np.asarray(np.clip(0.5 + 2.5 * wave, 0, 1), np.float32)


def _draw_details(picture: Array, thing: Thing, u: Array, v: Array) -> Array:
    black, white = (0.06, 0.06, 0.07), (0.98, 0.98, 0.97)
    match thing.detail:
        case "an eye" | "two eyes":
            for cx in (0.0,) if thing.detail == "an eye" else (-0.33, 0.33):
                radius = 0.34 if thing.detail == "an eye" else 0.24
                picture = _mix(picture, white, _disc(u, v, cx, -0.12, radius))
                picture = _mix(picture, black, _disc(u, v, cx, -0.12, radius * 0.5))
        case "a hole":
            picture = _mix(picture, black, _disc(u, v, 0.0, 0.0, 0.32))
    return picture


def _behind_mask(thing: Thing, u: Array, v: Array) -> tuple[Array, Colour]:
    """Horns or a hat: what stands out above the outline, and its colour."""
    if thing.detail == "horns":
        horns = np.maximum(np.abs(np.abs(u) - 0.5) - 0.22 * (v + 1.5), v + 0.3)
        return _step(horns), (0.96, 0.93, 0.82)
    brim = np.maximum(np.abs(u) - 0.62, np.abs(v + 0.78) - 0.1)
    crown = np.maximum(np.abs(u) - 0.36, np.abs(v + 1.08) - 0.36)
    return _step(np.minimum(brim, crown)), (0.20, 0.18, 0.24)


def _texture(style: Style, x: Array, y: Array) -> Array:
    c, s = np.cos(style.texture_angle), np.sin(style.texture_angle)
    p, q = (c * x + s * y) / style.texture_period, (c * y - s * x) / style.texture_period
    match style.texture:
        case "hatch":
            return np.asarray(np.cos(2 * np.pi * p), np.float32)
        case "waves":
            return np.asarray(np.cos(2 * np.pi * (p + 0.35 * np.sin(np.pi * q))), np.float32)
        case "dots":
            return np.asarray(np.cos(2 * np.pi * p) * np.cos(2 * np.pi * q), np.float32)
        case "vignette":
            return np.asarray(1 - 1.6 * np.hypot(x, y), np.float32)
        case _:
            return np.zeros_like(x)


def _apply_style(picture: Array, style: Style, x: Array, y: Array) -> Array:
    grey = picture.mean(-1, keepdims=True)
    picture = grey + (picture - grey) * style.saturation
    picture = 0.5 + (picture - 0.5) * style.contrast
    # Blend with the tint weighted by lightness kept, so a tinted picture stays legible.
    tinted = np.asarray(style.tint, np.float32) * (0.55 + 0.9 * grey)
    picture = picture + (tinted - picture) * style.tint_strength
    return picture + (style.texture_strength * _texture(style, x, y))[..., None]


def draw(
    thing: Thing,
    scene: str,
    random: Generator,
    position: str = "middle",
    style: Style = DEFAULT_STYLE,
    colour: str | None = None,
    resolution: int = 64,
) -> NDArray[np.uint8]:
    """One picture of `thing`, (resolution, resolution, 3) uint8; `colour` overrides the thing's first colour."""
    side = 2 * resolution
    x, y = _plane(side)
    if colour is not None:
        second = thing.second_colour if thing.second_colour != colour else thing.colour
        thing = replace(thing, colour=colour, second_colour=second)
    picture = SCENES[scene].paint(x, y, random)

    radius = 0.54 * np.exp(random.uniform(-0.12, 0.12))
    cx = POSITIONS[position] + random.uniform(-0.07, 0.07)
    cy = 0.12 + random.uniform(-0.08, 0.08)
    turn = random.uniform(-0.12, 0.12)
    c, s = np.cos(turn), np.sin(turn)
    u, v = ((x - cx) * c + (y - cy) * s) / radius, ((y - cy) * c - (x - cx) * s) / radius

    su, sv = u / thing.stretch**0.5, v * thing.stretch**0.5
    low, low_at, high, high_at = thing.bumps
    angle = np.arctan2(su, -sv) + thing.tilt
    edge = _radius(thing.outline, angle) + low * np.cos(2 * angle + low_at) + high * np.cos(3 * angle + high_at)
    outside = np.hypot(su, sv) - edge

    if style.contour is not None:
        picture = _mix(picture, style.contour, _step(outside - 0.13, 0.06))
    if thing.detail in ("horns", "a hat"):
        mask, behind_colour = _behind_mask(thing, u, v)
        picture = _mix(picture, behind_colour, mask)
    body = _mix(COLOURS[thing.colour], COLOURS[thing.second_colour], _pattern(thing, u, v))
    body = body * (1 + 0.16 * style.shading * (-(u + v) / 2))[..., None]
    picture = _mix(picture, _draw_details(np.asarray(body, np.float32), thing, u, v), _step(outside, 0.06))

    picture = _apply_style(picture, style, x, y)
    if style.blocks:
        block = side // style.blocks
        picture = picture.reshape(style.blocks, block, style.blocks, block, 3).mean((1, 3))
        picture = picture.repeat(block, 0).repeat(block, 1)
    picture = picture.reshape(resolution, 2, resolution, 2, 3).mean((1, 3))
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, np.uint8)
