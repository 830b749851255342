"""Is the choice right? Planted cases on toyworld, each held against the truth.

usage   python -m bench.choice --out docs/decisions/0009-choice.csv [--cases good-thing-1 ...] [--truth-seeds 16]

A case is a concept that toyworld never saw and something that is planted in how it is learned. It goes through the
stages as a user's project does. The truth is the same rule over evidence that the choice never had: fresh pictures of
the concept with true captions in place of the training pictures, other prompts, more seeds. What is in the table is not
done again; the summary is of all rows.

columns  regret       how far the true score of the chosen checkpoint is below that of the best one that was drawn
         shows        whether what was planted shows in the truth: toyworld bears more than one would think
         told         whether what was planted was told: by a veto, by advice, or as no better than the init
         alarm        of a good case: whether all of it was ruled out, a checkpoint called burnt or a copy, or anything
                      told but to train longer
         evaluation   seconds of evaluate, judge and choose over those of train
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.random import Generator, default_rng
from PIL import Image, ImageEnhance

from pseudoword.fingerprint import fingerprint
from pseudoword.records import Choice, read_record
from pseudoword.results.places import CHOICE, SCORES, SHEETS
from stages.check.__main__ import main as check
from stages.choose.__main__ import main as choose
from stages.curate.__main__ import main as curate
from stages.evaluate.__main__ import main as evaluate
from stages.judge.__main__ import main as judge
from stages.latents.__main__ import main as latents
from stages.preprocess.__main__ import main as preprocess
from stages.train.__main__ import main as train
from toyworld.captions import describe
from toyworld.world import DEFAULT_STYLE, NOUNS, POSITIONS, SCENES, Thing, draw, new_style, new_thing, thing_of

ROOT = Path(__file__).parents[1]
FRESH = 24  # pictures of the truth
MIN_LIKENESS, MIN_OBEDIENCE, MAX_OVERBAKED = 0.4, 0.6, 0.5  # of the truth, beyond which a planted fault shows
SURE = 0.9
NEAR = 0.02  # of score: a choice that is this near to the best is right
SCENES_ASKED = ("sea", "forest", "night", "snow", "room", "city", "meadow", "desert")
SCENES_OF_TRUTH = ("cave", "sunset", "space", "stage", "meadow", "desert", "snow", "sea")
NOUNS_OF_TRUTH = NOUNS[3::25]  # of the prompts of styles; others than those that the choice is made by
WRONG_STARTS = {"thing": "cave", "style": "egg"}


@dataclass(frozen=True)
class Plant:
    """What is planted, and how it is told.

    told   looks at the choice and at why checkpoints are ruled out
    shows  looks at the truth's table of the drawn checkpoints
    """

    settings: dict[str, dict[str, Any]]
    told: Callable[[Choice, list[str]], bool]
    shows: Callable[[pd.DataFrame], bool] = lambda truth: bool(truth["likeness"].max() < MIN_LIKENESS)
    captions: str = "true"  # true | none | naming
    mixed: bool = False
    copies: bool = False  # the later half of the checkpoints draws training pictures: no word of toyworld goes so far


def _burns(truth: pd.DataFrame) -> bool:
    return bool((truth["overbaked"].max() > MAX_OVERBAKED) or truth["broken"].max() > 0)


def _drowns(truth: pd.DataFrame) -> bool:
    return bool(truth["obedience"].min() < MIN_OBEDIENCE)


def _advised(*words: str) -> Callable[[Choice, list[str]], bool]:
    return lambda choice, _: any(word in line for word in words for line in choice.advice)


def _ruled_out(*words: str) -> Callable[[Choice, list[str]], bool]:
    return lambda _, vetoes: any(word in veto for word in words for veto in vetoes)


BURNT, COPIED = ("overbaked", "one colour"), ("repeat",)


PLANTS = {
    "good": Plant({}, lambda choice, _: choice.better_than_init),
    "undertrained": Plant({"train": {"steps": 8, "save_every": 2}}, _advised("train longer", "higher rate")),
    "overbaked": Plant(
        {"train": {"norm": "free", "learn_rate": 50.0, "steps": 40, "save_every": 8}, "word": {"vectors": 24}},
        _ruled_out(*BURNT),
        _burns,
    ),
    "copying": Plant({}, _ruled_out(*COPIED), lambda _: True, copies=True),
    "drowned": Plant({"word": {"vectors": 24}, "train": {"learn_rate": 0.02}}, _advised("drowns"), _drowns, "none"),
    "named": Plant({}, lambda choice, _: not choice.better_than_init or bool(choice.advice), captions="naming"),
    "mixed": Plant({}, _advised("two groups"), lambda _: True, mixed=True),
    "unlearnable": Plant(
        {"train": {"learn_rate": 0.00001}}, lambda choice, _: not choice.better_than_init or bool(choice.advice)
    ),
}


@dataclass(frozen=True)
class Case:
    plant: str
    kind: str  # thing | style
    index: int

    @property
    def name(self) -> str:
        return f"{self.plant}-{self.kind}-{self.index}"

    def pictures(self, number: int, seed: int) -> Iterator[tuple[Image.Image, str, Thing]]:
        """Pictures of the concept with their true captions, and the thing that each shows."""
        random = default_rng([41, seed, self.index, len(self.kind)])
        scenes = list(random.permutation(list(SCENES)))
        for i in range(number):
            scene, position = str(scenes[i % len(scenes)]), str(random.choice(list(POSITIONS)))
            noun = str(random.choice(NOUNS))
            thing = new_thing(self.index) if self.kind == "thing" else thing_of(noun)
            style = DEFAULT_STYLE if self.kind == "thing" else new_style(self.index)
            picture = draw(thing, scene, random, position, style)
            where = SCENES[scene].phrase
            yield Image.fromarray(picture), where if self.kind == "thing" else f"a {noun} {where}", thing

    def shown(self, number: int, seed: int) -> Iterator[tuple[Image.Image, str, Thing]]:
        """What the word is to learn: of mixed pictures every second one shows the next concept."""
        other = replace(self, index=self.index + 1).pictures(number, seed)
        for i, (mine, foreign) in enumerate(zip(self.pictures(number, seed), other, strict=True)):
            yield foreign if PLANTS[self.plant].mixed and i % 2 else mine

    def prompts(self, of_truth: bool) -> list[str]:
        scenes = SCENES_OF_TRUTH if of_truth else SCENES_ASKED
        phrases = [SCENES[scene].phrase for scene in scenes]
        if self.kind == "thing":
            return [f"a [name] {phrase}" for phrase in phrases]
        nouns = NOUNS_OF_TRUTH if of_truth else NOUNS[::25]
        return [f"a {noun} {phrase} in [name] style" for noun, phrase in zip(nouns, phrases, strict=True)]


ALL = [
    *(Case(plant, "thing", index) for index in (3, 5, 6) for plant in PLANTS),
    *(Case(plant, "style", index) for index in (0, 2) for plant in PLANTS),
]  # fmt: skip


@dataclass(frozen=True)
class Budget:
    steps: int
    seeds: int
    truth_seeds: int
    inference_steps: int
    shortlist: int
    pictures: int


def prepare(case: Case, budget: Budget) -> None:
    """The project of a case in the current folder."""
    plant = PLANTS[case.plant]
    for name in ("templates", "models"):
        Path(name).symlink_to(ROOT / name)
    Path("data").mkdir()
    random = default_rng([42, case.index])
    for i, (picture, caption, thing) in enumerate(case.shown(budget.pictures, seed=0)):
        picture.save(f"data/{i:02d}.png")
        text = {"true": caption, "none": "", "naming": _naming(case, thing, caption, random)}[plant.captions]
        Path(f"data/{i:02d}.txt").write_text(text + "\n")
    write_settings(case, budget, of_truth=False)


def _naming(case: Case, thing: Thing, caption: str, random: Generator) -> str:
    """A caption that says what the word should learn."""
    return f"{describe(thing, random)} {caption}" if case.kind == "thing" else f"{caption} in chalk style"


def write_settings(case: Case, budget: Budget, of_truth: bool) -> None:
    plant = PLANTS[case.plant]
    settings: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    name = "truth.txt" if of_truth else "asked.txt"
    Path(name).write_text("\n".join(case.prompts(of_truth)) + "\n")
    changes: dict[str, dict[str, Any]] = {
        "data": {"folder": "data"},
        "base": {"device": "cpu"},
        "caption": {"drafters": []},
        "curate": {"similarity": False},
        "word": {"kind": case.kind, "init_text": new_thing(case.index).outline if case.kind == "thing" else "chalk"},
        "train": {"steps": budget.steps, "save_every": max(budget.steps // 6, 1)},
        "evaluate": {
            "prompts": name, "seeds": budget.truth_seeds if of_truth else budget.seeds, "timesteps": 4,
            "inference_steps": budget.inference_steps, "shortlist": budget.shortlist,
        },
    }  # fmt: skip
    if case.plant == "unlearnable":
        changes["word"]["init_text"] = WRONG_STARTS[case.kind]
    for part in (changes, plant.settings):
        for section, values in part.items():
            settings[section] |= values
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    run(check)


def make_latents() -> None:
    """All stages before the training; nothing is drafted."""
    Path("outputs").mkdir(exist_ok=True)
    run(preprocess)
    ids = pd.read_csv("outputs/pictures.csv", dtype=str)["id"]
    pd.DataFrame({"id": ids, "draft": ""}).to_csv("outputs/drafts.csv", index=False)
    run(curate, latents)


def run(*stages: Callable[[], None]) -> float:
    """Seconds that the stages took, in this process."""
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for stage in stages:
            stage()
    return time.monotonic() - began


def show_fresh_pictures(case: Case) -> None:
    """Fresh pictures with true captions where the judge looks for the training pictures."""
    shutil.rmtree("outputs/pictures")
    Path("outputs/pictures").mkdir()
    rows = []
    for i, (picture, caption, _) in enumerate(case.shown(FRESH, seed=1)):
        picture.save(f"outputs/pictures/{i:012x}.png")
        rows.append({"id": f"{i:012x}", "source": f"{i}.png", "state": "used", "caption": caption})
    pd.DataFrame(rows).to_csv("outputs/pictures.csv", index=False)
    pd.DataFrame(rows)[["id", "caption"]].to_csv("outputs/captions.csv", index=False)


def copy_training_pictures() -> list[int]:
    """The later half of the drawn checkpoints draws training pictures, shifted and in other light; its steps."""
    drawn = pd.read_csv("outputs/evaluation/pictures.csv", keep_default_na=False)
    steps = sorted(drawn["step"][drawn["control"] == ""].unique())
    later, training = steps[len(steps) // 2 :], sorted(Path("outputs/pictures").glob("*.png"))
    random = default_rng(43)
    for file in drawn["file"][drawn["step"].isin(later)]:
        with Image.open(training[random.integers(len(training))]) as picture:
            edged = np.pad(np.asarray(picture.convert("RGB")), ((3, 3), (3, 3), (0, 0)), mode="edge")
        right, down = random.integers(0, 7, 2)
        shifted = Image.fromarray(edged[down : down - 6 or None, right : right - 6 or None])
        copied = ImageEnhance.Brightness(shifted).enhance(random.uniform(0.9, 1.1))
        copied.save(SHEETS / file)
    return later


def measure(case: Case, budget: Budget, kept: Path | None) -> dict[str, Any]:
    """The row of a case; the tables that it was worked out from go to the folder `kept`.

    A truth that lies there of the same case and budget is not drawn again, since vetoes and limits take no part in it.
    """
    prepare(case, budget)
    make_latents()
    training = run(train)
    evaluation = run(evaluate)
    copied = copy_training_pictures() if PLANTS[case.plant].copies else []
    evaluation += run(judge, choose)
    choice, scores = read_record(CHOICE, Choice), pd.read_csv(SCORES)
    keep(kept, case, "asked")
    truth = _truth(case, budget, kept)
    of_truth = truth.dropna(subset=["score"]).set_index("step")
    of_truth.loc[copied, "score"] = 0.0
    chosen, best = of_truth.loc[choice.step], of_truth["score"].max()
    vetoes = [str(veto) for veto in scores["veto"].dropna()]
    return {
        "case": case.name,
        "chosen": choice.step,
        "best": int(of_truth.index[int(of_truth["score"].argmax())]),
        "drawn": len(of_truth),
        "score_chosen": chosen["score"],
        "score_best": best,
        "regret": best - chosen["score"],
        "true_likeness": chosen["likeness"],
        "true_obedience": chosen["obedience"],
        "better_than_init": choice.better_than_init,
        "ruled_out": len(vetoes),
        "shows": PLANTS[case.plant].shows(of_truth),
        "told": PLANTS[case.plant].told(choice, vetoes),
        "alarm": not choice.better_than_init
        or _ruled_out(*BURNT, *COPIED)(choice, vetoes)
        or bool([line for line in choice.advice if "train longer" not in line]),
        "tied": len(choice.tied),
        "sure": choice.sure,
        "evaluation": evaluation / training,
        "train_seconds": training,
        "advice": " | ".join(choice.advice),
    }


def _truth(case: Case, budget: Budget, kept: Path | None) -> pd.DataFrame:
    """The scores of the drawn checkpoints over what the choice never had."""
    plant = PLANTS[case.plant]
    decisive = [plant.settings, plant.captions, plant.mixed, plant.copies, asdict(budget)]
    key = fingerprint(json.dumps(decisive), ())
    if kept and (known := _kept(kept, case, f"truth-{key}", SCORES)).exists():
        return pd.read_csv(known)
    write_settings(case, budget, of_truth=True)
    run(evaluate)
    show_fresh_pictures(case)
    run(judge, choose)
    keep(kept, case, f"truth-{key}")
    return pd.read_csv(SCORES)


def keep(folder: Path | None, case: Case, part: str) -> None:
    if folder:
        for path in (SCORES, Path("outputs/judged/pictures.csv"), Path("outputs/judged/judges.json")):
            target = _kept(folder, case, part, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def _kept(folder: Path, case: Case, part: str, path: Path) -> Path:
    return folder / case.name / f"{part}-{path.parent.name}-{path.name}"


def summary(table: pd.DataFrame) -> str:
    """Of all rows: shares with the numbers that they are of, so that a handful is not taken for many."""
    plants = table["case"].str.split("-").str[0]
    good = table[plants == "good"]
    lines = [
        f"within {NEAR} of the best: {_share(table['regret'] <= NEAR)}; regret mean {table['regret'].mean():.3f}, "
        f"largest {table['regret'].max():.3f}",
        f"the same of those that say they are at least {SURE:.0%} sure: "
        f"{_share(table['regret'][table['sure'] >= SURE] <= NEAR)}",
        f"planted faults that show and are told: {_share(table['told'][table['shows'] & (plants != 'good')])}",
        f"false alarms on good runs: {_share(good['alarm'])}",
        f"evaluation over training: median {table['evaluation'].median():.2f}",
    ]
    by_plant = table.assign(plant=plants).groupby("plant")[["regret", "shows", "told", "evaluation"]].mean().round(3)
    return "\n".join([*lines, by_plant.to_string()])


def _share(values: "pd.Series[Any]") -> str:
    return f"{int(values.sum())} of {len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV of all results; what is in it is not done again")
    parser.add_argument(
        "--cases", nargs="+", default=[case.name for case in ALL], choices=[case.name for case in ALL], metavar="CASE"
    )
    parser.add_argument("--steps", type=int, default=120, help="of a good training")
    parser.add_argument("--seeds", type=int, default=2, help="that the choice is made by")
    parser.add_argument("--truth-seeds", type=int, default=16)
    parser.add_argument("--inference-steps", type=int, default=20)
    parser.add_argument("--shortlist", type=int, default=6)
    parser.add_argument("--pictures", type=int, default=15, help="to learn from")
    parser.add_argument(
        "--keep", type=Path, help="folder for the tables of each case; a truth there is not drawn again"
    )
    options = parser.parse_args()
    budget = Budget(options.steps, options.seeds, options.truth_seeds, options.inference_steps, options.shortlist,
                    options.pictures)  # fmt: skip
    out, kept = options.out.absolute(), options.keep.absolute() if options.keep else None
    rows: list[dict[Any, Any]] = pd.read_csv(out).to_dict("records") if out.exists() else []
    done = {row["case"] for row in rows}
    by_name = {case.name: case for case in ALL}
    for case in (by_name[name] for name in options.cases if name not in done):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            os.environ["PSEUDOWORD_SCRATCH"] = f"{folder}/.scratch"
            rows.append(measure(case, budget, kept))
        pd.DataFrame(rows).to_csv(out, index=False)
        print(
            {
                key: rows[-1][key]
                for key in ("case", "chosen", "best", "regret", "shows", "told", "alarm", "evaluation")
            },
            flush=True,
        )
    print(summary(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
