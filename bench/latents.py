"""What the latents stage takes per picture, and how that grows with their number: `python -m bench.latents`.

Each line is a run of the stage by itself on synthetic pictures of toyworld's size, then a second one that reuses all.
Times are seconds of CPU, which other work on the machine disturbs least, without the imports; what one picture takes,
mostly the loading of the VAE, is taken off. Ratios are to the first line.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).parents[1]


class Cost(NamedTuple):
    seconds: float
    memory: float  # MiB, the most that was resident, with the imports


def make_project(folder: Path, pictures: int, side: int) -> None:
    """A folder in which the stage runs: the model, the settings and `pictures` of coarse random colours."""
    (folder / "outputs/pictures").mkdir(parents=True)
    (folder / "models").symlink_to(ROOT / "models")
    shutil.copy(ROOT / "params.yaml", folder)
    names = [f"{number:012x}" for number in range(pictures)]
    for number, name in enumerate(names):
        coarse = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        image.save(folder / f"outputs/pictures/{name}.png")
    pd.DataFrame({"id": names, "state": "used"}).to_csv(folder / "outputs/pictures.csv", index=False)


CHILD = """
import time
from stages.latents.__main__ import main
start = time.process_time()
main()
print(time.process_time() - start)
"""


def run_stage(folder: Path) -> Cost:
    """One run of the stage in `folder`, as its own process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as said:
        lines = said.readlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the stage failed in {folder}; run it there to see why")
    return Cost(float(lines[-1]), usage.ru_maxrss / 1024)


def measure(pictures: int, side: int) -> tuple[Cost, Cost]:
    """The first run and one that reuses all."""
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), pictures, side)
        return run_stage(Path(folder)), run_stage(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the latents stage.")
    parser.add_argument("--pictures", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--side", type=int, default=64, help="px, a multiple of 8")
    options = parser.parse_args()
    start, again = measure(1, options.side)
    print(f"one picture: {start.seconds:.2f} s, reused {again.seconds:.2f} s, {start.memory:.0f} MiB")
    print("pictures  encode ms/picture  ratio  reuse ms/picture  memory MiB  ratio")
    reference: tuple[float, float] | None = None
    for number in options.pictures:
        first, second = measure(number, options.side)
        encode, reuse = (1000 * (cost.seconds - one.seconds) / max(number - 1, 1) for cost, one in
                         ((first, start), (second, again)))  # fmt: skip
        reference = reference or (encode, first.memory)
        print(
            f"{number:8}  {encode:17.1f}  {encode / reference[0]:5.2f}  {reuse:16.2f}  {first.memory:10.0f}  "
            f"{first.memory / reference[1]:5.2f}"
        )


if __name__ == "__main__":
    main()
