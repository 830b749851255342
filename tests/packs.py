"""Small packs to train on tiny random models, without files."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.latents import Group, Latents
from pseudoword.plan import make_plan
from pseudoword.prompts import Vocabulary
from pseudoword.structure import Structure
from pseudoword.training_prompts import Texts
from pseudoword.word import vocabulary_norms
from stages.train.hypernetwork import Network
from stages.train.loop import Checkpoint, Training
from stages.train.objective import Objective
from stages.train.optimizer import OptimizerSettings
from stages.train.pack import make_trainee
from stages.train.run import Run
from stages.train.samples import Sampling
from stages.train.state import State
from stages.train.word import Word
from tests.tiny import tiny_stable_diffusion


@dataclass(frozen=True, kw_only=True)
class Learning(Run):
    """A run with what it learns and its prompts."""

    learned: Word | Network
    texts: Texts

    @property
    def rows(self) -> int:
        """Of the parameters of a pack."""
        return self.learned.vectors_in_prompts or 1


TEMPLATES = ["a [name] [filewords]", "a photo of a [name] [filewords]"]
CAPTIONS = ["by the sea", "", "in a cave, left, at night"]


def tiny_base(
    prediction_type: str = "epsilon", dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> StableDiffusion:
    pipeline = tiny_stable_diffusion(prediction_type).to(device, dtype)
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        part.requires_grad_(False).eval()
    return StableDiffusion(pipeline)


def square_latents(number: int = len(CAPTIONS)) -> Latents:
    generator = torch.Generator().manual_seed(5)
    mean = torch.randn(number, 4, 4, 4, generator=generator)
    std = torch.rand(number, 4, 4, 4, generator=generator) * 0.2
    group = Group(list(range(number)), mean, std, torch.ones(number, 1, 4, 4))
    return Latents([f"{at:012x}" for at in range(number)], [group])


def two_shapes() -> Latents:
    """Three pictures, the middle one wide."""
    square, generator = square_latents(2).groups[0], torch.Generator().manual_seed(6)
    wide = Group([1], torch.randn(1, 4, 4, 8, generator=generator), torch.zeros(1, 4, 4, 8), torch.ones(1, 1, 4, 8))
    return Latents([f"{at:012x}" for at in range(3)], [square._replace(rows=[0, 2]), wide])


def make_run(
    base: Base, used: int = 0, vectors: int = 2, seed: int = 0, rate: float = 0.02, steps: int = 12,
    captions: list[str] = CAPTIONS, windows: int = 1, structure: Structure | None = None, **more: object,
) -> Learning:  # fmt: skip
    """A run whose vectors lie behind `used` others; with a `structure` one of a hypernetwork, which has none.

    `more` goes to whichever part of it has a field of that name.
    """
    vectors = 0 if structure else vectors
    vocabulary = Vocabulary(base.tokenizers, [len(table) + used for table in base.tables], "snorf", vectors, windows)
    texts = Texts(vocabulary, "snorf", TEMPLATES, captions, **_fields(Texts, more))
    learned: Word | Network
    if structure:
        modules = initial_modules(structure, base.keys_and_values.widths, "XavierNormal", seed)
        stated = {"weight_initialization": "XavierNormal"}
        learned = Network("snorf", Hypernetwork("snorf", structure, modules, stated))
        more |= {"dropout": any(structure.dropout)}
    else:
        start = torch.randn(vectors, sum(base.widths), generator=torch.Generator().manual_seed(seed)) * 0.02
        norms = torch.tensor([vocabulary_norms(base.tables)]).expand(vectors, -1)
        learned = Word("snorf", start, norms, **_fields(Word, more))
    return Learning(
        name=f"run{seed}",
        learned=learned,
        texts=texts,
        sampling=Sampling(seed, texts.draw, len(TEMPLATES), **_fields(Sampling, more)),
        objective=Objective(**_fields(Objective, more)),
        optimizer=OptimizerSettings(
            **{"rates": [rate] * steps, "clip_at": [1.0] * steps} | _fields(OptimizerSettings, more)
        ),
        plain_ids=texts.plain,
        **_fields(Run, more),
    )


def _fields(kind: type, values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if key in kind.__dataclass_fields__}


def make_training(
    base: Base, runs: list[Learning], rows: int = 9, latents: Latents | None = None, state: State | None = None,
    samples: int = 3, **more: object,
) -> Training:  # fmt: skip
    latents = latents or square_latents()
    plan = make_plan(len(latents.ids), len(runs), max(run.steps for run in runs), samples, 1, 4)
    plan = replace(plan.ending(run.steps for run in runs), rows=rows)
    trainee = make_trainee(base, runs)
    return Training(base, trainee, runs, latents, plan, state, **more)


def learn(
    base: Base, runs: list[Learning],
    each: Callable[[Training, list[Checkpoint]], None] = lambda training, kept: None, **more: object,
) -> State:  # fmt: skip
    """Train to the end; `each` is called after each block."""
    training = make_training(base, runs, **more)
    while not training.finished:
        each(training, training.advance())
    return training.state


def rows_of(parameters: Tensor, runs: list[Learning], index: int) -> Tensor:
    return parameters.split([run.rows for run in runs])[index]


def copied(state: State) -> State:
    return State(**{key: value.clone() if isinstance(value, Tensor) else value for key, value in vars(state).items()})
