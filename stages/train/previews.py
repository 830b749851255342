"""Pictures of a run while it learns. Their noise has a key of its own, so that they disturb no training draw."""

import hashlib
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
from pseudoword.prompts import fill
from stages.train.pack import Packed
from stages.train.trainee import Trainee


def preview_key(packed: Packed) -> str:
    """A name for all that a preview depends on besides the word: 16 hex digits."""
    content = [preview_prompt(packed), packed.settings.train.preview.model_dump(mode="json", exclude={"every"})]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def preview_prompt(packed: Packed) -> str:
    prompt = packed.settings.train.preview.prompt
    return fill(prompt, packed.texts.name, packed.texts.captions[0]) if prompt else packed.texts.first()


@torch.no_grad()
def draw_preview(
    base: Base, trainee: Trainee, packed: Packed, run: int, parameters: Tensor, native: int
) -> Image.Image:  # fmt: skip
    """One picture with the parameters (V, D) of a run; `native` px is what `auto` sides come to."""
    preview = packed.settings.train.preview
    width, height = (native if side == "auto" else int(side) for side in (preview.width, preview.height))
    shape = base.latent_shape(height, width)
    noise = torch.from_numpy(generator(preview.seed, Stream.PICTURE).standard_normal((1, *shape), "float32"))

    def condition(prompt: str) -> Conditioning:
        ids = packed.texts.vocabulary.encode_all([prompt]).to(trainee.reads_prompts_on)
        return trainee.condition(parameters, ids, [run])

    negative = condition(preview.negative) if preview.negative else None
    positive = condition(preview_prompt(packed))
    return base.draw(positive, negative, noise, preview.inference_steps, preview.guidance, preview.sampler)[0]


def save_preview(
    path: Path, image: Image.Image, trainee: Trainee, packed: Packed, run: int, parameters: Tensor,
    metadata: dict[str, str],
) -> None:  # fmt: skip
    """A PNG that tells how it was drawn; with `preview.embed` it carries what was learned and has a caption over it."""
    preview = packed.settings.train.preview
    if preview.embed:
        trainee.save(path, run, parameters, metadata, image)
        return
    text = PngInfo()
    text.add_itxt("prompt", preview_prompt(packed))
    text.add_itxt("pseudoword", json.dumps(preview.model_dump() | metadata))
    save_with(path, partial(image.save, format="PNG", pnginfo=text))
