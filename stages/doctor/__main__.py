"""doctor: what speaks against the pictures, the captions, the name or the machine, before a GPU is asked.

reads   outputs/pictures/<id>.png, outputs/pictures.csv, outputs/captions.csv
        data.folder                    the sources, where a crop left something out
        the base model                 configs, tokenizer, headers of the weights
        the judges                     whether they can be loaded
writes  outputs/doctor.json            findings: check, severity, message, advice, pictures, figure; see docs/doctor.md
        outputs/doctor-metrics.json    how many of each severity
        outputs/doctor-passed.txt      always the same text: what waits for it runs again only if the doctor failed

A finding as bad as doctor.fail_on stops the pipeline.
"""

import json
from pathlib import Path

from pseudoword.doctor.report import REPORT, Stopped, summary, write_report
from pseudoword.files import write_text
from pseudoword.findings import SEVERITIES
from pseudoword.settings.base import BaseSettings, DataSettings
from pseudoword.settings.doctor import DoctorSettings
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.judge import JudgeSettings
from pseudoword.settings.preprocess import PreprocessSettings
from pseudoword.settings.stage import Axes, StageSettings
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings
from stages._runtime import run_stage
from stages.doctor.diagnosis import diagnose

METRICS, PASSED = Path("outputs/doctor-metrics.json"), Path("outputs/doctor-passed.txt")


class Settings(StageSettings):
    data: DataSettings
    base: BaseSettings
    word: WordSettings
    preprocess: PreprocessSettings
    doctor: DoctorSettings
    train: TrainSettings
    hypernetwork: HypernetworkSettings
    evaluate: EvaluateSettings
    judge: JudgeSettings
    sweep: Axes


def main() -> None:
    settings = Settings.read("doctor")
    PASSED.unlink(missing_ok=True)
    report = diagnose(settings)
    print(summary(report))
    write_report(report, REPORT)
    counts = {severity: report.count(severity) for severity in SEVERITIES}
    write_text(METRICS, json.dumps({"pictures": report.pictures, **counts}, indent=2) + "\n")
    if bad := report.at_least(settings.doctor.fail_on):
        raise Stopped(settings.doctor.fail_on, bad)
    write_text(PASSED, "The doctor found nothing that stops the pipeline.\n")


if __name__ == "__main__":
    run_stage(main)
