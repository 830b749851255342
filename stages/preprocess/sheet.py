"""The contact sheet: each file of the folder with its crop box and its name, or with the reason why it was skipped."""

from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from pseudoword.pictures.reading import Opened
from pseudoword.pictures.shapes import Px
from pseudoword.pictures.views import View

MAX_CELLS = 100  # cells; of more files the first ones are shown
SHEET_PX = 1920  # px of the sheet
THUMBNAIL_PX, DEBUG_THUMBNAIL_PX = 176, 304  # px of a thumbnail, and of one that points are drawn into
GAP_PX, LINE_PX, FONT_PX = 8, 15, 11  # px around a cell, of a line of text, of its letters
BOXES = ((0, 220, 90), (255, 150, 0))  # tiles take turns
POINTS = {"face": (255, 60, 60), "edges": (70, 140, 255), "entropy": (255, 225, 0)}
UNWEIGHTED, INK, RED = (255, 0, 255), (30, 30, 30), (190, 0, 0)


class Cell(NamedTuple):
    """A thumbnail, or None for a file that was skipped, and the lines of text below it."""

    thumbnail: Image.Image | None
    lines: list[str]


def draw_source(opened: Opened, debug: bool) -> Cell:
    """The upright source with what is cut off dimmed and what does not count tinted. debug: also what focal found."""
    image, weight, views = opened.image, opened.weight, opened.views
    side = DEBUG_THUMBNAIL_PX if debug else THUMBNAIL_PX
    scale = side / max(image.size)
    px = _scaled(image.size, scale)
    thumbnail = image.resize(px, Image.Resampling.LANCZOS)
    if weight is not None:
        tinted = Image.blend(thumbnail, Image.new("RGB", px, UNWEIGHTED), 0.5)
        thumbnail = Image.composite(thumbnail, tinted, weight.resize(px, Image.Resampling.BILINEAR))
    boxes = [tuple(round(edge * scale) for edge in view.box) for view in views]
    dimmed = ImageEnhance.Brightness(thumbnail).enhance(0.35)
    for left, top, right, bottom in boxes:
        dimmed.paste(thumbnail.crop((left, top, right, bottom)), (left, top))
    pen = ImageDraw.Draw(dimmed)
    for (left, top, right, bottom), colour in zip(boxes, cycle(BOXES), strict=False):
        pen.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=colour, width=2)
    # What is split was not searched for a focus.
    if debug and not views[0].tile:
        _draw_focus(pen, views[0], px)
    return Cell(dimmed, [opened.source.name, _what_becomes(image.size, views)])


def draw_skipped(name: str, reason: str) -> Cell:
    return Cell(None, [name, reason])


def compose(cells: list[Cell], total: int) -> Image.Image:
    """All cells on white, in rows; a line tells of the files that have no cell."""
    side = max((max(cell.thumbnail.size) for cell in cells if cell.thumbnail), default=THUMBNAIL_PX)
    side = DEBUG_THUMBNAIL_PX if side > THUMBNAIL_PX else THUMBNAIL_PX
    wide, high = side + GAP_PX, side + GAP_PX + 2 * LINE_PX
    columns = min(SHEET_PX // wide, max(len(cells), 1))
    rows = -(-len(cells) // columns)
    more = total - len(cells)
    sheet = Image.new("RGB", (columns * wide + GAP_PX, rows * high + GAP_PX + LINE_PX * (more > 0)), "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    for i, cell in enumerate(cells):
        left, top = i % columns * wide + GAP_PX, i // columns * high + GAP_PX
        pen.rectangle((left, top, left + side - 1, top + side - 1), fill=(235, 235, 235))
        if cell.thumbnail:
            width, height = cell.thumbnail.size
            sheet.paste(cell.thumbnail, (left + (side - width) // 2, top + (side - height) // 2))
            lines = cell.lines
        else:
            pen.line((left, top, left + side - 1, top + side - 1), fill=(200, 200, 200))
            lines = [cell.lines[0], f"skipped: {cell.lines[1]}"]
        for line, text in enumerate(lines):
            ink = INK if cell.thumbnail or not line else RED
            # A name's end tells as much as its start; of a sentence the end is left out.
            fitted = _fitted(text, side, font, middle=not line)
            pen.text((left, top + side + line * LINE_PX), fitted, ink, font)
    if more > 0:
        pen.text((GAP_PX, rows * high + GAP_PX), f"and {more} more files, see pictures.csv", INK, font)
    return sheet


def _scaled(size: Px, scale: float) -> Px:
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _what_becomes(size: Px, views: list[View]) -> str:
    (left, top, right, bottom), px = views[0].box, views[0].px
    becomes = f"{size[0]}×{size[1]} → {f'{len(views)} of ' if len(views) > 1 else ''}{px[0]}×{px[1]}"
    larger = max(px[0] / (right - left), px[1] / (bottom - top))
    return f"{becomes} ↑{larger:.1f}×" if larger >= 1.05 else becomes


def _draw_focus(pen: ImageDraw.ImageDraw, view: View, px: Px) -> None:
    for x, y, width, height in view.focus.faces:
        box = x * px[0], y * px[1], (x + width) * px[0], (y + height) * px[1]
        pen.rectangle(box, outline=POINTS["face"], width=1)
    for point in view.focus.points:
        x, y, reach = point.x * px[0], point.y * px[1], 3 + 9 * point.weight
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=POINTS[point.kind], width=2)
        text, left = f"{point.kind} {point.weight:g}", x < px[0] / 2
        place = x + reach + 1 if left else x - reach - 1 - _font().getlength(text)
        pen.text((place, y - FONT_PX / 2), text, POINTS[point.kind], _font())
    x, y = view.focus.centre[0] * px[0], view.focus.centre[1] * px[1]
    pen.line((x - 6, y, x + 6, y), fill=BOXES[0], width=2)
    pen.line((x, y - 6, x, y + 6), fill=BOXES[0], width=2)


def _font() -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    return ImageFont.truetype(path, FONT_PX, layout_engine=ImageFont.Layout.BASIC)


def _fitted(text: str, width: int, font: ImageFont.FreeTypeFont, middle: bool) -> str:
    """The text; where it is longer than `width` px, its middle or its end is left out."""
    if font.getlength(text) <= width:
        return text
    keeps = range(min(len(text), width), -1, -1)
    return next(short for keep in keeps if font.getlength(short := _short(text, keep, middle)) <= width)


def _short(text: str, keep: int, middle: bool) -> str:
    head = (keep + 1) // 2 if middle else keep
    return f"{text[:head]}…{text[len(text) - (keep - head) :]}"
