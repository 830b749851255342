"""pack: the trained parts as one model in diffusers layout, in half precision.

reads   build/{tokenizer,clip,vae,unet,scheduler,captioner,judge,image_judge}/
writes  build/model/    loads with StableDiffusionPipeline.from_pretrained; captioner and judges beside
"""

import json
import shutil
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


def pack(build: Path, folder: Path) -> None:
    """Assemble `folder` anew from the parts under `build`."""
    shutil.rmtree(folder, ignore_errors=True)
    half = torch.float16
    pipeline: DiffusionPipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(build / "vae", torch_dtype=half),
        text_encoder=CLIPTextModel.from_pretrained(build / "clip", dtype=half),
        tokenizer=CLIPTokenizer.from_pretrained(build / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(build / "unet", torch_dtype=half),
        scheduler=PNDMScheduler.from_pretrained(build / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    CLIPModel.from_pretrained(build / "judge", dtype=half).save_pretrained(folder / "judge")
    CLIPTokenizer.from_pretrained(build / "judge").save_pretrained(folder / "judge")
    CLIPImageProcessor.from_pretrained(build / "judge").save_pretrained(folder / "judge")
    ResNetModel.from_pretrained(build / "image_judge", dtype=half).save_pretrained(folder / "image_judge")
    ViTImageProcessor.from_pretrained(build / "image_judge").save_pretrained(folder / "image_judge")
    BlipForConditionalGeneration.from_pretrained(build / "captioner", dtype=half).save_pretrained(folder / "captioner")
    BlipProcessor.from_pretrained(build / "captioner").save_pretrained(folder / "captioner")
    for config in (folder / "vae/config.json", folder / "unet/config.json"):
        kept = {key: value for key, value in json.loads(config.read_text()).items() if key != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")  # no path of the machine it was made on
    # Half precision on disk alone: loaded without a word about number formats, all parts come in single precision.
    for part in ("text_encoder", "judge", "image_judge", "captioner"):
        config = folder / part / "config.json"
        config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    for tokenizer in (folder / "tokenizer", folder / "judge"):
        for name in ("vocab.json", "merges.txt"):  # which transformers before version 5 read
            shutil.copy(build / "tokenizer" / name, tokenizer)
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    print(f"pack: {folder} is {megabytes:.1f} MB")
    if megabytes > LARGEST_MB:
        raise SystemExit(f"{folder} is {megabytes:.1f} MB; at most {LARGEST_MB} MB belong into the repository")


if __name__ == "__main__":
    pack(BUILD, BUILD / "model")
