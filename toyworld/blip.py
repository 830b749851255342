"""blip: a captioner that says colour, noun or description, scene and, where one is drawn that has a name, the style.

usage   python -m toyworld.blip [MODEL STEPS]    go on from the captioner of a packed model
reads   build/pictures/
writes  build/captioner/    BlipForConditionalGeneration with its processor
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from toyworld import BUILD, stage_arguments, state_file
from toyworld.captions import all_words
from toyworld.pictures import load_pictures, load_records
from toyworld.training import DEVICE, fit, keyed

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
MEAN_STD = (0.5, 0.5, 0.5)


def build_tokenizer(folder: Path) -> BertTokenizer:
    """WordPiece over the world's words and single letters, with BLIP's [DEC] as the start of a caption."""
    letters = [chr(code) for code in range(33, 127)]
    words = sorted({word for phrase in [*all_words(), "a an with and style"] for word in phrase.lower().split()})
    vocabulary = list(dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vocab.txt"
    file.write_text("\n".join(vocabulary) + "\n")
    return BertTokenizer(vocab={word: at for at, word in enumerate(vocabulary)}, bos_token="[DEC]", model_max_length=64)


def build(tokenizer: BertTokenizer, resolution: int, width: int) -> BlipForConditionalGeneration:
    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    shared = {"hidden_size": width, "intermediate_size": 3 * width, "num_attention_heads": 4}
    torch.manual_seed(4)
    return BlipForConditionalGeneration(
        BlipConfig(
            text_config={**shared, **marks, "num_hidden_layers": 3, "vocab_size": len(tokenizer),
                         "max_position_embeddings": 64, "encoder_hidden_size": width, "is_decoder": True,
                         "projection_dim": width, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
            vision_config={**shared, "num_hidden_layers": 4, "image_size": resolution, "patch_size": 8},
            projection_dim=width,
            image_text_hidden_size=width,
            **marks,
        )
    )  # fmt: skip


def train(
    folder: Path, begun: Path | None, width: int, steps: int, batch: int, learn_rate: float, matrix_rate: float
) -> None:
    tokenizer = build_tokenizer(folder)
    pictures = torch.cat([load_pictures("train"), load_pictures("varied")])
    records = load_records("train")
    ordinary = len(records)
    records += load_records("varied")
    ids = tokenizer([r["plain"] for r in records], padding=True, return_tensors="pt")["input_ids"]
    ids[:, 0] = tokenizer.bos_token_id
    labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
    model = (
        BlipForConditionalGeneration.from_pretrained(begun / "captioner", dtype=torch.float32)
        if begun
        else build(tokenizer, pictures.shape[-1], width)
    )
    model = model.to(DEVICE)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)

    def loss(step: int) -> Tensor:
        # Half of a batch is of each kind: the varied pictures are what it gets wrong.
        usual = torch.randint(ordinary, (batch // 2,), generator=keyed(5, step))
        varied = torch.randint(ordinary, len(pictures), (batch - batch // 2,), generator=keyed(5, step, 1))
        index = torch.cat([usual, varied])
        image = pictures[index].to(DEVICE).float() / 127.5 - 1
        value: Tensor = model(pixel_values=image, input_ids=ids[index].to(DEVICE), labels=labels[index].to(DEVICE)).loss
        return value

    fit("blip", model, loss, state_file("blip", begun, steps), learn_rate, steps, matrix_rate=matrix_rate)
    model.save_pretrained(folder)
    size = {"height": pictures.shape[-2], "width": pictures.shape[-1]}
    images = BlipImageProcessor(size=size, image_mean=MEAN_STD, image_std=MEAN_STD)
    BlipProcessor(images, tokenizer).save_pretrained(folder)


if __name__ == "__main__":
    train(BUILD / "captioner", **stage_arguments("blip", sys.argv[1:]))
