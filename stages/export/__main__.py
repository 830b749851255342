"""export: the chosen word as files that other tools read.

reads   outputs/choice/choice.json             which checkpoint was chosen; nothing is written where none is any good
        outputs/judged/pictures.csv            which of its pictures is the best one, for the PNG
        outputs/judged/judges.json             what the figures of the card are measured against
        outputs/evaluation/sheets/*            that picture
        outputs/words/<run>/steps/*            the checkpoint
        outputs/words/<run>/settings.json      what it was trained with
writes  outputs/embedding/<word>.<format>      the word in each of export.formats; equal inputs give equal bytes
        outputs/embedding/README.md, samples.jpg    a card to share it with
"""

import shutil
from functools import partial

from pseudoword.errors import UserError
from pseudoword.files import save_with, write_text
from pseudoword.formats.hypernetwork import save_hypernetwork
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.records import Choice, JudgesRecord, RunRecord, read_record
from pseudoword.results.chosen import OtherWord, read_chosen
from pseudoword.results.places import CHOICE, EMBEDDING, JUDGES, WORDS
from pseudoword.settings.export import ExportSettings
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import WordSettings
from stages._runtime import run_stage
from stages.export.card import SAMPLES, card, samples
from stages.export.portrait import best_picture, chosen_pictures
from stages.export.usage import how_to_use, how_to_use_hypernetwork


class Settings(StageSettings):
    word: WordSettings
    export: ExportSettings


class NothingBetter(UserError):
    def __init__(self, choice: Choice) -> None:
        super().__init__(" ".join([choice.reason, *choice.advice, "There is no word to export."]))


def main() -> None:
    settings = Settings.read("export")
    word, formats = settings.word.name, settings.export.formats
    choice = read_record(CHOICE, Choice)
    if choice.word != word:
        raise OtherWord(CHOICE, choice.word, word)
    if not choice.better_than_init:
        raise NothingBetter(choice)
    record = read_record(WORDS / choice.run / "settings.json", RunRecord)
    judges = read_record(JUDGES, JudgesRecord)
    learned, drawn = read_chosen(choice), chosen_pictures(choice, judges)
    picture = None if isinstance(learned, Hypernetwork) or "png" not in formats else best_picture(choice, drawn)
    sheet = samples(drawn)
    if isinstance(learned, Hypernetwork):
        files = [EMBEDDING / f"{word}.{kind}" for kind in settings.export.of_hypernetworks]
        shutil.rmtree(EMBEDDING, ignore_errors=True)
        for path in files:
            save_hypernetwork(path, learned)
        usage = how_to_use_hypernetwork(files, learned)
    else:
        files = [EMBEDDING / f"{word}.{kind}" for kind in formats]
        # As dvc does before a stage: no format of an earlier setting stays.
        shutil.rmtree(EMBEDDING, ignore_errors=True)
        for path in files:
            write_embedding(path, learned, picture if path.suffix == ".png" else None, key=settings.export.key)
        usage = how_to_use(files, word, learned, settings.export.key)
    save_with(EMBEDDING / SAMPLES, partial(sheet.save, format="jpeg", quality=92))
    write_text(EMBEDDING / "README.md", card(choice, record, judges, usage, drawn))
    print(usage)


if __name__ == "__main__":
    run_stage(main)
