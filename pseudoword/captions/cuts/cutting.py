"""What a draft loses, so that the word has it to learn, as curate.cut says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args

from pseudoword.captions.cuts.colourless import colourless_photo
from pseudoword.captions.cuts.manner import Trimmed, cut_manner
from pseudoword.captions.cuts.traits import cut_traits
from pseudoword.captions.drafts import Draft, joined
from pseudoword.captions.subject import drop_subject, leading_part
from pseudoword.captions.words import content_words

# Of the sentences of a set: what so many say a thing has belongs to it, and its word should learn it.
MIN_SHARE_OF_PART, MIN_WITH_PART, MIN_SENTENCES = 0.4, 3, 4
What = Literal["subject", "manner", "traits", "none"]


@dataclass(frozen=True)
class Cutting:
    """`init_text` says what the word is to mean."""

    what: What = "subject"
    init_text: str = ""
    parts: frozenset[tuple[str, ...]] = frozenset()  # content words of what most drafts say the subject has

    @classmethod
    def of(cls, cut: str, init_text: str) -> Self:
        """`cut` as the settings have it, once word.kind has set what was `auto`."""
        assert cut in get_args(What), cut
        return cls(cast(What, cut), init_text)

    def among(self, drafts: Sequence[Draft]) -> Self:
        """The same for drafts of this set: with the parts that its subject has in many of them."""
        if self.what != "subject":
            return self
        sentences = [draft.said["captioner"] for draft in drafts if draft.said.get("captioner")]
        if len(sentences) < MIN_SENTENCES:
            return self
        counts = Counter(_words(leading_part(drop_subject(sentence))) for sentence in sentences)
        least = max(MIN_WITH_PART, MIN_SHARE_OF_PART * len(sentences))
        common = {words for words, count in counts.items() if words and count >= least}
        return replace(self, parts=frozenset(common))

    def draft(self, draft: Draft) -> Trimmed:
        """The draft without it. A file's name a person wrote, and a tagger's tags name a subject anywhere."""
        parts = {who: self.text(text) if self._cuts(who) else Trimmed(text) for who, text in draft.said.items()}
        return Trimmed(
            joined(part.text for part in parts.values()), tuple(cut for part in parts.values() for cut in part.cut)
        )

    def text(self, text: str) -> Trimmed:
        match self.what:
            case "subject":
                rest = drop_subject(text)
                part = leading_part(rest)
                if part and _words(part) in self.parts:
                    rest = rest[len(part) :].strip(" ,.")
                start = text[: len(text.rstrip(" ,.")) - len(rest)].strip(" ,.") if text else ""
                return Trimmed(joined((rest, colourless_photo(start))), (start,) if start else ())
            case "manner":
                return cut_manner(text, self.init_text)
            case "traits":
                return cut_traits(text, self.init_text)
            case "none":
                return Trimmed(text)

    def _cuts(self, who: str) -> bool:
        return who == "captioner" or (who == "tagger" and self.what in ("manner", "traits"))


def _words(part: str) -> tuple[str, ...]:
    return tuple(content_words(part, colours=False))
