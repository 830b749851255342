"""How often a comparison of settings is right, on simulated sweeps with a planted effect and with none.

python -m bench.effects [--sweeps 200]

Each sweep is 4 learning rates x 2 numbers of vectors x 3 training seeds, 4 prompts x 4 picture seeds. Likeness has
noise of the prompt, of the picture, of the training and of both together. The effect is that of one learning rate or of
the number of vectors.
"""

import argparse
from itertools import product

import numpy as np

from pseudoword.results.effects import SEED, Trained, interactions, main_effects

RATES, VECTORS, SEEDS, PROMPTS, PICTURES = (0.0025, 0.005, 0.01, 0.02), (2, 4), (0, 1, 2), 4, 4
EFFECTS = (0.05, 0.1, 0.15)  # of likeness, 0 to 1
PROMPT_SD, PICTURE_SD, TRAINING_SD, REST_SD = 0.15, 0.15, 0.03, 0.10
USUAL = {"train.learn_rate": 0.005, "word.vectors": 2}


def simulate(random: np.random.Generator, planted: dict[str, object], effect: float = EFFECTS[-1]) -> list[Trained]:
    """The runs of one sweep; `planted` has the values that are worth `effect`."""
    prompts = np.repeat(random.normal(0.6, PROMPT_SD, PROMPTS), PICTURES)
    pictures = prompts + random.normal(0, PICTURE_SD, PROMPTS * PICTURES)
    runs = []
    for rate, vectors, seed in product(RATES, VECTORS, SEEDS):
        settings = {"train.learn_rate": rate, "word.vectors": vectors, SEED: seed}
        worth = effect * sum(settings[key] == value for key, value in planted.items())
        rest = random.normal(0, TRAINING_SD) + random.normal(0, REST_SD, len(pictures))
        runs.append(Trained(settings, {"likeness": pictures + worth + rest}))
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=200)
    sweeps = parser.parse_args().sweeps
    print("| effect | found, with the right sign |\n|---|---|")
    for size in EFFECTS:
        random = np.random.default_rng(0)
        print(f"| {size} | {sum(is_found(random, i, size) for i in range(sweeps)) / sweeps:.1%} |")
    random = np.random.default_rng(0)
    nothing = [simulate(random, {}) for _ in range(sweeps)]
    for name, kind in (("effect", main_effects), ("interaction", interactions)):
        called = sum(any(e.difference.excludes_zero for e in kind(runs, ["likeness"], USUAL)) for runs in nothing)
        print(f"nothing planted: something called an {name} in {called / sweeps:.1%} of {sweeps} sweeps")


def is_found(random: np.random.Generator, i: int, size: float) -> bool:
    key, value = (("train.learn_rate", 0.02), ("word.vectors", 4))[i % 2]
    effects = main_effects(simulate(random, {key: value}, size), ["likeness"], USUAL)
    (real,) = [effect for effect in effects if effect.changes[0][::2] == (key, value)]
    return real.difference.low > 0


if __name__ == "__main__":
    main()
