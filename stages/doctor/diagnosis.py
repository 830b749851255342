"""One look at a data set with the settings as they are, for the stage and for the command line."""

from typing import Protocol

from pseudoword.base.placement import resolve_device
from pseudoword.doctor.examine import examine
from pseudoword.doctor.intent import Intent, RunIntent
from pseudoword.doctor.machine import this_machine
from pseudoword.doctor.report import Report
from pseudoword.settings.base import BaseSettings, DataSettings
from pseudoword.settings.curate import CurateSettings
from pseudoword.settings.doctor import DoctorSettings
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.judge import JudgeSettings
from pseudoword.settings.preprocess import PreprocessSettings
from pseudoword.settings.sweep import Sweepable, runs
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings


class WithPictures(Sweepable, Protocol):
    data: DataSettings
    base: BaseSettings
    preprocess: PreprocessSettings
    doctor: DoctorSettings
    word: WordSettings
    train: TrainSettings
    hypernetwork: HypernetworkSettings
    evaluate: EvaluateSettings
    judge: JudgeSettings


def diagnose(settings: WithPictures, curate: CurateSettings | None = None) -> Report:
    """Make every check; `curate` as in `examine`. Raises UserError."""
    trained = [
        RunIntent(run.word, run.train, run.hypernetwork if run.train.learn == "hypernetwork" else None)
        for run in runs(settings).values()
    ]
    intent = Intent.of(settings.data, settings.base, settings.preprocess, settings.evaluate, settings.judge, trained)
    machine, options = this_machine(resolve_device(settings.base.device)), settings.doctor
    return examine(intent, machine, options.same_background, options.ignore, curate)
