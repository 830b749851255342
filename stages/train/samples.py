"""Which picture, prompt, noise level and noise each sample of each step sees: keyed, drawn ahead in blocks.

Letters in shapes: R runs, n rows (a row is one sample of one run), C channels, h w of a latent, E text encoders,
W windows, L tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudoword.draws import Stream, generator
from pseudoword.latents import Latents

Shape = tuple[int, ...]


class Sample(NamedTuple):
    """The draws of one sample of one step of one run."""

    picture: int
    ids: NDArray[np.int64]  # (E, W, L)
    t: int
    posterior: NDArray[np.float32]  # (C, h, w), standard normal
    noise: NDArray[np.float32]  # (C, h, w), standard normal and the offset
    key: int | None = None  # of its dropout


@dataclass(frozen=True)
class Sampling:
    """How one run draws its training samples."""

    seed: int
    ids_of: Callable[[int, int, np.random.Generator], NDArray[np.int64]]  # of picture, template
    templates: int
    stratified: bool = True
    once: bool = False  # one draw of the posterior for each picture
    noise_offset: float = 0.0
    dropout: bool = False  # in what is learned: each sample then has a key of its masks


@dataclass(frozen=True)
class Rows:
    """Rows of one latent shape, on the training device."""

    group: int
    run: Tensor  # (n,) int64
    sample: Tensor  # (n,) int64
    place: Tensor  # (n,) int64, of the picture in its group
    t: Tensor  # (n,) int64
    posterior: Tensor  # (n, C, h, w) float32
    noise: Tensor  # (n, C, h, w) float32
    ids: Tensor  # (n, E, W, L) int64, where the trainee reads them
    runs: Tensor  # (n,) int64, `run` on the host, where nothing waits for the device to know it
    key: Tensor | None = None  # (n,) int64, of each sample's dropout; None: nothing is dropped

    def __getitem__(self, part: slice) -> "Rows":
        return self._each(lambda value: value[part])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Rows":
        changed: dict[str, Any] = {n: change(value) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)

    def __len__(self) -> int:
        return len(self.run)

    def copied(self) -> "Rows":
        return self._each(torch.clone)

    def take(self, others: "Rows") -> None:
        """Become these rows, of which there are as many and in the same shapes, in the memory that is held already."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                value.copy_(getattr(others, name))

    def parts(self, most: int) -> Iterator["Rows"]:
        """All rows in their order, at most `most` at once."""
        for start in range(0, len(self), most):
            yield self[start : start + most]

    def filled(self, number: int) -> "Rows":
        """The rows and, up to `number`, the last one again and again."""
        more = max(0, number - len(self))
        return self._each(lambda value: torch.cat([value, value[-1:].expand(more, *value.shape[1:])]))


@dataclass(frozen=True)
class Block:
    """The rows of some steps: for each shape all rows of the block, and where each step's begin and end."""

    rows: list[Rows]
    spans: list[list[slice]]  # (shapes, steps)

    def of_step(self, i: int, most: int) -> Iterator[Rows]:
        """The rows of the block's step `i`, at most `most` at once and all of one shape."""
        for rows, spans in zip(self.rows, self.spans, strict=True):
            yield from rows[spans[i]].parts(most)


class Sampler:
    """Draws the rows of the runs of a pack, the next block while the device is busy with this one."""

    def __init__(
        self, runs: Sequence[Sampling], latents: Latents, samples: int, timesteps: int, device: torch.device,
        prompts_on: torch.device,
    ) -> None:  # fmt: skip
        """samples     of a step of one run
        prompts_on  the device that their ids go to; all else goes to `device`
        """
        self.runs, self.samples, self.timesteps = list(runs), samples, timesteps
        self.device, self.prompts_on = device, prompts_on
        self.shapes, self.places = layout(latents)
        self._drawn: tuple[range, list[int], Block] | None = None

    def block(self, steps: range, runs: list[int]) -> Block:
        """The rows of some steps of the runs that still learn; drawn once, however often they are asked for."""
        if self._drawn is None or self._drawn[:2] != (steps, runs):
            learning = {run: self.runs[run] for run in runs}
            block = draw_block(
                learning, steps, self.samples, self.shapes, self.places, self.timesteps, self.device, self.prompts_on
            )  # fmt: skip
            self._drawn = (steps, runs, block)
        return self._drawn[2]

    def sample(self, run: int, step: int, index: int) -> Sample:
        return draw_sample(self.runs[run], step, index, self.samples, self.shapes, self.timesteps)

    def largest_rows(self, number: int) -> Rows:
        """So many rows of the largest shape, of the first run."""
        largest = max(range(len(self.shapes)), key=lambda picture: np.prod(self.shapes[picture]))
        pictures = len(self.shapes)
        block = draw_block(
            {0: self.runs[0]}, range(-(-number // self.samples)), self.samples, [self.shapes[largest]] * pictures,
            [self.places[largest]] * pictures, self.timesteps, self.device, self.prompts_on,
        )  # fmt: skip
        return block.rows[0][:number]


def draw_sample(
    run: Sampling, step: int, index: int, samples: int, shapes: Sequence[Shape], timesteps: int
) -> Sample:  # fmt: skip
    """Sample `index` of `step` (both from 0) of one run; a function of (seed, step, index) and the settings only.

    Pictures come in a fresh order per pass, so each is seen equally often. Stratified timesteps, one from each of
    `samples` equal bins per step, estimate the same loss with less variance than independent ones.
    """
    picture = _picture(run.seed, step * samples + index, len(shapes))
    shape = shapes[picture]
    dice = generator(run.seed, Stream.SAMPLE, step, index)
    template = int(dice.integers(run.templates))
    level = dice.random()
    t = (_bins(run.seed, step, samples)[index] + level) * timesteps / samples if run.stratified else level * timesteps
    posterior, noise = dice.standard_normal((2, *shape), np.float32)
    if run.once:
        posterior = _posterior(run.seed, picture, shape)
    if run.noise_offset:
        # https://www.crosslabs.org/blog/diffusion-with-offset-noise
        noise = noise + np.float32(run.noise_offset) * dice.standard_normal((shape[0], 1, 1), np.float32)
    key = int(generator(run.seed, Stream.DROPOUT, step, index).integers(2**63)) if run.dropout else None
    return Sample(picture, run.ids_of(picture, template, dice), min(int(t), timesteps - 1), posterior, noise, key)


def draw_block(
    runs: dict[int, Sampling], steps: range, samples: int, shapes: Sequence[Shape], places: Sequence[tuple[int, int]],
    timesteps: int, device: torch.device, prompts_on: torch.device,
) -> Block:  # fmt: skip
    """The rows of some steps of the runs that still learn, on `device` but for the ids of their prompts.

    runs    by place in the pack
    shapes  of each picture's latent, (C, h, w)
    places  of each picture: its group, and where in the group
    """
    groups = sorted({group for group, _ in places})
    grouped: dict[int, list[tuple[int, int, Sample]]] = {group: [] for group in groups}
    spans: dict[int, list[slice]] = {group: [] for group in groups}
    for step in steps:
        starts = {group: len(rows) for group, rows in grouped.items()}
        for index in range(samples):
            for run, sampling in runs.items():
                sample = draw_sample(sampling, step, index, samples, shapes, timesteps)
                grouped[places[sample.picture][0]].append((run, index, sample))
        for group, rows in grouped.items():
            spans[group].append(slice(starts[group], len(rows)))
    shown = [group for group in groups if grouped[group]]
    drawn = [_rows(group, grouped[group], places, device, prompts_on) for group in shown]
    return Block(drawn, [spans[group] for group in shown])


def layout(latents: Latents) -> tuple[list[Shape], list[tuple[int, int]]]:
    """Of each picture: its latent's shape (C, h, w), and its group and place there."""
    found = {
        row: (tuple(group.mean.shape[1:]), (number, place))
        for number, group in enumerate(latents.groups)
        for place, row in enumerate(group.rows)
    }
    ordered = [found[row] for row in range(len(latents.ids))]
    return [shape for shape, _ in ordered], [place for _, place in ordered]


def _rows(
    group: int, rows: list[tuple[int, int, Sample]], places: Sequence[tuple[int, int]], device: torch.device,
    prompts_on: torch.device,
) -> Rows:  # fmt: skip
    def moved(values: object, device: torch.device = device) -> Tensor:
        tensor = torch.from_numpy(np.asarray(values))
        # From pinned memory a copy does not wait for the device.
        return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)

    drawn = [sample for _, _, sample in rows]
    keys = [sample.key for sample in drawn]
    return Rows(
        group,
        run=moved([run for run, _, _ in rows]),
        sample=moved([index for _, index, _ in rows]),
        place=moved([places[sample.picture][1] for sample in drawn]),
        t=moved([sample.t for sample in drawn]),
        posterior=moved([sample.posterior for sample in drawn]),
        noise=moved([sample.noise for sample in drawn]),
        ids=moved([sample.ids for sample in drawn], prompts_on),
        runs=torch.tensor([run for run, _, _ in rows]),
        key=None if set(keys) == {None} else moved([key or 0 for key in keys]),
    )


def _picture(seed: int, position: int, pictures: int) -> int:
    """The picture at a position in the endless sequence of shuffled passes."""
    turn, place = divmod(position, pictures)
    return int(_order(seed, turn, pictures)[place])


@lru_cache(maxsize=256)
def _order(seed: int, turn: int, pictures: int) -> NDArray[np.int64]:
    return generator(seed, Stream.ORDER, turn).permutation(pictures)


@lru_cache(maxsize=256)
def _bins(seed: int, step: int, samples: int) -> NDArray[np.int64]:
    return generator(seed, Stream.TIMESTEPS, step).permutation(samples)


@lru_cache(maxsize=1024)
def _posterior(seed: int, picture: int, shape: Shape) -> NDArray[np.float32]:
    return generator(seed, Stream.POSTERIOR, picture).standard_normal(shape, np.float32)
