"""Pictures of a run while it learns. Their noise has a key of its own, so that they disturb no training draw."""

import json
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning
from pseudoword.draws import Stream, generator
from pseudoword.files import save_with
from pseudoword.formats.card import draw_card
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.picture import save_picture
from pseudoword.prompts import fill
from pseudoword.settings.train import Preview
from stages.train.pack import Packed


def preview_prompt(own: Packed) -> str:
    wanted = own.settings.train.preview.prompt
    return fill(wanted, own.texts.name, own.texts.captions[0]) if wanted else own.texts.first()


@torch.no_grad()
def draw_preview(base: Base, own: Packed, vectors: Tensor, native: int) -> Image.Image:
    """One picture with all vectors of the pack (V, D) at hand; `native` px is what `auto` sides come to."""
    wanted = own.settings.train.preview
    width, height = (native if side == "auto" else int(side) for side in (wanted.width, wanted.height))
    shape = base.latent_shape(height, width)
    noise = torch.from_numpy(generator(wanted.seed, Stream.PICTURE).standard_normal((1, *shape), "float32"))
    told = _conditioning(base, own, preview_prompt(own), vectors)
    negative = _conditioning(base, own, wanted.negative, vectors) if wanted.negative else None
    return base.draw(told, negative, noise, wanted.inference_steps, wanted.guidance, wanted.sampler)[0]


def _conditioning(base: Base, own: Packed, prompt: str, vectors: Tensor) -> Conditioning:
    return base.encode(own.texts.vocabulary.encode_all([prompt]).to(base.device), vectors)


def save_preview(path: Path, image: Image.Image, embedding: Embedding, prompt: str, wanted: Preview) -> None:
    """A PNG that tells how it was drawn; with `wanted.embed` it carries the word and has a caption over it."""
    if wanted.embed:
        save_picture(path, embedding, draw_card(embedding, image))
        return
    told = PngInfo()
    told.add_itxt("prompt", prompt)
    told.add_itxt("pseudoword", json.dumps(wanted.model_dump() | embedding.metadata))
    save_with(path, partial(image.save, format="PNG", pnginfo=told))
