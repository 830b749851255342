"""Cutting the subject from a caption: what a caption names, the word need not learn."""

import re

PLACE = (
    "in|inside|into|within|on|onto|upon|atop|at|by|under|underneath|beneath|below|near|beside|besides|behind|between|"
    "among|amongst|amid|against|over|above|across|along|around|outside|through|towards?|during|while|"
    r"next\sto|close\sto"
)
DOING = (
    "sitting|seated|standing|lying|laying|resting|sleeping|leaning|hanging|perched|floating|flying|swimming|walking|"
    "running|jumping|climbing|playing|posing|looking|facing|eating|drinking|holding|carrying|wearing|riding|driving|"
    "travelling|traveling|placed|parked|mounted|displayed|seen|shown|surrounded|covered|wrapped|filled|decorated|"
    "smiling|laughing|reading|talking|dancing|kneeling|crouching|dressed|taking|using|making|watching|catching|"
    "chasing|chewing|biting|licking|pulling|pushing|kicking|throwing"
)
DOES = (
    "looks|sits|stands|lies|sleeps|walks|runs|jumps|climbs|plays|poses|leans|hangs|floats|swims|holds|carries|wears|"
    "rides|eats|smiles|laughs|reads|talks|dances|kneels|crouches|stares|peers|chews|catches"
)
# They end like what somebody does, and are nouns or say what a thing is like.
NO_DOING = (
    r"\w*(?:building|clothing|painting|drawing|engraving|etching|ceiling|wedding|pudding|dressing|string|earring)s?|"
    "(?:ring|king|thing|wing|spring|sling|swing|icing|frosting|awning|railing|opening|sibling|viking)s?|"
    "evening|morning|bed|red|sled|shed|seed|weed|reed|feed|breed|steed|hundred|"
    "shaped|sized|colou?red|painted|carved|named|called|labell?ed"
)
DETERMINER = "a|an|the|this|that|these|those|some|one|two|three|four|five|several|many|each|another|his|her|its|their"
# What follows one of these is an adjective or a noun, also where it ends like a verb: "an old standing lamp".
BEFORE_NOUN = (
    f"{DETERMINER}|of|very|big|large|huge|giant|tall|small|little|tiny|short|long|thin|fat|round|square|old|new|young|"
    "modern|antique|vintage|outdoor|indoor|beautiful|pretty|lovely|cute|ugly|strange|weird|odd|funny|good|nice|plain|"
    "simple|empty|full|dirty|clean|wooden|metal|plastic|golden|black|white|grey|gray|red|green|blue|yellow|orange|"
    "purple|violet|pink|brown|beige|silver|dark|light|bright"
)
NOT_BEFORE_NOUN = "".join(rf"(?<!\b{word}\s)" for word in BEFORE_NOUN.split("|"))
AFTER_VERB = rf"\s*(?:[.,]|$)|\s+(?:{DETERMINER}|{PLACE}|with|without|from|out|up|down|off|away|as|to|for|like)\b"
ITSELF = r"it|its|them|their|him|his|her|the\s(?:front|back|side|top)(?!\sof)"
PART = r"its?\b|their\b|[^,]*?\bon\s+(?:it|them|the\s(?:front|back|side|top)(?!\sof))\b"
# What is on the thing itself ("with patches on it", "with its lights on") is a part of it. A verb that is none of the
# list is known by what follows it.
INCIDENTAL = re.compile(
    rf"""
      ,
    | \b(?:{PLACE})\s+(?!(?:{ITSELF})\b)(?=\w)
    | \b(?:from|without|as)\s+(?=\w)
    | \b(?:outside|outdoors|indoors)(?=\s*[.]?$)
    | \b(?<!\bmade\s)(?<!\bcut\s)(?<!\bclose\s)(?:out|up|down|off|away)(?=\s+(?:{PLACE}|from|for)\b|\s*[.]?$)
    | \band\s+(?=(?:{DETERMINER})\b)
    | (?<![\w-])(?=\w+(?:ing|ed|s)\b|seen\b|shown\b){NOT_BEFORE_NOUN}
      (?:(?:{DOING})\b | (?:{DOES}|(?!(?:{NO_DOING})\b)\w+(?:ing|ed))\b(?={AFTER_VERB}))
    | \bwith\s+(?!{PART})(?=\w)
    """,
    re.VERBOSE | re.IGNORECASE,
)


# What a caption says right after its subject, and may be on the thing itself: "with two eyes" in "... in the snow".
WITH_PART = re.compile(r"\s*with\s+\S", re.IGNORECASE)
# What is around a thing is never a part of it, however many pictures show it: "with a blurry background", "with trees
# behind it", "with trees in the background".
AROUND = re.compile(r"\b(?:(?:back|fore)grounds?|backdrops?|behind|around|beside|(?:next|close)\s+to)\b", re.IGNORECASE)
IN_BACKGROUND = re.compile(r"in\s+(?:the|its)\s+(?:\w+\s+)?(?:(?:back|fore)ground|distance)\b", re.IGNORECASE)


def leading_part(rest: str) -> str:
    """The "with ..." of the subject that a caption without it begins with; empty where it begins otherwise."""
    if not (match := WITH_PART.match(rest)):
        return ""
    found = INCIDENTAL.search(rest, match.end())
    end = found.start() if found else len(rest)
    return "" if AROUND.search(rest[:end]) or IN_BACKGROUND.match(rest, end) else rest[:end].strip(" ,.")


def drop_subject(draft: str) -> str:
    """What follows the leading noun phrase, empty when nothing does.

    "a woman with long hair in the snow, smiling" -> "with long hair in the snow, smiling"
    """
    found = INCIDENTAL.search(draft)
    return draft[found.start() :].strip(" ,.") if found else ""
