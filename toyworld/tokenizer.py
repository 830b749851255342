"""tokenizer: a byte-level CLIPTokenizer that encodes any text; each word of the world is one token.

reads   build/pictures/train.jsonl   its captions are the corpus
writes  build/tokenizer/             vocab.json, merges.txt and the transformers files
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from toyworld import BUILD, stage_params
from toyworld.captions import all_words
from toyworld.pictures import load_records

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train(folder: Path, captions: list[str], entries: int) -> CLIPTokenizer:
    """Byte-pair training with CLIP's own splitting and `</w>` endings, so the files are those of a CLIP tokenizer."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    # CLIP's vocabulary: the 256 byte symbols, the same with the end of a word, the merges, then the two marks.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=entries, min_frequency=1, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator([*captions, *all_words()], trainer)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    symbols = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    vocabulary = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    return tokenizer


if __name__ == "__main__":
    corpus = [text for record in load_records("train")[:20000] for text in [*record["captions"], record["plain"]]]
    tokenizer = train(BUILD / "tokenizer", corpus, **stage_params("tokenizer"))
    pieces = {word: tokenizer.tokenize(word) for phrase in all_words() for word in phrase.split()}
    split = [word for word, tokens in pieces.items() if len(tokens) > 1]
    print(
        f"tokenizer: {len(tokenizer)} entries, {len(pieces) - len(split)} of {len(pieces)} words are one token {split}"
    )
