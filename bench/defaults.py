"""Which training settings are best: each tried against the shipped ones on things and styles that toyworld never saw.

usage   python -m bench.defaults --out docs/decisions/defaults.csv [--concepts thing-1 style-0] [--steps 300]

One axis at a time, all its values in one pack, through the stages as a user runs them. The table has a row for each
concept, axis and value; the summary gives the differences from the shipped settings over the concepts.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from toyworld.sample import render
from toyworld.world import NOUNS, SCENES, new_thing

ROOT = Path(__file__).parents[1]
CONCEPTS = ("thing-1", "thing-2", "thing-3", "thing-4", "style-0", "style-1", "style-2")
PICTURES, SHOWN = 15, 8
SHIPPED = "train.seed"  # the axis whose values are the shipped settings, and show what chance does
SINGLE: dict[str, list[Any]] = {
    SHIPPED: [0, 1, 2],
    "train.learn_rate": [0.002, 0.005, 0.02, 0.04, "0.05:10, 0.02:20, 0.01:60, 0.005"],
    "train.norm": ["free", "direction"],
    "train.decay": ["cosine"],
    "train.timesteps": ["independent"],
    "train.latents": ["deterministic"],
    "train.min_snr_gamma": [5.0],
    "train.average": [0.95],
    "train.caption_dropout": [0.1],
    "word.vectors": [1, 2],
}
AXES: dict[str, dict[str, list[Any]]] = {
    **{axis: {axis: values} for axis, values in SINGLE.items()},
    "direction": {"train.norm": ["direction"], "train.learn_rate": [0.02, 0.06]},
}
MEASURES = ("score", "likeness", "identity", "obedience", "loss")


def prepare(folder: Path, concept: str, steps: int) -> dict[str, Any]:
    """A project of one concept with its pictures drawn; its settings."""
    kind, _, index = concept.partition("-")
    for name in ("templates", "models"):
        (folder / name).symlink_to(ROOT / name)
    render(kind, int(index), folder / "data", PICTURES)
    settings: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings["data"]["folder"] = "data"
    settings["base"]["device"] = "cpu"
    settings["train"] |= {"steps": steps, "save_every": steps}
    settings["evaluate"] |= {"shortlist": 2, "seeds": 1, "timesteps": 4, "inference_steps": 12}
    if kind == "thing":
        settings["word"]["init_text"] = new_thing(int(index)).outline
    else:
        settings["word"] |= {"kind": "style", "init_text": "chalk"}
        settings["evaluate"]["prompts"] = "prompts.txt"
        scenes = list(SCENES.values())[:SHOWN]
        prompts = [f"a {NOUNS[7 * at]} {scene.phrase} in [name] style" for at, scene in enumerate(scenes)]
        (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")
    return settings


def run(folder: Path, settings: dict[str, Any], *stages: str) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for stage in ("check", *stages):
        command = [sys.executable, "-m", f"stages.{stage}"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{stage} failed in {folder}:\n{done.stderr}")


def tried(folder: Path, settings: dict[str, Any], axis: str, sweep: dict[str, list[Any]]) -> pd.DataFrame:
    """The last checkpoint of each value of an axis: a row for each."""
    run(folder, settings | {"sweep": sweep}, "train", "evaluate", "judge", "choose")
    scores: pd.DataFrame = pd.read_csv(folder / "outputs/choice/scores.csv")
    last: pd.DataFrame = scores[scores["step"] == scores["step"].max()].sort_values("run")
    values = [" ".join(map(str, values)) for values in itertools.product(*sweep.values())]
    return last.assign(axis=axis, value=values)[["axis", "value", *MEASURES]]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """The mean over concepts of the shipped settings, and each value's mean difference from it with standard error."""
    shipped = table[table["axis"] == SHIPPED].groupby("concept")[list(MEASURES)].mean()
    rows: list[dict[str, Any]] = [{"axis": "shipped", "value": "", **shipped.mean()}]
    for (axis, value), own in table.groupby(["axis", "value"], sort=False):
        apart = own.set_index("concept")[list(MEASURES)] - shipped
        errors = (apart.std() / len(apart) ** 0.5).add_suffix("_error")
        rows.append({"axis": axis, "value": value, **apart.mean(), **errors})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV of all results; what is in it is not done again")
    parser.add_argument("--concepts", nargs="+", default=CONCEPTS)
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES), metavar="AXIS")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    table = pd.read_csv(options.out, dtype={"value": str}, keep_default_na=False) if options.out.exists() else None
    for concept in options.concepts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = prepare(folder, concept, options.steps)
            run(folder, settings, "preprocess", "caption", "curate", "latents")
            for axis in options.axes:
                if table is not None and ((table["concept"] == concept) & (table["axis"] == axis)).any():
                    continue
                rows = tried(folder, settings, axis, AXES[axis]).assign(concept=concept)
                table = rows if table is None else pd.concat([table, rows])
                table.to_csv(options.out, index=False)
                shutil.rmtree(folder / "outputs/words")
                shutil.rmtree(folder / "outputs/training")
                print(concept, axis, rows["score"].round(3).tolist(), flush=True)
    assert table is not None
    print(summary(table).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
