"""Templates, captions and the word's place among the tokens."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from pseudoword.formats.embedding import Embedding
from pseudoword.formats.tensors import save_tensors
from pseudoword.formats.writing import write_embedding
from pseudoword.prompts import PromptTooLong, Vocabulary, fill, without_name
from pseudoword.templates import BadTemplate, Prompts
from pseudoword.word import (
    DoesNotFit,
    NameTaken,
    check_name,
    initial_vectors,
    left_out,
    stored_vectors,
    vectors_for,
    vocabulary_norms,
)
from tests.tiny import TOYWORLD, tiny_stable_diffusion

TOKENIZER = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer")
FIRST = len(TOKENIZER)


@pytest.mark.parametrize(
    ("template", "caption", "expected"),
    [
        ("a photo of a [name], [filewords]", "by the sea", "a photo of a snorf, by the sea"),
        ("a photo of a [name], [filewords]", "", "a photo of a snorf"),
        ("a [name] [filewords]", " in   a cave ", "a snorf in a cave"),
        ("a photo of [filewords], by [name]", "", "a photo, by snorf"),
        ("a photo of [filewords], by [name]", "a cat", "a photo of a cat, by snorf"),
        ("a [name] with [filewords]", " ", "a snorf"),
        ("a [name] with [filewords]", "with", "a snorf with with"),
        ("a [name] and the [filewords] , left", "", "a snorf, left"),
        ("a painting of [filewords] by [name]", "", "a painting by snorf"),
        ("a photo of [filewords] in [name] style", "", "a photo in snorf style"),
        ("a photo of [filewords] in [name] style", "a cat", "a photo of a cat in snorf style"),
        ("a photo of [filewords] [name]", "", "a photo of snorf"),
        ("[filewords] in [name] style", "", "in snorf style"),
        ("[filewords], art by [name]", "a [name] at night", "a snorf at night, art by snorf"),
    ],
)
def test_a_template_takes_the_caption_and_the_name(template: str, caption: str, expected: str):
    assert fill(template, "snorf", caption) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [("a [name] by the sea", "by the sea"), ("a [name]", ""), ("a house in [name] style", "a house"),
     ("the [name], left", "left")],
)  # fmt: skip
def test_a_prompt_without_the_word_says_what_else_it_asks_for(template: str, expected: str):
    assert without_name(template) == expected


def test_the_word_is_found_whole_in_any_case_and_not_inside_another():
    def encode(text: str) -> list[int]:
        return vocabulary.encode(text)[0, 0].tolist()

    vocabulary = Vocabulary([TOKENIZER], [FIRST], "snorf", 3)
    own = [FIRST, FIRST + 1, FIRST + 2]
    assert [token for token in encode("a Snorf, snorf. SNORF!") if token >= FIRST] == own * 3
    assert not any(token >= FIRST for token in encode("snorfing xsnorf snorf_2"))


@pytest.mark.parametrize(("name", "written"), [("snorf", "\u017fnorf"), ("kedi-x1", "KEDİ-X1")])
def test_the_word_is_found_in_letters_whose_case_lower_does_not_tell(name: str, written: str):
    vocabulary = Vocabulary([TOKENIZER], [FIRST], name, 2, beside={"other": 1})
    assert vocabulary.encode(f"a {written}, red").tolist() == vocabulary.encode(f"a {name}, red").tolist()
    assert {FIRST, FIRST + 1} <= set(vocabulary.encode(written)[0, 0].tolist())


def test_a_name_with_signs_is_no_pattern():
    vocabulary = Vocabulary([TOKENIZER], [FIRST], "a.b-c", 1)
    assert FIRST in vocabulary.encode("an a.b-c here")
    assert FIRST not in vocabulary.encode("an axb-c here")


def test_a_prompt_that_does_not_fit_is_refused_and_never_cut():
    vocabulary = Vocabulary([TOKENIZER], [FIRST], "snorf", 70)
    assert vocabulary.encode("a snorf by the sea").shape == (1, 1, 77)
    with pytest.raises(PromptTooLong, match="takes 77 tokens"):
        vocabulary.encode("a snorf by the sea, left at")
    with pytest.raises(PromptTooLong) as error:
        vocabulary.encode("a snorf " + "by the sea " * 300)
    assert len(str(error.value)) < 400 and "'a snorf by the sea by" in str(error.value)


@given(st.text(max_size=40))
def test_any_text_encodes_to_the_models_length(text: str):
    try:
        ids = Vocabulary([TOKENIZER], [FIRST], "snorf", 2).encode(text)[0, 0].tolist()
    except PromptTooLong:
        return
    assert len(ids) == 77
    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.eos_token_id in ids


def test_text_without_the_word_encodes_as_the_tokenizer_does():
    text = "a red striped star with two eyes by the sea, Ünï 漢字"
    theirs = TOKENIZER(text, padding="max_length", max_length=77)["input_ids"]
    assert Vocabulary([TOKENIZER], [FIRST], "snorf", 2).encode(text)[0, 0].tolist() == theirs


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "has no prompts"),
        ("\n  \n", "has no prompts"),
        ("a [name]\nno slot\n", "'no slot' does not hold"),
        ("a [Name]", "'a [Name]'"),
    ],
)
def test_a_bad_template_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, found: str):
    path = tmp_path / "t.txt"
    path.write_text(content)
    with pytest.raises(BadTemplate) as error:
        Prompts.read(path).check_names()
    assert str(path) in str(error.value) and found in str(error.value)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "templates").glob("*/*.txt")), ids=str)
def test_every_shipped_template_reads(path: Path):
    assert Prompts.read(path).lines


# ---------------------------------------------------------------------------------------------- the word


@pytest.mark.parametrize(
    ("tokens", "vectors", "expected"),
    [(3, 5, [0, 0, 1, 1, 2]), (1, 4, [0] * 4), (2, 2, [0, 1]), (4, 6, [0, 0, 1, 2, 2, 3]), (3, 2, [0, 1])],
)
def test_the_init_texts_tokens_are_spread_over_the_vectors(tokens: int, vectors: int, expected: list[int]):
    table = tiny_stable_diffusion().text_encoder.get_input_embeddings().weight
    words = ["red", "star", "flower", "egg"][:tokens]
    ids = [TOKENIZER(word, add_special_tokens=False)["input_ids"][0] for word in words]
    start = initial_vectors(" ".join(words), vectors, [table], [TOKENIZER])
    assert start.equal(table[[ids[at] for at in expected]])


@pytest.mark.parametrize(
    ("text", "vectors", "told"),
    [("a red flower", 3, ""), ("", 1, ""), ("a red flower", 2, "3 tokens for 2 vectors: .* 'a red' without 'flower'"),
     ("red flower", 1, "has 2 tokens for 1 vector: .* from 'red' without 'flower'")],
)  # fmt: skip
def test_what_the_vectors_have_no_room_for_is_told(text: str, vectors: int, told: str):
    assert re.search(told, left_out(text, vectors, TOKENIZER)) if told else not left_out(text, vectors, TOKENIZER)


def test_an_empty_init_text_starts_from_zeros():
    table = tiny_stable_diffusion().text_encoder.get_input_embeddings().weight
    assert not initial_vectors("  ", 3, [table], [TOKENIZER]).any()
    assert vocabulary_norms([table])[0] > 0


@pytest.mark.parametrize(("pictures", "vectors"), [(1, 2), (10, 2), (11, 5), (30, 5), (50, 8), (100, 10), (500, 12)])
def test_auto_vectors_follow_the_number_of_pictures(pictures: int, vectors: int):
    assert vectors_for(pictures) == vectors


def test_a_name_that_the_model_knows_is_refused():
    assert check_name("snorf", TOKENIZER) == []
    with pytest.raises(NameTaken, match="forest"):
        check_name("forest", TOKENIZER)


def test_a_name_close_to_a_known_word_is_told():
    assert check_name("forrest", TOKENIZER) == ["forest"]


@pytest.mark.parametrize("name", ["start.safetensors", "start.pt", "start.png"])
def test_a_word_starts_from_a_file_of_any_format(tmp_path: Path, name: str):
    vectors = torch.randn(3, 16)
    write_embedding(tmp_path / name, Embedding("old", vectors, {}))
    torch.testing.assert_close(stored_vectors(Path(name), None, [16], tmp_path), vectors)
    with pytest.raises(DoesNotFit, match=r"has 3 vectors, wanted word\.vectors, which is 2"):
        stored_vectors(Path(name), 2, [16], tmp_path)
    with pytest.raises(DoesNotFit, match="vectors of 16 numbers, wanted 16 and 20 for this base model"):
        stored_vectors(Path(name), None, [16, 20], tmp_path)


def test_a_word_starts_from_one_of_several_words_of_a_lora(tmp_path: Path):
    words = {"cat": torch.randn(2, 16), "dog": torch.randn(3, 16)}
    save_tensors(tmp_path / "lora.safetensors", {f"bundle_emb.{name}.emb_params": v for name, v in words.items()}, {})
    lora = Path("lora.safetensors")
    torch.testing.assert_close(stored_vectors(lora, None, [16], tmp_path, "dog"), words["dog"])
    wanted = "wanted one of them, written as 'lora.safetensors:cat', 'lora.safetensors:dog'"
    with pytest.raises(DoesNotFit, match=f"holds 2 words, {wanted}"):
        stored_vectors(lora, None, [16], tmp_path)
    with pytest.raises(DoesNotFit, match=f"has no word 'cow', {wanted}"):
        stored_vectors(lora, None, [16], tmp_path, "cow")


# ---------------------------------------------------------------------------------------------- long prompts


def test_a_long_prompt_is_cut_between_words_and_never_inside_the_new_one():
    vocabulary = Vocabulary([TOKENIZER], [FIRST], "snorf", 40, windows=3)
    ids = vocabulary.encode("a red star " * 5 + "snorf by the sea and a snorf")
    assert ids.shape == (1, 3, 77)
    for window in ids[0].tolist():
        assert window[0] == TOKENIZER.bos_token_id and TOKENIZER.eos_token_id in window
        own = [token for token in window if token >= FIRST]
        assert own in ([], list(range(FIRST, FIRST + 40)))
    plain = [token for token in ids.flatten().tolist() if token not in TOKENIZER.all_special_ids]
    words = [TOKENIZER(word, add_special_tokens=False)["input_ids"] for word in ("a red star " * 5).split()]
    assert plain[: sum(map(len, words))] == [token for word in words for token in word]


def test_the_tokenizer_that_makes_most_of_a_prompt_says_how_many_windows_it_takes():
    """As SDXL's second one does of a row of "!", which is its padding and so never part of a longer token."""
    splitting = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer", pad_token="e")
    prompt = "snorf" + " red" * 40
    assert Vocabulary([TOKENIZER], [FIRST], "snorf", 1).windows_for(prompt) == 1
    both = Vocabulary([TOKENIZER, splitting], [FIRST, FIRST], "snorf", 1)
    windows = both.windows_for(prompt)
    assert windows == 2
    assert Vocabulary([TOKENIZER, splitting], [FIRST, FIRST], "snorf", 1, windows).encode(prompt).shape == (2, 2, 77)


def test_two_tokenizers_give_two_rows_of_ids():
    vocabulary = Vocabulary([TOKENIZER, TOKENIZER], [FIRST, FIRST + 7], "snorf", 1)
    first, second = vocabulary.encode("a snorf")[:, 0]
    assert (second - first).tolist() == [7 if token == FIRST else 0 for token in first]


def test_a_line_that_is_no_prompt_by_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a [name]\na [name] " + "in the snow " * 100_000)
    with pytest.raises(BadTemplate, match="a line holds 1200008 bytes, and a prompt 10000 at most"):
        Prompts.read(path)
