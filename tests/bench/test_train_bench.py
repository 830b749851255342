"""The bench runs, and its figures hang together."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cases import draw_pictures
from bench.train import main


def measured(out: Path, layout: str, *more: str) -> dict[str, dict[str, Any]]:
    """The figures of each case, by its name."""
    small = ["--layout", layout, "--width", "0.05", "--resolution", "64", "--device", "cpu", "--rounds", "1"]
    main([*small, "--steps", "2", *more, "--out", str(out)])
    return {row["case"]: row for row in json.loads(out.read_text())["cases"]}


def test_the_bench_measures_packs_and_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = measured(tmp_path / "figures.json", "sd15", "--packs", "1,2", "--batch", "2", "--no-memory")
    assert list(rows) == ["1 run x 2", "2 runs x 1", "1 run x 1", "reference x 2", "reference x 1"]
    printed = capsys.readouterr().out
    for name, row in rows.items():
        assert row["updates_per_second"] > 0 and row["share_of_ceiling"]["median"] > 0
        assert name in printed
    # The reference encodes its pictures in the loop; packing changes nothing of the work.
    work = {name: row["gigaflop_per_picture"] for name, row in rows.items()}
    assert work["1 run x 2"] == pytest.approx(work["2 runs x 1"])
    assert work["reference x 2"] > work["1 run x 2"]
    assert rows["reference x 2"]["times_reference_of_equal_pictures"]["median"] == 1


@pytest.mark.slow
def test_it_measures_sdxl_too_and_pictures_of_ones_own(tmp_path: Path):
    draw_pictures(tmp_path, 32)
    (tmp_path / "notes.txt").write_text("no picture")
    more = ["--pictures", str(tmp_path), "--packs", "1", "--batch", "1", "--no-memory"]
    rows = measured(tmp_path / "figures.json", "sdxl", *more)
    assert list(rows) == ["1 run x 1", "reference x 1"]


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path):
    rows = measured(tmp_path / "figures.json", "sd15", "--packs", "1", "--batch", "1")
    assert all(10 < row["peak_memory_mib"] < 2000 for row in rows.values())


def test_what_cannot_be_measured_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for wrong, said in (
        (["--packs", "3", "--batch", "16"], "must divide"),
        (["--width", "0.5"], "--layout"),
        (["--pictures", str(tmp_path)], f"--pictures {tmp_path}"),
        (["--pictures", str(tmp_path / "nowhere")], "nowhere"),
    ):
        with pytest.raises(SystemExit):
            main(wrong)
        assert said in capsys.readouterr().err
