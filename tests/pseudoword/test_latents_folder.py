"""The folder of latents: what is written is read back by shape, and what is not whole is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from pseudoword import latents as module
from pseudoword.latents import INDEX, BadLatents, Encoded, read_latents, write_latents

SHAPES = {"a0": (4, 6), "a0-h": (4, 6), "b1-t0": (8, 4), "c2": (4, 6), "d3": (4, 4)}


def pictures(number: int = len(SHAPES)) -> Iterator[Encoded]:
    generator = torch.Generator().manual_seed(0)
    for name, (height, width) in list(SHAPES.items())[:number]:
        mean, std = torch.randn(2, 4, height, width, generator=generator)
        weight = torch.rand(1, height, width, generator=generator) if name == "c2" else None
        yield Encoded(name, "00" * 32, mean, std, weight)


def test_pictures_come_back_in_their_order_grouped_by_shape(tmp_path: Path):
    write_latents(pictures(), {}, tmp_path)
    latents = read_latents(tmp_path)
    assert latents.ids == list(SHAPES)
    assert [group.mean.shape for group in latents.groups] == [(1, 4, 4, 4), (3, 4, 4, 6), (1, 4, 8, 4)]
    assert [group.rows for group in latents.groups] == [[4], [0, 1, 3], [2]]
    written = list(pictures())
    for group in latents.groups:
        assert group.weight.shape == (len(group.rows), 1, *group.mean.shape[2:])
        for at, row in enumerate(group.rows):
            assert torch.equal(group.mean[at], written[row].mean)
            assert torch.equal(group.std[at], written[row].std)
            weight = written[row].weight
            assert torch.equal(group.weight[at], torch.ones_like(group.weight[at]) if weight is None else weight)


def test_many_pictures_go_into_several_shards_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_latents(pictures(), {}, tmp_path / "one")
    monkeypatch.setattr(module, "SHARD_BYTES", 2000)
    write_latents(pictures(), {}, tmp_path / "several")
    assert len(list((tmp_path / "several").glob("shard-*"))) == 3
    one, several = read_latents(tmp_path / "one"), read_latents(tmp_path / "several")
    assert one.ids == several.ids
    for left, right in zip(one.groups, several.groups, strict=True):
        assert left.rows == right.rows
        assert all(torch.equal(a, b) for a, b in zip(left[1:], right[1:], strict=True))


def test_the_same_pictures_give_the_same_bytes_and_nothing_of_earlier_ones_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SHARD_BYTES", 2000)
    write_latents(pictures(), {"vae": "x"}, tmp_path / "folder")
    monkeypatch.undo()
    for folder in ("folder", "fresh"):
        write_latents(pictures(2), {"vae": "x"}, tmp_path / folder)
    read = {folder: {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in
            ("folder", "fresh")}  # fmt: skip
    assert read["folder"] == read["fresh"]


def shard(folder: Path) -> Path:
    return folder / "shard-001.safetensors"


def cut_off(folder: Path) -> None:
    shard(folder).write_bytes(shard(folder).read_bytes()[:-8])


def one_bit(folder: Path) -> None:
    content = bytearray(shard(folder).read_bytes())
    content[-1] ^= 1
    shard(folder).write_bytes(content)


def one_picture_less(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    del index["pictures"][0]
    (folder / INDEX).write_text(json.dumps(index))


def one_picture_twice(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["pictures"][0] = index["pictures"][1]
    (folder / INDEX).write_text(json.dumps(index))


def another_format(folder: Path) -> None:
    (folder / INDEX).write_text((folder / INDEX).read_text().replace('"format": 1', '"format": 2'))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_off, r"shard-001.safetensors: its SHA-256 is"),
        (one_bit, r"shard-001.safetensors: its SHA-256 is"),
        (one_picture_less, "lists 4 pictures, the shards hold 5"),
        (one_picture_twice, "lists 5 pictures, the shards hold 5 others"),
        (another_format, "is of format 2"),
        (lambda folder: shard(folder).unlink(), "lists 3 shards, the folder holds 2"),
        (lambda folder: shard(folder).rename(folder / "shard-009.safetensors"), "lists 3 shards, .*shard-009"),
        (lambda folder: (folder / "shard-004.safetensors").write_bytes(b""), "lists 3 shards, the folder holds 4"),
        (lambda folder: (folder / INDEX).unlink(), "index.json: cannot be read"),
        (lambda folder: (folder / INDEX).write_text("[]"), "index.json: cannot be read"),
        (lambda folder: (folder / INDEX).write_text("{"), "index.json: cannot be read"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], object], message: str
):
    monkeypatch.setattr(module, "SHARD_BYTES", 2000)
    write_latents(pictures(), {}, tmp_path)
    harm(tmp_path)
    with pytest.raises(BadLatents, match=f"{message}.*dvc repro latents"):
        read_latents(tmp_path)


def test_a_writing_that_was_stopped_leaves_nothing_that_reads(tmp_path: Path):
    write_latents(pictures(), {}, tmp_path)

    def stopping() -> Iterator[Encoded]:
        yield from pictures(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_latents(stopping(), {}, tmp_path)
    with pytest.raises(BadLatents):
        read_latents(tmp_path)
