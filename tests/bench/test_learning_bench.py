"""What the bench makes of curves of likeness, and that it measures nothing twice."""

from pathlib import Path

import pandas as pd
import pytest

from bench.learning import EXAMPLE_LADDER, LADDER, main, needed, summary

ROWS = {"ours": (LADDER, [0.3, 0.6, 0.9, 0.9, 1.0, 0.9]), "example": (EXAMPLE_LADDER, [0.1, 0.2, 0.3, 0.6, 0.9, 0.9])}


def table(concepts: tuple[str, ...] = ("thing-1",), scale: float = 1.0) -> pd.DataFrame:
    """Two seeds with the same straight curves from 0.2 on, all in units of `scale` above the start."""
    rows = []
    for concept in concepts:
        rows.append((concept, "pictures", 0, 0, 5.0))
        for seed in (0, 1):
            rows.append((concept, "ours", seed, 0, 0.2))
            for method, (ladder, values) in ROWS.items():
                rows += [(concept, method, seed, n, 0.2 + scale * v) for n, v in zip(ladder, values, strict=True)]
    return pd.DataFrame(rows, columns=["concept", "method", "seed", "samples", "likeness"])


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_samples_are_counted_to_a_share_of_what_the_best_checkpoint_attains(scale: float) -> None:
    of_method = needed(table(scale=scale), 0.75).groupby("method")["needed"].agg(["min", "max"])
    assert of_method.loc["ours"].tolist() == pytest.approx([90, 90])  # half-way from 0.6 at 60 to 0.9 at 120
    assert of_method.loc["example"].tolist() == pytest.approx([480, 480])  # half-way from 360 to 600
    assert needed(table(scale=scale), 0.95).set_index("method")["needed"]["example"].tolist() == [float("inf")] * 2


def test_the_summary_says_how_many_got_there_and_how_sure_the_ratio_is() -> None:
    told = summary(table(("thing-1", "thing-2", "style-0"))).set_index(["kind", "share", "method"])
    ours = told.loc[("thing", 0.8, "ours")]
    assert (ours["concepts"], ours["runs"], ours["reached"], ours["median samples"]) == (2, 4, 4, 100)
    assert ours["of the example's"] == "0.19 (0.19 to 0.19)"  # 100 of 520
    assert told.loc[("style", 0.9, "example"), "reached"] == 2


def test_a_method_that_never_arrives_is_not_told_as_the_faster_one() -> None:
    slow = table()
    slow.loc[slow["method"] == "ours", "likeness"] = 0.2 + 0.1 * (slow["samples"] > 0)
    told = summary(slow).set_index(["kind", "share", "method"])
    assert told.loc[("thing", 0.8, "ours"), "reached"] == 0
    assert pd.isna(told.loc[("thing", 0.8, "ours"), "of the example's"])


def test_another_start_of_another_method_moves_none_but_its_own() -> None:
    plain = table()
    other = plain[plain["method"] == "ours"].assign(method="hypernetwork 0.001")
    other.loc[other["samples"] == 0, "likeness"] = 0.0
    both = needed(pd.concat([plain, other]), 0.75).groupby("method")["needed"].min()
    assert both[["ours", "example"]].tolist() == pytest.approx([90, 480])
    with pytest.raises(SystemExit, match="no start for thing-1"):
        needed(plain[plain["method"] == "example"], 0.75)


def test_what_is_in_the_table_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "learning.csv"
    table().to_csv(out, index=False)
    before = out.read_bytes()
    monkeypatch.setattr("bench.learning.load_base", None)
    monkeypatch.setattr("sys.argv", ["learning", "--out", str(out), "--concepts", "thing-1", "--seeds", "0", "1"])
    main()
    assert out.read_bytes() == before
