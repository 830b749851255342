"""render: the world -> build/pictures: uint8 pictures, two captions and the captioner's target for each.

writes  build/pictures/{train,check,varied}.npy    (N, H, W, 3) uint8
        build/pictures/{train,check,varied}.jsonl  what was drawn and the captions, one line a picture
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from toyworld import BUILD, stage_params
from toyworld.captions import caption, draw_subject, draw_varied_subject, plain_caption
from toyworld.world import draw

SPLITS = {"train": (0, draw_subject), "check": (1, draw_subject), "varied": (2, draw_varied_subject)}


def render_one(seed: int, split: str, index: int, resolution: int) -> tuple[NDArray[np.uint8], str]:
    """Picture `index` of a split: a function of its own key, so any worker may draw any of them."""
    stream, draw_one = SPLITS[split]
    random = default_rng([seed, stream, index])
    subject = draw_one(random)
    picture = draw(
        subject.thing, subject.scene, random, subject.position, subject.drawn_style, subject.colour, resolution
    )
    record = asdict(subject) | {
        "captions": [caption(subject, random), caption(subject, random)],
        "plain": plain_caption(subject),
    }
    return picture, json.dumps(record)


def _render_many(args: tuple[int, str, range, int]) -> list[tuple[NDArray[np.uint8], str]]:
    seed, split, indices, resolution = args
    return [render_one(seed, split, index, resolution) for index in indices]


def render(
    folder: Path, resolution: int, train_pictures: int, check_pictures: int, varied_pictures: int, seed: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        numbers = {"check": check_pictures, "train": train_pictures, "varied": varied_pictures}
        for split, number in numbers.items():
            pictures = np.lib.format.open_memmap(
                folder / f"{split}.npy", "w+", np.uint8, (number, resolution, resolution, 3)
            )
            jobs = [(seed, split, range(at, min(at + 500, number)), resolution) for at in range(0, number, 500)]
            with (folder / f"{split}.jsonl").open("w") as lines:
                for job, drawn in zip(jobs, pool.map(_render_many, jobs), strict=True):
                    for index, (picture, record) in zip(job[2], drawn, strict=True):
                        pictures[index] = picture
                        lines.write(record + "\n")
                    print(f"render {split}: {job[2].stop} of {number}", flush=True)
            pictures.flush()


if __name__ == "__main__":
    render(BUILD / "pictures", **stage_params("render"))
