"""Time and memory of the preprocess stage on 10, 100, ... synthetic photographs, as the stage runs: python -m.

python -m bench.preprocess                      # 10, 100 and 1000 pictures, squares
python -m bench.preprocess crop=focal --px 4000 # larger ones, another setting

Prints for each number the seconds, the CPU time for each picture beyond starting the stage (which loads torch), the
most memory held (Linux only), and the ratios to the first row. Where the machine is shared, CPU time says more than
seconds.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
# Runs the stage, then tells its CPU seconds and the most memory that it has held, in KiB. Not the maximum of getrusage,
# which a process inherits from the one that started it.
CHILD = """
import re, runpy, time
runpy.run_module("stages.preprocess", run_name="__main__")
print(time.process_time(), *re.findall(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()))
"""


def photograph(number: int, px: int) -> bytes:
    """A JPEG of 3:2 with structure at all scales, as a camera's."""
    rng = np.random.default_rng(number)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (2 * s, 3 * s, 3), np.uint8)).resize((px * 3 // 2, px)), float)
        for s in (2, 8, 32, 128)
    ]
    buffer = io.BytesIO()
    Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def run(folder: Path, changes: list[str]) -> tuple[float, float, int]:
    """(seconds, CPU seconds, most KiB held) of the stage on the pictures in `folder`/data."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["data"]["folder"] = "data"
    content["base"]["model"] = str(ROOT / content["base"]["model"])
    content["preprocess"]["resolution"] = 512
    for change in changes:
        key, value = change.split("=", 1)
        content["preprocess"][key] = yaml.safe_load(value)
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=folder, capture_output=True, text=True, check=True)
    cpu, memory = done.stdout.split()[-2:]
    return time.perf_counter() - start, float(cpu), int(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, nargs="+", default=[10, 100, 1000], help="pictures")
    parser.add_argument("--px", type=int, default=768, help="height of the pictures; they are 3:2")
    parser.add_argument("changes", nargs="*", help="settings of preprocess as key=value")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "data")
        folder.mkdir()
        first: tuple[float, int] | None = None
        print(f"{'pictures':>9} {'seconds':>8} {'CPU ms each':>12} {'ratio':>6} {'MiB':>6} {'ratio':>6}")
        for number in [1, *options.numbers]:
            for at in range(len(list(folder.iterdir())), number):
                (folder / f"{at:05}.jpg").write_bytes(photograph(at, options.px))
            seconds, cpu, memory = run(Path(place), options.changes)
            if number == 1:
                starting = cpu
                continue
            each = (cpu - starting) / (number - 1)
            first = first or (each, memory)
            print(
                f"{number:9} {seconds:8.1f} {each * 1000:12.0f} {each / first[0]:6.2f} "
                f"{memory / 1024:6.0f} {memory / first[1]:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
