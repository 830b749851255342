"""The optimiser's loop. Everything shared is frozen, so R runs share one UNet batch and stay independent.

Letters in shapes: R runs, K vectors of all runs, D width, N pictures, M templates, L tokens, S samples per update,
B samples at once, U updates in a block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.errors import UserError
from pseudoword.plan import Plan
from stages.train.optimizer import RowAdamW, rescale
from stages.train.samples import Samples, draw_samples
from stages.train.state import State

# The error of one latent value reaches the UNet's last layer as about 1e-5, where fp16 keeps two digits at best.
LOSS_SCALE_FP16 = 4096.0
# A block is drawn, run and read back at a time, and the device is never waited for inside it. At most so many updates
# and so many samples: the bar moves and the state is saved at its end.
BLOCK_UPDATES, BLOCK_SAMPLES = 10, 256


@dataclass(frozen=True)
class Run:
    """One of the runs of a pack."""

    name: str
    seed: int
    rates: list[float]  # of each update; the run ends with them
    vectors: Tensor  # (K of this run, D) float32, where it starts
    prompts: Tensor  # (N, M, L) int64, with the run's own ids
    rescaled: bool  # hold each vector at the vocabulary's mean norm
    deterministic: bool  # take the latents' mean instead of drawing


class Diverged(UserError):
    def __init__(self, run: str, step: int) -> None:
        super().__init__(
            f"run '{run}' is no longer finite at update {step}. Lower train.learn_rate; with base.precision fp16, try "
            "bf16 or fp32. The last good state is kept."
        )


def train(
    base: StableDiffusion,
    runs: list[Run],
    mean: Tensor,
    std: Tensor,
    plan: Plan,
    norm: float,
    state: State | None,
    save: Callable[[State, list[float]], None],
) -> State:
    """Train all runs to the end of the plan, from `state` if there is one; `save` is called after each block.

    mean, std  (N, C, H, W) float32, the latents' posterior
    norm       the norm that rescaled runs hold their vectors at
    save       takes the state and each run's mean loss over the block
    """
    device = base.device
    mean, std = mean.to(device), std.to(device)
    prompts = torch.stack([run.prompts for run in runs]).to(device)  # (R, N, M, L)
    owner = torch.tensor([at for at, run in enumerate(runs) for _ in run.vectors], device=device)  # (K,)
    siblings = torch.bincount(owner)[owner]  # (K,), vectors in the same run
    norms = torch.tensor([norm if runs[at].rescaled else 0.0 for at in owner], device=device).unsqueeze(1)
    drawn = torch.tensor([0.0 if run.deterministic else 1.0 for run in runs], device=device).view(-1, 1, 1, 1, 1)
    if state is None:
        vectors = torch.cat([run.vectors for run in runs]).to(device)
        rescale(vectors, norms)
        zeros = torch.zeros_like(vectors)
        state = State(0, vectors, zeros, zeros.clone(), vectors[None].clone(), torch.empty(0, len(runs), 2))
    optimizer = RowAdamW(state.vectors)
    optimizer.first, optimizer.second = state.first, state.second
    rates = _rates(runs, plan.steps)
    block = max(1, min(BLOCK_UPDATES, BLOCK_SAMPLES // (plan.samples * len(runs))))
    scale = LOSS_SCALE_FP16 if base.dtype is torch.float16 else 1.0

    while state.step < plan.steps:
        updates = range(state.step, min(state.step + block, plan.steps))
        samples = [_to(_draw(run, updates, plan, base, mean, prompts), device) for run in runs]
        row_rates = rates[:, updates.start : updates.stop].to(device)[owner]  # (K, U)
        counts = torch.arange(updates.start + 1, updates.stop + 1, device=device, dtype=torch.float32)
        records = torch.zeros(len(updates), len(runs), 2, device=device)
        kept = []
        for at, update in enumerate(updates):
            leaf = state.vectors.detach().requires_grad_()
            for start in range(0, plan.samples, plan.batch):
                chosen = slice(start, min(start + plan.batch, plan.samples))
                loss = _loss(base, leaf, samples, at, chosen, mean, std, prompts, drawn)  # (R,), summed over samples
                (loss.sum() * (scale / plan.samples)).backward()
                records[at, :, 0] += loss.detach()
            assert leaf.grad is not None
            optimizer.step(leaf.grad / scale, row_rates[:, at : at + 1], counts[at])
            rescale(state.vectors, torch.where(row_rates[:, at : at + 1] > 0, norms, 0))
            records[at, :, 1].index_add_(0, owner, state.vectors.norm(dim=-1).div(siblings))
            if update + 1 in plan.saved:
                kept.append(state.vectors.clone())
        records[..., 0] /= plan.samples
        _check_finite(records.cpu(), runs, updates)
        state.records = torch.cat([state.records, records.cpu()])
        state.kept = torch.cat([state.kept, *(vectors[None] for vectors in kept)])
        state.step = updates.stop
        save(state, records[..., 0].mean(0).tolist())
    return state


def _draw(run: Run, updates: range, plan: Plan, base: StableDiffusion, mean: Tensor, prompts: Tensor) -> Samples:
    return draw_samples(
        run.seed, updates, plan.samples, len(mean), prompts.shape[2], base.num_timesteps, tuple(mean.shape[1:])
    )


def _to(samples: Samples, device: torch.device) -> Samples:
    return Samples(**{name: value.to(device) for name, value in vars(samples).items()})


def _loss(
    base: StableDiffusion, vectors: Tensor, samples: list[Samples], at: int, chosen: slice, mean: Tensor, std: Tensor,
    prompts: Tensor, drawn: Tensor,
) -> Tensor:  # fmt: skip
    """Loss of each run, (R,), summed over the chosen samples of update `at` of the block."""

    def of_all(field: str) -> Tensor:
        return torch.stack([getattr(own, field)[at, chosen] for own in samples])  # (R, B, ...)

    picture, noise = of_all("picture"), of_all("noise")
    clean = mean[picture] + drawn * std[picture] * of_all("posterior")
    run = torch.arange(len(samples), device=picture.device)[:, None]
    ids = prompts[run, picture, of_all("template")]  # (R, B, L)
    states = base.encode(ids.flatten(0, 1), vectors)
    loss = base.loss(clean.flatten(0, 1), noise.flatten(0, 1), of_all("t").flatten(), states)
    return loss.view(len(samples), -1).sum(1)


def _rates(runs: list[Run], steps: int) -> Tensor:
    """(R, steps), 0 after a run's end."""
    return torch.tensor([run.rates + [0.0] * (steps - len(run.rates)) for run in runs])


def _check_finite(records: Tensor, runs: list[Run], updates: range) -> None:
    bad = (~records.isfinite().all(-1)).nonzero().tolist()
    if bad:
        update, run = bad[0]
        raise Diverged(runs[run].name, updates[update] + 1)
