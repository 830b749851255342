"""What was learned, at work: prompts as the UNet reads them with a word in them, or through a hypernetwork."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pseudoword.base.hypernetwork import Hypernetworks
from pseudoword.base.interface import Base, Conditioning
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.reading import Learned, read_file
from pseudoword.hypernetwork import Hypernetwork, widths_of
from pseudoword.prompts import Vocabulary
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.word import EMBEDDINGS
from pseudoword.word import DoesNotFit, side_by_side


def start_of_hypernetwork(section: HypernetworkSettings, widths: list[int]) -> Hypernetwork | list[int]:
    """What a hypernetwork starts from: that of `init_file`, or the widths of one that has to be drawn.

    widths  of the base model's contexts

    Raises NotForThisModel and CannotBeMade, and DoesNotFit for a file that is none, or of other layers or widths.
    """
    if section.init_file is None:
        return widths_of(section.structure, section.widths, widths)
    key, path = "hypernetwork.init_file", EMBEDDINGS / section.init_file.checked()
    found = read_file(path)
    if not isinstance(found, Hypernetwork):
        raise DoesNotFit(key, path, "is an embedding", "a hypernetwork")
    wanted, has = (replace(structure, dropout=()) for structure in (section.structure, found.structure))
    if has != wanted:
        raise DoesNotFit(
            key, path, f"has the layers {has.summary}",
            f"{wanted.summary}, as hypernetwork.layers, hypernetwork.activation and hypernetwork.layer_norm say",
        )  # fmt: skip
    chosen = widths_of(section.structure, found.widths if section.widths == "auto" else section.widths, widths)
    if found.widths != chosen:
        has_widths, wanted_widths = (", ".join(map(str, each)) for each in (found.widths, chosen))
        raise DoesNotFit(key, path, f"has the widths {has_widths}", f"{wanted_widths}, as hypernetwork.widths says")
    return found


class AtWork:
    """A base model with what was learned: the vectors for the word's name, or all its attention through the modules."""

    def __init__(
        self, base: Base, learned: Learned | None, name: str = "", windows: int = 1, strength: float = 1.0,
        beside: Sequence[Embedding] = (),
    ) -> None:  # fmt: skip
        """learned   None: the base model alone
        name      of the word; without one, and beside a hypernetwork, it is text like any other
        windows   that prompts are read in
        strength  of a hypernetwork
        beside    further words that prompts may hold
        """
        self.base = base
        self.vectors = torch.empty(0, sum(base.widths), device=base.device)
        self.hypernetworks = None
        if isinstance(learned, Hypernetwork):
            self.hypernetworks = Hypernetworks.of([(learned, strength)], base.device)
        elif learned is not None:
            self.vectors = side_by_side(learned).to(base.device)
        first_ids, number = [len(table) for table in base.tables], len(self.vectors)
        others = {embedding.name: side_by_side(embedding).to(base.device) for embedding in beside}
        self.vectors = torch.cat([self.vectors, *others.values()])
        lengths = {name: len(vectors) for name, vectors in others.items()}
        self.vocabulary = Vocabulary(base.tokenizers, first_ids, name, number, windows, lengths)

    def tokens(self, prompts: list[str]) -> Tensor:
        """(B, E, W, L) int64, on the device."""
        return self.vocabulary.encode_all(prompts).to(self.base.device)

    def condition(self, ids: Tensor) -> Conditioning:
        """`ids` as `tokens` gives them."""
        return replace(self.base.encode(ids, self.vectors), hypernetworks=self.hypernetworks)
