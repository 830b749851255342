"""Black-and-white pictures: what a caption keeps saying of them, as a word that learns from a few would be grey too."""

import re

COLOURLESS = re.compile(r"\b(?:black[\s-]+and[\s-]+white|monochrome|gr[ae]yscale|sepia)\b", re.IGNORECASE)
# Of a dog or of clothes 'black and white' is no more than a colour.
COLOURLESS_PICTURE = re.compile(
    rf"{COLOURLESS.pattern}[\s,]+(?:[\w-]+\s+){{0,2}}?"
    r"(?:photo|picture|image|portrait|drawing|sketch|print|film|shot|snapshot|still|illustration|painting|close[\s-]?up)",
    re.IGNORECASE,
)


def colourless_photo(start: str) -> str:
    """What is to be said of the picture in place of the beginning of its caption; empty for one in colour."""
    return "black and white photo" if COLOURLESS_PICTURE.search(start) else ""
