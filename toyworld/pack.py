"""pack: the trained parts as one model in diffusers layout, in half precision.

usage   python -m toyworld.pack [MODEL]    parts that are not under build/ come from a packed model
reads   build/{tokenizer,clip,vae,unet,scheduler,captioner,judge,image_judge}/
writes  build/model/    loads with StableDiffusionPipeline.from_pretrained; captioner and judges beside
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    BlipForConditionalGeneration,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
    ResNetModel,
    ViTImageProcessor,
)

from toyworld import BUILD

LARGEST_MB = 40


def pack(build: Path, folder: Path, begun: Path | None = None) -> None:
    """Assemble `folder` anew from the parts under `build`, and from those of `begun` where there is none."""

    def part(name: str, packed: str | None = None) -> Path:
        return build / name if begun is None or (build / name).is_dir() else begun / (packed or name)

    shutil.rmtree(folder, ignore_errors=True)
    half = torch.float16
    pipeline: DiffusionPipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(part("vae"), torch_dtype=half),
        text_encoder=CLIPTextModel.from_pretrained(part("clip", "text_encoder"), dtype=half),
        tokenizer=CLIPTokenizer.from_pretrained(part("tokenizer")),
        unet=UNet2DConditionModel.from_pretrained(part("unet"), torch_dtype=half),
        scheduler=PNDMScheduler.from_pretrained(part("scheduler")),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    CLIPModel.from_pretrained(part("judge"), dtype=half).save_pretrained(folder / "judge")
    CLIPTokenizer.from_pretrained(part("judge")).save_pretrained(folder / "judge")
    CLIPImageProcessor.from_pretrained(part("judge")).save_pretrained(folder / "judge")
    ResNetModel.from_pretrained(part("image_judge"), dtype=half).save_pretrained(folder / "image_judge")
    ViTImageProcessor.from_pretrained(part("image_judge")).save_pretrained(folder / "image_judge")
    BlipForConditionalGeneration.from_pretrained(part("captioner"), dtype=half).save_pretrained(folder / "captioner")
    BlipProcessor.from_pretrained(part("captioner")).save_pretrained(folder / "captioner")
    for config in (folder / "vae/config.json", folder / "unet/config.json"):
        kept = {key: value for key, value in json.loads(config.read_text()).items() if key != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")  # no path of the machine it was made on
    # Half precision on disk alone: loaded without a word about number formats, all parts come in single precision.
    for loaded in ("text_encoder", "judge", "image_judge", "captioner"):
        config = folder / loaded / "config.json"
        config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    for tokenizer in (folder / "tokenizer", folder / "judge"):
        for name in ("vocab.json", "merges.txt"):  # which transformers before version 5 read
            shutil.copy(part("tokenizer") / name, tokenizer)
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    print(f"pack: {folder} is {megabytes:.1f} MB")
    if megabytes > LARGEST_MB:
        raise SystemExit(f"{folder} is {megabytes:.1f} MB; at most {LARGEST_MB} MB belong into the repository")


if __name__ == "__main__":
    pack(BUILD, BUILD / "model", Path(sys.argv[1]) if sys.argv[1:] else None)
