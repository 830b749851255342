"""Each finding has a set of captions that must bring it up, and one that must not."""

from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPTokenizer

from pseudoword.captions.lint import common_start, lint
from pseudoword.captions.marks import marks_in, without_marks
from pseudoword.captions.merging import CaptionRow, Merged
from pseudoword.captions.prompt_length import PromptLength
from pseudoword.captions.similarity import differing, fit
from pseudoword.captions.words import content_words, singular, start_of
from pseudoword.findings import Finding

ROOT = Path(__file__).parents[3]
TEMPLATES = ["a [name]", "a photo of a [name] [filewords]", "a [name] [filewords]"]


def check(
    *captions: str, init_texts: tuple[str, ...] = ("woman",), length: PromptLength | None = None
) -> list[Finding]:
    rows = [CaptionRow(f"{at:012x}", f"{at}.jpg", caption, "draft", "") for at, caption in enumerate(captions)]
    return lint(Merged(rows, {}, Path("captions.yaml"), []), "snorf", init_texts, length)


def kinds(*captions: str, init_texts: tuple[str, ...] = ("woman",)) -> list[tuple[str, str]]:
    return [(one.source, one.check) for one in check(*captions, init_texts=init_texts)]


def test_captions_without_a_fault_have_no_findings() -> None:
    assert check("in the snow", "by the sea", "at night", "on a stage") == []
    assert check("a woman, in the snow", "a woman, by the sea", "A woman wearing a coat", "a woman with a cap") == []
    assert check() == []


def test_a_caption_that_starts_unlike_the_others_is_found() -> None:
    (found,) = check("a woman, in snow", "a woman, at sea", "a young girl, with a ponytail, smiling", "a woman in bed")
    assert (found.source, found.check, found.suggestion) == (
        "2.jpg", "starts unlike the others", "a woman, with a ponytail, smiling"
    )  # fmt: skip
    assert found.message == "begins with 'a young girl', while 3 of 4 begin with 'a woman'"
    (found,) = check("a woman, in snow", "a woman, at sea", "on the beach")
    assert found.suggestion == "a woman, on the beach" and found.message.startswith("begins with no subject")
    (found,) = check("in snow", "at sea", "a big dog on the beach")
    assert found.suggestion == "on the beach"


def test_starts_that_no_majority_shares_are_said_once() -> None:
    assert kinds("a dog in snow", "the dog at sea", "two dogs in bed", "a puppy on grass") == [
        ("", "starts unlike the others")
    ]
    half = ["a dog in snow", "a dog at sea", "a cat in bed", "a cat on grass"]
    assert common_start(Counter(map(start_of, half))) is None


def test_a_caption_is_read_as_often_among_many_as_among_few(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("pseudoword.captions.lint.start_of", lambda caption: read.append(caption) or start_of(caption))

    def times(number: int) -> int:
        read.clear()
        assert len(check(*["a woman in snow"] * (number + 1), *["at sea"] * number)) == number
        return len(read)

    assert times(40) <= 2 * times(20)


@pytest.mark.parametrize(
    ("caption", "suggestion"),
    [
        ("wearing a hat with a hat on her head and a white hat", "wearing a hat"),
        ("in a coat, holding flowers, with a flower", "in a coat, holding flowers"),
        ("among bushes and a bush", "among bushes"),
        ("in snow snow", ""),
    ],
)
def test_a_caption_that_repeats_itself_is_found(caption: str, suggestion: str) -> None:
    (found,) = check(caption)
    assert (found.check, found.suggestion) == ("repeats itself", suggestion)


def test_colours_and_small_words_may_come_twice() -> None:
    assert check("in a red hat and a red coat", "on the top of a hill, on the left", "at the door in the wall") == []


def test_words_of_the_init_text_are_found_in_either_number() -> None:
    assert kinds("near two women", "with oil paints, at sea", init_texts=("a woman", "oil painting *")) == [
        ("0.jpg", "names what the word learns"),
        ("1.jpg", "names what the word learns"),
    ]
    (found,) = check("a tall woman in the snow")
    assert found.suggestion == "in the snow" and "'woman'" in found.message
    assert check("near a woman")[0].suggestion == ""


def test_a_start_that_all_share_may_be_the_init_text() -> None:
    assert kinds("a woman, in snow", "a woman at sea", "a woman, with a woman") == [
        ("2.jpg", "repeats itself"),
        ("2.jpg", "names what the word learns"),
    ]


def test_the_word_itself_in_a_caption_is_found() -> None:
    (found,) = check("near a Snorf, in snow")
    assert found.message == "holds the word 'snorf' itself"
    assert check("near a snorfling") == []


def test_an_empty_caption_is_told() -> None:
    (found,) = check("in snow", "", "at sea")
    assert (found.source, found.check, found.severity) == ("1.jpg", "empty", "info")


@pytest.mark.timeout(60)  # a day, where it was shortened word by word
def test_a_whole_book_as_a_caption_is_told_as_too_long(tokenizer: CLIPTokenizer) -> None:
    length = PromptLength(tokenizer, TEMPLATES, "snorf", vectors=5)
    (found,) = [one for one in check("in the snow, " * 15_000, length=length) if one.check == "too long"]
    assert found.suggestion.startswith("in the snow, in") and length.longest(found.suggestion)[1] == length.limit


MARKS = {
    r"bow \(weapon\), :d": ("bow (weapon), :d", [r"\(", r"\)"]),
    "(red hair:1.2), a (blue sky : .9)": ("red hair, a blue sky", ["(red hair:1.2)", "(blue sky : .9)"]),
    r"(bow \(weapon\):1), (a (red:1.5) coat:1.1)": ("bow (weapon), a red coat", None),
    "(sword (weapon):1.2), (((x)), y:1.2)": ("sword (weapon), x, y", None),
    "a woman BREAK at sea, BREAK": ("a woman, at sea", ["BREAK"]),
    "((masterpiece)), (((best))), [[blurred]], {{{{sharp}}}}": ("masterpiece, best, blurred, sharp", None),
    "at sea <lora:a b-1:0.8>": ("at sea", ["<lora:a b-1:0.8>"]),
    "(2girls:2)": ("2girls", ["(2girls:2)"]),
    "(dog:1.2)(cat:1.3)": ("dog cat", None),
    "a(b:1.2)c, ((d))e, f<lora:x:1>g, (h:1.1)'s": ("a b c, d e, f g, h's", None),
    "((a:1.2)), ((b:1.2), (c:1.3)), [{{d}}]": ("a, b, c, d", None),
    "((((a)))), (((((b))))), {{{c}}}, [[[d]]]": ("a, b, c, d", None),
    r"((bow \(weapon\):1.2)), ((a (b) c:1.1))": ("bow (weapon), a (b) c", None),
}


@pytest.mark.parametrize("caption", MARKS)
def test_marks_of_other_tools_are_named_and_cleaned(caption: str) -> None:
    (found,) = [one for one in check(caption) if one.check == "holds marks of a prompt"]
    clean, marks = MARKS[caption]
    assert found.suggestion == clean and without_marks(clean) == clean
    assert marks is None or (marks_in(caption) == marks and all(mark in found.message for mark in marks))


@pytest.mark.parametrize(
    "caption",
    ["sword (weapon)", "at (16:9), (12:30)", "BREAK A LEG", "a break", "[a bird], {b}", "a:1.2 b", "(^_^)", "<3"],
)
def test_brackets_of_plain_text_are_no_marks(caption: str) -> None:
    assert without_marks(caption) == caption and not marks_in(caption)


@settings(max_examples=200, deadline=None)
@given(st.text("ab ,:.12()[]{}\\<>BREAK", max_size=40))
def test_cleaning_adds_nothing_and_never_breaks(caption: str) -> None:
    clean = without_marks(caption)
    marks = sum(caption.count(bracket) for bracket in "()[]{}<")  # a space keeps words apart
    assert not Counter(clean) - Counter(caption) - Counter({",": caption.count("BREAK"), " ": marks})


@pytest.mark.timeout(60)  # hours, where each opening bracket looked through all that follows
@pytest.mark.parametrize(
    "piece", ["(", "((a", "\\(", "(a:1", "<lora:", "[[", "{{", "(a:1.2) ", "((((a))))", "((a:1.2)"]
)
def test_brackets_without_end_are_soon_read(piece: str) -> None:
    assert len(without_marks(piece * (10**6 // len(piece)))) <= 10**6


def test_a_mirrored_copy_is_not_told_twice() -> None:
    rows = [CaptionRow(name, "a.jpg", "in a hat with a hat", "draft", "") for name in ("0e", "0e-h")]
    (found,) = lint(Merged(rows, {}, Path("captions.yaml"), []), "snorf", ["woman"])
    assert found.id == "0e"


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(ROOT / "models" / "toyworld" / "tokenizer")


def test_tokens_are_counted_with_the_vectors_in_the_longest_line(tokenizer: CLIPTokenizer) -> None:
    length = PromptLength(tokenizer, TEMPLATES, "snorf", vectors=5)
    words = len(tokenizer("a photo of a in the snow", add_special_tokens=False)["input_ids"])
    assert length.longest("in the snow") == ("a photo of a snorf in the snow", words + 5)
    assert [prompt for prompt, _ in length.prompts("")] == ["a snorf", "a photo of a snorf"]
    assert PromptLength(tokenizer, ["a [name] and a [name]"], "snorf", 5).longest("x")[1] == 3 + 10


def test_a_caption_is_too_long_from_the_first_token_that_training_refuses(tokenizer: CLIPTokenizer) -> None:
    length = PromptLength(tokenizer, TEMPLATES, "snorf", vectors=5)
    room = length.limit - length.longest("")[1]
    fits = " ".join(["snow"] * room)
    assert length.longest(fits)[1] == length.limit == 75
    assert "too long" not in {one.check for one in check(fits, length=length)}
    (found,) = [one for one in check(f"{fits} snow", length=length) if one.check == "too long"]
    assert found.severity == "error" and found.suggestion == fits and "76 tokens" in found.message


NOUNS = """
    vase/vases horse/horses house/houses rose/roses nose/noses movie/movies cookie/cookies
    hoodie/hoodies selfie/selfies wolf/wolves leaf/leaves knife/knives shelf/shelves glove/gloves
    wave/waves sleeve/sleeves valve/valves bus/buses glass/glasses dress/dresses box/boxes
    fox/foxes bench/benches beach/beaches moustache/moustaches bush/bushes dish/dishes potato/potatoes
    tomato/tomatoes shoe/shoes toe/toes canoe/canoes pony/ponies cherry/cherries boy/boys
    tie/ties pie/pies lens/lenses canvas/canvases iris/irises cactus/cactuses octopus/octopuses
    bikini/bikinis taxi/taxis quiz/quizzes waltz/waltzes maze/mazes prize/prizes size/sizes
    purse/purses cheese/cheeses blouse/blouses mouse/mice woman/women child/children foot/feet
    scarf/scarves radio/radios photo/photos hero/heroes axe/axes piano/pianos eye/eyes
    tree/trees bruise/bruises phrase/phrases base/bases bee/bees lady/ladies face/faces
    cage/cages candle/candles nurse/nurses video/videos gas/gases suitcase/suitcases bookcase/bookcases
    crease/creases virus/viruses walrus/walruses snowman/snowmen fireman/firemen goose/geese calf/calves
    loaf/loaves cave/caves olive/olives stove/stoves church/churches brush/brushes watch/watches
    witch/witches class/classes mattress/mattresses necklace/necklaces
"""


def test_both_forms_of_a_noun_are_the_same_word() -> None:
    for pair in NOUNS.split():
        one, many = pair.split("/")
        assert (singular(one), singular(many)) == (one, one)
    assert kinds("near two vases", "with horses, at sea", init_texts=("vase", "a horse")) == [
        ("0.jpg", "names what the word learns"),
        ("1.jpg", "names what the word learns"),
    ]


def test_words_are_folded_and_starts_are_cut() -> None:
    assert [singular(word) for word in ("bushes", "hats", "ponies", "women", "glass", "bus", "iris", "as")] == [
        "bush", "hat", "pony", "woman", "glass", "bus", "iris", "as"
    ]  # fmt: skip
    assert content_words("The red hats, and a boy's dog in it") == ["red", "hat", "boy", "dog"]
    assert [start_of(caption) for caption in ("A woman, smiling", "a woman with a hat", "in snow", "snow", "")] == [
        "a woman", "a woman", "", "snow", ""
    ]  # fmt: skip


def test_a_picture_that_prefers_anothers_caption_fits_badly() -> None:
    """Captions c0..c3 of pictures p0..p3: p3 looks like c0, c1 is said of everything, nothing suits p2 much."""
    similarity = torch.tensor([[0.9, 0.5, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], [0.0, 0.4, 0.3, 0.0], [0.9, 0.5, 0.1, 0.1]])
    fits = fit(similarity, torch.tensor([0, 1, 2, 3]))
    assert fits[3] < 0.4 * fits.median() and (fits[:3] > 0).all()
    assert fits.argmin() == 3


class EmbeddedJudge:
    """Stands for a CLIP: a picture is its mean colour, a text names a colour."""

    COLOURS: ClassVar = {
        "in red": (1.0, 0, 0),
        "in green": (0, 1.0, 0),
        "in blue": (0, 0, 1.0),
        "in grey": (1.0, 1.0, 1.0),
    }

    def pictures(self, pictures: list[Image.Image]) -> torch.Tensor:
        return unit([picture.getpixel((0, 0)) for picture in pictures])

    def texts(self, texts: list[str]) -> torch.Tensor:
        return unit([self.COLOURS[text] for text in texts])


def unit(vectors: list[object]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(vectors, dtype=torch.float32), dim=-1)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (["in red", "in green", "in blue", "in grey", "in red"], []),
        (["in red", "in green", "in blue", "in grey", "in blue"], ["4.jpg"]),
        (["in red", "in green", "in blue", "", "in blue"], []),  # too few to compare
    ],
)
def test_a_caption_that_its_picture_does_not_show_is_found(said: list[str], wanted: list[str]) -> None:
    colours = [(255, 9, 9), (9, 255, 9), (9, 9, 255), (99, 99, 99), (250, 20, 9)]
    pictures = [Image.new("RGB", (4, 4), colour) for colour in colours]
    rows = [CaptionRow(str(at), f"{at}.jpg", caption, "draft", "") for at, caption in enumerate(said)]
    found = differing(rows, pictures, EmbeddedJudge())  # type: ignore[arg-type]
    assert [one.source for one in found] == wanted
    assert all("'in red' is nearer" in one.message for one in found)


def test_a_mirrored_copy_that_differs_is_told_with_its_picture() -> None:
    colours = [(255, 9, 9), (9, 255, 9), (9, 9, 255), (99, 99, 99), (250, 20, 9), (250, 20, 9)]
    pictures = [Image.new("RGB", (4, 4), colour) for colour in colours]
    said = ["in red", "in green", "in blue", "in grey", "in blue", "in blue"]
    ids = ["0", "1", "2", "3", "4", "4-h"]
    rows = [CaptionRow(name, f"{name[0]}.jpg", caption, "draft", "") for name, caption in zip(ids, said, strict=True)]
    (found,) = differing(rows, pictures, EmbeddedJudge())  # type: ignore[arg-type]
    assert found.id == "4"
