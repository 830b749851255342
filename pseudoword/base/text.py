"""The CLIP text encoders, layer by layer."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from transformers import CLIPTextModel, PreTrainedModel

from pseudoword.errors import UserError


class BadClipSkip(UserError):
    def __init__(self, clip_skip: int, most: int) -> None:
        super().__init__(
            f"base.clip_skip: {clip_skip} layers are to be skipped; the model's text encoders allow 0 to {most}."
        )


def check_clip_skip(clip_skip: int, encoders: tuple[PreTrainedModel, ...], already: int) -> None:
    """Raises BadClipSkip unless a layer is left below the `already` and `clip_skip` skipped ones."""
    most = most_skipped((int(encoder.config.num_hidden_layers) for encoder in encoders), already)
    if clip_skip > most:
        raise BadClipSkip(clip_skip, most)


def most_skipped(layers: Iterable[int], already: int) -> int:
    """How many layers can be skipped of encoders of so many, of which the last `already` always are."""
    return min(layers) - 1 - already


def transformer(encoder: PreTrainedModel) -> CLIPTextModel:
    """The text model itself, without the projection that the second encoder of SDXL has."""
    inner: Any = getattr(encoder, "text_model", encoder)
    return inner  # type: ignore[no-any-return]


def pooled_at_end(last: Tensor, ids: Tensor, eos: int) -> Tensor:
    """The state at the first end of text, which has read the whole prompt.

    Not transformers' own pooling: where a config has the eos_token_id 2 of old, that takes the place of the highest
    id, which is a new word and not the end.

    last     (B, L, D) states of the last layer, after its norm
    ids      (B, L) int64
    returns  (B, D)
    """
    end = (ids == eos).int().argmax(-1)
    return last.gather(1, end.view(-1, 1, 1).expand(-1, 1, last.shape[-1])).squeeze(1)


def used_windows(ids: Tensor, eos: int) -> Tensor | None:
    """(B, W x L) bool, false in the windows that only fill up a batch of longer prompts; None for one window.

    ids  (B, E, W, L) int64
    """
    if ids.shape[2] == 1:
        return None
    used = ids[:, 0, :, 1] != eos
    used[:, 0] = True
    return used.repeat_interleave(ids.shape[3], dim=1)
