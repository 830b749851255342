r"""Marks of other tools' prompts in captions. Here a prompt is read as it stands, so each of them would be text.

`\(` and `\)` for a bracket, `(word:1.2)` for a weight, `((word))` for an emphasis, `<lora:name:1>`, `BREAK`.
"""

import re

ESCAPED = re.compile(r"\\([()\[\]{}])")
FILE = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>")
BREAK = re.compile(r"\bBREAK\b")
PLAIN = r"[^()\\]|\\."  # no bracket but an escaped one
INSIDE = rf"(?:{PLAIN}|\((?:{PLAIN})*\))*?"
# A whole number after a figure is a time or a ratio, such as (16:9).
WEIGHT = re.compile(rf"(?<!\\)\(({INSIDE})\s*(?::\s*\d*\.\d+|(?<![\d\s]):\s*\d+\.?)\s*\)")
EMPHASIS = re.compile(
    rf"(?<!\\)(?:\(\(\(({INSIDE})\)\)\)|\(\(({INSIDE})\)\)|\[\[([^\[\]]*)\]\]|\{{\{{([^{{}}]*)\}}\}})"
)
MAX_NESTED = 8  # marks within marks
EDGE = "\0"  # where a mark was, until all are gone: no caption holds it
# A bracket around nothing but marks stresses them once more: ((a:1.2)).
AROUND_MARKS = re.compile(rf"(?<!\\)[(\[{{]({EDGE}(?:[^()\[\]{{}}\\]|\\.|\([^()]*\))*{EDGE})[)\]}}]")
ONE_BRACKET = re.compile(rf"\A\(((?:{PLAIN})*)\)\Z")  # the fourth of ((((a))))
BETWEEN_WORDS = re.compile(rf"(?<=\w){EDGE}+(?=\w)")


def marks_in(caption: str) -> list[str]:
    """The marks as they stand in the caption, kind by kind."""
    return list(dict.fromkeys(found[0] for mark in _marks(caption) for found in mark.finditer(caption)))


def without_marks(caption: str) -> str:
    r"""The words alone: `(red hair:1.2), bow \(weapon\) BREAK` -> `red hair, bow (weapon)`."""
    if not marks_in(caption):
        return caption
    caption = caption.replace(EDGE, "")
    for mark, instead in ((FILE, EDGE), (BREAK, ",")):
        if mark in _marks(caption):
            caption = mark.sub(instead, caption)
    for _ in range(MAX_NESTED):
        caption = AROUND_MARKS.sub(_content, EMPHASIS.sub(_content, WEIGHT.sub(_content, caption)))
    caption = BETWEEN_WORDS.sub(" ", caption).replace(EDGE, "")
    caption = re.sub(r"\s+", " ", ESCAPED.sub(r"\1", caption))
    return re.sub(r"\s*,(\s*,)*", ",", caption).strip(" ,")


def _marks(caption: str) -> list[re.Pattern[str]]:
    return [WEIGHT, EMPHASIS, ESCAPED, FILE, *([] if caption.isupper() else [BREAK])]  # capitals may be shouted


def _content(mark: re.Match[str]) -> str:
    text = next(text for text in mark.groups() if text is not None)
    one = ONE_BRACKET.match(text)
    return f"{EDGE}{one[1] if one else text}{EDGE}"
