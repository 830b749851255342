"""report: one self-contained page that shows it all.

reads   outputs/pictures.csv, outputs/pictures/*        the pictures to learn from, and those that were skipped
        outputs/captions.csv                            their captions
        outputs/doctor.json                             what the doctor had to say of them
        outputs/words/<run>/settings.json, outputs/training/<run>/loss.csv   the settings of each run, and how it went
        outputs/evaluation/sheets/, outputs/judged/*     drawn pictures and their measures
        outputs/choice/*                                scores and choice
        templates/report/*                              the page
writes  outputs/report/index.html                       nothing is fetched; equal inputs give equal bytes
"""

from pathlib import Path

from pseudoword.files import write_text
from pseudoword.results.reading import read_results
from pseudoword.settings.stage import read_plain
from stages._runtime import run_stage
from stages.report.page import render

TEMPLATES, PAGE = Path("templates/report"), Path("outputs/report/index.html")


def main() -> None:
    # The settings of base, word and train come with each run, as they were worked out.
    write_text(PAGE, render(read_results(), read_plain("report"), TEMPLATES))
    print(f"{PAGE}: {PAGE.stat().st_size / 1e6:.1f} MB, open it in a browser")


if __name__ == "__main__":
    run_stage(main)
