"""A captioner of the image-to-text kind (BLIP, BLIP-2 and their like) from a folder or the hub."""

import re
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    ProcessorMixin,
)

from pseudoword.base.hub import CONFIGS, UNREADABLE, NotFetched, commit_of, fetch, fetch_model
from pseudoword.base.location import digest
from pseudoword.captions.models import FALLBACK
from pseudoword.errors import UserError, is_out_of_memory


class NoCaptioner(UserError):
    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"caption.model: '{model}' cannot be loaded as a captioner: {reason}\n"
            "Set caption.model in params.yaml to a folder saved by transformers (model and processor), or to a hub id "
            f"such as {FALLBACK} with the network up or the model in the cache."
        )


class PrefixTooLong(UserError):
    def __init__(self, prefix: str, tokens: int, positions: int) -> None:
        super().__init__(
            f"caption.prefix: '{prefix}' takes {tokens} of the {positions} tokens that the captioner has room for. "
            "Shorten it."
        )


class TooManyAtOnce(UserError):
    def __init__(self, pictures: int, device: str) -> None:
        super().__init__(
            f"caption.batch: {pictures} pictures at once do not fit into the memory of {device} beside the captioner. "
            "Lower caption.batch or take a smaller caption.model."
        )


class Captioner:
    """A model whose config is read at once, and whose weights when the first picture comes. Raises NoCaptioner."""

    def __init__(
        self,
        model: str,
        revision: str | None,
        device: str,
        precision: torch.dtype,
        prefix: str = "",
        beams: int = 1,
        min_tokens: int = 0,
        max_tokens: int = 40,
    ) -> None:
        self.model, self.device, self.precision = model, device, precision
        self.prefix, self.beams, self.min_tokens, self.max_tokens = prefix, beams, min_tokens, max_tokens
        try:
            local = Path(model).is_dir()
            folder = Path(model) if local else fetch(model, revision, CONFIGS)
            AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except (NotFetched, *UNREADABLE) as error:
            raise NoCaptioner(model, _told(error)) from error
        # The weights come from the commit that the config was of, even if the branch moves meanwhile.
        self.commit = None if local else commit_of(folder)
        identity = f"{model}@{self.commit}" if self.commit else digest(folder)
        self.key = ("captioner", identity, device, str(precision), prefix, beams, min_tokens, max_tokens)

    @cached_property
    def loaded(self) -> tuple[Any, Any, Any]:
        """What reads pictures and texts, what turns tokens into text, and the model."""
        safely: dict[str, Any] = {"trust_remote_code": False}
        try:
            folder = fetch_model(self.model, self.commit) if self.commit else Path(self.model)
            reader: Any = AutoProcessor.from_pretrained(folder, **safely)
            writer = reader
            if not isinstance(reader, ProcessorMixin):  # a model such as ViT-GPT2 has two parts instead of one
                reader = AutoImageProcessor.from_pretrained(folder, **safely)
                writer = AutoTokenizer.from_pretrained(folder, **safely)
            model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=self.precision, **safely)
        except (NotFetched, *UNREADABLE) as error:
            if is_out_of_memory(error):
                raise
            raise NoCaptioner(self.model, _told(error)) from error
        return reader, writer, model.to(self.device).eval()

    @torch.no_grad()
    def draft(self, pictures: list[Image.Image]) -> list[str]:
        """One draft for each RGB picture, the likeliest of the beam search; each starts with the prefix.

        Raises NoCaptioner, PrefixTooLong, TooManyAtOnce.
        """
        _, writer, model = self.loaded
        try:
            inputs = self._inputs(pictures)
            most = self._room(inputs)
            tokens = model.generate(
                **inputs,
                num_beams=self.beams,
                do_sample=False,
                min_new_tokens=min(self.min_tokens, most) or None,
                max_new_tokens=most,
            )
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise TooManyAtOnce(len(pictures), self.device) from error
            raise NoCaptioner(self.model, f"it does not caption a picture by itself: {_told(error)}") from error
        return [tidy(said, self.prefix) for said in writer.batch_decode(tokens, skip_special_tokens=True)]

    def _inputs(self, pictures: list[Image.Image]) -> Any:
        reader, writer, model = self.loaded
        text = {"text": [self.prefix] * len(pictures)} if self.prefix.strip() and reader is writer else {}
        inputs = reader(images=pictures, **text, return_tensors="pt").to(model.device, model.dtype)
        inputs.pop("token_type_ids", None)
        if text and model.config.model_type == "git":
            # Others cut the end mark themselves; after it there would be nothing more to say.
            inputs.update({key: inputs[key][:, :-1] for key in ("input_ids", "attention_mask")})
        return inputs

    def _room(self, inputs: Any) -> int:
        """At most `max_tokens`, and no more than the model has positions for after the prefix."""
        positions = getattr(self.loaded[-1].config.get_text_config(), "max_position_embeddings", None)
        taken = inputs["input_ids"].shape[1] if "input_ids" in inputs else 2
        if positions and taken >= positions:
            raise PrefixTooLong(self.prefix, taken, positions)
        return min(self.max_tokens, positions - taken) if positions else self.max_tokens


def _told(error: Exception) -> str:
    return " ".join(str(error).split())


def tidy(draft: str, prefix: str) -> str:
    """One line without the spaces that a tokenizer leaves before commas, which starts with the prefix, said once."""
    draft = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(draft.split()))
    prefix = " ".join(prefix.split())
    if prefix and draft.lower().startswith(f"{prefix} {prefix}".lower()):
        draft = draft[len(prefix) :].lstrip()
    # Some models do not repeat what they were told to start with. Tokenizers change case, accents and spaces.
    letters = _letters(prefix)
    said = draft.startswith(prefix) or (letters and _letters(draft).startswith(letters))
    return draft if said else f"{prefix} {draft}"


def _letters(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if sign.isalnum())
