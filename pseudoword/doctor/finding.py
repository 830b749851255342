"""What the doctor says: findings, and outputs/doctor.json that holds them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pseudoword.errors import UserError
from pseudoword.files import write_text
from pseudoword.records import Record

REPORT = Path("outputs/doctor.json")
SEVERITIES = ("error", "warning", "info")  # the worst first
NAMED = 6  # pictures that a message names; the record holds all of them


class Shown(Record):
    """A picture that a finding is about: its id (empty for a file that gives none) and its file name in data.folder."""

    id: str
    source: str


class Finding(Record):
    """One thing that the doctor saw, in a sentence or two, and the way out in one."""

    check: str
    severity: Literal["info", "warning", "error"]
    message: str
    advice: str
    pictures: list[Shown] = Field(default_factory=list)
    figure: dict[str, Any] = Field(default_factory=dict, description="The numbers behind the message, by name.")


class Report(Record):
    """outputs/doctor.json. `left_out` says of each check that could not be made, why."""

    pictures: int
    findings: list[Finding]
    left_out: dict[str, str] = Field(default_factory=dict)

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def at_least(self, severity: str) -> list[Finding]:
        """The findings of this severity or a worse one; "none" has none."""
        if severity == "none":
            return []
        wanted = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return [finding for finding in self.findings if finding.severity in wanted]


class Stopped(UserError):
    def __init__(self, fail_on: str, findings: list[Finding]) -> None:
        told = "".join(f"\n  {finding.check}: {finding.message} {finding.advice}" for finding in findings)
        super().__init__(
            f"doctor.fail_on is {fail_on}, and there {'are' if len(findings) > 1 else 'is'} {len(findings)} "
            f"as bad as that:{told}\nMend it, or leave a check out by doctor.ignore: [{findings[0].check}]."
        )


def write_report(report: Report, path: Path) -> None:
    write_text(path, json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def names(sources: Sequence[str]) -> str:
    """'a.jpg, b.jpg and 3 more', each file once, in the order given."""
    shown = list(dict.fromkeys(sources))
    if len(shown) <= NAMED:
        return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{', '.join(shown[:NAMED])} and {len(shown) - NAMED} more"


def summary(report: Report) -> str:
    """The report as lines for a terminal."""
    lines = [line for finding in report.findings for line in _lines(finding)]
    lines += [f"left out  {check}: {reason}" for check, reason in report.left_out.items()]
    counts = [_counted(report.count(severity), severity) for severity in SEVERITIES]
    return "\n".join([*lines, f"{report.pictures} pictures: {', '.join(counts)}"])


def _counted(number: int, severity: str) -> str:
    return f"{number} {severity}{'s' if number != 1 and severity != 'info' else ''}"


def _lines(finding: Finding) -> Iterable[str]:
    yield f"{finding.severity:<8}  {finding.check}: {finding.message}"
    yield f"{'':<8}  -> {finding.advice}"
