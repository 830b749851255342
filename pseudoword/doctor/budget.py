"""What the number of pictures implies, and what the training will take: memory, disk and time, estimated."""

import math
from contextlib import suppress
from statistics import fmean

from pseudoword.doctor.case import Case
from pseudoword.doctor.model import Model
from pseudoword.errors import UserError
from pseudoword.findings import Finding, Severity
from pseudoword.hypernetwork import widths_of
from pseudoword.pictures.ids import count_unmirrored
from pseudoword.plan import AccumulationWithoutBatch, Plan, make_plan
from pseudoword.settings.kind import Kind
from pseudoword.word import vectors_for

MIN_PICTURES, MAX_PICTURES = 3, 100  # pictures
# Pictures from which a word of a kind goes elsewhere; of styles and persons what people who train them recommend.
GOOD_PICTURES = {"thing": 5, "style": 15, "person": 10}
ADD = {
    "thing": "Add pictures that show the subject from other sides.",
    "style": "Add pictures of other things in the same style.",
    "person": "Add pictures with another expression, angle, light and place.",
}
MAX_BATCH = 16  # in the table

# By the UNet's levels: FLOPs of a forward pass by parameter and latent px, and numbers kept for the backward pass by
# latent px and square root of the parameters. Counted with torch's FLOP counter and saved-tensor hooks on the layouts
# of toyworld (2 levels), SDXL (3) and SD 1.5 (4), batch 1; SD 2.1 at 768 px has 0.27.
LAYOUTS = {2: (0.81, 5.7), 3: (0.16, 3.3), 4: (0.23, 3.1)}
TRAINING_PASSES = 2.1  # forward and backward pass to the text states, in forward passes
STATE_BYTES = 4 * 5  # of a number that is learned, fp32: itself, two moments, an average, its gradient
OVERHEAD_BYTES = 1.0e9  # bytes: context of the driver, workspaces
# TFLOP/s reached in practice, from published rates of training SD in half precision (V100: 3.3 pictures/s with
# diffusers' script; RTX 4090: 0.83 steps/s of SDXL; A100: 36 pictures/s of SD 2). Two cores: measured, fp32.
TFLOPS = {"2 CPU cores": 0.12, "V100": 9.4, "RTX 4090": 20.0, "A100": 85.0}
MIN_UPDATE_SECONDS = 0.02  # seconds: a GPU takes as long to be told of a small forward and backward pass
DEFAULT_BATCH = 8  # samples at once, where it is left to the training
WARNING_SHARE = 0.9  # of the memory or disk that is there


def number(case: Case) -> list[Finding]:
    """How many pictures there are, and the vectors, batches and steps that follow from it."""
    count, samples, intent = len(case.originals), len(case.pictures), case.intent
    try:
        plan = plan_of(case)
    except AccumulationWithoutBatch as error:
        return [Finding(check="number", severity="error", message=str(error), advice="Set train.batch to a number.")]
    fitting = vectors_for(_unmirrored(case))
    vectors = 0 if intent.of_hypernetwork else fitting if intent.vectors == "auto" else int(intent.vectors)
    severity, remark, advice = _by_number(count, intent.kind)
    if vectors > 2 * fitting:
        severity = "warning"
        remark += f" word.vectors is {vectors}, which so few pictures are soon learned by heart with."
        advice = f"Set word.vectors to auto ({fitting}) or add pictures."
    if plan.samples != samples:
        severity = "warning" if severity == "warning" or plan.samples < samples else "info"
        remark += f" A step sees {plan.samples} samples, not each of the {samples} pictures once."
        advice = f"Leave train.accumulation at auto, or make train.batch x train.accumulation {samples}."
    return [
        Finding(
            check="number",
            severity=severity,
            message=f"{count} pictures{f', {samples} with copies and tiles' if samples != count else ''}: "
            f"{f'{vectors} vectors, ' if vectors else ''}{plan.steps} steps of {plan.samples} samples. "
            "Batch x accumulation that sees each once: "
            f"{', '.join(f'{batch} x {times}' for batch, times in _batches(samples))}.{remark}",
            advice=advice,
            figure={
                "pictures": count,
                "samples_per_pass": samples,
                **({"vectors": vectors, "vectors_by_pictures": fitting} if vectors else {}),
                "steps": plan.steps,
                "samples_per_update": plan.samples,
                "batch_x_accumulation": _batches(samples),
            },
        )
    ]


def _unmirrored(case: Case) -> int:
    return count_unmirrored(picture.id for picture in case.pictures)


def _by_number(count: int, kind: Kind) -> tuple[Severity, str, str]:
    if count < MIN_PICTURES:
        return "warning", " So few are copied, not learned.", ADD[kind]
    if count < GOOD_PICTURES[kind]:
        return (
            "info",
            f" It works, but a {kind} of so few pictures is hard to place elsewhere.",
            f"{GOOD_PICTURES[kind]} are better. {ADD[kind]}",
        )
    if count > MAX_PICTURES:
        return "info", " So many blur what they have in common.", "Keep the best 20 to 60."
    return "info", "", "Nothing to do: auto follows the number of pictures."


def _batches(pictures: int) -> list[list[int]]:
    """[batch, accumulation] whose product is the number of pictures; a prime number has [1, n] alone."""
    return [[batch, pictures // batch] for batch in range(1, min(pictures, MAX_BATCH) + 1) if not pictures % batch]


def plan_of(case: Case) -> Plan:
    intent = case.intent
    return make_plan(
        pictures=len(case.pictures),
        runs=intent.runs,
        steps=intent.steps,
        batch=intent.batch,
        accumulation=intent.accumulation,
        save_every=intent.save_every,
    )


def budget(case: Case) -> list[Finding]:
    """The estimates; a finding of their own where the machine has not enough."""
    model = case.model
    assert isinstance(model, Model)
    try:
        plan = plan_of(case)
    except AccumulationWithoutBatch:
        return []  # `number` says so
    weights, each = memory_of(case, model)
    weights += STATE_BYTES * _in_hypernetworks(case)
    at_once = case.intent.runs * (int(case.intent.batch) if case.intent.batch != "auto" else 1)
    memory, disk, flops = weights + at_once * each, _disk(case, model, plan), _flops(case, model, plan)
    times = {machine: round(_minutes(case, flops, plan, machine), 1) for machine in TFLOPS}
    estimates = {
        "gpu_bytes": round(weights),
        "gpu_bytes_per_sample": round(each),
        "disk_bytes": round(disk),
        "flops": float(f"{flops:.3g}"),
    }
    timed = ", ".join(f"{_duration(minutes)} on {_article(machine)}" for machine, minutes in times.items())
    findings = [
        Finding(
            check="budget",
            severity="info",
            message=f"Estimated for training: {_gigabytes(weights)} of GPU memory and {_gigabytes(each)} for each "
            f"sample at once; {timed}; {_gigabytes(disk)} of disk for the outputs. Good to a factor of two, drawing "
            "and captioning not counted.",
            advice="Nothing to do; train.batch lowers the memory and leaves the result the same.",
            figure={**estimates, "minutes": times, "samples": plan.steps * plan.samples * case.intent.runs},
        )
    ]
    machine = case.machine
    if machine.gpu is not None and memory > WARNING_SHARE * machine.gpu:
        findings.append(
            Finding(
                check="budget",
                severity="warning",
                message=f"Training needs about {_gigabytes(memory)} of GPU memory for {at_once} samples at once, and "
                f"the GPU has {_gigabytes(machine.gpu)}.",
                advice="Lower train.batch or preprocess.resolution, sweep less at once, or take a smaller base model.",
                figure=estimates,
            )
        )
    if disk > WARNING_SHARE * machine.disk:
        findings.append(
            Finding(
                check="budget",
                severity="error" if disk > machine.disk else "warning",
                message=f"The outputs need about {_gigabytes(disk)} of disk, and {_gigabytes(machine.disk)} are free.",
                advice="Make room, or raise train.save_every.",
                figure=estimates,
            )
        )
    return findings


def _latent_px(case: Case, model: Model) -> list[int]:
    """Of each picture."""
    return [
        (width // model.shrink) * (height // model.shrink)
        for width, height in (picture.px for picture in case.pictures)
    ]


def _layout(model: Model) -> tuple[float, float]:
    return LAYOUTS[min(LAYOUTS, key=lambda levels: abs(levels - model.levels))]


def memory_of(case: Case, model: Model) -> tuple[float, float]:
    """Bytes on a GPU in half precision: weights and overhead, and what one sample keeps for the backward pass."""
    kept = _layout(model)[1] * math.sqrt(model.unet) * max(_latent_px(case, model))
    return 2.0 * (model.unet + model.encoders + model.vae) + OVERHEAD_BYTES, 2 * kept


def _in_hypernetworks(case: Case) -> int:
    """Numbers of the hypernetworks that all runs learn; 0 where they learn words, which take next to no memory."""
    total = 0
    for section in (run.hypernetwork for run in case.intent.trained):
        if section is not None:
            with suppress(UserError):  # `refused` says so
                widths = widths_of(section.structure, section.widths, case.intent.model.context_widths)
                total += section.structure.count(widths)
    return total


def _flops(case: Case, model: Model, plan: Plan) -> float:
    forward: float = _layout(model)[0] * model.unet * fmean(_latent_px(case, model))
    return TRAINING_PASSES * forward * plan.steps * plan.samples * case.intent.runs


def _minutes(case: Case, flops: float, plan: Plan, machine: str) -> float:
    at_once = DEFAULT_BATCH if case.intent.batch == "auto" else int(case.intent.batch)
    launching = 0.0 if "CPU" in machine else MIN_UPDATE_SECONDS * plan.steps * math.ceil(plan.samples / at_once)
    return max(flops / TFLOPS[machine] / 1e12, launching) / 60


def _disk(case: Case, model: Model, plan: Plan) -> float:
    """Bytes of pictures, latents (mean and spread) and what all runs learn, twice: the outputs and DVC's cache."""
    vectors = case.intent.vectors
    count = vectors_for(_unmirrored(case)) if vectors == "auto" else int(vectors)
    # A PNG of a photograph has about 2 bytes per px.
    png_bytes = sum(2 * width * height for width, height in (picture.px for picture in case.pictures))
    latents = 2 * 4 * 4 * sum(_latent_px(case, model))
    runs = case.intent.runs
    numbers = _in_hypernetworks(case) or runs * count * model.width
    learned = len(plan.saved) * (numbers * 4 + runs * 1000) + runs * 100 * plan.steps
    return 2.0 * (png_bytes + latents + learned)


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _duration(minutes: float) -> str:
    if minutes < 1.5:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def _article(machine: str) -> str:
    return machine if machine[0].isdigit() else f"{'an' if machine[0] in 'AR' else 'a'} {machine}"
