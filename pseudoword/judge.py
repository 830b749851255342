"""The judge: a CLIP that had no part in training and compares pictures with pictures and with texts."""

from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from pseudoword.base.hub import UNREADABLE, NotFetched, commit_of, fetch_model, first_line
from pseudoword.base.identity import ModelIdentity
from pseudoword.errors import UserError

DEFAULT = "openai/clip-vit-base-patch32"
BATCH = 32


class NoJudge(UserError):
    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"evaluate.judge: '{model}' is not a CLIP that could be loaded: {reason}. Give a folder with a CLIPModel, "
            f"or a hub id such as '{DEFAULT}' with the network up or the model in the cache."
        )


def judge_name(judge: str, model: ModelIdentity) -> str:
    """`auto` is the judge in the base model's own folder where there is one, else CLIP ViT-B/32."""
    if judge != "auto":
        return judge
    beside = model.place / "judge"
    return str(beside) if beside.is_dir() else DEFAULT


class Judge:
    """Unit vectors for pictures and texts; a dot product of two is their similarity, -1 to 1."""

    def __init__(self, model: CLIPModel, processor: CLIPProcessor, commit: str | None = None) -> None:
        self.model, self.processor, self.commit = model, processor, commit

    @classmethod
    def load(cls, name: str, device: str) -> Self:
        """From a folder or a hub id. Raises NoJudge."""
        try:
            folder = Path(name) if Path(name).is_dir() else fetch_model(name, None)
            model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
            processor = CLIPProcessor.from_pretrained(folder)
        except (NotFetched, *UNREADABLE) as error:
            raise NoJudge(name, first_line(error)) from error
        return cls(model.requires_grad_(False).eval().to(device), processor, commit_of(folder))

    @torch.no_grad()
    def pictures(self, pictures: list[Image.Image]) -> Tensor:
        """(N, D) float32 on the CPU."""
        parts = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        return torch.cat([self._pictures(part) for part in parts])

    def _pictures(self, pictures: list[Image.Image]) -> Tensor:
        inputs = self.processor(images=pictures, return_tensors="pt").to(self.model.device)
        pooled = self.model.vision_model(**inputs).pooler_output
        return _unit(self.model.visual_projection(pooled))

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Tensor:
        """(N, D) float32 on the CPU."""
        inputs = self.processor(text=texts, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        return _unit(self.model.text_projection(self.model.text_model(**inputs).pooler_output))


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float().cpu(), dim=-1)


def similarity_among(pictures: Tensor) -> float:
    """Mean similarity of different pictures of a set, (N, D) unit vectors; 1 for a single picture."""
    number = len(pictures)
    if number == 1:
        return 1.0
    return float((pictures @ pictures.T).fill_diagonal_(0).sum() / (number * (number - 1)))
