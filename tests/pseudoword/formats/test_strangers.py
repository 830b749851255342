"""Files that users take for embeddings: each is told as what it is, and nothing of it is loaded or run."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pseudoword.formats.embedding import NUMBER_FORMATS, BadEmbedding
from pseudoword.formats.reading import read_embeddings

VECTOR, WORD = torch.ones(1, 8), torch.ones(2, 768)
with zipfile.ZipFile(ZIPPED := io.BytesIO(), "w") as archive:
    archive.writestr("cat.safetensors", b"x")
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    + b"\nsize 12345\n"
)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".png"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LFS_POINTER, "it is a Git LFS pointer.*`git lfs pull`"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is a web page"),
        (b"\xef\xbb\xbf  <html>", "it is a web page"),
        (
            b'{"error": "Access to model cat is restricted. You must be authenticated."}\n',
            'a text.*\'{"error": "Access',
        ),
        ("größe".encode(), "it is a text"),
        (b"# xet version 0\nfilesize = 1\n", "it is a text"),
        (b"\x1f\x8b\x08" + bytes(99), "a gzip archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive"),
        (b"Rar!\x1a\x07\x01" + bytes(99), "a RAR archive"),
        (b"GGUF\x03" + bytes(99), "a model in GGUF"),
        (ZIPPED.getvalue(), "a zip archive of 1 files"),
    ],
)
def test_text_in_place_of_a_file_is_told(tmp_path: Path, suffix: str, content: bytes, told: str) -> None:
    path = tmp_path / f"word{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadEmbedding, match=told):
        read_embeddings(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({768: ({"linear.0.weight": VECTOR}, {"linear.0.weight": VECTOR}), "step": 7, "name": "x"}, "a hypernetwork"),
        ({"hash": "0a1b", "optimizer_state_dict": {"state": {0: {"step": VECTOR}}, "param_groups": []}}, r"\.optim"),
        ({"clip_l": VECTOR, "clip_g": VECTOR, "t5xxl": VECTOR}, "Stable Diffusion 3"),
        ({"emp_params": WORD, "emp_params_out": WORD}, "an output embedding of OneTrainer"),
        ({"clip_l": VECTOR, "clip_g": VECTOR, "clip_l_out": VECTOR, "clip_g_out": VECTOR}, "an output embedding"),
        ({"IN01": VECTOR, "IN02": VECTOR, "MID": VECTOR, "OUT03": VECTOR}, "an XTI embedding"),
        ({"lora_unet_down_blocks_0.lora_down.weight": VECTOR}, "a LoRA without a word"),
        ({"unet.up_blocks.0.attn1.to_q.lora_A.weight": VECTOR, "unet.x.lora_B.weight": VECTOR}, "a LoRA"),
        ({"model.diffusion_model.out.0.weight": VECTOR, "first_stage_model.x": VECTOR}, "a whole model"),
        ({"encoder.conv_in.weight": VECTOR, "decoder.conv_in.weight": VECTOR}, "a VAE"),
    ],
)
def test_what_other_tensors_are_is_told(tmp_path: Path, content: dict[object, object], told: str) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(BadEmbedding, match=told):
        read_embeddings(tmp_path / "file.pt")
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        save_file({str(key): value.clone() for key, value in content.items()}, tmp_path / "file.safetensors")
        with pytest.raises(BadEmbedding, match=told):
            read_embeddings(tmp_path / "file.safetensors")


def test_a_file_that_is_cut_off_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "word.safetensors"
    save_file({"w": WORD}, path)
    whole = path.read_bytes()
    for length in (40, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(BadEmbedding, match="it is cut off or damaged"):
            read_embeddings(path)


@pytest.mark.parametrize("name", ["lora_cat", "encoder", "t5xxl", "mid", "768"])
def test_a_word_may_be_called_like_a_part_of_a_model(tmp_path: Path, name: str) -> None:
    save_file({name: VECTOR}, tmp_path / "word.safetensors")
    assert [embedding.name for embedding in read_embeddings(tmp_path / "word.safetensors")] == [name]


BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6,
    "F4": 4, "I8": 8, "I64": 64, "U16": 16, "U64": 64, "BOOL": 8, "C64": 64, "F3_E9M9": 8,
}  # fmt: skip


@pytest.mark.parametrize("number_format", BITS)
@pytest.mark.parametrize("keys", [("w",), ("clip_l", "clip_g"), ("bundle_emb.cat.emb_params",)])
def test_a_number_format_is_read_or_refused_by_name(tmp_path: Path, number_format: str, keys: tuple[str, ...]) -> None:
    extent = 8 * BITS[number_format] // 8  # bytes of a vector of 8 numbers
    fields = {
        key: {"dtype": number_format, "shape": [1, 8], "data_offsets": [at * extent, (at + 1) * extent]}
        for at, key in enumerate(keys)
    }
    header = json.dumps(fields).encode()
    path = tmp_path / "word.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(extent * len(keys)))
    if number_format in NUMBER_FORMATS:
        assert torch.equal(read_embeddings(path)[0].vectors, torch.zeros(1, 8))
    else:
        with pytest.raises(BadEmbedding, match=rf"its numbers are {number_format}, wanted one of F64, F32"):
            read_embeddings(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "word.pt").symlink_to(tmp_path / "pipe")
    (tmp_path / "word.safetensors").symlink_to("/dev/zero")
    for name in ("word.pt", "word.safetensors"):
        with pytest.raises(BadEmbedding, match="a pipe or a device"):
            read_embeddings(tmp_path / name)
