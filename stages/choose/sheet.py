"""The choice at a glance: training pictures, what the init text draws, what the chosen checkpoint draws, in rows."""

from collections.abc import Sequence

from PIL import Image

from pseudoword.results.images import fitted

ENLARGED_BELOW_PX = 160
GAP_PX = 4


def contact_sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """All pictures in rows of `columns`, each within a square; small ones twice as large, smoothly."""
    side = max(pictures[0].size)
    cell = 2 * side if side < ENLARGED_BELOW_PX else side
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (cell + GAP_PX) - GAP_PX, rows * (cell + GAP_PX) - GAP_PX), "white")
    for i, picture in enumerate(pictures):
        place = (i % columns * (cell + GAP_PX), i // columns * (cell + GAP_PX))
        sheet.paste(fitted(picture, cell, cell), place)
    return sheet
