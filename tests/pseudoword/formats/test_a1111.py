import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pseudoword.errors import UserError
from pseudoword.formats.a1111 import save_bin, save_pt
from pseudoword.formats.embedding import BadEmbedding, Embedding
from pseudoword.formats.keyed import ReservedName
from pseudoword.formats.keys import is_reserved
from pseudoword.formats.reading import NotInBundle, read_embedding, read_embeddings
from pseudoword.formats.writing import AlreadyThere, NoPictureWanted, UnknownExtension, write_embedding
from tests.tiny import tiny_stable_diffusion

# What A1111 looks for before it unpickles: names after the root folder of the zip, by version.
UNTIL_1_9 = re.compile(r"[^/]+/(data\.pkl|data/\d+|version)")
SINCE_1_10 = re.compile(r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id)")
SAFE_GLOBALS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch", "FloatStorage"),
}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAMES = TEXT.filter(lambda name: not is_reserved(name))
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(
        st.lists(NUMBERS, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    ).map(torch.tensor)
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


def word(name: str = "snorf", vectors: int = 2, width: int = 8, **metadata: str) -> Embedding:
    numbers = torch.randn(vectors, width, generator=torch.Generator().manual_seed(vectors))
    return Embedding(name, numbers, metadata)


def sdxl() -> Embedding:
    return replace(word("big", 2, 6), vectors_g=torch.linspace(-1, 1, 20).view(2, 10))


@same_folder
@given(name=NAMES, vectors=VECTORS, metadata=st.dictionaries(TEXT, TEXT, max_size=4))
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_every_format_gives_back_the_word(
    tmp_path: Path, suffix: str, name: str, vectors: torch.Tensor, metadata: dict[str, str]
) -> None:
    path = tmp_path / f"file{suffix}"
    write_embedding(path, Embedding(name, vectors, metadata), overwrite=True)
    read = read_embedding(path)
    assert read.name == name and read.vectors.dtype == torch.float32 and read.vectors_g is None
    assert torch.equal(read.vectors, vectors)
    if suffix != ".bin":  # it has no room for metadata
        assert metadata.items() - {("step", metadata.get("step"))} <= read.metadata.items()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".png"])
def test_both_encoders_of_sdxl_go_through_every_format(tmp_path: Path, suffix: str) -> None:
    path, embedding = tmp_path / f"big{suffix}", sdxl()
    write_embedding(path, embedding)
    read = read_embedding(path)
    assert read.name == "big" and read.vectors_g is not None and embedding.vectors_g is not None
    assert torch.equal(read.vectors, embedding.vectors) and torch.equal(read.vectors_g, embedding.vectors_g)


def test_the_pt_has_the_six_keys(tmp_path: Path) -> None:
    base = {"pseudoword.base_model": "a/b\\c.safetensors", "pseudoword.base_sha256": "0123456789abcdef"}
    path, embedding = tmp_path / "w.pt", word("snorf", **{"pseudoword.step": "70"}, **base)
    write_embedding(path, embedding)
    content = torch.load(path, weights_only=True)
    assert content.pop("metadata") == embedding.metadata
    assert torch.equal(content.pop("string_to_param")["*"], embedding.vectors)
    assert content == {
        "string_to_token": {"*": 265},
        "name": "snorf",
        "step": 70,
        "sd_checkpoint": "0123456789",
        "sd_checkpoint_name": "a_b_c",
    }


@pytest.mark.parametrize("save", [save_pt, save_bin])
@pytest.mark.parametrize("embedding", [word(step="7", title="x"), sdxl()], ids=["sd", "sdxl"])
def test_the_safe_unpickle_of_every_a1111_accepts_what_is_written(
    tmp_path: Path, save: Any, embedding: Embedding
) -> None:
    save(tmp_path / "w.pt", embedding)
    with zipfile.ZipFile(tmp_path / "w.pt") as file:
        names = file.namelist()
        assert all(UNTIL_1_9.fullmatch(name) and SINCE_1_10.fullmatch(name) for name in names)
        assert {name.split("/")[0] for name in names} == {names[0].split("/")[0]}
        assert sum(name.endswith("data.pkl") for name in names) == 1 and len(names) == len(set(names))
        assert all(member.compress_type == zipfile.ZIP_STORED for member in file.infolist())
        assert globals_of(file.read(names[0])) <= SAFE_GLOBALS


def globals_of(content: bytes) -> set[tuple[str, str]]:
    """What a pickle asks to import, found by an unpickler that imports nothing."""
    asked = set()

    class Asker(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked.add((module, name))
            return lambda *_: OrderedDict()

        def persistent_load(self, _: Any) -> object:
            return object()

    Asker(io.BytesIO(content)).load()
    return asked


def test_torch_alone_would_write_what_a1111_refuses(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(1, 2)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as file:
        assert not all(SINCE_1_10.fullmatch(name) for name in file.namelist())


def test_equal_words_give_equal_bytes(tmp_path: Path) -> None:
    for suffix in (".pt", ".bin", ".png"):
        paths = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
        for path in paths:
            write_embedding(path, word())
        assert paths[0].read_bytes() == paths[1].read_bytes()


def a1111(parameters: object, **more: object) -> dict[str, object]:
    return {"string_to_token": {"*": 265}, "string_to_param": parameters, **more}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (a1111({"*": torch.ones(2, 4)}, name="cat-500", step=500), "cat-500"),
        (a1111({"*": torch.nn.Parameter(torch.ones(2, 4).half())}, name=None), "file"),
        (a1111({"any": torch.ones(4, 2, dtype=torch.float64).T}, name=""), "file"),
        ({"<cat>": torch.ones(2, 4)}, "<cat>"),
        ({"emb_params": torch.ones(2, 4)}, "file"),
        ({"../../x": torch.ones(9, 4)[3:5]}, "../../x"),
    ],
)
def test_files_of_other_trainers_are_read(tmp_path: Path, content: dict[str, object], name: str, zipped: bool) -> None:
    path = tmp_path / "file.PT"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    embedding = read_embedding(path)
    assert embedding.name == name and torch.equal(embedding.vectors, torch.ones(2, 4))
    assert not embedding.vectors.requires_grad and embedding.vectors.untyped_storage().nbytes() == 32


def test_a_parameter_dict_of_the_first_textual_inversion_is_read(tmp_path: Path) -> None:
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.ones(1, 4))})
    torch.save(a1111(parameters), tmp_path / "old.pt")
    assert torch.equal(read_embedding(tmp_path / "old.pt").vectors, torch.ones(1, 4))


def test_what_a1111_knows_of_the_training_becomes_metadata(tmp_path: Path) -> None:
    content = a1111({"*": torch.ones(1, 4)}, step=12, sd_checkpoint="0123456789", sd_checkpoint_name=None, more=[1])
    torch.save(content, tmp_path / "w.pt")
    assert read_embedding(tmp_path / "w.pt").metadata == {"step": "12", "sd_checkpoint": "0123456789"}


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors", ".png"])
@pytest.mark.parametrize("zipped", [True, False, None])
def test_a_pickle_is_never_run(tmp_path: Path, suffix: str, zipped: bool | None) -> None:
    path, target = tmp_path / f"bad{suffix}", tmp_path / "made"
    content = a1111({"*": torch.ones(1, 4)}, name=Malice(target))
    if zipped is None:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BadEmbedding, match="never done"):
        read_embedding(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "holds a list"),
        (torch.ones(1, 4), "holds a Tensor"),
        ({}, "0 entries"),
        ({"a": torch.ones(1, 4), "b": torch.ones(1, 4)}, "2 entries"),
        ({"a": "text"}, "a str in the place"),
        ({5: torch.ones(1, 4)}, "key is a int"),
        ({"a": torch.ones(1, 2, 3)}, r"shape \(1, 2, 3\)"),
        ({"a": torch.tensor(1.0)}, r"shape \(\)"),
        ({"a": torch.ones(0, 4)}, r"shape \(0, 4\)"),
        ({"a": torch.ones(1).expand(2**40, 768)}, r"shape \(1099511627776, 768\)"),
        ({"a": torch.ones(1, 4, dtype=torch.int64)}, "int64"),
        ({"a": torch.ones(1, 4, dtype=torch.complex64)}, "complex64"),
        ({"a": torch.ones(2, 4).to_sparse()}, "not a plain one"),
        ({"a": torch.ones(2, 4, device="meta")}, "not a plain one"),
        ({"a": torch.tensor([[float("nan")]])}, "NaN"),
        (a1111({"*": torch.tensor([[float("inf")]])}), "NaN or infinite"),
        (a1111({}), "0 tensors"),
        (a1111({"a": torch.ones(1, 4), "b": torch.ones(1, 4)}), "2 tensors"),
        (a1111(torch.ones(1, 4)), "string_to_param is a Tensor"),
        (a1111({"*": [1.0, 2.0]}), "a list in the place"),
        ({"clip_l": torch.ones(1, 4), "clip_g": torch.ones(2, 4)}, "1 vectors and clip_g 2"),
        ({"clip_l": torch.ones(1, 4), "clip_g": torch.tensor([[float("nan")]])}, "NaN"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(BadEmbedding, match=rf"other\.pt is not an embedding file: .*{found}"):
        read_embedding(tmp_path / "other.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "cut.pt"
    if zipped:
        write_embedding(path, word())
    else:
        torch.save(a1111({"*": torch.ones(1, 4)}), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(BadEmbedding, match=r"empty|cut off|damaged"):
            read_embedding(path)


@same_folder
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8))
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".png"])
def test_a_damaged_file_is_a_word_or_a_clear_error(tmp_path: Path, suffix: str, changes: list[tuple[int, int]]) -> None:
    path = tmp_path / f"damaged{suffix}"
    write_embedding(path, word(), overwrite=True)
    content = bytearray(path.read_bytes())
    for at, byte in changes:
        content[at % len(content)] = byte
    path.write_bytes(content)
    try:
        assert read_embedding(path).vectors.isfinite().all()
    except UserError as error:
        assert str(path) in str(error)


@same_folder
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".png", ".webp"])
def test_noise_is_refused(tmp_path: Path, suffix: str, content: bytes, magic: bytes) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(magic + content)
    with pytest.raises(BadEmbedding, match="noise"):
        read_embedding(path)


def test_a_whole_model_is_refused_without_loading_it(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with path.open("wb") as file:
        file.write(b"\x80\x02")
        file.truncate(2**30)
    with pytest.raises(BadEmbedding, match="1024 MiB"):
        read_embedding(path)


def test_a_file_is_known_by_its_content_not_its_extension(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".pt", ".png"):
        written = tmp_path / f"w{suffix}"
        write_embedding(written, word())
        other = written.rename(tmp_path / f"w{suffix}.dat")
        assert torch.equal(read_embedding(other).vectors, word().vectors)


def test_a_header_whose_length_looks_like_a_pickle_is_still_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for length in range(500, 700):
        write_embedding(path, word(a="x" * length), overwrite=True)
        if path.read_bytes().startswith(b"\x80\x02"):
            break
    assert path.read_bytes().startswith(b"\x80\x02") and torch.equal(read_embedding(path).vectors, word().vectors)


def test_no_file_is_no_embedding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_embedding(tmp_path / "none.pt")
    with pytest.raises(BadEmbedding, match="cannot be read"):
        read_embedding(tmp_path)


def test_the_words_of_a_lora_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(
        {
            "lora_unet.down.weight": torch.ones(3, 3, 3),
            "bundle_emb.cat.string_to_param.*": torch.ones(1, 4),
            "bundle_emb.dog.emb_params": torch.ones(4),
            "bundle_emb.cow.clip_l": torch.ones(2, 4),
            "bundle_emb.cow.clip_g": torch.ones(2, 6),
        },
        path,
    )
    assert [one.name for one in read_embeddings(path)] == ["cat", "cow", "dog"]
    assert read_embedding(path, "dog").vectors.shape == (1, 4)
    assert (second := read_embedding(path, "cow").vectors_g) is not None and second.shape == (2, 6)
    for wanted, found in ((None, "holds 3 words"), ("hen", "no word 'hen'")):
        with pytest.raises(NotInBundle, match=f"{found}.*'cat', 'cow', 'dog'"):
            read_embedding(path, wanted)


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({"bundle_emb.cat.a": torch.ones(1, 4), "bundle_emb.cat.b": torch.ones(1, 4)}, "2 entries"),
        ({"bundle_emb.cat.a": torch.ones(1, 4, 4)}, "shape"),
        ({"clip_l": torch.ones(1, 4), "clip_g": torch.ones(1, 4, 4)}, "shape"),
        ({"clip_l": torch.ones(1, 4), "clip_g": torch.ones(2, 4)}, "clip_g 2"),
    ],
)
def test_odd_bundles_and_pairs_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], found: str) -> None:
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(BadEmbedding, match=found):
        read_embedding(tmp_path / "odd.safetensors")


def test_wrong_targets_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "there.pt").write_text("old")
    with pytest.raises(UnknownExtension, match=r"'\.ckpt'.*\.safetensors"):
        write_embedding(tmp_path / "w.ckpt", word())
    with pytest.raises(AlreadyThere, match="--overwrite"):
        write_embedding(tmp_path / "there.pt", word())
    with pytest.raises(NoPictureWanted):
        write_embedding(tmp_path / "w.pt", word(), picture=tmp_path / "cat.png")
    for suffix in (".safetensors", ".pt", ".bin", ".png"):
        for name in ("", "__metadata__", "bundle_emb.x.y", "emp_params_out"):
            with pytest.raises(ReservedName):
                write_embedding(tmp_path / f"w{suffix}", word(name))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("there.pt", "old")]


def test_half_a_character_and_a_huge_number_do_no_harm(tmp_path: Path) -> None:
    content = a1111({"*": torch.ones(1, 4)}, name="x\ud800", step=10**100, metadata={"a\udfff": "\ud8ff", "b": 1.5})
    torch.save(content, tmp_path / "odd.pt")
    embedding = read_embedding(tmp_path / "odd.pt")
    assert (embedding.name, embedding.metadata) == ("x?", {"a?": "?"})
    write_embedding(tmp_path / "even.safetensors", embedding)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_diffusers_reads_what_is_written(tmp_path: Path, suffix: str) -> None:
    pipeline, embedding = tiny_stable_diffusion(), word("snorf", 2, 16)
    write_embedding(tmp_path / f"w{suffix}", embedding)
    pipeline.load_textual_inversion(str(tmp_path / f"w{suffix}"))
    ids = pipeline.tokenizer.convert_tokens_to_ids(["snorf", "snorf_1"])
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids], embedding.vectors)
