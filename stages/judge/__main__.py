"""judge: every measure of every drawn picture, with no base model in memory.

reads   outputs/evaluation/pictures.csv, sheets/    what was drawn
        outputs/pictures/, outputs/pictures.csv, outputs/captions.csv    what it was learned from
        the judges
writes  outputs/judged/pictures.csv, judges.json    (see docs/files.md)
"""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.placement import resolve_device
from pseudoword.captions.table import read_captions
from pseudoword.files import write_table, write_text
from pseudoword.judge import ImageJudge, TextJudge, image_judge_name, text_judge_name
from pseudoword.pictures.prepared import each_picture, read_pictures_table
from pseudoword.progress import Bar
from pseudoword.prompts import without_name
from pseudoword.records import JudgesRecord, Scale
from pseudoword.results.images import open_drawn
from pseudoword.results.places import JUDGES, MEASURED, SHEETS
from pseudoword.results.tables import MEASURES_VERSION, read_drawn
from pseudoword.settings.base import BaseSettings
from pseudoword.settings.judge import JudgeSettings
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import WordSettings
from stages._runtime import alone_on, run_stage
from stages.judge.faces import FaceJudge
from stages.judge.groups import two_groups
from stages.judge.measures import MEASURES
from stages.judge.measures.copying import nearest
from stages.judge.measures.likeness import among_training, to_training
from stages.judge.measures.measure import Evidence, Floats, Sight, Training
from stages.judge.measures.obedience import ceiling
from stages.judge.retrieval import retrieval_at_1

AT_ONCE = 64  # pictures in memory


class Settings(StageSettings):
    base: BaseSettings
    word: WordSettings
    judge: JudgeSettings


def main() -> None:
    settings = Settings.read("judge")
    model = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config)
    device = resolve_device(settings.base.device)
    drawn = read_drawn()
    kind = settings.word.kind
    with alone_on(device):
        judge = ImageJudge.load(image_judge_name(settings.judge.images, kind, model), kind, device)
        images = FaceJudge(judge) if kind == "person" else judge
        texts = TextJudge.load(text_judge_name(settings.judge.texts, model), device)
        training = look_at_training(images, texts)
        files = list(dict.fromkeys(drawn["file"]))
        sight = look_at((open_drawn(Path(file)) for file in files), len(files), images, texts)
        said = {prompt: without_name(prompt) for prompt in dict.fromkeys(drawn["prompt"])}
        embedded = texts.texts([text or "-" for text in said.values()])
    place, row = {file: i for i, file in enumerate(files)}, {prompt: i for i, prompt in enumerate(said)}
    tables, scales, obeyed = [], {}, Scale()
    for (run, elsewhere), of_run in drawn.groupby(["run", "elsewhere"], sort=False):
        controls = {
            name: sight[[place[file] for file in of_run["file"][of_run["control"] == name]]]
            for name in ("init", "nothing")
        }
        for (_, control), column in of_run.groupby(["step", "control"], sort=False):
            prompts = list(column["prompt"])
            evidence = Evidence(
                sight[[place[file] for file in column["file"]]], controls["init"], controls["nothing"], training,
                prompts, [said[prompt] for prompt in prompts], embedded[[row[prompt] for prompt in prompts]],
                is_init=control == "init",
            )  # fmt: skip
            tables.append(measured(column, evidence))
            if control == "init" and not elsewhere:
                similarity = to_training(evidence.drawn.features, training)
                scales[str(run)] = Scale(zero=float(similarity.mean()), one=among_training(training))
                top = ceiling(evidence)
                obeyed = Scale(zero=0.0, one=top.margin if top.source else None, source=top.source)
    record = JudgesRecord(
        images=images.name, texts=texts.name, kind=kind, likeness=scales, obedience=obeyed,
        retrieval=retrieval_at_1(training, look_alikes(drawn, sight, place).features), groups=two_groups(training),
        measures=MEASURES_VERSION,
    )  # fmt: skip
    write_table(MEASURED, pd.concat(tables))
    write_text(JUDGES, record.model_dump_json(indent=2) + "\n")
    print(belief(record))


def look_at_training(images: ImageJudge | FaceJudge, texts: TextJudge) -> Training:
    table = read_pictures_table()
    ids, sources = list(table["id"]), list(table["source"])
    captions = read_captions(ids)
    return Training(
        ids, sources, look_at(each_picture(ids), len(ids), images, texts), captions,
        texts.texts([caption or "-" for caption in captions]),
    )  # fmt: skip


def look_at(
    pictures: Iterable[Image.Image], number: int, images: ImageJudge | FaceJudge, texts: TextJudge
) -> Sight:  # fmt: skip
    """So many pictures in their order."""
    parts, left = [], iter(pictures)
    with Bar[str]("judge", total=number, label="judge", unit="picture") as bar:
        while part := list(islice(left, AT_ONCE)):
            parts.append(Sight.of(part, images, texts))
            bar.update(len(part))
    return Sight.joined(parts)


def look_alikes(drawn: pd.DataFrame, sight: Sight, place: dict[str, int]) -> Sight:
    """What the init texts of all runs draw, each picture once."""
    files = dict.fromkeys(drawn["file"][(drawn["control"] == "init") & (drawn["elsewhere"] == "")])
    return sight[[place[file] for file in files]]


def measured(column: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The rows of a column with their measures; `similarity` is the cosine that likeness is made of."""
    values: dict[str, Floats] = {measure.name: measure.value(evidence) for measure in MEASURES}
    similarity = to_training(evidence.drawn.features, evidence.training)
    # + 0.0 makes a zero of a minus zero.
    rounded = {name: np.asarray(value) + 0.0 for name, value in {"similarity": similarity, **values}.items()}
    files = [Path(file).relative_to(SHEETS).as_posix() for file in column["file"]]
    return column.assign(file=files, **rounded, nearest=nearest(evidence.drawn, evidence.training))


def belief(record: JudgesRecord) -> str:
    """A sentence on whether the image judge can tell this concept."""
    found = record.retrieval
    if found is None:
        return f"{record.images} could not be tried on a single picture: likeness is weak evidence."
    told = (
        f"{record.images} finds another picture of the concept nearest for {found.value:.0%} of the {found.number} "
        f"training pictures, among what the init text draws (95 % interval {found.low:.0%} to {found.high:.0%})"
    )
    return f"{told}: likeness is weak evidence." if record.weak else f"{told}."


if __name__ == "__main__":
    run_stage(main)
