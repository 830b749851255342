"""Can a judge of images tell subjects apart? Any model by hub id or folder, on a folder of subjects.

usage   python -m bench.judges SUBJECTS --judges models/toyworld/image_judge facebook/dinov2-base [--classes FILE]

SUBJECTS has a folder of pictures for each subject; FILE has lines `subject,class`, such as DreamBooth's
prompts_and_classes.txt. Printed for each judge, with how many cases each figure is of:

retrieval@1   share of the pictures whose nearest other one is of the same subject, with its 95 % interval
AUC           chance that two pictures of a subject are more alike than two of different subjects
within class  the same, over subjects of the same class alone: the question that likeness asks
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pseudoword.judge import ImageJudge
from pseudoword.records import Share

MAX_SIDE_PX = 512  # judges look at 518 px at most; photographs of many megapixels would only take memory
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def read_subjects(folder: Path) -> tuple[list[Image.Image], list[str]]:
    """The pictures, turned upright, and the subject of each."""
    pictures, subjects = [], []
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in SUFFIXES:
            with Image.open(path) as file:
                picture = ImageOps.exif_transpose(file).convert("RGB")
            picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
            pictures.append(picture)
            subjects.append(path.parent.name)
    return pictures, subjects


def read_classes(path: Path | None) -> dict[str, str]:
    lines = [line.strip().split(",") for line in path.read_text().splitlines()] if path else []
    return {line[0]: line[1] for line in lines if len(line) == 2}


def retrieved(cosines: NDArray[np.float64], subjects: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each picture's nearest other one is of the same subject."""
    names = np.array(subjects)
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    return np.asarray(names[others.argmax(1)] == names)


def auc(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Chance that one of `same` is above one of `different`, ties counting half; NaN where there are none."""
    if not len(same) or not len(different):
        return float("nan")
    ordered = np.sort(different)
    below, upto = np.searchsorted(ordered, same, "left"), np.searchsorted(ordered, same, "right")
    return float((below + upto).mean() / 2 / len(different))


def report(judge: str, pictures: list[Image.Image], subjects: list[str], classes: dict[str, str]) -> str:
    features = ImageJudge.load(judge, "thing", "cpu").pictures(pictures).double().numpy()
    cosines = features @ features.T
    names, kinds = np.array(subjects), np.array([classes.get(subject, subject) for subject in subjects])
    pairs = np.triu_indices(len(subjects), 1)
    values, same = cosines[pairs], (names[:, None] == names[None])[pairs]
    of_class = (kinds[:, None] == kinds[None])[pairs]
    share = Share.of(int(retrieved(cosines, subjects).sum()), len(subjects))
    told = [
        f"retrieval@1 {share.value:.3f} ({share.low:.3f} to {share.high:.3f}) of {share.number}",
        f"AUC {auc(values[same], values[~same]):.3f}",
        f"within class {auc(values[same], values[~same & of_class]):.3f} of {(~same & of_class).sum()} pairs",
    ]
    return f"{judge}: {', '.join(told)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", type=Path)
    parser.add_argument("--judges", nargs="+", required=True)
    parser.add_argument("--classes", type=Path)
    options = parser.parse_args()
    pictures, subjects = read_subjects(options.subjects)
    print(f"{len(pictures)} pictures of {len(set(subjects))} subjects")
    for judge in options.judges:
        print(report(judge, pictures, subjects, read_classes(options.classes)), flush=True)


if __name__ == "__main__":
    main()
