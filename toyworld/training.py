"""The one training loop of toyworld: AdamW, one-cycle by budget, EMA, stops and resumes."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

SAVE_EVERY_S = 120
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def one_cycle(progress: float, warm_up: float = 0.04) -> float:
    """Share of the peak learning rate at `progress` 0 to 1: linear warm-up, then a cosine to 2 %."""
    if progress < warm_up:
        return max(progress / warm_up, 0.02)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def fit(
    name: str,
    model: nn.Module,
    loss: Callable[[int], Tensor],
    state_file: Path,
    learn_rate: float,
    minutes: float = math.inf,
    steps: float = math.inf,
    weight_decay: float = 0.01,
    ema_decay: float = 0.998,
    report: Callable[[int], str] = lambda step: "",
) -> None:
    """Minimise `loss(step)` over `model` until the first of two budgets is spent; `model` ends as its own EMA.

    Random draws inside `loss` must be functions of the step, so that a stopped training goes on with fresh data.
    `state_file` holds all that is needed to go on; it is written every two minutes and removed at the end.
    """
    parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learn_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
    average = [p.detach().clone() for p in parameters]
    step, spent, mean = 0, 0.0, None
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=DEVICE)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, step, spent, mean = state["average"], state["step"], state["spent"], state["mean"]
        print(f"{name}: goes on at step {step}, {spent / 60:.1f} minutes in", flush=True)

    def save() -> None:
        state_file.parent.mkdir(parents=True, exist_ok=True)
        partial = state_file.with_suffix(".partial")
        torch.save(
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step,
             "spent": spent, "mean": mean}, partial,
        )  # fmt: skip
        partial.replace(state_file)

    model.train()
    saved = reported = clock = time.monotonic()
    while (progress := max(spent / 60 / minutes, step / steps)) < 1:
        optimizer.param_groups[0]["lr"] = learn_rate * one_cycle(progress)
        value = loss(step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        # A short-memory average early on: the first steps are far from where the EMA should sit.
        decay = min(ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - decay)
        step += 1
        if step % 10 == 0:
            mean = value.item() if mean is None else 0.95 * mean + 0.05 * value.item()
        now = time.monotonic()
        spent, clock = spent + now - clock, now
        if now - reported > 20:
            print(f"{name}: step {step}, {spent / 60:.1f} min, loss {mean or 0:.4f} {report(step)}", flush=True)
            reported = now
        if now - saved > SAVE_EVERY_S:
            save()
            saved = now
    with torch.no_grad():
        torch._foreach_copy_(parameters, average)
    model.eval()
    state_file.unlink(missing_ok=True)
    print(f"{name}: done, {step} steps, {spent / 60:.1f} min, loss {mean or 0:.4f}", flush=True)


def keyed(*key: int) -> torch.Generator:
    """A generator that is a function of its key alone."""
    mixed = 0
    for part in key:
        mixed = (mixed * 1_000_003 + part + 1) % (2**63)
    return torch.Generator().manual_seed(mixed)
