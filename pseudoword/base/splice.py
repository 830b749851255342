"""The word's vectors in the place of a token: the only door through which training enters the frozen model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import PreTrainedModel


class SplicedEmbedding(nn.Module):
    """A frozen token table that answers ids beyond its end with the vectors it holds at the moment.

    The table is never written to and takes no gradient, so the optimiser cannot move, decay or drift anything else.
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.vectors: Tensor | None = None

    @classmethod
    def around(cls, text_encoder: PreTrainedModel) -> Self:
        """Put a SplicedEmbedding between a text encoder and its table."""
        table = text_encoder.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        spliced = cls(table)
        text_encoder.set_input_embeddings(spliced)
        return spliced

    @contextmanager
    def holding(self, vectors: Tensor) -> Iterator[None]:
        """Answer with `vectors` (K, D) while the body runs."""
        self.vectors = vectors
        try:
            yield
        finally:
            self.vectors = None

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, D) embeddings in the table's precision; gradient reaches the K vectors only."""
        first = self.table.num_embeddings
        embedded: Tensor = self.table(ids.clamp(max=first - 1))
        if self.vectors is None or len(self.vectors) == 0:
            return embedded
        # A lookup and a select with static shapes: no host synchronisation, fit for CUDA graphs. Not by indexing, whose
        # backward adds up in another order each time when a CPU has several threads.
        spliced = embedding((ids - first).clamp(0, len(self.vectors) - 1), self.vectors).to(embedded.dtype)
        return spliced.where((ids >= first).unsqueeze(-1), embedded)
