"""curate: a person's own text over the captioner's drafts, and what is wrong with the captions.

reads   outputs/pictures.csv, outputs/drafts.csv
        data.folder/captions.yaml    edits by picture file name, each with the draft that it answers
        data.folder/<picture>.txt    dog.jpg.txt or dog.txt for dog.jpg
        outputs/pictures/, the judge, with curate.similarity
writes  outputs/captions.csv         id, caption, origin (edit, file, draft, file and draft), draft,
                                     cut (what the caption leaves out of the draft); sorted by id
        outputs/lint.csv             id, source, finding, severity, caption, suggestion

An edit wins over a file, and a file meets the draft as curate.existing says. A draft loses what curate.cut says; a
person's own text is never cut. Nothing that lint finds is fatal here.
"""

from collections import Counter

import pandas as pd

from pseudoword.base.families import UnknownFamily
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.location import ModelNotFound
from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.captions.lint import LINT, lint, lint_table
from pseudoword.captions.merging import CaptionRow, Merged, merge, warnings
from pseudoword.captions.table import CAPTIONS
from pseudoword.errors import UserError
from pseudoword.files import write_table
from pseudoword.findings import SEVERITIES, Finding
from pseudoword.pictures.ids import count_unmirrored
from pseudoword.pictures.prepared import each_picture
from pseudoword.settings.base import BaseSettings, DataSettings
from pseudoword.settings.curate import CurateSettings
from pseudoword.settings.judge import JudgeSettings
from pseudoword.settings.stage import Axes, StageSettings
from pseudoword.settings.sweep import runs
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings
from stages._runtime import run_stage
from stages.curate.tokens import prompt_length


class Settings(StageSettings):
    data: DataSettings
    base: BaseSettings
    word: WordSettings
    curate: CurateSettings
    train: TrainSettings
    sweep: Axes
    judge: JudgeSettings


MAX_NAMES = 5  # names in a message, findings in the log


def shown(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")


class NotReviewed(UserError):
    def __init__(self, unapproved: list[str]) -> None:
        super().__init__(
            f"curate.require_review is true and {len(unapproved)} drafts are not approved: {shown(unapproved)}. "
            "Approve them with `make review`, then run `dvc repro` again."
        )


def doubted_by_judge(merged: Merged, judge: str, model: ModelIdentity) -> list[Finding]:
    """Captions that differ from their picture; nothing, with a note, without a judge. On the CPU: the same anywhere."""
    from pseudoword.captions.similarity import differing
    from pseudoword.judge import NoJudge, TextJudge, text_judge_name

    try:
        judge_model = TextJudge.load(text_judge_name(judge, model), "cpu")
    except (NoJudge, ModelNotFound, UnknownFamily) as error:
        print(f"note: captions are not compared with their pictures: {error}")
        return []
    return differing(merged.rows, each_picture([row.id for row in merged.rows]), judge_model)


def main() -> None:
    settings = Settings.read("curate")
    cutting = Cutting.of(settings.curate.cut, settings.word.init_text)
    merged = merge(settings.data.folder, settings.curate.existing, cutting, settings.curate.unescape)
    for line in warnings(merged):
        print(f"warning: {line}")
    model = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config)
    length = prompt_length(settings, model, count_unmirrored(row.id for row in merged.rows))
    init_texts = [run.word.init_text for run in runs(settings).values()]
    found = lint(merged, settings.word.name, init_texts, length, settings.word.kind)
    if settings.curate.similarity:
        found += doubted_by_judge(merged, settings.judge.texts, model)
    report(merged, found, settings.curate.cut)
    # Before the stop: the page on which a person then approves shows it.
    write_table(LINT, lint_table(found, merged))
    if settings.curate.require_review and (unapproved := merged.unapproved()):
        raise NotReviewed(unapproved)
    table = pd.DataFrame(merged.rows, columns=list(CaptionRow._fields))
    table["cut"] = ["; ".join(row.cut) if "draft" in row.origin else "" for row in merged.rows]
    write_table(CAPTIONS, table[["id", "caption", "origin", "draft", "cut"]])


def report(merged: Merged, found: list[Finding], what_is_cut: str) -> None:
    origins = Counter(row.origin for row in merged.rows)
    both = f", {origins['file and draft']} from both" if origins["file and draft"] else ""
    print(
        f"{len(merged.rows)} captions: {origins['edit']} edited, {origins['file']} from files, "
        f"{origins['draft']} drafts{both}"
    )
    if merged.ignored:
        print(f"{merged.ignored} caption files are left out, as curate.existing is ignore")
    if bare := [row.source for row in merged.rows if row.origin == "draft" and row.draft and not row.caption]:
        print(f"{len(bare)} drafts say no more than their {what_is_cut}, so these captions are empty: {shown(bare)}")
    if cut := Counter(phrase for row in merged.rows if "draft" in row.origin for phrase in row.cut):
        phrases = [f"'{phrase}' ({count})" for phrase, count in cut.most_common(MAX_NAMES + 1)]
        print(f"cut from drafts, all in {CAPTIONS}: {shown(phrases)}")
    swapped = sum(row.origin != "draft" and row.once[1] != row.caption for row in merged.rows)
    if swapped:
        print(f"left and right changed places in your texts for {swapped} mirrored copies")
    if found:
        kinds = Counter(finding.check for finding in found)
        print(f"lint, in {LINT}: {', '.join(f'{kind} ({count})' for kind, count in sorted(kinds.items()))}")
    for finding in sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))[:MAX_NAMES]:
        print(f"  {finding.severity}: {finding.source or 'all captions'}: {finding.message}")


if __name__ == "__main__":
    run_stage(main)
