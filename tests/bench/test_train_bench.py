"""The bench runs, and its figures hang together."""

import json
from pathlib import Path

import pytest

from bench.train import main


@pytest.mark.parametrize("layout", ["sd15", "sdxl"])
def test_the_bench_measures_packs_and_the_reference(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "figures.json"
    small = ["--layout", layout, "--width", "0.05", "--resolution", "64", "--device", "cpu", "--no-memory"]
    main([*small, "--packs", "1,2", "--batch", "2", "--steps", "2", "--rounds", "2", "--out", str(out)])
    found = json.loads(out.read_text())
    rows = {row["case"]: row for row in found["cases"]}
    assert list(rows) == ["1 run x 2", "2 runs x 1", "1 run x 1", "reference x 2", "reference x 1"]
    printed = capsys.readouterr().out
    for name, row in rows.items():
        assert row["updates_per_second"] > 0 and 0 < row["share_of_ceiling"]["median"] < 1
        assert name in printed
    # The reference encodes its pictures in the loop; packing changes nothing of the work.
    work = {name: row["gigaflop_per_picture"] for name, row in rows.items()}
    assert work["1 run x 2"] == pytest.approx(work["2 runs x 1"]) and work["reference x 2"] > work["1 run x 2"]
    assert rows["reference x 2"]["times_reference_of_equal_pictures"]["median"] == 1


def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path):
    out = tmp_path / "figures.json"
    small = ["--layout", "sd15", "--width", "0.05", "--resolution", "64", "--device", "cpu"]
    main([*small, "--packs", "1", "--batch", "1", "--steps", "1", "--rounds", "1", "--out", str(out)])
    assert all(10 < row["peak_memory_mib"] < 2000 for row in json.loads(out.read_text())["cases"])


def test_what_does_not_divide_is_refused(capsys: pytest.CaptureFixture[str]):
    for wrong, said in ((["--packs", "3", "--batch", "16"], "must divide"), (["--width", "0.5"], "--layout")):
        with pytest.raises(SystemExit):
            main(wrong)
        assert said in capsys.readouterr().err
