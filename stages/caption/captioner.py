"""A captioner of the image-to-text kind (BLIP and its like) from a folder or the hub."""

import re
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor

from pseudoword.errors import UserError

# transformers and the hub client know many ways to say that a model is not there, is damaged or is something else.
LOADING = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)
FALLBACK = "Salesforce/blip-image-captioning-base"
BATCH = 8


class NoCaptioner(UserError):
    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"caption.model: '{model}' cannot be loaded as a captioner: {reason}\n"
            "Set caption.model in params.yaml to a folder saved by transformers (model and processor), or to a hub id "
            f"such as {FALLBACK} with the network up or the model in the cache."
        )


def choose_model(model: str, base_model: str) -> str:
    """`auto` is the captioner that lies in the base model's folder, else BLIP base from the hub."""
    if model != "auto":
        return model
    own = Path(base_model) / "captioner"
    return str(own) if own.is_dir() else FALLBACK


class Captioner:
    """A model and its processor. Raises NoCaptioner."""

    def __init__(self, model: str, device: str, precision: torch.dtype) -> None:
        try:
            self.processor: Any = AutoProcessor.from_pretrained(model)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=precision)
        except LOADING as error:
            raise NoCaptioner(model, " ".join(str(error).split())) from error
        self.model = loaded.to(device).eval()

    def draft(self, pictures: list[Image.Image], prefix: str, beams: int, max_tokens: int) -> list[str]:
        """One draft for each RGB picture, the likeliest of the beam search; each starts with `prefix`."""
        drafts: list[str] = []
        with tqdm(total=len(pictures), desc="caption", unit="picture", mininterval=1) as bar:
            for start in range(0, len(pictures), BATCH):
                part = pictures[start : start + BATCH]
                drafts += [tidy(text, prefix) for text in self._generate(part, prefix, beams, max_tokens)]
                bar.update(len(part))
        return drafts

    @torch.no_grad()
    def _generate(self, pictures: list[Image.Image], prefix: str, beams: int, max_tokens: int) -> list[str]:
        text = [prefix] * len(pictures) if prefix.strip() else None
        inputs = self.processor(images=pictures, text=text, return_tensors="pt")
        inputs = inputs.to(self.model.device, self.model.dtype)
        tokens = self.model.generate(
            **inputs, num_beams=beams, do_sample=False, max_new_tokens=self._room(inputs, max_tokens)
        )
        texts: list[str] = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return texts

    def _room(self, inputs: Any, max_tokens: int) -> int:
        """At most `max_tokens`, and no more than the model has positions for after the prefix."""
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        taken = inputs["input_ids"].shape[1] if "input_ids" in inputs else 2
        return min(max_tokens, positions - taken) if positions else max_tokens


def tidy(draft: str, prefix: str) -> str:
    """One line without the spaces that a tokenizer leaves before commas, and without a prefix that was said twice."""
    draft = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(draft.split()))
    prefix = " ".join(prefix.split())
    if prefix and draft.lower().startswith(f"{prefix} {prefix}".lower()):
        draft = draft[len(prefix) :].lstrip()
    return draft
