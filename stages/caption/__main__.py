"""caption: drafts of what is in each picture, for `curate` to put a person's own text over.

reads   outputs/pictures/<id>.png, outputs/pictures.csv, the captioner, the tagger
writes  outputs/drafts.csv    id, draft, and what each drafter said; sorted by id

A draft is what the drafters of caption.drafters say, in their order, joined by a comma: a captioner a sentence, a
tagger its tags, the file's name a text. Drafts made before are taken from .scratch/caption/.
"""

from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.captions.drafts import write_drafts
from pseudoword.captions.models import captioner_name
from pseudoword.captions.sides import text_for
from pseudoword.pictures.prepared import read_pictures_table
from pseudoword.settings.base import BaseSettings
from pseudoword.settings.caption import CaptionSettings
from pseudoword.settings.stage import StageSettings
from stages._runtime import alone_on, run_stage
from stages.caption.captioner import Captioner
from stages.caption.filename import read_name
from stages.caption.reuse import draft_all
from stages.caption.tagger import TagModel
from stages.caption.tags import Writing


class Settings(StageSettings):
    base: BaseSettings
    caption: CaptionSettings


def main() -> None:
    settings = Settings.read("caption")
    options, tagging, naming = settings.caption, settings.caption.tagger, settings.caption.filename
    pictures = read_pictures_table()
    ids, sources = [str(name) for name in pictures["id"]], [str(source) for source in pictures["source"]]

    def caption() -> list[str]:
        device = resolve_device(settings.base.device)
        precision = resolve_precision(settings.base.precision, device)
        model = captioner_name(options.model, settings.base.model)
        generation = (options.prefix, options.beams, options.min_tokens, options.max_tokens)
        with alone_on(device):
            return draft_all(Captioner(model, options.revision, device, precision, *generation), ids, options.batch)

    if "tagger" in options.drafters:
        # Before the captioner has read all pictures, which may take an hour.
        writing = Writing(**tagging.model_dump(exclude={"model", "revision"}))
        tagger = TagModel(str(tagging.model), tagging.revision, writing)
        tagger.load()

    def tag() -> list[str]:
        return draft_all(tagger, ids, batch=1)

    def name() -> list[str]:
        texts = [read_name(source, naming.strip, naming.words, naming.join) for source in sources]
        return [text_for(picture_id, text) for picture_id, text in zip(ids, texts, strict=True)]

    drafters = {"captioner": caption, "tagger": tag, "filename": name}
    said: dict[str, list[str]] = {
        who: drafters[who]() for who in options.drafters if (who, options.model) != ("captioner", "none")
    }
    drafts = write_drafts(ids, said)
    print(f"{len(drafts)} drafts, {len(set(drafts))} different; the first: {drafts[0]}")


if __name__ == "__main__":
    run_stage(main)
