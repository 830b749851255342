"""export: the chosen word as files that other tools read.

reads   outputs/choice/choice.json             which checkpoint was chosen; nothing is written where none is any good
        outputs/judged/pictures.csv            which of its pictures is the best one, for the PNG
        outputs/evaluation/sheets/*            that picture
        outputs/words/<run>/steps/*            the checkpoint
        outputs/words/<run>/settings.json      what it was trained with
writes  outputs/embedding/<word>.<format>      the word in each of export.formats; equal inputs give equal bytes
"""

import shutil
from collections.abc import Sequence

from pseudoword.errors import UserError
from pseudoword.formats.hypernetwork import EXTENSIONS as HYPERNETWORK_SUFFIXES
from pseudoword.formats.hypernetwork import save_hypernetwork
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.records import Choice, read_record
from pseudoword.results.chosen import OtherWord, read_chosen
from pseudoword.results.places import CHOICE, EMBEDDING
from pseudoword.settings.export import Export
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import Word
from stages._runtime import run_stage
from stages.export.portrait import best_picture
from stages.export.usage import how_to_use, how_to_use_hypernetwork


class Settings(StageSettings):
    word: Word
    export: Export


class NothingBetter(UserError):
    def __init__(self, choice: Choice) -> None:
        super().__init__(" ".join([choice.reason, *choice.advice, "There is no word to export."]))


class NoFormatForHypernetworks(UserError):
    def __init__(self, formats: Sequence[str]) -> None:
        super().__init__(
            f"export.formats: found {', '.join(formats)}, and a hypernetwork is written as safetensors or pt. Add one."
        )


def main() -> None:
    settings = Settings.read("export")
    word, formats = settings.word.name, settings.export.formats
    choice = read_record(CHOICE, Choice)
    if choice.word != word:
        raise OtherWord(CHOICE, choice.word, word)
    if not choice.better_than_init:
        raise NothingBetter(choice)
    learned = read_chosen(choice)
    files = [EMBEDDING / f"{word}.{kind}" for kind in formats]
    if isinstance(learned, Hypernetwork):
        files = [path for path in files if path.suffix in HYPERNETWORK_SUFFIXES]
        if not files:
            raise NoFormatForHypernetworks(formats)
        shutil.rmtree(EMBEDDING, ignore_errors=True)
        for path in files:
            save_hypernetwork(path, learned)
        print(how_to_use_hypernetwork(files, learned))
        return
    picture = best_picture(choice) if "png" in formats else None
    shutil.rmtree(EMBEDDING, ignore_errors=True)  # as dvc does before a stage: no format of an earlier setting stays
    for path in files:
        write_embedding(path, learned, picture if path.suffix == ".png" else None, key=settings.export.key)
    print(how_to_use(files, word, learned, settings.export.key))


if __name__ == "__main__":
    run_stage(main)
