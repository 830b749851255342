"""The bench of the choice, on the smallest of its cases."""

from pathlib import Path

import pandas as pd
import pytest

from bench.choice import ALL, FRESH, PLANTS, Case, main
from toyworld.world import new_thing


def test_mixed_pictures_are_of_two_things_in_the_truth_as_in_the_data():
    for seed in (0, 1):
        shown = [thing for _, _, thing in Case("mixed", "thing", 3).shown(FRESH, seed)]
        assert shown[::2] == [new_thing(3)] * 12 and shown[1::2] == [new_thing(4)] * 12
    assert {thing for _, _, thing in Case("good", "thing", 3).shown(FRESH, 1)} == {new_thing(3)}


def test_it_is_at_least_forty_cases_of_every_fault_and_kind():
    assert len(ALL) == len({case.name for case in ALL}) >= 40
    planted = {(case.plant, case.kind) for case in ALL}
    assert planted == {(plant, kind) for plant in PLANTS for kind in ("thing", "style")}


@pytest.mark.slow
def test_a_case_is_measured_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    budget = "--steps 6 --seeds 1 --truth-seeds 1 --inference-steps 2 --shortlist 2 --pictures 6"
    out = tmp_path / "choice.csv"
    monkeypatch.setattr("sys.argv", ["choice", "--out", str(out), "--cases", "mixed-thing-3", *budget.split()])
    main()
    (row,) = pd.read_csv(out).to_dict("records")
    assert row["shows"] and row["told"] and row["regret"] >= 0 and row["drawn"] == 2
    written = out.read_bytes()
    capsys.readouterr()
    main()
    assert out.read_bytes() == written
    assert "planted faults that show and are told: 1 of 1" in capsys.readouterr().out
