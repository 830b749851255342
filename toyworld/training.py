"""The one training loop of toyworld: Muon for matrices, AdamW for the rest, an average of the weights; resumes."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
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


def orthogonalised(matrices: Tensor) -> Tensor:
    """Push the singular values of each matrix, (B, M, N), to about 1, by five Newton-Schulz steps.

    The steps are polynomials in X Xᵀ, so all but the first and the last product are of the shorter side squared: at
    128 x 1152 under half the work of the usual form. Coefficients: Jordan et al. 2024, "Muon".
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalised(matrices.mT).mT
    unit: Tensor = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-12)
    gram = unit @ unit.mT
    product = torch.eye(gram.shape[-1], device=gram.device).expand_as(gram)
    for _ in range(5):
        step = 3.4445 * torch.eye(gram.shape[-1], device=gram.device) - 4.7750 * gram + 2.0315 * (gram @ gram)
        product, gram = step @ product, step @ gram @ step
    return product @ unit


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal. A convolution is a matrix of out x (in x k x k).

    torch.optim.Muon takes no convolutions and multiplies in bfloat16, which few CPUs have units for.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                matrix = parameter.flatten(1)
                alike[(matrix.shape[0], matrix.shape[1])].append(parameter)
            for (rows, columns), parameters in alike.items():
                updates = []
                for parameter in parameters:
                    assert parameter.grad is not None
                    state = self.state[parameter]
                    if not state:
                        state["momentum"] = torch.zeros_like(parameter.grad)
                    state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                    nesterov = parameter.grad.lerp(state["momentum"], group["momentum"])
                    updates.append(nesterov.reshape(rows, columns))
                rate = group["lr"] * max(1, rows / columns) ** 0.5
                for parameter, update in zip(parameters, orthogonalised(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(update.view(parameter.shape), alpha=rate)


def optimizers(
    model: nn.Module, learn_rate: float, matrix_rate: float | None, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon at `matrix_rate` for all matrices but embeddings, and AdamW for what is left."""
    matrices: list[Tensor] = []
    if matrix_rate is not None:
        tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        matrices = [p for p in model.parameters() if p.requires_grad and p.ndim in (2, 4) and id(p) not in tables]
    taken = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=learn_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
    ]
    if matrix_rate is not None:
        made.append(Muon(matrices, lr=matrix_rate, momentum=0.95, weight_decay=weight_decay))
    return made


def fit(
    name: str,
    model: nn.Module,
    loss: Callable[[int], Tensor],
    state_file: Path,
    learn_rate: float,
    steps: int,
    matrix_rate: float | None = None,
    weight_decay: float = 0.01,
    ema_decay: float = 0.998,
    report: Callable[[int], str] = lambda step: "",
) -> None:
    """Minimise `loss(step)` over `model` in one cycle of `steps`; `model` ends as its own EMA.

    Random draws inside `loss` must be functions of the step, so that a stopped training goes on with fresh data.
    `state_file` holds all that is needed to go on; it is written every two minutes and removed at the end.
    """
    parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    rules = optimizers(model, learn_rate, matrix_rate, weight_decay)
    peaks = [rule.param_groups[0]["lr"] for rule in rules]
    average = [p.detach().clone() for p in parameters]
    step, spent, mean = 0, 0.0, None
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=DEVICE)
        model.load_state_dict(state["model"])
        for rule, stored in zip(rules, state["optimizers"], strict=True):
            rule.load_state_dict(stored)
        average, step, spent, mean = state["average"], state["step"], state["spent"], state["mean"]
        print(f"{name}: goes on at step {step}, {spent / 60:.1f} minutes in", flush=True)

    def save() -> None:
        state_file.parent.mkdir(parents=True, exist_ok=True)
        partial = state_file.with_suffix(".partial")
        torch.save(
            {"model": model.state_dict(), "optimizers": [rule.state_dict() for rule in rules], "average": average,
             "step": step, "spent": spent, "mean": mean}, partial,
        )  # fmt: skip
        partial.replace(state_file)

    model.train()
    saved = reported = clock = time.monotonic()
    while step < steps:
        for rule, peak in zip(rules, peaks, strict=True):
            rule.param_groups[0]["lr"] = peak * one_cycle(step / steps)
        value = loss(step)
        for rule in rules:
            rule.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for rule in rules:
            rule.step()
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
            print(
                f"{name}: step {step} of {steps}, {spent / 60:.1f} min, loss {mean or 0:.4f} {report(step)}", flush=True
            )
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
