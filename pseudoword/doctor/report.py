"""outputs/doctor.json: the findings of all checks."""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from pseudoword.errors import UserError
from pseudoword.files import write_text
from pseudoword.findings import SEVERITIES, Finding
from pseudoword.records import Record

REPORT = Path("outputs/doctor.json")


class Report(Record):
    """outputs/doctor.json. `left_out` says of each check that could not be made, why."""

    pictures: int
    findings: list[Finding]
    left_out: dict[str, str] = Field(default_factory=dict)
    lint: list[Finding] = Field(
        default_factory=list,
        description="What `curate` is going to say of the captions, where it has not run yet; it stops nothing.",
        exclude_if=lambda found: not found,
    )

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


def summary(report: Report) -> str:
    """The report as lines for a terminal."""
    lines = [line for finding in report.findings for line in _lines(finding)]
    for finding in report.lint:
        lines += _lines(finding.model_copy(update={"check": f"{finding.source or 'all captions'}: {finding.check}"}))
    lines += [f"left out  {check}: {reason}" for check, reason in report.left_out.items()]
    counts = [_counted(report.count(severity), severity) for severity in SEVERITIES]
    return "\n".join([*lines, f"{report.pictures} pictures: {', '.join(counts)}"])


def _counted(number: int, severity: str) -> str:
    return f"{number} {severity}{'s' if number != 1 and severity != 'info' else ''}"


def _lines(finding: Finding) -> Iterable[str]:
    yield f"{finding.severity:<8}  {finding.check}: {finding.message}"
    yield f"{'':<8}  -> {finding.advice}"
