"""clip and judge: text and vision encoders trained by contrast; the judge with another seed, patch and depth.

usage   python -m toyworld.contrast clip | judge
reads   build/pictures/, build/tokenizer/
writes  build/<name>/    CLIPModel with tokenizer and image processor
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from toyworld import BUILD, stage_params, state_file
from toyworld.pictures import load_pictures, load_records
from toyworld.training import DEVICE, fit, keyed

MEAN_STD = (0.5, 0.5, 0.5)
CAPTION_TOKENS = 32  # no caption of the world is longer; attention is causal, so shorter training changes nothing


def build(tokenizer: CLIPTokenizer, resolution: int, width: int, text_layers: int, vision_layers: int, patch: int,
          seed: int) -> CLIPModel:  # fmt: skip
    shared = {"hidden_size": width, "intermediate_size": 3 * width, "num_attention_heads": 4, "projection_dim": width}
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
             "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    torch.manual_seed(seed)
    return CLIPModel(
        CLIPConfig(
            text_config={**shared, **marks, "num_hidden_layers": text_layers, "vocab_size": len(tokenizer),
                         "max_position_embeddings": 77},
            vision_config={**shared, "num_hidden_layers": vision_layers, "patch_size": patch, "image_size": resolution},
            projection_dim=width,
        )
    )  # fmt: skip


def encode_captions(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """(N, CAPTION_TOKENS) int64, padded with the end mark as CLIP pads."""
    ids = tokenizer(captions, padding="max_length", max_length=CAPTION_TOKENS, truncation=True, return_tensors="pt")
    encoded: Tensor = ids["input_ids"]
    return encoded


def retrieval(model: CLIPModel, pictures: Tensor, ids: Tensor, captions: list[str]) -> float:
    """Share of pictures whose own caption, or the same words, is the nearest of all given ones."""
    with torch.no_grad():
        nearest: list[int] = model(input_ids=ids, pixel_values=pictures).logits_per_image.argmax(1).tolist()
    return sum(captions[at] == captions[own] for own, at in enumerate(nearest)) / len(nearest)


def train(folder: Path, name: str, steps: int, batch: int, learn_rate: float, seed: int, **shape: int) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(BUILD / "tokenizer")
    pictures, records = load_pictures("train"), load_records("train")
    ids = torch.stack([encode_captions(tokenizer, [r["captions"][k] for r in records]) for k in (0, 1)])
    model = build(tokenizer, pictures.shape[-1], seed=seed, **shape).to(DEVICE)  # type: ignore[arg-type]
    check = load_pictures("check")[:512].float().to(DEVICE) / 127.5 - 1
    check_captions = [record["captions"][0] for record in load_records("check")[:512]]
    check_ids = encode_captions(tokenizer, check_captions).to(DEVICE)

    def loss(step: int) -> Tensor:
        index = torch.randint(len(pictures), (batch,), generator=keyed(seed, step))
        text = ids[torch.randint(2, (batch,), generator=keyed(seed, step, 1)), index].to(DEVICE)
        image = pictures[index].to(DEVICE).float() / 127.5 - 1
        model.logit_scale.data.clamp_(max=4.1)
        logits = model(input_ids=text, pixel_values=image).logits_per_image
        # Pictures whose captions read the same are no mistakes of each other: share the target among them.
        same = (text[:, None] == text[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def quality(step: int) -> str:
        model.eval()
        found = retrieval(model, check, check_ids, check_captions)
        model.train()
        return f"retrieval@1 of 512: {found:.3f}"

    fit(name, model, loss, state_file(name), learn_rate, steps, weight_decay=0.02, report=quality)
    print(f"{name}: {quality(0)}")
    size = {"height": pictures.shape[-2], "width": pictures.shape[-1]}
    processor = CLIPImageProcessor(size=size, crop_size=size, image_mean=MEAN_STD, image_std=MEAN_STD)
    for part in (model.eval(), tokenizer, processor):
        part.save_pretrained(folder)


if __name__ == "__main__":
    train(BUILD / sys.argv[1], sys.argv[1], **stage_params(sys.argv[1]))
