"""How many samples a word needs: ours as a new project has it beside diffusers' example, on toyworld.

usage   python -m bench.learning --out docs/decisions/0008-learning.csv [--concepts thing-1 style-0] [--methods ours]
        python -m bench.learning --out docs/decisions/0008-learning.csv --summary     of what is there

Both learn from the same 15 drawn pictures of a thing or style that toyworld never saw, and start from the same word of
the model. Ours runs through the stages as a user runs them: captions are the captioner's drafts as word.kind cuts them.
The example is bench/reference.py with one vector, no captions, four pictures an update at the rate 0.002: what the
command in its README comes to. A checkpoint's likeness is the mean cosine of what it draws to 24 fresh pictures of the
concept, by the half of the image judge's features that tells things, or styles, apart. Each is prompted in the words of
its own templates.

The table has a row for each concept, method, seed and checkpoint; what is in it is not done again. Likeness is told as
a share of the attainable: 0 is what the start draws, 1 the best checkpoint of any method in the mean over its seeds.
"""

import argparse
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel

from bench.defaults import PICTURES, ROOT, prepare, run
from bench.models import Model
from bench.reference import STYLE_TEMPLATES, TEMPLATES, Reference
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base
from pseudoword.base.loading import load_base
from pseudoword.draws import Stream, generator
from pseudoword.formats.reading import Learned, read_learned
from pseudoword.learned import AtWork
from pseudoword.prompts import fill
from pseudoword.records import RunRecord, read_record
from pseudoword.results.places import checkpoint_files
from pseudoword.word import to_embedding
from toyworld.sample import render
from toyworld.world import NOUNS, SCENES

TOYWORLD = ROOT / "models/toyworld"
# Of styles those that can be learned: with 1 and 5 no method gets far from chalk, the start.
CONCEPTS = ("style-2", "thing-1", "style-0", "thing-2", "style-3", "thing-3", "style-4", "thing-4")
SEEDS = (0, 1, 2)
# Of the params.yaml of a new project; None: the example.
METHODS: dict[str, dict[str, dict[str, Any]] | None] = {
    "ours": {},
    "example": None,
    "drafts uncut": {"curate": {"cut": "none"}},
    "rate 0.005": {"train": {"learn_rate": 0.005}},
    "rate 0.02": {"train": {"learn_rate": 0.02}},
    "rate 0.02:4, 0.005": {"train": {"learn_rate": "0.02:4, 0.005"}},
    "4 an update": {"train": {"batch": 4, "accumulation": 1}},
    "4 an update, 0.01:12, 0.005": {"train": {"batch": 4, "accumulation": 1, "learn_rate": "0.01:12, 0.005"}},
    "hypernetwork 0.0003": {"train": {"learn": "hypernetwork"}, "hypernetwork": {"learn_rate": 0.0003}},
    "hypernetwork 0.001": {"train": {"learn": "hypernetwork"}, "hypernetwork": {"learn_rate": 0.001}},
    "hypernetwork 0.003": {"train": {"learn": "hypernetwork"}, "hypernetwork": {"learn_rate": 0.003}},
    "4 an update, 0.01, average": {"train": {"batch": 4, "accumulation": 1, "learn_rate": 0.01, "average": 0.8}},
}
SAMPLES = 600  # that our runs see, unless --samples says more: the shipped settings come to 4500
LADDER = (30, 60, 120, 180, 300, 600)  # samples at which checkpoints are measured
BEYOND = (900, 1200, 1800, 2400, 3000, 3600, 4500)  # the same of longer runs
EXAMPLE_BATCH, EXAMPLE_RATE = 4, 4 * 5e-4  # its scale_lr multiplies by the batch
EXAMPLE_LADDER = (60, 120, 240, 360, 600, 1200)
FRESH, PROMPTS, INFERENCE_STEPS, GUIDANCE = 24, 18, 10, 3.0
SHARES = (0.8, 0.9)
KEYS = ["concept", "method", "seed", "samples"]


class Ruler:
    """Likeness to fresh pictures of one concept."""

    def __init__(self, base: Base, kind: str, fresh: list[Image.Image]) -> None:
        self.base, self.kind = base, kind
        self.processor = AutoImageProcessor.from_pretrained(TOYWORLD / "image_judge")
        self.judge = AutoModel.from_pretrained(TOYWORLD / "image_judge", dtype=torch.float32).eval()
        self.fresh = self.features(fresh)
        self.noise = torch.from_numpy(
            np.stack([
                generator(1, Stream.PICTURE, i).standard_normal(base.latent_shape(64, 64), np.float32)
                for i in range(PROMPTS)
            ])
        )  # fmt: skip

    @torch.no_grad()
    def features(self, pictures: list[Image.Image]) -> Tensor:
        """(N, D) unit vectors of the half that tells this kind apart."""
        pooled = self.judge(**self.processor(images=pictures, return_tensors="pt")).pooler_output.flatten(1)
        half = pooled.shape[1] // 2
        return torch.nn.functional.normalize(pooled[:, :half] if self.kind == "thing" else pooled[:, half:], dim=1)

    def prompts(self, wording: str) -> list[str]:
        """`wording` of a style: how its name is said. Nouns and scenes go round."""
        scenes = [scene.phrase for scene in SCENES.values()]
        places = [scenes[i % len(scenes)] for i in range(PROMPTS)]
        if self.kind == "thing":
            return [f"a [name] {place}" for place in places]
        return [f"a {NOUNS[(7 * i + 3) % len(NOUNS)]} {place} {wording}" for i, place in enumerate(places)]

    def likeness(self, learned: Learned, wording: str = "in [name] style") -> float:
        work = AtWork(self.base, learned, "snorf")
        prompts = [fill(prompt, "snorf") for prompt in self.prompts(wording)]
        with torch.no_grad():
            conditioning = work.condition(work.tokens(prompts))
        drawn = self.base.draw(conditioning, None, self.noise, INFERENCE_STEPS, GUIDANCE)
        return float((self.features(drawn) @ self.fresh.T).mean())

    def among(self) -> float:
        number = len(self.fresh)
        return float(((self.fresh @ self.fresh.T).sum() - number) / (number * (number - 1)))


def ours(
    folder: Path, settings: dict[str, Any], seeds: list[int], most: int, ruler: Ruler
) -> Iterator[tuple[int, int, float]]:
    """(seed, samples, likeness) of the start and of the checkpoints of the ladder."""
    train = settings["train"]
    samples = PICTURES if train["batch"] == "auto" else int(train["batch"])
    save_every = max(n for n in range(1, LADDER[0] // samples + 1) if LADDER[1] % (n * samples) == 0)
    train |= {"steps": most // samples, "save_every": save_every}
    run(folder, settings | {"sweep": {"train.seed": seeds}}, "curate", "train")
    for record in sorted((folder / "outputs/words").glob("*/settings.json")):
        seed = int(read_record(record, RunRecord).settings["train"]["seed"])
        for step, path in checkpoint_files(record.parent).items():
            seen = step * samples
            # Updates of four pictures end beside the ladder's numbers.
            if seen == 0 or any(seen <= rung < seen + samples for rung in LADDER + BEYOND):
                yield seed, seen, ruler.likeness(read_learned(path))
    shutil.rmtree(folder / "outputs/words")
    shutil.rmtree(folder / "outputs/training")


def example(folder: Path, settings: dict[str, Any], seeds: list[int], ruler: Ruler) -> Iterator[tuple[int, int, float]]:
    for seed in seeds:
        torch.manual_seed(seed)
        random.seed(seed)
        reference = Reference(
            Model(str(TOYWORLD), 1.0, "cpu", torch.float32).pipeline(), sorted((folder / "data").glob("*.png")), 64,
            EXAMPLE_BATCH, TEMPLATES if ruler.kind == "thing" else STYLE_TEMPLATES, settings["word"]["init_text"],
            EXAMPLE_RATE,
        )  # fmt: skip
        seen = 0
        for samples in EXAMPLE_LADDER:
            reference.advance((samples - seen) // EXAMPLE_BATCH)
            seen = samples
            word = to_embedding("snorf", reference.vectors(), ruler.base.widths, {})
            yield seed, seen, ruler.likeness(word, "in the style of [name]")


def measure(out: Path, concepts: list[str], methods: list[str], seeds: list[int], samples: int) -> None:
    """Add what is not there yet to the table."""
    table = pd.read_csv(out) if out.exists() else pd.DataFrame(columns=[*KEYS, "likeness"])
    base: Base | None = None
    for concept in concepts:
        of_concept = table[table["concept"] == concept]
        done = set(zip(of_concept["method"], of_concept["seed"], strict=True))
        waiting = {method: [seed for seed in seeds if (method, seed) not in done] for method in methods}
        if not any(waiting.values()):
            continue
        base = base or load_base(ModelIdentity(str(TOYWORLD)), "cpu", torch.float32)
        kind, _, index = concept.partition("-")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = prepare(folder, concept, 1)
            render(kind, int(index), folder / "all", PICTURES + FRESH)
            paths = sorted((folder / "all").glob("*.png"))[PICTURES:]
            ruler = Ruler(base, kind, [Image.open(path).convert("RGB") for path in paths])
            if not done:
                table = _added(out, table, concept, "pictures", [(0, 0, ruler.among())])
            run(folder, settings, "preprocess", "caption", "curate", "latents")
            for method in filter(waiting.get, methods):
                changes = METHODS[method]
                if changes is None:
                    rows = list(example(folder, settings, waiting[method], ruler))
                else:
                    changed = {section: settings[section] | keys for section, keys in changes.items()}
                    changed = settings | {"train": dict(settings["train"])} | changed
                    rows = list(ours(folder, changed, waiting[method], samples, ruler))
                table = _added(out, table, concept, method, rows)
                print(concept, method, *(f"{row[0]}:{row[1]}:{row[2]:.3f}" for row in sorted(rows)), flush=True)


def _added(
    out: Path, table: pd.DataFrame, concept: str, method: str, rows: list[tuple[int, int, float]]
) -> pd.DataFrame:
    new = pd.DataFrame([(concept, method, *row) for row in sorted(rows)], columns=[*KEYS, "likeness"])
    table = pd.concat([table, new], ignore_index=True) if len(table) else new
    table.round(4).to_csv(out, index=False)
    return table


def needed(table: pd.DataFrame, share: float) -> pd.DataFrame:
    """Of each concept, method and seed the samples to `share` of the attainable; infinite where it is not reached.

    Between two checkpoints the likeness is taken to run straight. A method whose start is not in the table, as the
    example's, has that of ours.
    """
    trained = table[table["method"] != "pictures"]
    means = trained[trained["samples"] > 0].groupby(["concept", "method", "samples"])["likeness"].mean()
    rows = []
    for concept, of_concept in trained.groupby("concept"):
        starts = of_concept[of_concept["samples"] == 0].groupby("method")["likeness"].mean()
        if "ours" not in starts:
            raise SystemExit(f"The table has no start for {concept}: measure the method 'ours' of it too.")
        goal = starts["ours"] + share * (means[concept].max() - starts["ours"])
        for (method, seed), curve in of_concept.groupby(["method", "seed"]):
            curve = curve[curve["samples"] > 0].sort_values("samples")
            samples = np.array([0, *curve["samples"]], float)
            likeness = np.array([starts.get(method, starts["ours"]), *curve["likeness"]])
            rows.append((concept, method, seed, _first(samples, likeness, goal)))
    return pd.DataFrame(rows, columns=["concept", "method", "seed", "needed"])


def _first(samples: NDArray[np.float64], likeness: NDArray[np.float64], goal: float) -> float:
    reached = np.flatnonzero(likeness >= goal)
    if not len(reached):
        return float("inf")
    i = int(reached[0])
    if i == 0:
        return 0.0
    part = (goal - likeness[i - 1]) / (likeness[i] - likeness[i - 1])
    return float(samples[i - 1] + part * (samples[i] - samples[i - 1]))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By kind, method and share: cases, those that reached it, the median of samples, and the ratio to the example.

    The ratio is the geometric mean of medians over seeds, with a 95 % bootstrap interval over concepts: those of which
    the method got there, as many as `reached of` says. Where the example did not, it is taken to need one sample more
    than it was given, so that the ratio is rather too high.
    """
    limits = table.groupby("method")["samples"].max().to_dict()
    rows = []
    for share in SHARES:
        cases = needed(table, share)
        cases["reached"] = np.isfinite(cases["needed"])
        cases["needed"] = np.where(cases["reached"], cases["needed"], cases["method"].map(limits) + 1)
        cases["kind"] = cases["concept"].str.partition("-")[0]
        medians = cases.groupby(["concept", "method"])["needed"].median().to_dict()
        for (kind, method), of_method in cases.groupby(["kind", "method"]):
            row = {
                "kind": kind, "share": share, "method": method, "concepts": of_method["concept"].nunique(),
                "runs": len(of_method), "reached": int(of_method["reached"].sum()),
                "median samples": round(of_method["needed"].median()),
            }  # fmt: skip
            known = [c for c in of_method["concept"].unique() if (c, "example") in medians]
            both = [c for c in known if medians[c, method] <= limits[method]]
            ratios = np.log([medians[c, method] / medians[c, "example"] for c in both])
            if len(ratios):
                drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios))).mean(1)
                low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
                ratio = f"{np.exp(ratios.mean()):.2f} ({low:.2f} to {high:.2f})"
                row |= {"of the example's": ratio, "reached of": f"{len(both)} of {len(known)} concepts"}
            rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV of all results; what is in it is not done again")
    parser.add_argument("--concepts", nargs="+", default=CONCEPTS)
    parser.add_argument("--methods", nargs="+", default=["ours", "example"], choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--samples", type=int, default=SAMPLES, help="that our runs see")
    parser.add_argument("--summary", action="store_true", help="learn nothing, tell of what is there")
    options = parser.parse_args()
    if not options.summary:
        measure(options.out, options.concepts, options.methods, options.seeds, options.samples)
    print(summary(pd.read_csv(options.out)).to_string(index=False))


if __name__ == "__main__":
    main()
