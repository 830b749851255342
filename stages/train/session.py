"""A training in the scratch: what decides it, where it goes on, what it keeps on the way, and what it leaves.

Its folder is named by what decides its next step, and by nothing else: a training that is made longer or looked at more
closely takes the steps that are done already. Cut into other parts it rounds otherwise, and starts anew. It holds

    state.safetensors                       see `stages.train.state`
    <run>/steps/<word>-<step>.safetensors   more checkpoints than are left in the end, so that a longer training, or a
                                            shorter one, finds those that it would have left itself
    <run>/previews/<key>/<word>-<step>.png  drawn from the checkpoints
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from pseudoword.base.interface import Base
from pseudoword.base.placement import hardware
from pseudoword.code import code_digest
from pseudoword.errors import UserError
from pseudoword.fingerprint import fingerprint
from pseudoword.latents import Latents
from pseudoword.plan import Plan, equal_parts
from pseudoword.progress import Bar
from pseudoword.results.places import TRAINING, WORDS, checkpoint_file
from pseudoword.scratch import held, mark_used, prune, scratch
from stages._runtime import Interrupted, stop_requests
from stages.train.board import Board
from stages.train.capacity import compiles
from stages.train.loop import Checkpoint, Training
from stages.train.outcome import describe, metadata_of, write_losses, write_settings
from stages.train.pack import Packed, make_trainee
from stages.train.previews import draw_preview, preview_key, save_preview
from stages.train.state import Pace, Saved, State, load_state, save_state

PACKAGES = ("torch", "diffusers", "transformers", "numpy")
# Settings that do not decide the next step, or do by what they come to, which is listed beside them: batch and
# accumulation by the samples of a step, and by the rows at once, which end the folder's name.
NOT_DECISIVE = {
    "base": {"model", "revision", "config", "vae", "device", "precision"},
    "train": {
        "template", "steps", "batch", "accumulation", "save_every", "log_every", "preview", "tensorboard",
        "gradient_checkpointing", "compile", "early_stop", "long_prompts",
    },
}  # fmt: skip


class Diverged(UserError):
    def __init__(self, why: list[str]) -> None:
        super().__init__(
            "\n".join(why)
            + "\nLower train.learn_rate; with base.precision fp16, try bf16 or fp32. The last good state "
            f"of each run is kept in {WORDS}."
        )


def key_of(pack: list[Packed], base: Base, plan: Plan, model: dict[str, Any], data_sha256: str) -> str:
    """The name of a training: equal ones would make the same next step from the same state, but for how sums of other
    rows at once are rounded."""
    settings = pack[0].settings
    may_compile = settings.train.compile is True or (settings.train.compile == "auto" and base.device.type == "cuda")
    attention = "sdpa" if settings.base.attention == "auto" else settings.base.attention
    shared = [
        model, data_sha256, _rounding(base.device), str(base.dtype), plan.samples, may_compile, attention,
        settings.base.model_dump(mode="json", exclude=NOT_DECISIVE["base"] | {"attention"}),
    ]  # fmt: skip
    runs = [
        [
            packed.run.name, packed.learned.name, packed.learned.digest(),
            packed.texts.templates, packed.texts.vocabulary.windows, repr(packed.run.stop_rule),
            packed.settings.train.model_dump(mode="json", exclude=NOT_DECISIVE["train"]),
            packed.settings.hypernetwork.model_dump(mode="json"),
        ]
        for packed in pack
    ]  # fmt: skip
    return fingerprint(json.dumps([shared, runs, code_digest("train")]), PACKAGES)


def _rounding(device: torch.device) -> str:
    """The kind of device; of a CPU, where the same bits are promised, also all that decides them."""
    return hardware("cpu") if device.type == "cpu" else device.type


class Session:
    """One training from where it stands to its end."""

    def __init__(
        self, pack: list[Packed], base: Base, latents: Latents, plan: Plan, model: dict[str, Any], data_sha256: str
    ) -> None:
        """`model` and `data_sha256` go into the records of what the word was made with."""
        self.pack, self.base, self.latents, self.plan = pack, base, latents, plan
        self.model, self.data_sha256 = model, data_sha256
        self.key = key_of(pack, base, plan, model, data_sha256)
        self.folder = scratch("train") / f"{self.key}-{plan.rows}"
        self.trainee = make_trainee(base, pack)
        base.set_aside(base.vae)  # previews alone need it
        self.checkpoints: dict[str, str] = {}  # kept so far: SHA-256 by path below the folder
        self.schedules = _schedules(pack, plan.steps)
        self.boards: dict[int, Board] = {}

    def complete(self) -> None:
        """Go on, train to the end, and write what the training leaves; another process that does so is waited for."""
        with held(self.folder):
            for folder in (WORDS, TRAINING):  # as dvc does before a stage: no run of an earlier sweep stays behind
                shutil.rmtree(folder, ignore_errors=True)
            self.training = self._start()
            number, learned = len(self.pack), ", ".join(packed.learned.summary for packed in self.pack)
            print(
                f"{number} run{'s' * (number > 1)} of {self.plan.steps} steps, {self.plan.samples} samples each, "
                f"{int(self.training.state.rows)} rows at once, {learned}, {self.base.device} {self.base.dtype}"
            )
            self._run()
            self._write()
        prune(self.folder.parent)

    # ------------------------------------------------------------------------------------------ where it goes on

    def _start(self) -> Training:
        """The training at the saved state if one serves, with as many rows at once as the memory takes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark_used(self.folder)
        state, train = self._saved_state(), self.pack[0].settings.train
        checkpointing = None if train.gradient_checkpointing == "auto" else bool(train.gradient_checkpointing)
        training = Training(
            self.base, self.trainee, [packed.run for packed in self.pack], self.latents, self.plan, state,
            stops_at=[train.preview.every] if train.preview.every else [], checkpointing=checkpointing,
        )  # fmt: skip
        device, runs = self.base.device, len(self.pack)
        if state is None and device.type == "cuda":
            rows = self.plan.samples * runs if train.batch == "auto" else self.plan.rows
            fit = training.capacity.probed_rows(training.probe, rows)
            training.state.rows = torch.tensor(equal_parts(rows, fit))
            print(f"{fit} of {rows} rows fit into the memory of {device}")
        if not training.finished and compiles(train.compile, device, self.plan, runs, len(self.latents.groups)):
            training.compile(train.compile)  # not before the probes, whose lengths never come back
        if train.compile == "graphs":
            training.record()
        return training

    def _saved_state(self) -> State | None:
        saved = load_state(self.folder / "state.safetensors", self.base.device)
        if saved is not None:
            why = self._why_not(saved)
            if not why:
                self.checkpoints = saved.checkpoints
                return saved.state
            print(f"starting from the beginning: {why}")
        elif others := self._other_rows():
            print(
                f"starting from the beginning: train.batch makes it {self.plan.rows} rows at once, the steps that are "
                f"done had {' or '.join(map(str, others))}, and other sums round otherwise"
            )
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        return None

    def _other_rows(self) -> list[int]:
        """Rows at once of the states that this training would have, were it not for them."""
        states = self.folder.parent.glob(f"{self.key}-*/state.safetensors")
        return sorted(
            int(path.parent.name.removeprefix(f"{self.key}-")) for path in states if path.parent != self.folder
        )

    def _why_not(self, saved: Saved) -> str:
        """Why this training cannot go on from what was saved; empty when it can."""
        done = min(saved.state.step, self.plan.steps)
        if not torch.equal(saved.schedules[:done], self.schedules[:done]):
            return (
                f"train.decay shapes the rate by the length of the training, and the {saved.state.step} steps that are "
                "done were part of another length"
            )
        ends = saved.state.ends([packed.run.steps for packed in self.pack])
        for run, end in enumerate(ends):
            for step in self._left(run, end):
                path = self._checkpoint(run, step)
                if step > saved.state.step:
                    continue
                if path.as_posix() not in saved.checkpoints:
                    return f"of the {saved.state.step} steps that are done, the word after step {step} was not kept"
                if _sha256(self.folder / path) != saved.checkpoints[path.as_posix()]:
                    return f"{self.folder / path} is missing or not what was written"
        return ""

    # ------------------------------------------------------------------------------------------ to its end

    def _run(self) -> None:
        """Train to the end, and keep checkpoints, previews and state. Raises Interrupted when asked to stop."""
        training, state, total = self.training, self.training.state, self.plan.steps
        if state.step:
            done = min(state.step, total)
            print(f"going on at step {done} of {total}" if done < total else f"all {total} steps are done already")
        for run, packed in enumerate(self.pack):
            if packed.settings.train.tensorboard:
                self.boards[run] = Board(TRAINING / packed.run.name / "tensorboard")
        self._show()
        saving = Pace()
        with (
            stop_requests() as signal_that_came,
            Bar[None]("train", total=total, initial=min(state.step, total), unit="step") as bar,
        ):
            training.asked_to_stop = lambda: signal_that_came() != 0
            while not training.finished:
                before = state.step
                for checkpoint in training.advance():
                    self._keep(checkpoint)
                number = signal_that_came()
                if number or training.finished or saving.due(state):
                    saved = Saved(state, self.schedules[: state.step], self.checkpoints)
                    with saving.writing():
                        save_state(self.folder / "state.safetensors", saved)
                self._show()
                bar.picture = max(self._previews(0).items(), default=(0, None))[1]
                losses = state.records[before:, training.learning_after(before), 0].mean(0).tolist()
                seen = (state.step - bar.initial) * self.plan.samples * len(losses)
                pace = f"{seen / bar.format_dict['elapsed']:.1f} pictures/s"
                bar.set_postfix_str(f"{pace}, loss {' '.join(f'{loss:.4f}' for loss in losses[:4])}", refresh=False)
                bar.update(state.step - bar.n)
                if number and not training.finished:
                    raise Interrupted(
                        number, f"{state.step} of {total} steps are saved; `dvc repro` goes on from there."
                    )
        for board in self.boards.values():
            board.close()

    def _keep(self, checkpoint: Checkpoint) -> None:
        packed, path = self.pack[checkpoint.run], self._checkpoint(checkpoint.run, checkpoint.step)
        metadata = metadata_of(packed, checkpoint.step, self.model)
        self.trainee.save(self.folder / path, checkpoint.run, checkpoint.parameters, metadata)
        self.checkpoints[path.as_posix()] = _sha256(self.folder / path)

    def _checkpoint(self, run: int, step: int) -> Path:
        """Its path below the folder."""
        packed = self.pack[run]
        return checkpoint_file(packed.run.name, packed.learned.name, step)

    def _show(self) -> None:
        """Draw the previews that are due, and bring the boards up to date."""
        for run, packed in enumerate(self.pack):
            previews = self._previews(run)
            for step, path in previews.items():
                if not path.exists():
                    self._draw_preview(run, step, path)
            if run in self.boards:
                records = self.training.state.records[: self.training.ends[run], run]
                self.boards[run].write(records, packed.run.optimizer.rates, previews)

    def _previews(self, run: int) -> dict[int, Path]:
        """The previews that are due, by step: those of the steps whose checkpoint was kept."""
        packed, every = self.pack[run], self.pack[run].settings.train.preview.every
        end = min(self.training.ends[run], self.training.state.step)
        folder = self.folder / packed.run.name / "previews" / preview_key(packed)
        return {
            step: folder / f"{packed.learned.name}-{step}.png"
            for step in (range(every, end + 1, every) if every else ())
            if self._checkpoint(run, step).as_posix() in self.checkpoints
        }

    def _draw_preview(self, run: int, step: int, path: Path) -> None:
        packed = self.pack[run]
        parameters = self.trainee.load(self.folder / self._checkpoint(run, step), run)
        with self.training.capacity.eagerly():
            image = draw_preview(self.base, self.trainee, packed, run, parameters, self.model["resolution"])
        metadata = metadata_of(packed, step, self.model)
        save_preview(path, image, self.trainee, packed, run, parameters, metadata)

    # ------------------------------------------------------------------------------------------ what it leaves

    def _write(self) -> None:
        """Write the outputs. Raises Diverged when no run has come to its end."""
        training = self.training
        endings = [self._ending(run) for run in range(len(self.pack))]
        for run, packed in enumerate(self.pack):
            end = training.ends[run]
            for step in self._left(run, end):
                _copy(self.folder / self._checkpoint(run, step), WORDS / self._checkpoint(run, step))
            report = describe(packed, training, self.model, self.data_sha256)
            ended = {"step": end, "early": endings[run], "levelled_out": self._has_levelled_out(run)}
            write_settings(WORDS / packed.run.name / "settings.json", report | {"ended": ended})
            write_losses(
                TRAINING / packed.run.name / "loss.csv", packed, training.state.records[:, run], end, self.plan.samples
            )
            for path in self._previews(run).values():
                _copy(path, TRAINING / packed.run.name / "previews" / path.name)
        print("\n".join(filter(None, endings)))
        if all(self._has_failed(run) for run in range(len(self.pack))):
            shutil.rmtree(self.folder)  # what a device got wrong once may be right when tried again
            raise Diverged(endings)

    def _left(self, run: int, end: int) -> list[int]:
        """The steps whose checkpoints a run leaves that ends after `end` steps."""
        return sorted({step for step in self.plan.saved if step < end} | {end})

    def _ending(self, run: int) -> str:
        """Why the run ended before its time; empty when it did not."""
        training, name, end = self.training, self.pack[run].run.name, self.training.ends[run]
        if self._has_failed(run):
            broken_by = int(training.state.broken_by[run])
            picture = f", at picture {self.latents.ids[broken_by]}" if broken_by >= 0 else ""
            return f"run '{name}' is no longer finite at step {end + 1}{picture}"
        if self._has_levelled_out(run):
            return f"run '{name}' stopped early after step {end}: its deterministic loss has levelled out"
        return ""

    def _has_failed(self, run: int) -> bool:
        return bool(self.training.state.failed[run] == self.training.ends[run] < self.pack[run].run.steps)

    def _has_levelled_out(self, run: int) -> bool:
        return bool(self.training.state.stopped[run] == self.training.ends[run] < self.pack[run].run.steps)


def _schedules(pack: list[Packed], steps: int) -> torch.Tensor:
    """(steps, R, 2) float64: the learning rate and the clipping limit of each step."""
    schedules = torch.zeros(steps, len(pack), 2, dtype=torch.float64)
    for run, packed in enumerate(pack):
        optimizer = packed.run.optimizer
        values = torch.tensor([optimizer.rates, optimizer.clip_at], dtype=torch.float64)
        schedules[: packed.run.steps, run] = values.T
    return schedules


def _sha256(path: Path) -> str:
    """Empty for a file that cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
