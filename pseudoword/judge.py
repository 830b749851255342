"""The judges: models that had no part in training and compare pictures with pictures and with texts.

Each embeds in batches of one shape, the last one filled up: how a model rounds depends on how many go through it at
once, and so a picture has the same bits beside any others.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, CLIPModel, CLIPProcessor

from pseudoword.base.hub import UNREADABLE, NotFetched, commit_of, fetch_model, first_line
from pseudoword.base.identity import ModelIdentity
from pseudoword.errors import UserError, is_out_of_memory
from pseudoword.settings.kind import Kind

TEXTS = "openai/clip-vit-base-patch32"
# As the benchmarks of personalisation have it: DINO tells one dog from another, which CLIP does not.
IMAGES: dict[Kind, str] = {"thing": "facebook/dinov2-base", "person": "facebook/dinov2-base", "style": TEXTS}
BATCH = 8
T = TypeVar("T")


class NoJudge(UserError):
    def __init__(self, key: str, model: str, reason: str, wanted: str) -> None:
        super().__init__(
            f"{key}: '{model}' is not a model that could be loaded: {reason}. Give a folder with {wanted}, or a hub id "
            f"such as '{TEXTS}' with the network up or the model in the cache."
        )


def text_judge_name(setting: str, model: ModelIdentity) -> str:
    """`auto` is `judge` in the base model's own folder where there is one, else CLIP ViT-B/32."""
    return setting if setting != "auto" else _beside(model, "judge") or TEXTS


def image_judge_name(setting: str, kind: Kind, model: ModelIdentity) -> str:
    """`auto` is `image_judge` in the base model's own folder where there is one, else DINOv2 or, for a style, CLIP."""
    return setting if setting != "auto" else _beside(model, "image_judge") or IMAGES[kind]


def _beside(model: ModelIdentity, name: str) -> str:
    folder = model.place / name
    return str(folder) if folder.is_dir() else ""


class TextJudge:
    """A CLIP: unit vectors for pictures and texts; a dot product of two is their similarity, -1 to 1."""

    def __init__(self, model: CLIPModel, processor: CLIPProcessor, name: str = "") -> None:
        self.model, self.processor, self.name = model, processor, name

    @classmethod
    def load(cls, name: str, device: str) -> Self:
        """From a folder or a hub id. Raises NoJudge."""
        try:
            folder = _folder(name)
            model = _whole(CLIPModel, folder)
            processor = CLIPProcessor.from_pretrained(folder)
        except (NotFetched, *UNREADABLE) as error:
            if is_out_of_memory(error):
                raise
            raise NoJudge("judge.texts", name, first_line(error), "a CLIPModel") from error
        return cls(model.requires_grad_(False).eval().to(device), processor, _with_commit(name, folder))

    def pictures(self, pictures: Iterable[Image.Image]) -> Tensor:
        """(N, D) float32 on the CPU."""
        return _in_batches(pictures, self._pictures)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) float32 on the CPU."""
        return _in_batches(texts, self._texts)

    def _pictures(self, pictures: list[Image.Image]) -> Tensor:
        inputs = self.processor(images=pictures, return_tensors="pt").to(self.model.device)
        projected: Tensor = self.model.visual_projection(self.model.vision_model(**inputs).pooler_output)
        return projected

    def _texts(self, texts: list[str]) -> Tensor:
        inputs = self.processor(text=texts, padding="max_length", truncation=True, return_tensors="pt")
        read = self.model.text_model(**inputs.to(self.model.device))
        projected: Tensor = self.model.text_projection(read.pooler_output)
        return projected


class ImageJudge:
    """An image model: unit vectors for pictures; a dot product of two is how alike what they show is, -1 to 1.

    Where the model's config has `features_by_kind` (of toyworld: things in the first half, styles in the second), these
    of its features are used, else all.
    """

    def __init__(self, model: Any, processor: Any, kind: Kind, name: str = "") -> None:
        self.model, self.processor, self.name = model, processor, name
        parts = getattr(model.config, "features_by_kind", None) or {}
        self.part = slice(*parts.get(kind, (None, None)))

    @classmethod
    def load(cls, name: str, kind: Kind, device: str) -> Self:
        """From a folder or a hub id, any image model of transformers with a pooled output. Raises NoJudge."""
        try:
            folder = _folder(name)
            model = _whole(AutoModel, folder)
            processor = AutoImageProcessor.from_pretrained(folder)
            judge = cls(model.requires_grad_(False).eval().to(device), processor, kind, _with_commit(name, folder))
            judge.pictures([Image.new("RGB", (64, 64))])
        except (NotFetched, *UNREADABLE) as error:
            if is_out_of_memory(error):
                raise
            raise NoJudge("judge.images", name, first_line(error), "an image model of transformers") from error
        return judge

    def pictures(self, pictures: Iterable[Image.Image]) -> Tensor:
        """(N, D) float32 on the CPU."""
        return _in_batches(pictures, self._pictures)

    def _pictures(self, pictures: list[Image.Image]) -> Tensor:
        inputs = self.processor(images=pictures, return_tensors="pt").to(self.model.device)
        vision = getattr(self.model, "vision_model", self.model)  # of a CLIP or SigLIP
        pooled: Tensor = vision(**inputs).pooler_output.flatten(1)
        projection = getattr(self.model, "visual_projection", None)
        return (pooled if projection is None else projection(pooled))[:, self.part]


def _folder(name: str) -> Path:
    return Path(name) if Path(name).is_dir() else fetch_model(name, None)


def _whole(kind: Any, folder: Path) -> Any:
    """The model of a folder in float32. Raises ValueError for one that lacks weights, which transformers makes up."""
    transformers.utils.logging.disable_progress_bar()
    model, found = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"its file lacks {len(missing)} of the weights of a {type(model).__name__}, such as {missing[0]}"
        )
    return model


def _with_commit(name: str, folder: Path) -> str:
    """`id@commit` of a hub id."""
    commit = commit_of(folder)
    return f"{name.partition('@')[0]}@{commit}" if commit else name


@torch.no_grad()
def _in_batches(items: Iterable[T], embed: Callable[[list[T]], Tensor]) -> Tensor:
    """(N, D) unit vectors, float32 on the CPU. No more than a batch of the items is held."""
    found, left = [], iter(items)
    while part := list(islice(left, BATCH)):
        filled = part + part[-1:] * (BATCH - len(part))
        found.append(torch.nn.functional.normalize(embed(filled)[: len(part)].float().cpu(), dim=-1))
    return torch.cat(found)
