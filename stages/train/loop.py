"""The optimiser's loop. Everything shared is frozen, so R runs share one UNet batch and stay independent.

Letters in shapes: R runs, V vectors of all runs, D width, N pictures, S samples per update, U updates in a block.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.deterministic_loss import DeterministicLoss
from pseudoword.errors import UserError
from pseudoword.latents import Latents
from pseudoword.plan import Plan
from stages.train.objective import Losses, Objective
from stages.train.optimizer import FIRST_SCALE_FP16, Optimizer, Update
from stages.train.samples import Block, Drawing, Rows, draw_block, draw_sample
from stages.train.state import RECORDED, State
from stages.train.stopping import Stopping, levelled_out

# A block is drawn, run and read back at a time, and the device is never waited for inside it. At most so many updates
# and so many rows: the bar moves and the state is saved at its end.
BLOCK_UPDATES, BLOCK_ROWS = 10, 256
EVALUATED_PICTURES, EVALUATED_LEVELS = 8, 4  # of the deterministic loss that early stopping watches
COMPILED_MAY_DIFFER = 0.1  # share of the gradient; half precision rounds by a few hundredths
# How torch says it where it has no error of its own for it: on a CPU, on MPS, in cuBLAS.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Run:
    """One of the runs of a pack. It ends with `update.rates`."""

    name: str
    vectors: Tensor  # (K of this run, D) float32, where it starts
    norms: Tensor  # (K, encoders), at which they are held unless their norm is free
    drawing: Drawing
    objective: Objective
    update: Update
    plain_ids: Callable[[int], NDArray[np.int64]]  # of a picture, (E, W, L), what every evaluation sees
    stopping: Stopping | None = None

    @property
    def steps(self) -> int:
        return len(self.update.rates)


class Checkpoint(NamedTuple):
    """The vectors (K, D) of a run, by its place in the pack, after so many updates."""

    run: int
    update: int
    vectors: Tensor


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


class OutOfMemory(UserError):
    def __init__(self, device: torch.device, checkpointing: bool) -> None:
        how = "with gradient checkpointing on" if checkpointing else "with train.gradient_checkpointing: false"
        super().__init__(
            f"not even one picture at a time fits into the memory of {device}, {how}. Take a smaller "
            "preprocess.resolution, base.precision bf16 or fp16, or a larger GPU."
        )


class Training:
    """The training of a pack: what is resident on the device, and one block of updates after another.

    training = Training(base, runs, latents, plan)
    while not training.finished:
        checkpoints = training.advance()
    """

    def __init__(
        self, base: Base, runs: Sequence[Run], latents: Latents, plan: Plan, state: State | None = None,
        stops_at: Sequence[int] = (), checkpointing: bool | None = None,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """state          where to go on; None: at the start
        stops_at       a block ends at every multiple of these updates
        checkpointing  gradients: True from the start, False never, None when one row does not fit without
        asked_to_stop  is looked at after each update; a block then ends there
        """
        self.base, self.runs, self.plan, self.latents = base, list(runs), plan, latents
        self.asked_to_stop = asked_to_stop
        self.dtype = torch.promote_types(torch.float32, base.dtype)
        self.losses = Losses(base, latents, [run.objective for run in runs], self.dtype)
        updates = [run.update for run in runs]
        self.optimizer = Optimizer(
            updates, [run.vectors for run in runs], base.widths, [run.norms for run in runs], plan.steps, base.device,
            self.dtype,
        )  # fmt: skip
        self.shapes, self.places = _layout(latents)
        self.largest = max(self.shapes, key=np.prod)
        if state is None:
            start = torch.cat([run.vectors.to(base.device, self.dtype) for run in runs])
            scale = FIRST_SCALE_FP16 if base.dtype is torch.float16 else 1.0
            state = State.at_start(self.optimizer.start(start), len(runs), scale, plan.rows)
        self.state = state
        block = max(1, min(BLOCK_UPDATES, BLOCK_ROWS // (plan.samples * len(runs))))
        evaluations = {run.stopping.every for run in runs if run.stopping}
        self.boundaries = {block, *evaluations, *stops_at}
        self.evaluations = evaluations
        if evaluations:
            few = range(min(EVALUATED_PICTURES, len(latents.ids)))
            self.deterministic_loss = DeterministicLoss(base, latents, EVALUATED_LEVELS, few)
            self.plain_ids = [self._plain_ids(run) for run in runs]
        self.ahead: tuple[range, list[int], Block] | None = None
        self.compiled = False
        self.checkpointing, self.may_checkpoint = checkpointing is True, checkpointing is not False
        if self.checkpointing:
            base.checkpoint_gradients(True)
        self.ends = self._find_ends()

    @property
    def finished(self) -> bool:
        return not self.learning_at(self.state.step)

    def advance(self) -> list[Checkpoint]:
        """Run the updates up to the next boundary; what is to be kept of them."""
        state, learning = self.state, self.learning_at(self.state.step)
        updates = self._next_updates(state.step)
        block = self._block(updates, learning)
        records = torch.full((len(updates), len(self.runs), len(RECORDED)), torch.nan, device=self.base.device)
        seen = torch.zeros(len(updates), len(self.runs), self.plan.samples, device=self.base.device)
        kept = {0: self.optimizer.shown(state)} if state.step == 0 else {}
        for at, update in enumerate(updates):
            gradient = self._gradient(block, at, seen[at])
            records[at, :, 2] = self.optimizer.step(state, gradient, update)
            records[at, :, 1] = self.optimizer.norms_of(state.vectors)
            if update + 1 in self.plan.saved:
                kept[update + 1] = self.optimizer.shown(state)
            if any((update + 1) % every == 0 for every in self.evaluations):
                records[at, :, 3] = self._evaluate(self.optimizer.shown(state))
            state.step = update + 1
            if self.asked_to_stop():
                break
        records[..., 0] = seen.mean(-1)
        if state.step == updates.stop < max(self.ends):
            # Drawn while the device is still busy with this block.
            self._block(self._next_updates(state.step), learning)
        state.records = torch.cat([state.records, records[: state.step - updates.start].cpu()])
        self._stop_early()
        self.ends = self._find_ends()
        self._note_failures(seen.cpu(), updates)
        return self._checkpoints(kept, learning, updates.start)

    def compile(self) -> None:
        """Have the UNet compiled from here on, once for each shape of latents: all parts have one length then.

        Compilers err: torch 2.13 compiles some small UNets for a CPU to a right loss with a wrong gradient. So the next
        update's gradient is made both ways, and where they differ nothing is compiled.
        """
        step, unread = self.state.step, torch.zeros(len(self.runs), self.plan.samples, device=self.base.device)
        block = self._block(self._next_updates(step), self.learning_at(step))
        plain = self._gradient(block, 0, unread)
        self.base.compile()
        self.compiled = True
        off = float((self._gradient(block, 0, unread) - plain).norm() / plain.norm())
        if off > COMPILED_MAY_DIFFER:
            self.compiled = False
            torch.compiler.set_stance("force_eager")
            print(f"warning: the compiled UNet has another gradient, {off:.0%} off; going on without compiling")

    def eagerly(self) -> AbstractContextManager[object]:
        """Within it nothing is compiled: for pictures and evaluations, whose lengths differ and are few."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    def probe(self, rows: int) -> None:
        """Take the memory that so many rows at once take, and give it back."""
        block = draw_block(
            {0: self.runs[0].drawing}, range(-(-rows // self.plan.samples)), self.plan.samples,
            [self.largest] * len(self.shapes), [self.places[self.shapes.index(self.largest)]] * len(self.shapes),
            self.base.num_timesteps, self.base.device,
        )  # fmt: skip
        self._accumulate(self.state.vectors.detach().requires_grad_(), block.rows[0][:rows])

    def _gradient(self, block: Block, at: int, seen: Tensor) -> Tensor:
        """The gradient (V, D) of update `at` of the block; writes each sample's loss into `seen` (R, S)."""
        while True:
            try:
                leaf = self.state.vectors.detach().requires_grad_()
                for rows in block.of_update(at, int(self.state.rows)):
                    seen[rows.run, rows.sample] = self._accumulate(leaf, rows)
                return leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the handler, where the error's traceback keeps the tensors alive.
            self._take_less_memory()

    def _accumulate(self, leaf: Tensor, rows: Rows) -> Tensor:
        """Add to the leaf's gradient what these rows of an update bring, times each run's scale; their losses, (n,)."""
        filled = rows.filled(self._length(rows.group)) if self.compiled else rows
        losses = self.losses(leaf, filled)[: len(rows)]
        (losses * self.state.scale[rows.run]).sum().div(self.plan.samples).backward()
        return losses.detach().float()

    def _length(self, group: int) -> int:
        """To how many rows the parts of a group are filled up: what an update at most has of it, or all at once."""
        pictures = len(self.latents.groups[group].rows)
        each = min(self.plan.samples, pictures * -(-self.plan.samples // len(self.shapes)))
        return min(int(self.state.rows), each * len(self.runs))

    def _take_less_memory(self) -> None:
        """Fewer rows at once: the same draws in smaller parts, so the same result beyond rounding."""
        rows = int(self.state.rows)
        if self.base.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows > 1:
            self.state.rows = torch.tensor(rows // 2)
            print(f"out of memory with {rows} at once; going on with {rows // 2}, and twice the accumulation")
        else:
            self.spare_memory()
            self.state.rows = torch.tensor(self.plan.rows)  # as many may fit now
            print(f"out of memory with one at a time; going on with gradient checkpointing, {self.plan.rows} at once")

    def spare_memory(self) -> None:
        """Gradient checkpointing from here on. Raises OutOfMemory where it is on already, or not wanted."""
        if self.checkpointing or not self.may_checkpoint:
            raise OutOfMemory(self.base.device, self.checkpointing)
        self.checkpointing = True
        self.base.checkpoint_gradients(True)

    def learning_at(self, step: int) -> list[int]:
        """Places in the pack of the runs that go on after so many updates."""
        return [at for at, end in enumerate(self.ends) if step < end]

    def _find_ends(self) -> list[int]:
        """After how many updates each run has ended or will end. Waits for the device."""
        ended = zip(self.state.stopped.tolist(), self.state.failed.tolist(), self.runs, strict=True)
        return [stopped if stopped >= 0 else failed if failed >= 0 else run.steps for stopped, failed, run in ended]

    def _checkpoints(self, kept: dict[int, Tensor], learning: list[int], start: int) -> list[Checkpoint]:
        """The planned ones, and the last good vectors of a run that ended between two of them."""
        rows_of = [len(run.vectors) for run in self.runs]
        found = []
        for update, vectors in kept.items():
            parts = vectors.cpu().split(rows_of)
            found += [Checkpoint(at, update, parts[at]) for at in learning if update <= self.ends[at]]
        last = self.optimizer.shown(self.state).cpu().split(rows_of)
        return found + [
            Checkpoint(at, self.ends[at], last[at])
            for at in learning
            # A run that breaks at the first update of a block ends where the block began.
            if start <= self.ends[at] <= self.state.step and self.ends[at] not in kept
        ]

    def _next_updates(self, step: int) -> range:
        ends = [end for end in self.ends if end > step]
        return range(step, min([*ends, *((step // every + 1) * every for every in self.boundaries)]))

    def _block(self, updates: range, learning: list[int]) -> Block:
        """Draw a block, or take the one that was drawn ahead."""
        if self.ahead is None or self.ahead[:2] != (updates, learning):
            drawn = draw_block(
                {at: self.runs[at].drawing for at in learning}, updates, self.plan.samples, self.shapes, self.places,
                self.base.num_timesteps, self.base.device,
            )  # fmt: skip
            self.ahead = (updates, learning, drawn)
        return self.ahead[2]

    def _plain_ids(self, run: Run) -> Tensor:
        ids = np.stack([run.plain_ids(picture) for picture in range(len(self.latents.ids))])
        return torch.from_numpy(ids).to(self.base.device)

    def _evaluate(self, vectors: Tensor) -> Tensor:
        """(R,), the deterministic loss of each run."""
        with self.eagerly():
            losses = [self.deterministic_loss(ids, vectors, int(self.state.rows)) for ids in self.plain_ids]
        return torch.stack(losses)

    def _stop_early(self) -> None:
        for at in self.learning_at(self.state.step):
            rule = self.runs[at].stopping
            if rule and self.state.step % rule.every == 0:
                losses = self.state.records[rule.every - 1 :: rule.every, at, 3].double().numpy()
                if levelled_out(losses, self.state.step, rule):
                    self.state.stopped[at] = self.state.step

    def _note_failures(self, seen: Tensor, updates: range) -> None:
        for at, failed in enumerate(self.state.failed.tolist()):
            if failed in updates:
                for sample in (~seen[failed - updates.start, at].isfinite()).nonzero().flatten().tolist()[:1]:
                    drawn = draw_sample(
                        self.runs[at].drawing, failed, sample, self.plan.samples, self.shapes, self.base.num_timesteps
                    )
                    self.state.broken_by[at] = drawn.picture


def _layout(latents: Latents) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """Of each picture: its latent's shape (C, h, w), and its group and place there."""
    found = {
        row: (tuple(group.mean.shape[1:]), (at, place))
        for at, group in enumerate(latents.groups)
        for place, row in enumerate(group.rows)
    }
    ordered = [found[row] for row in range(len(latents.ids))]
    return [shape for shape, _ in ordered], [place for _, place in ordered]
