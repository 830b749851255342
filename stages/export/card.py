"""outputs/embedding/README.md: what a person needs who is given the file, in the form that model hubs read."""

import json
from pathlib import Path

import pandas as pd
from PIL import Image

from pseudoword.records import Choice, JudgesRecord, RunRecord
from pseudoword.results.images import open_drawn, scaled
from pseudoword.results.resolved import in_effect
from pseudoword.results.settings import flat

SAMPLES = "samples.jpg"  # A1111 takes each PNG and WebP in its folder for a word
MAX_SAMPLES, COLUMNS = 8, 4
SAMPLE_PX = 256  # longest side of each
SHOWN_SETTINGS = (
    "word.kind", "word.init_file", "word.init_text", "word.vectors",
    "hypernetwork.init_file", "hypernetwork.layers", "hypernetwork.activation", "hypernetwork.learn_rate",
    "train.steps", "train.learn_rate", "train.norm",
)  # fmt: skip
OBEDIENT = {  # what 1 stands for, by its source
    "captions": "what the real pictures reach with their own captions",
    "controls": "what is drawn with nothing in the word's place",
}


def samples(drawn: pd.DataFrame) -> Image.Image:
    """Pictures (rows of the measured table) side by side: the first of each prompt."""
    firsts = drawn.sort_values("seed", kind="stable").groupby("prompt", sort=False).head(1)[:MAX_SAMPLES]
    pictures = [scaled(open_drawn(Path(file)), SAMPLE_PX) for file in firsts["file"]]
    width, height = (max(side) for side in zip(*(picture.size for picture in pictures), strict=True))
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (width * min(COLUMNS, len(pictures)), height * rows), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % COLUMNS * width, i // COLUMNS * height))
    return sheet


def card(choice: Choice, record: RunRecord, judges: JudgesRecord, usage: str, drawn: pd.DataFrame) -> str:
    """The text. `usage` is what `export` prints, `drawn` the chosen checkpoint's rows of the measured table."""
    word, model = choice.word, record.model
    kind = "hypernetwork" if record.of_hypernetwork else "textual_inversion"
    front = {"base_model": model.name, "tags": [kind, "stable-diffusion", model.family], "license": "fill in"}
    settings = in_effect(flat(record.settings), record) | {"word.init_text": record.init_text}
    shown = [f"- `{key}`: {_code(settings[key])}" for key in SHOWN_SETTINGS if settings.get(key) not in (None, "")]
    return "\n".join(
        [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in front.items()),
            "---",
            f"# {word}",
            "",
            f"Learned from {record.pictures} pictures on {_code(model.name)} ({model.family}, {model.resolution} px).",
            "",
            f"![What {word} draws, a picture for each prompt]({SAMPLES})",
            "",
            "## Use",
            "",
            "```",
            usage,
            "```",
            "",
            "## What it does well, and where it fails",
            "",
            choice.reason,
            "",
            *(f"- {place.sentence}" for place in choice.carried),
            *([""] if choice.carried else []),
            *by_prompt(drawn, word),
            legend(record, judges),
            "",
            "## How it was made",
            "",
            f"Step {choice.step} of the run `{choice.run}`, which saw {record.samples_per_update} samples a step.",
            "",
            *shown,
            f"- model: {_code(model.name)}{f', commit {model.commit}' if model.commit else ''}"
            f"{f', SHA-256 {model.sha256}' if model.sha256 else ''}",
            f"- pseudoword {record.versions.get('pseudoword', '?')}, torch {record.versions.get('torch', '?')}",
            "",
            "## Licence",
            "",
            "*Fill in the licence, and who may be shown by it. The licence of the base model holds besides.*",
            "",
        ]
    )


def by_prompt(drawn: pd.DataFrame, word: str) -> list[str]:
    """A table, the best prompt first: means over the seeds."""
    means = drawn.groupby("prompt", sort=False)[["likeness", "obedience"]].mean()
    means = means.assign(total=means.fillna(0).sum(axis=1)).sort_values("total", ascending=False, kind="stable")
    lines = ["| prompt | likeness | obedience |", "|---|---|---|"]
    for prompt, likeness, obedience in means[["likeness", "obedience"]].itertuples(name=None):
        lines.append(f"| {_code(str(prompt).replace('[name]', word))} | {_share(likeness)} | {_share(obedience)} |")
    return [*lines, ""]


def legend(record: RunRecord, judges: JudgesRecord) -> str:
    """What 0 and 1 of the table stand for."""
    likeness = f"Likeness: 0 is what {judges.start_of(record)} draws, 1 the pictures among themselves."
    top = OBEDIENT.get(judges.obedience.source)
    return f"{likeness} Obedience: 0 is a picture of another prompt, 1 {top}." if top else likeness


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _code(value: object) -> str:
    """As code, which no sign in it can end, on one line of a table."""
    text = " ".join(str(value).replace("`", "'").replace("|", "\\|").split())
    return f"`{text}`"
