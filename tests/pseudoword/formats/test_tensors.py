import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pseudoword.errors import UserError
from pseudoword.formats.embedding import BadEmbedding, load_embedding, save_embedding
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.tensors import save_tensors

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VECTORS = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99)).map(
    lambda of: torch.randn(of[0], of[1], generator=torch.Generator().manual_seed(of[2]))
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@same_folder
@given(name=TEXT.filter(lambda name: name not in ("emb_params", "*", "__metadata__")), vectors=VECTORS)
def test_what_is_saved_is_loaded(tmp_path: Path, name: str, vectors: torch.Tensor) -> None:
    path = tmp_path / "word.safetensors"
    save_embedding(path, name, vectors, {"pseudoword.step": "7", "title": name})
    embedding = load_embedding(path)
    assert (embedding.name, embedding.metadata) == (name, {"pseudoword.step": "7", "title": name})
    assert embedding.vectors.dtype == torch.float32 and torch.equal(embedding.vectors, vectors)
    assert list(tmp_path.iterdir()) == [path]


@same_folder
@given(metadata=st.dictionaries(TEXT, TEXT, max_size=6))
def test_the_official_reader_agrees(tmp_path: Path, metadata: dict[str, str]) -> None:
    path, tensors = tmp_path / "tensors.safetensors", {"b": torch.arange(6.0).view(2, 3), "Ä": torch.tensor([1, 2])}
    save_tensors(path, tensors, metadata)
    read = load_file(path)
    assert read.keys() == tensors.keys() and all(torch.equal(read[key], tensors[key]) for key in tensors)
    with safe_open(path, framework="pt") as file:
        assert (file.metadata() or {}) == metadata


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    path, tensors = tmp_path / "tensors.safetensors", {"x": torch.ones(2, 3), "a": torch.zeros(1)}
    contents = set()
    for _ in range(5):  # the safetensors package alone writes another order of the metadata each time
        save_tensors(path, tensors, {key: key for key in "abcdefgh"})
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_vectors_of_half_precision_in_a_view_with_gradient_are_saved_as_plain_float32(tmp_path: Path) -> None:
    vectors = torch.randn(8, 3, dtype=torch.float16).T.requires_grad_()
    save_embedding(tmp_path / "w.safetensors", "w", vectors, {})
    assert torch.equal(load_embedding(tmp_path / "w.safetensors").vectors, vectors.float())


@pytest.mark.parametrize(
    ("key", "tensor", "name"),
    [
        ("emb_params", torch.ones(2, 4, dtype=torch.bfloat16), "my-file"),
        ("*", torch.ones(4), "my-file"),
        ("<cat>", torch.ones(1, 4, dtype=torch.float64), "<cat>"),
        ("../../etc/passwd", torch.ones(1, 4), "../../etc/passwd"),
    ],
)
def test_files_of_other_trainers_are_read(tmp_path: Path, key: str, tensor: torch.Tensor, name: str) -> None:
    path = tmp_path / "my-file.safetensors"
    save_file({key: tensor}, path)
    embedding = load_embedding(path)
    assert embedding.name == name and embedding.metadata == {}
    assert torch.equal(embedding.vectors, torch.ones(tensor.numel() // 4, 4))


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({}, "0 tensors"),
        ({"a": torch.ones(1, 4), "b": torch.ones(1, 4)}, "2 tensors, such as 'a'"),
        ({"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)}, "2 tensors"),
        ({"a": torch.ones(1, 2, 3)}, r"shape \(1, 2, 3\)"),
        ({"a": torch.tensor(1.0)}, r"shape \(\)"),
        ({"a": torch.ones(0, 4)}, r"shape \(0, 4\)"),
        ({"a": torch.ones(1, 4, dtype=torch.int64)}, "numbers are I64"),
        ({"a": torch.tensor([[0.0, float("nan")]])}, "NaN"),
        ({"a": torch.tensor([[0.0, float("-inf")]])}, "NaN"),
        ({"a": torch.tensor([[0.0, 1e300]], dtype=torch.float64)}, "NaN or infinite"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], found: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    with pytest.raises(BadEmbedding, match=f"other.safetensors is not an embedding file: .*{found}"):
        load_embedding(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_embedding(path, "w", torch.ones(1, 4), {"a": "b"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(BadEmbedding, match=r"cannot be read|cut off"):
            load_embedding(path)


def header(fields: object) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04cos\nsystem\n(S'false'\ntR.",
        b"PK\x03\x04" + bytes(64),
        struct.pack("<Q", 2**63) + b"{}",
        header({"w": {"dtype": "F32", "shape": [2**40, 4], "data_offsets": [0, 16]}}) + bytes(16),
        header({"w": {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 2**50]}}) + bytes(16),
        header({"w": {"dtype": "F32", "shape": [1, -4], "data_offsets": [0, 16]}}) + bytes(16),
        header({"w": {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16]}}) + bytes(4096),
        header({"w": {"dtype": "PY", "shape": [1, 4], "data_offsets": [0, 16]}}) + bytes(16),
        header([1, 2]),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadEmbedding, match=r"hostile\.safetensors"):
        load_embedding(path)


@same_folder
@given(st.binary(max_size=200))
def test_noise_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadEmbedding):
        load_embedding(path)


def test_no_file_is_no_embedding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_embedding(tmp_path / "none.safetensors")
    with pytest.raises(BadEmbedding):
        load_embedding(tmp_path)


@pytest.mark.parametrize(
    ("family", "resolution", "architecture"),
    [
        ("sd1", 512, "stable-diffusion-v1"),
        ("sd2", 512, "stable-diffusion-v2-512"),
        ("sd2", 768, "stable-diffusion-v2-768-v"),
        ("sdxl", 1024, "stable-diffusion-xl-v1-base"),
        ("toy", 64, "toy"),
    ],
)
def test_modelspec_has_what_the_specification_demands(family: str, resolution: int, architecture: str) -> None:
    metadata = modelspec("snorf", family, resolution)
    for must in ("sai_model_spec", "architecture", "implementation", "title"):
        assert metadata[f"modelspec.{must}"]
    assert metadata["modelspec.architecture"] == f"{architecture}/textual-inversion"
    assert metadata["modelspec.trigger_phrase"] == "snorf"
    assert metadata["modelspec.resolution"] == f"{resolution}x{resolution}"
    assert "modelspec.date" not in metadata  # the same training shall give the same bytes
    assert modelspec("snorf", family, resolution, date="2024-05-01")["modelspec.date"] == "2024-05-01"
