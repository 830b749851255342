"""The training loop. Everything shared is frozen, so R runs share one UNet batch and stay independent.

Letters in shapes: R runs, V rows of parameters of all runs, D numbers of a row, S samples per step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.errors import is_out_of_memory
from pseudoword.latents import Latents
from pseudoword.plan import Plan
from stages.train.capacity import Capacity
from stages.train.early_stop import EarlyStop
from stages.train.graphs import Done, Graphs
from stages.train.objective import Losses
from stages.train.optimizer import FIRST_SCALE_FP16, Optimizer
from stages.train.run import Run
from stages.train.samples import Block, Rows, Sampler
from stages.train.state import RECORDED, State
from stages.train.trainee import Trainee

# A block is drawn, run and read back at a time, and the device is never waited for inside it. At most so many steps
# and so many rows: the bar moves and the state is saved at its end.
MAX_BLOCK_STEPS, MAX_BLOCK_ROWS = 10, 256


class Checkpoint(NamedTuple):
    run: int  # its place in the pack
    step: int
    parameters: Tensor  # (V, D) of all runs, on the CPU


class Training:
    """The training of a pack: what is resident on the device, and one block of steps after another.

    training = Training(base, trainee, runs, latents, plan)
    while not training.finished:
        checkpoints = training.advance()
    """

    def __init__(
        self, base: Base, trainee: Trainee, runs: Sequence[Run], latents: Latents, plan: Plan,
        state: State | None = None, stops_at: Sequence[int] = (), checkpointing: bool | None = None,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """state          where to go on; None: at the start
        stops_at       a block ends at every multiple of these steps, and its parameters are kept
        checkpointing  gradients: True from the start, False never, None when one row does not fit without
        asked_to_stop  is looked at after each step; a block then ends there
        """
        self.base, self.trainee, self.runs, self.plan, self.latents = base, trainee, list(runs), plan, latents
        self.asked_to_stop = asked_to_stop
        self.dtype = torch.promote_types(torch.float32, base.dtype)
        self.capacity = Capacity(base, plan.rows, checkpointing)
        self.graphs: Graphs | None = None
        self.sampler = Sampler(
            [run.sampling for run in runs], latents, plan.samples, base.num_timesteps, base.device,
            trainee.reads_prompts_on,
        )  # fmt: skip
        self.losses = Losses(base, trainee, latents, [run.objective for run in runs], self.dtype)
        settings = [run.optimizer for run in runs]
        self.optimizer = Optimizer(settings, trainee, plan.steps, base.device, self.dtype)
        if state is None:
            scale = FIRST_SCALE_FP16 if base.dtype is torch.float16 else 1.0
            state = State.at_start(trainee.start(), len(runs), scale, plan.rows)
        self.state = state
        self.early_stop = EarlyStop(base, trainee, self.runs, latents)
        block = max(1, min(MAX_BLOCK_STEPS, MAX_BLOCK_ROWS // (plan.samples * len(runs))))
        self.boundaries = {block, *self.early_stop.intervals, *stops_at}
        self.kept = plan.kept | {step for every in stops_at for step in range(every, plan.steps + 1, every)}
        self.ends = self._find_ends()
        self._stop_early()  # the step that a shorter training ended with was not looked at

    @property
    def finished(self) -> bool:
        return not self.learning_after(self.state.step)

    def learning_after(self, step: int) -> list[int]:
        """Places in the pack of the runs that go on after so many steps."""
        return [run for run, end in enumerate(self.ends) if step < end]

    def advance(self) -> list[Checkpoint]:
        """Run the steps up to the next boundary; what is to be kept of them."""
        state, learning = self.state, self.learning_after(self.state.step)
        steps = self._next_steps(state.step)
        block = self.sampler.block(steps, learning)
        records = torch.full((len(steps), len(self.runs), len(RECORDED)), torch.nan, device=self.base.device)
        losses = torch.zeros(len(steps), len(self.runs), self.plan.samples, device=self.base.device)
        kept = {0: self.optimizer.shown(state)} if state.step == 0 else {}
        for i, step in enumerate(steps):
            gradient = self.gradient(block, i, losses[i])
            records[i, :, 2] = self.optimizer.step(state, gradient, step)
            records[i, :, 1] = self.optimizer.norms_of(state.parameters)
            if step + 1 in self.kept:
                kept[step + 1] = self.optimizer.shown(state)
            if self.early_stop.looks_after(step + 1):
                with self.capacity.eagerly():
                    records[i, :, 3] = self.early_stop.losses(self.optimizer.shown(state), int(state.rows))
            state.step = step + 1
            if self.asked_to_stop():
                break
        records[..., 0] = losses.mean(-1)
        if state.step == steps.stop < max(self.ends):
            # Drawn while the device is still busy with this block.
            self.sampler.block(self._next_steps(state.step), learning)
        state.records = torch.cat([state.records, records[: state.step - steps.start].cpu()])
        self.ends = self._find_ends()
        self._stop_early()
        self._note_failures(losses.cpu(), steps)
        return self._checkpoints(kept, learning, steps.start)

    def gradient(self, block: Block, i: int, losses: Tensor) -> Tensor:
        """The gradient (V, D) of the block's step `i`; writes each sample's loss into `losses` (R, S)."""
        while True:
            try:
                total = None
                for rows in block.of_step(i, int(self.state.rows)):
                    found, gradient = self._work(self.state.parameters, self.state.scale, rows)
                    losses[rows.run, rows.sample] = found
                    total = gradient.clone() if total is None else total + gradient
                return torch.zeros_like(self.state.parameters) if total is None else total
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the handler, where the error's traceback keeps the tensors alive.
            if self.graphs is not None:
                self.graphs.forget()
            self.state.rows = torch.tensor(self.capacity.after_running_out(int(self.state.rows)))

    def compile(self, wanted: str | bool = True) -> None:
        """Have the UNet compiled from here on, if it then gives the same gradient; before `record`.

        Raises CannotCompile.
        """
        block = self.sampler.block(self._next_steps(self.state.step), self.learning_after(self.state.step))
        unread = torch.zeros(len(self.runs), self.plan.samples, device=self.base.device)
        scale = self.state.scale.clone()

        def gradient() -> Tensor:
            return self.gradient(block, 0, unread)

        # The scale of the first steps in fp16 is there to overflow, and of such gradients nothing can be compared.
        while not (plain := gradient()).norm().isfinite() and self.state.scale.max() > 1:
            self.state.scale.div_(2).clamp_(min=1)
        self.capacity.compile(plain, gradient, len(self.latents.groups), wanted)
        self.state.scale.copy_(scale)

    def record(self) -> None:
        """Have the work on rows recorded as CUDA graphs from here on, where device and trainee allow it."""
        if self.base.device.type == "cuda" and self.trainee.recordable:
            self.graphs = Graphs(self.base.device)
        else:
            print("note: train.compile: graphs has no effect here; only words trained on a CUDA device are recorded")

    def probe(self, rows: int) -> None:
        """Take the memory that so many rows at once take, and give it back."""
        self._backward(self.state.parameters, self.state.scale, self.sampler.largest_rows(rows))

    def _work(self, parameters: Tensor, scale: Tensor, rows: Rows) -> Done:
        if self.graphs is None or self.capacity.checkpointing:
            return self._backward(parameters, scale, rows)
        return self.graphs(self._backward, parameters, scale, rows)

    def _backward(self, parameters: Tensor, scale: Tensor, rows: Rows) -> Done:
        """The losses (n,) float32 of these rows of a step, and the gradient (V, D) of them, each times its run's scale,
        as shares of the step's mean."""
        leaf = parameters.detach().requires_grad_()
        filled = rows.filled(self._length(rows.group)) if self.capacity.compiled else rows
        losses = self.losses(leaf, filled)[: len(rows)]
        mean = (losses * scale[rows.run]).sum().div(self.plan.samples)
        (gradient,) = torch.autograd.grad(mean, leaf, materialize_grads=True)
        return losses.detach().float(), gradient

    def _length(self, group: int) -> int:
        """To how many rows the parts of a group are filled up: what a step at most has of it, or all at once."""
        pictures = len(self.latents.groups[group].rows)
        each = min(self.plan.samples, pictures * -(-self.plan.samples // len(self.latents.ids)))
        return min(int(self.state.rows), each * len(self.runs))

    def _next_steps(self, step: int) -> range:
        ends = [end for end in self.ends if end > step]
        return range(step, min([*ends, *((step // every + 1) * every for every in self.boundaries)]))

    def _find_ends(self) -> list[int]:
        return self.state.ends([run.steps for run in self.runs])

    def _checkpoints(self, kept: dict[int, Tensor], learning: list[int], start: int) -> list[Checkpoint]:
        """The planned ones, and the last good parameters of a run that ended between two of them."""
        found = []
        for step, parameters in kept.items():
            parameters = parameters.cpu()
            found += [Checkpoint(run, step, parameters) for run in learning if step <= self.ends[run]]
        last = self.optimizer.shown(self.state).cpu()
        return found + [
            Checkpoint(run, self.ends[run], last)
            for run in learning
            # A run that breaks at the first step of a block ends where the block began.
            if start <= self.ends[run] <= self.state.step and self.ends[run] not in kept
        ]

    def _stop_early(self) -> None:
        for run in self.early_stop.levelled_out(self.state.records, self.learning_after(self.state.step)):
            self.state.stopped[run] = self.ends[run] = self.state.step

    def _note_failures(self, losses: Tensor, steps: range) -> None:
        for run, failed in enumerate(self.state.failed.tolist()):
            if failed in steps:
                for index in (~losses[failed - steps.start, run].isfinite()).nonzero().flatten().tolist()[:1]:
                    self.state.broken_by[run] = self.sampler.sample(run, failed, index).picture
