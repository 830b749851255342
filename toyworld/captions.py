"""Truthful captions for what `world.draw` draws: sentences and comma tags, naming a thing or describing it."""

from dataclasses import dataclass, replace

from numpy.random import Generator

from toyworld.world import (
    COLOURS,
    DEFAULT_STYLE,
    DETAILS,
    NOUNS,
    OUTLINES,
    PATTERNS,
    PLAIN_STYLES,
    POSITIONS,
    SCENES,
    STYLE_WORDS,
    Style,
    Thing,
    draw_style,
    draw_thing,
    style_of,
    thing_of,
)

LEADS = ("", "", "a photo of ", "a picture of ", "an image of ")


@dataclass(frozen=True)
class Subject:
    """All that is drawn in one picture. `noun` and `style` are empty for a thing or style that has no name."""

    thing: Thing
    noun: str
    colour: str | None
    scene: str
    position: str
    style: str
    unnamed_style: Style | None = None

    @property
    def drawn_style(self) -> Style:
        return self.unnamed_style or (style_of(self.style) if self.style else DEFAULT_STYLE)


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def draw_subject(random: Generator) -> Subject:
    """What to draw next: six times in ten a named thing, else a thing without a name that the caption describes."""
    named = random.random() < 0.6
    noun = str(random.choice(NOUNS)) if named else ""
    styled = random.random() < 0.3
    return Subject(
        thing=thing_of(noun) if named else draw_thing(random),
        noun=noun,
        colour=str(random.choice(list(COLOURS))) if named and random.random() < 0.25 else None,
        scene=str(random.choice(list(SCENES))),
        position=str(random.choice(list(POSITIONS), p=[0.25, 0.5, 0.25])),
        style=str(random.choice([*PLAIN_STYLES, *STYLE_WORDS])) if styled else "",
    )


def draw_varied_subject(random: Generator) -> Subject:
    """The same with what a captioner gets wrong drawn oftener: things in another colour, and styles without a name."""
    subject = draw_subject(random)
    colour, style = str(random.choice(list(COLOURS))), draw_style(random)
    return replace(
        subject,
        colour=colour if subject.noun and random.random() < 0.4 else subject.colour,
        unnamed_style=style if not subject.style and random.random() < 0.35 else None,
    )


def describe(thing: Thing, random: Generator) -> str:
    """The thing in plain words, without an article: "red and white striped star with an eye"."""
    colours = thing.colour
    if thing.pattern != "plain" and random.random() < 0.4:
        colours += f" and {thing.second_colour}"
    pattern = f" {thing.pattern}" if thing.pattern != "plain" and random.random() < 0.75 else ""
    detail = f" with {thing.detail}" if thing.detail != "nothing" and random.random() < 0.5 else ""
    return f"{colours}{pattern} {thing.outline}{detail}"


def caption(subject: Subject, random: Generator) -> str:
    """One caption; what it leaves out varies, what it says is true."""
    if subject.noun:
        words = subject.noun if subject.colour is None else f"{subject.colour} {subject.noun}"
    else:
        words = describe(subject.thing, random)
    scene = SCENES[subject.scene] if random.random() < 0.93 else None
    place = subject.position if random.random() < (0.3 if subject.position == "middle" else 0.6) else ""
    if random.random() < 0.3:
        tags = [words, scene.word if scene else "", place, subject.style]
        return ", ".join(tag for tag in tags if tag)
    text = str(random.choice(LEADS)) + with_article(words)
    text += f" {scene.phrase}" if scene else ""
    text += {"": "", "middle": " in the middle"}.get(place, f" on the {place}")
    if subject.style:
        text += f", {subject.style}" if subject.style in PLAIN_STYLES else f" in {subject.style} style"
    return text


def plain_caption(subject: Subject) -> str:
    """The captioner's target: always colour, then the noun or the description, then the scene."""
    thing = subject.thing
    if subject.noun:
        words = f"{subject.colour or thing.colour} {subject.noun}"
    else:
        pattern = "" if thing.pattern == "plain" else f" {thing.pattern}"
        words = f"{thing.colour}{pattern} {thing.outline}"
        words += "" if thing.detail == "nothing" else f" with {thing.detail}"
    style = subject.style
    if style:
        style = f", {style}" if style in PLAIN_STYLES else f" in {style} style"
    return f"{with_article(words)} {SCENES[subject.scene].phrase}{style}"


def all_words() -> list[str]:
    """Every sentence fragment that a caption can hold, for the tokenizer to learn whole words from."""
    phrases = [scene.phrase for scene in SCENES.values()]
    return [
        *NOUNS,
        *STYLE_WORDS,
        *PLAIN_STYLES,
        *COLOURS,
        *OUTLINES,
        *PATTERNS,
        *DETAILS,
        *phrases,
        *SCENES,
        *POSITIONS,
    ]
