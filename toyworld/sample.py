"""The sample data: pictures of a held-out thing or style that no word of the base model names.

usage   python -m toyworld.sample thing 3 data/sample 15
"""

import sys
from pathlib import Path

from numpy.random import default_rng
from PIL import Image

from toyworld.world import DEFAULT_STYLE, NOUNS, POSITIONS, SCENES, draw, new_style, new_thing, thing_of


def render(kind: str, index: int, folder: Path, number: int, resolution: int = 64) -> None:
    """`number` pictures of one new thing in changing scenes, or of changing things in one new style."""
    if kind not in ("thing", "style"):
        raise SystemExit(
            f"'{kind}' is neither thing nor style; usage: python -m toyworld.sample thing 3 data/sample 15"
        )
    folder.mkdir(parents=True, exist_ok=True)
    random = default_rng([31 if kind == "thing" else 32, index])
    scenes = list(random.permutation(list(SCENES)))
    for at in range(number):
        thing = new_thing(index) if kind == "thing" else thing_of(str(random.choice(NOUNS)))
        style = new_style(index) if kind == "style" else DEFAULT_STYLE
        position = str(random.choice(list(POSITIONS)))
        picture = draw(thing, str(scenes[at % len(scenes)]), random, position, style, resolution=resolution)
        Image.fromarray(picture).save(folder / f"{kind}-{at + 1:02d}.png")


if __name__ == "__main__":
    kind, index, folder, number = sys.argv[1:]
    render(kind, int(index), Path(folder), int(number))
