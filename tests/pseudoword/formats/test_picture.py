import base64
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pseudoword.errors import UserError
from pseudoword.formats.card import draw_card
from pseudoword.formats.embedding import BadEmbedding, Embedding
from pseudoword.formats.keys import is_reserved
from pseudoword.formats.picture import KEYWORD, METADATA, BadPicture, from_json, to_json
from pseudoword.formats.pixels import conceal, reveal
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import write_embedding

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
few = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)

# The smallest example: this text on a plain picture of 4x8 px, as stock zlib packs it.
PAYLOAD = b'{"string_to_param": {"*": {"TORCHTENSOR": [[0.5, -0.25]]}}, "name": "t"}'
PICTURE = Image.new("RGB", (4, 8), (200, 100, 50))
FIRST_ROW = [
    *[(5, 8, 4), (10, 7, 5), (6, 15, 10), (4, 8, 11)], (0, 0, 0), *[(8, 4, 2)] * 4, (0, 0, 0),
    *[(10, 15, 5), (9, 15, 9), (13, 9, 10), (11, 15, 6)],
]  # fmt: skip
stock_zlib = pytest.mark.skipif(
    not zlib.compress(PAYLOAD, 9).startswith(bytes.fromhex("78daab562a2e29cacc4b")),
    reason="another zlib, other bytes of the same meaning",
)


def word(name: str = "snorf", vectors: int = 2, width: int = 8, **metadata: str) -> Embedding:
    numbers = torch.randn(vectors, width, generator=torch.Generator().manual_seed(vectors))
    return Embedding(name, numbers, metadata)


@stock_zlib
def test_the_pixels_are_those_of_the_known_example() -> None:
    pixels = np.asarray(conceal(PICTURE, PAYLOAD))
    assert pixels.shape == (8, 14, 3)
    assert [tuple(pixel) for pixel in (pixels[0] & 15).tolist()] == FIRST_ROW
    assert (pixels[:, [4, 9]] == 0).all() and (pixels[:, 5:9] == (200, 100, 50)).all()


@stock_zlib
@pytest.mark.parametrize(
    ("vectors", "side", "width"), [(1, (512, 512), 526), (8, (384, 512), 464), (75, (768, 768), 1236)]
)
def test_the_width_grows_as_known(vectors: int, side: tuple[int, int], width: int) -> None:
    content = {"string_to_param": {"*": torch.randn(vectors, 768, generator=torch.Generator().manual_seed(0)) / 60}}
    image = conceal(Image.new("RGB", side), to_json(dict(content)))
    assert image.height == side[1] and abs(image.width - width) <= 0.05 * width


def test_no_pixel_of_data_is_black_so_that_no_edge_is_cropped() -> None:
    pixels = np.asarray(conceal(PICTURE, PAYLOAD))
    for block in (pixels[:, :4], pixels[:, 10:]):
        assert (block & 0x10 == 0x10).all()


@few
@given(payload=st.binary(max_size=3000), width=st.integers(1, 40), height=st.integers(8, 60), seed=st.integers(0, 99))
def test_any_bytes_come_back_from_any_picture(payload: bytes, width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels[:, :: seed % 5 + 1] = 0  # black columns in the picture itself are no border
    assert reveal(conceal(Image.fromarray(pixels), payload)) == payload


@few
@given(left=st.integers(0, 9), top=st.integers(0, 9), right=st.integers(0, 9), bottom=st.integers(0, 9))
def test_black_around_the_picture_does_no_harm(left: int, top: int, right: int, bottom: int) -> None:
    image = conceal(PICTURE, PAYLOAD)
    framed = Image.new("RGBA", (image.width + left + right, image.height + top + bottom), (0, 0, 0, 0))
    framed.paste(image, (left, top))
    assert reveal(framed) == PAYLOAD


@pytest.mark.parametrize("side", [(1, 1), (4, 8), (64, 64)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (255, 255, 255), (16, 16, 16)])
def test_an_ordinary_picture_carries_nothing(side: tuple[int, int], colour: tuple[int, int, int]) -> None:
    assert reveal(Image.new("RGB", side, colour)) is None


def test_blocks_larger_than_any_word_are_not_looked_through() -> None:
    pixels = np.full((1200, 6000, 3), 16, np.uint8)
    pixels[:, [2900, 3099]] = 0
    assert reveal(Image.fromarray(pixels)) is None


def test_a_bomb_is_not_inflated() -> None:
    assert reveal(conceal(Image.new("RGB", (8, 64), (9, 9, 9)), bytes(65 * 2**20))) is None


@few
@given(name=TEXT.filter(lambda name: not is_reserved(name)), vectors=st.integers(1, 5))
@pytest.mark.parametrize("keeps", ["both", "text", "pixels"])
def test_a_word_comes_back_from_its_text_or_its_pixels(tmp_path: Path, keeps: str, name: str, vectors: int) -> None:
    path, embedding = tmp_path / "card.png", word(name, vectors, **{"pseudoword.step": "7", "title": name})
    write_embedding(path, embedding, overwrite=True)
    with Image.open(path) as image:
        if keeps == "text":
            image.crop((0, 0, 9, 9)).save(path, pnginfo=chunk(image.info[KEYWORD]))
        elif keeps == "pixels":
            image.save(path, pnginfo=PngInfo())
    read = read_embedding(path)
    assert read.name == name and torch.equal(read.vectors, embedding.vectors)
    assert read.metadata == embedding.metadata | {"step": "7"}


def chunk(text: str, zipped: bool = False) -> PngInfo:
    info = PngInfo()
    info.add_text(KEYWORD, text, zip=zipped)
    return info


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ('{"a": "b", "c": 5, "d\\ud800": "\\ud800"}', {"a": "b", "d?": "?"}),
        ("[1]", {}), ("{", {}), ("5", {}), ("[" * 100_000, {}), ('{"a": ' + "9" * 5000 + "}", {}),
    ],
    ids=range(6),
)  # fmt: skip
def test_what_a_picture_tells_of_a_word_for_sdxl_cannot_harm_the_word(
    tmp_path: Path, told: str, read: dict[str, str]
) -> None:
    path, embedding = tmp_path / "big.png", replace(word(), vectors_g=torch.ones(2, 12))
    write_embedding(path, embedding)
    with Image.open(path) as image:
        chunks = chunk(image.info[KEYWORD])
        chunks.add_itxt(METADATA, told)
        image.save(path, pnginfo=chunks)
    found = read_embedding(path)
    assert found.metadata == read and torch.equal(found.vectors, embedding.vectors)


def test_pixels_of_a_lossless_webp_are_read(tmp_path: Path) -> None:
    image = conceal(Image.new("RGB", (64, 64), (200, 100, 50)), PAYLOAD)
    image.save(tmp_path / "t.webp", lossless=True)
    read = read_embedding(tmp_path / "t.webp")
    assert read.name == "t" and read.vectors.tolist() == [[0.5, -0.25]]


def test_a_picture_stored_with_loss_or_scaled_is_refused(tmp_path: Path) -> None:
    image = conceal(Image.new("RGB", (64, 64), (200, 100, 50)), PAYLOAD)
    image.save(tmp_path / "lossy.webp", quality=80)
    image.resize((90, 40)).save(tmp_path / "scaled.png")
    for name in ("lossy.webp", "scaled.png"):
        with pytest.raises(BadEmbedding, match="without a word in it, or was scaled"):
            read_embedding(tmp_path / name)


@pytest.mark.parametrize("zipped", [False, True])
def test_the_text_chunk_is_read_compressed_or_not(tmp_path: Path, zipped: bool) -> None:
    PICTURE.save(tmp_path / "t.png", pnginfo=chunk(base64.b64encode(PAYLOAD).decode(), zipped))
    assert read_embedding(tmp_path / "t.png").vectors.tolist() == [[0.5, -0.25]]


def test_the_text_chunk_is_plain_and_before_the_pixels(tmp_path: Path) -> None:
    write_embedding(tmp_path / "w.png", word(vectors=75, width=768))
    content = (tmp_path / "w.png").read_bytes()
    assert content.index(b"tEXt" + KEYWORD.encode() + b"\0") < content.index(b"IDAT")
    assert read_embedding(tmp_path / "w.png").vectors.shape == (75, 768)


def test_the_text_is_json_as_a1111_writes_it() -> None:
    content: dict[str, object] = {"a": {"*": torch.tensor([[0.1, -0.25]])}, "name": "Ä", "step": 0, "none": None}
    text = to_json(content)
    assert text == (
        b'{"a": {"*": {"TORCHTENSOR": [[0.10000000149011612, -0.25]]}}, "name": "\\u00c4", "step": 0, "none": null}'
    )
    read = from_json(text)
    assert isinstance(read, dict) and torch.equal(read["a"]["*"].float(), torch.tensor([[0.1, -0.25]]))


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"{}", b"5", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 50_000,
        b'{"x": {"TORCHTENSOR": [[1, 2], [3]]}}',
        b'{"x": {"TORCHTENSOR": "text"}}',
        b'{"x": {"TORCHTENSOR": [["a"]]}}',
        b'{"x": {"TORCHTENSOR": null}}',
        b'{"x": {"TORCHTENSOR": [{"TORCHTENSOR": [1, 2]}]}}',
        b'{"x": {"TORCHTENSOR": [[NaN]]}}',
        b'{"x": {"TORCHTENSOR": [[1e999]]}}',
        b'{"x": {"TORCHTENSOR": [[' + b"9" * 400 + b"]]}}",
        b'{"x": {"TORCHTENSOR": [[' + b"9" * 5000 + b"]]}}",
        b'{"x": {"TORCHTENSOR": []}}',
        b'{"x": {"TORCHTENSOR": 5}}',
        b'{"TORCHTENSOR": [[1]]}',
        b'{"string_to_param": [1]}',
        b'{"string_to_param": {"*": [1]}}',
    ],
    ids=range(22),
)  # fmt: skip
def test_text_that_is_no_word_is_refused(tmp_path: Path, payload: bytes) -> None:
    PICTURE.save(tmp_path / "odd.png", pnginfo=chunk(base64.b64encode(payload).decode()))
    with pytest.raises(BadEmbedding, match=r"odd\.png"):
        read_embedding(tmp_path / "odd.png")


@pytest.mark.parametrize("text", ["?", "\xe4\xf6", "a"])
def test_text_that_is_no_base64_is_refused(tmp_path: Path, text: str) -> None:
    PICTURE.save(tmp_path / "odd.png", pnginfo=chunk(text))
    with pytest.raises(BadEmbedding, match=r"odd\.png"):
        read_embedding(tmp_path / "odd.png")


def test_a_compressed_chunk_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "bomb.png", pnginfo=chunk("A" * 2**22, zipped=True))
    with pytest.raises(BadEmbedding, match=r"bomb\.png"):
        read_embedding(tmp_path / "bomb.png")


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_picture_cut_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    path, original = tmp_path / f"cut.{kind}", word()
    image = io.BytesIO()
    payload = {"string_to_param": {"*": original.vectors}, "name": "snorf"}
    conceal(Image.new("RGB", (24, 24), (200, 100, 50)), to_json(dict(payload))).save(image, kind, lossless=True)
    content = image.getvalue()
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        if kind == "png" and length > len(content) - 24:  # all pixels are there, only their checksum and the end lack
            assert torch.equal(read_embedding(path).vectors, original.vectors)
        else:
            with pytest.raises(BadEmbedding, match="cut"):
                read_embedding(path)


def test_a_picture_of_the_user_carries_the_word(tmp_path: Path) -> None:
    side = Image.Exif()
    side[0x0112] = 6  # lies on its side
    Image.new("RGB", (90, 60), (10, 200, 30)).save(tmp_path / "cat.jpg", exif=side)
    write_embedding(tmp_path / "w.png", word(step="500"), tmp_path / "cat.jpg")
    with Image.open(tmp_path / "w.png") as image:
        assert image.height == 90 * 5 and json.loads(base64.b64decode(image.info[KEYWORD]))["step"] == 500
    assert torch.equal(read_embedding(tmp_path / "w.png").vectors, word().vectors)


def test_a_picture_that_cannot_carry_it_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (90, 7)).save(tmp_path / "flat.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, found in (("flat.png", "7 px high"), ("text.png", "cannot be opened"), ("none.png", "cannot be opened")):
        with pytest.raises(BadPicture, match=rf"{name} cannot carry the word: .*{found}"):
            write_embedding(tmp_path / "w.png", word(), tmp_path / name)
    assert not (tmp_path / "w.png").exists()


@pytest.mark.parametrize("name", ["x", "<cat>", "a" * 500, "two\nlines\x1b[31m", "\u732b"])
@pytest.mark.parametrize(
    ("side", "shown"), [((8, 8), (512, 512)), ((2, 300), (2, 300)), ((200, 20), (400, 40)), ((600, 400), (600, 400))]
)
def test_any_name_fits_on_any_picture(name: str, side: tuple[int, int], shown: tuple[int, int]) -> None:
    assert draw_card(word(name), Image.new("RGB", side)).size == shown


@pytest.mark.parametrize("name", ["x", "snorf-500", "a-very-long-name-of-a-word-" * 2])
@pytest.mark.parametrize("side", [(64, 64), (512, 512), (768, 512)])
def test_the_card_tells_name_model_hash_and_counts_without_touching(name: str, side: tuple[int, int]) -> None:
    """On black the text is all that is bright: a title at the top left, and three texts apart from each other below."""
    told = {"pseudoword.base_model": "x/stable-diffusion-v1-5" * 3, "pseudoword.base_sha256": "0123456789ab"}
    card = draw_card(word(name, **told, step="500"), Image.new("RGB", side))
    bright = np.asarray(card).min(2) > 60
    height, width = bright.shape
    assert width >= 512 and not bright[:, :10].any() and not bright[:, -8:].any()
    assert not bright[height // 4 : -height // 10].any()
    title, foot = bright[: height // 4].any(1).sum(), bright[-height // 10 :]
    assert title >= 14
    columns = np.flatnonzero(foot.any(0))
    thirds = [columns[(columns >= width * at // 3) & (columns < width * (at + 1) // 3)] for at in range(3)]
    assert all(len(third) for third in thirds)
    assert thirds[1][0] - thirds[0][-1] > 10 and thirds[2][0] - thirds[1][-1] > 10


def test_the_card_of_a_file_of_a1111_tells_its_model_too() -> None:
    base = Image.new("RGB", (512, 512))
    plain, told = (draw_card(word(**more), base) for more in ({}, {"sd_checkpoint": "0123456789"}))
    assert plain.tobytes() != told.tobytes()


def test_no_file_is_no_embedding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_embedding(tmp_path / "none.png")
