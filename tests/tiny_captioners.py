"""Tiny random captioners of the kinds that differ in how they are told to begin: BLIP-2, GIT, ViT-GPT2."""

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    CLIPImageProcessor,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

SIDE = {"height": 16, "width": 16}
LAYER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = LAYER | {"image_size": 16, "patch_size": 8}
MARKS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["a", "an", "the", "in", "on", "of", "photo", "dog", "star", "snow", "red", "blue", "with", "hat"],
]
PIECES = ["<pad>", "<s>", "</s>", "<unk>", "Ġ", *string.ascii_lowercase]


def letters() -> PreTrainedTokenizerFast:
    """One token for each letter and for the space."""
    pieces = {piece: at for at, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def save_blip2(folder: Path) -> None:
    processor = Blip2Processor(BlipImageProcessor(size=SIDE), letters(), num_query_tokens=4)
    text = {"model_type": "opt", "ffn_dim": 16, "word_embed_proj_dim": 16, "init_std": 1.0,
            "vocab_size": len(processor.tokenizer), "max_position_embeddings": 60}  # fmt: skip
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=VISION, qformer_config=LAYER | {"encoder_hidden_size": 16}, text_config=LAYER | MARKS | text,
        num_query_tokens=4, image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_git(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = BertTokenizer(vocab={word: at for at, word in enumerate(WORDS)})
    config = GitConfig(vision_config=VISION, vocab_size=len(WORDS), max_position_embeddings=60, initializer_range=1.0,
                       bos_token_id=2, eos_token_id=3, pad_token_id=0, **LAYER)  # fmt: skip
    GitForCausalLM(config).save_pretrained(folder)
    GitProcessor(CLIPImageProcessor(size=SIDE, crop_size=SIDE), tokenizer).save_pretrained(folder)


def save_vit_gpt2(folder: Path) -> None:
    torch.manual_seed(0)
    text = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=len(PIECES), n_positions=60, add_cross_attention=True,
                      is_decoder=True, initializer_range=1.0, **MARKS)  # fmt: skip
    model = VisionEncoderDecoderModel(encoder=ViTModel(ViTConfig(**VISION)), decoder=GPT2LMHeadModel(text))
    for config in (model.config, model.generation_config):
        config.update({"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 2})
    model.save_pretrained(folder)
    ViTImageProcessor(size=SIDE).save_pretrained(folder)
    letters().save_pretrained(folder)


KINDS = {"blip2": save_blip2, "git": save_git, "vit-gpt2": save_vit_gpt2}
