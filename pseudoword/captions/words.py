"""The words of a caption that carry meaning, and where its subject ends."""

import re

from pseudoword.captions.subject import DOING, INCIDENTAL


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SMALL = _words(
    "a an the this that these those some of in on at by to for from into onto over under near next with without and or "
    "but as than while top front back side left right his her hers its it their theirs he she they him them is are was "
    "be been being there up down out off around between very other another each one two three background backdrop"
)
COLOURS = _words(
    "black white grey gray red green blue yellow orange purple violet pink brown beige golden silver dark light bright"
)
IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "oxen": "ox", "quizzes": "quiz",
    **{f"{word[:-1]}ves": word for word in ("calf", "elf", "half", "hoof", "leaf", "loaf", "scarf", "self", "shelf",
                                            "dwarf", "thief", "wharf", "wolf")},
    **{f"{word[:-2]}ves": word for word in ("knife", "life", "wife")},
}  # fmt: skip
# Their plurals end like those of other words: movies as ponies, shoes as potatoes, moustaches as beaches.
REGULAR = _words(
    "beanie birdie bootie brownie budgie calorie collie cookie doggie genie goalie hippie hoodie lie magpie movie "
    "onesie pie pixie prairie rookie selfie smoothie tie veggie zombie canoe doe foe hoe horseshoe oboe shoe "
    "snowshoe tiptoe toe ache avalanche cache headache moustache mustache niche quiche axe bikini emu gnu guru kiwi "
    "menu safari ski taxi tutu yeti zucchini fuse muse cause clause house blouse spouse"
)
# They end in s or men themselves.
SINGULAR = _words("alias atlas bias canvas christmas cosmos gas iris lens tennis abdomen ramen regimen specimen stamen")
WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
# Words of the picture and of what somebody does in it, which name nothing that is around the subject.
NO_SCENE = _words("photo photograph picture image view close foreground")
DOING_WORD = re.compile(rf"(?:{DOING})", re.IGNORECASE)
WITH = re.compile(r"\bwith\b", re.IGNORECASE)


def singular(word: str) -> str:
    """'bushes' -> 'bush', 'vases' -> 'vase'. A guess for English, the same for both forms of a noun."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.removesuffix("s") in REGULAR:
        return word.removesuffix("s")
    if word in SINGULAR or word.removesuffix("es") in SINGULAR:
        return word.removesuffix("es")
    if len(word) > 5 and word.endswith("men"):
        return f"{word[:-3]}man"
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if re.search(r"(?:ss|us|x|zz|tz|ch|sh|o)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and re.search(r"[^sui]s$", word) else word


def content_words(text: str, colours: bool = True) -> list[str]:
    """The words of a text in their order, lower case and singular, without small words (and colours, if you like)."""
    words = (singular(word.removesuffix("'s")) for word in WORD.findall(text.lower()) if word not in SMALL)
    return [word for word in words if colours or word not in COLOURS]


def start_of(caption: str) -> str:
    """The subject that a caption begins with, lower case; empty when it begins with what is incidental.

    "A woman, with a hat" and "a woman wearing a hat" -> "a woman";  "in the snow" -> ""
    """
    return caption[: end_of_start(caption)].strip(" ,.").lower()


def without_start(caption: str) -> str:
    return caption[end_of_start(caption) :].strip(" ,.")


def scene_words(caption: str, init_text: str) -> set[str]:
    """The content words that say what is around the subject: without the subject, and without the init text's words."""
    words = content_words(without_start(caption) or caption)
    return {word for word in words if word not in NO_SCENE and not DOING_WORD.fullmatch(word)} - {
        *content_words(init_text)
    }


def end_of_start(caption: str) -> int:
    """Where what is incidental begins; the length of a caption that says nothing of it."""
    return min((found.start() for rule in (INCIDENTAL, WITH) if (found := rule.search(caption))), default=len(caption))
