"""How long `pseudoword compare` takes for many experiments that git and DVC keep.

usage   python -m bench.compare [PROJECT] [--experiments 20]

PROJECT is a folder with `outputs`, by default this one. A repository of its own gets them again and again, each time
with other pictures and another rate in the records, and one process compares all, as a user does it. It prints the
seconds by the clock and on the processor: on a machine with other work the clock tells of that work too.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageChops

ROOT = Path(__file__).parents[1]
READ = ("choice", "embedding", "evaluation", "judged", "settings", "words", "pictures.csv")  # of `outputs`


def keep(repository: Path, source: Path, number: int) -> None:
    """Have DVC and git keep these outputs as the revision `e<number>`, changed so that no file serves for two."""
    outputs = repository / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    for name in READ:
        path = source / "outputs" / name
        if path.is_dir():
            shutil.copytree(path, outputs / name, ignore=shutil.ignore_patterns("kept"))
        elif path.exists():
            shutil.copy(path, outputs / name)
    for path in outputs.glob("evaluation/**/*.png"):
        with Image.open(path) as picture:
            ImageChops.offset(picture, number).save(path)
    for path in outputs.glob("words/*/settings.json"):
        record = json.loads(path.read_text())
        record["settings"]["train"]["learn_rate"] = f"0.{number + 1:03}"
        path.write_text(json.dumps(record))
    for command in (
        [sys.executable, "-m", "dvc", "add", "--quiet", "outputs"],
        ["git", "add", "--all"],
        ["git", "-c", "user.name=bench", "-c", "user.email=b@b", "commit", "--quiet", "--message", f"{number}"],
        ["git", "tag", f"e{number}"],
    ):
        subprocess.run(command, cwd=repository, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument("project", nargs="?", type=Path, default=Path())
    parser.add_argument("--experiments", type=int, default=20)
    parser.add_argument("--out", type=Path, help="keep the page here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "project")
        repository.mkdir()
        (repository / "templates").symlink_to(ROOT / "templates")
        for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
            subprocess.run(command, cwd=repository, check=True)
        for number in range(arguments.experiments):
            keep(repository, arguments.project, number)
        out = (arguments.out or Path(folder, "out")).resolve()
        revisions = [f"e{number}" for number in range(arguments.experiments)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [sys.executable, "-m", "pseudoword", "compare", *revisions, "--out", str(out)]
        subprocess.run(command, cwd=repository, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
        clock, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        page = (out / "index.html").stat().st_size / 1e6
    print(
        f"{arguments.experiments} experiments: {clock:.1f} s by the clock, {processor:.1f} s on the processor, "
        f"a page of {page:.1f} MB"
    )


if __name__ == "__main__":
    main()
