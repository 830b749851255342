"""Hypernetwork files of every age, read safely, written so that other tools read them alike."""

import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from pseudoword.base.hypernetwork import Applied
from pseudoword.errors import UserError
from pseudoword.formats import hypernetwork as files
from pseudoword.formats.embedding import BadEmbedding
from pseudoword.formats.hypernetwork import BadHypernetwork, load_hypernetwork, save_hypernetwork
from pseudoword.formats.reading import read_embedding
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.structure import ACTIVATIONS, Structure

UNTIL_1_9 = re.compile(r"[^/]+/(data\.pkl|data/\d+|version)")
SUFFIXES = [".pt", ".safetensors"]
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)

STRUCTURES = st.builds(
    lambda inner, activation, norm, shares, output: Structure(
        (1.0, *inner, 1.0), activation, norm, (0.0, *shares[: len(inner)], 0.0), output and activation != "linear"
    ),
    st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0]), max_size=3),
    st.sampled_from(ACTIVATIONS),
    st.booleans(),
    st.lists(st.sampled_from([0.0, 0.05, 0.3]), min_size=3, max_size=3),
    st.booleans(),
)


def network(structure: Structure | None = None, widths: tuple[int, ...] = (12, 4, 8), **metadata: str) -> Hypernetwork:
    structure = structure or Structure()
    return Hypernetwork("style", structure, initial_modules(structure, widths, "KaimingNormal", 3), metadata)


def assert_same(read: Hypernetwork, written: Hypernetwork) -> None:
    assert read.structure == written.structure and read.widths == written.widths
    for width, pair in written.modules.items():
        for ours, theirs in zip(read.modules[width], pair, strict=True):
            assert list(ours) == list(theirs)
            assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == torch.float32 for key in theirs)


@same_folder
@given(structure=STRUCTURES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_is_loaded(tmp_path: Path, suffix: str, structure: Structure) -> None:
    path, written = tmp_path / f"style{suffix}", network(structure, note="kept", step="7")
    save_hypernetwork(path, written)
    read = load_hypernetwork(path)
    assert_same(read, written)
    assert read.name == "style" and {"note": "kept", "step": "7"}.items() <= read.metadata.items()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_usual_sizes_are_written_read_and_used(tmp_path: Path, suffix: str) -> None:
    """84 MiB, more than any embedding may have; forward as the facts say it, from the file by torch alone."""
    widths = [768, 320, 640, 1280]
    path, written = tmp_path / f"style{suffix}", network(widths=tuple(widths))
    for pair in written.modules.values():
        for module in pair:
            for value in module.values():
                value.add_(0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    save_hypernetwork(path, written)
    assert path.stat().st_size == pytest.approx(4 * sum(2 * (4 * d * d + 3 * d) for d in widths), rel=1e-3)
    read = load_hypernetwork(path)
    assert read.widths == widths
    stored: Any = torch.load(path, weights_only=True) if suffix == ".pt" else None
    for width in widths:
        context = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(width))
        for place in (0, 1):
            state = stored[width][place] if stored else written.modules[width][place]
            hidden = context @ state["linear.0.weight"].T + state["linear.0.bias"]
            wanted = context + 0.6 * (hidden @ state["linear.1.weight"].T + state["linear.1.bias"])
            applied = Applied(read.structure, read.modules, 0.6)
            torch.testing.assert_close(applied.change(context, place, None), wanted, rtol=1e-4, atol=1e-4)


def test_the_pt_has_what_a1111_writes_in_its_order_and_no_more(tmp_path: Path) -> None:
    base = {"pseudoword.base_model": "a/b.safetensors", "pseudoword.base_sha256": "0123456789abcdef"}
    structure = Structure((1, 2, 2, 1), "relu", True, (0, 0.05, 0.15, 0))
    made = network(structure, weight_initialization="XavierNormal", **{"pseudoword.step": "70"}, **base)
    save_hypernetwork(tmp_path / "other.pt", made)
    content = torch.load(tmp_path / "other.pt", weights_only=True)
    assert content.pop("metadata") == {"pseudoword.step": "70", **base}
    pairs = {key: content.pop(key) for key in list(content) if isinstance(key, int)}
    assert list(pairs) == [12, 4, 8] and all(type(pair) is tuple and len(pair) == 2 for pair in pairs.values())
    numbers = [0, 2, 4, 6, 8, 9]  # linear, norm, linear, norm, linear, norm, with activations and dropout between
    assert list(pairs[12][0]) == [f"linear.{i}.{kind}" for i in numbers for kind in ("weight", "bias")]
    assert content == {
        "name": "other",  # the file's, whatever the hypernetwork was called
        "layer_structure": [1.0, 2.0, 2.0, 1.0],
        "activation_func": "relu",
        "is_layer_norm": True,
        "activate_output": False,
        "use_dropout": True,
        "dropout_structure": [0.0, 0.05, 0.15, 0.0],
        "last_layer_dropout": True,
        "step": 70,
        "sd_checkpoint": "0123456789",
        "sd_checkpoint_name": "a_b",
        "weight_initialization": "XavierNormal",
        "optional_info": None,
    }


def test_the_safe_unpickle_of_every_a1111_accepts_what_is_written(tmp_path: Path) -> None:
    save_hypernetwork(tmp_path / "style.pt", network())
    with zipfile.ZipFile(tmp_path / "style.pt") as file:
        assert all(UNTIL_1_9.fullmatch(name) for name in file.namelist())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_content_gives_equal_bytes(tmp_path: Path, suffix: str) -> None:
    contents = set()
    for _ in range(3):
        save_hypernetwork(tmp_path / f"style{suffix}", network(**{key: key for key in "abcdef"}))
        contents.add((tmp_path / f"style{suffix}").read_bytes())
    assert len(contents) == 1


def modules_of(kinds: list[Any]) -> "OrderedDict[str, Tensor]":
    """A state dict of torch's own, with its `_metadata`, under the keys that A1111's attribute `linear` gives."""
    holder = nn.Module()
    holder.linear = nn.Sequential(*kinds)
    return holder.state_dict()  # type: ignore[return-value]


def plain(width: int = 6) -> "OrderedDict[str, Tensor]":
    return modules_of([nn.Linear(width, 2 * width), nn.Linear(2 * width, width)])


def saved(path: Path, content: object, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_the_oldest_files_are_1_2_1_without_anything(tmp_path: Path, zipped: bool) -> None:
    state = plain()
    old = {key.replace("linear.0", "linear1").replace("linear.1", "linear2"): v.half() for key, v in state.items()}
    content = {6: (old, old), "step": 12000, "name": "anime", "sd_checkpoint": "89abcdef", "sd_checkpoint_name": None}
    read = load_hypernetwork(saved(tmp_path / "anime_3.pt", content, zipped))
    assert (read.name, read.structure) == ("anime", Structure())
    assert read.metadata == {"step": "12000", "sd_checkpoint": "89abcdef"}
    assert list(read.modules[6][0]) == list(state) and torch.equal(
        read.modules[6][1]["linear.1.bias"], state["linear.1.bias"].half().float()
    )
    assert load_hypernetwork(saved(tmp_path / "bare.pt", {6: (old, old)}, zipped)).name == "bare"


@pytest.mark.parametrize(
    ("options", "structure", "kinds"),
    [
        ({"activation_func": None}, Structure(), []),
        ({"activation_func": "ReLU"}, Structure(activation="relu", activate_output=True), [nn.ReLU()]),
        ({"activation_func": "mish", "activate_output": False}, Structure(activation="mish"), [nn.Mish()]),
        ({"use_dropout": True}, Structure(), []),
        (
            {"use_dropout": True, "last_layer_dropout": True},
            Structure(dropout=(0, 0.3, 0)),
            [nn.Dropout(0.3)],
        ),
        (
            {"dropout_structure": [0, 0.1, 0], "activate_output": False},
            Structure(dropout=(0, 0.1, 0)),
            [nn.Dropout(0.1)],
        ),
    ],
)
def test_a_key_that_is_not_there_means_what_it_was_before(
    tmp_path: Path, options: dict[str, object], structure: Structure, kinds: list[Any]
) -> None:
    state = modules_of([nn.Linear(6, 12), *kinds, nn.Linear(12, 6)])
    read = load_hypernetwork(saved(tmp_path / "old.pt", {6: (state, dict(state)), **options}))
    assert read.structure == structure
    for suffix in SUFFIXES:  # rewritten, every reader takes it as it was
        save_hypernetwork(tmp_path / f"new{suffix}", read)
        again = load_hypernetwork(tmp_path / f"new{suffix}")
        assert_same(again, read)


def test_old_dropout_follows_each_inner_layer_but_the_last(tmp_path: Path) -> None:
    kinds = [nn.Linear(6, 12), nn.Dropout(0.3), nn.Linear(12, 12), nn.Dropout(0.3), nn.Linear(12, 12), nn.Linear(12, 6)]
    content = {6: (modules_of(kinds),) * 2, "layer_structure": [1, 2, 2, 2, 1], "use_dropout": True}
    assert load_hypernetwork(saved(tmp_path / "old.pt", content)).structure.dropout == (0, 0.3, 0.3, 0, 0)


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False, None])
def test_a_pickle_is_never_run(tmp_path: Path, zipped: bool | None) -> None:
    path, target = tmp_path / "bad.pt", tmp_path / "made"
    content = {6: (plain(), plain()), "optional_info": Malice(target)}
    if zipped is None:
        path.write_bytes(pickle.dumps({"optional_info": Malice(target)}))
    else:
        saved(path, content, zipped)
    with pytest.raises(BadHypernetwork, match="never done"):
        load_hypernetwork(path)
    assert not target.exists()


def changed(key: str, value: object) -> dict[str, object]:
    return {**plain(), key: value}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1], "holds a list"),
        ({"a": torch.ones(1, 4)}, "none of its 1 keys is a width"),
        ({0: (plain(), plain())}, "widths are not from 1 to"),
        ({-6: (plain(), plain())}, "widths are not from 1 to"),
        ({10**30: (plain(), plain())}, "widths are not from 1 to"),
        ({6: plain()}, "not hold a pair"),
        ({6: (plain(),)}, "not hold a pair"),
        ({6: (plain(), [1])}, "not hold a pair"),
        ({7: (plain(), plain())}, r"shape \(12, 6\), wanted \(14, 7\)"),
        ({6: (plain(), {})}, "do not have the layers that it says: 'linear.0.bias'"),
        ({6: (plain(), changed("linear.2.weight", torch.ones(1)))}, "'linear.2.weight'"),
        ({6: (plain(), plain()), "is_layer_norm": True}, "do not have the layers"),
        ({6: (plain(), changed("linear.0.bias", [1.0] * 12))}, "is a list, not a tensor"),
        ({6: (plain(), changed("linear.0.bias", torch.full((12,), torch.nan)))}, "6: linear.0.bias holds NaN"),
        ({6: (plain(), changed("linear.0.bias", torch.ones(12, dtype=torch.int64)))}, "holds int64"),
        ({6: (plain(), changed("linear.0.bias", torch.ones(12).to_sparse()))}, "not a plain tensor"),
        ({6: (plain(), changed("linear.0.bias", torch.ones(12, device="meta")))}, "not a plain tensor"),
        ({6: (plain(), plain()), "layer_structure": [1, 2**40, 1]}, "at most 64"),
        ({6: (plain(), plain()), "layer_structure": [1] * 1000}, "does not begin and end with 1"),
        ({6: (plain(), plain()), "layer_structure": "1, 2, 1"}, "layer_structure is not a list of numbers"),
        ({6: (plain(), plain()), "layer_structure": [1, 10**400, 1]}, "too large"),
        ({6: (plain(), plain()), "layer_structure": [1, 0.01, 1]}, "leaves nothing"),
        ({6: (plain(), plain()), "activation_func": "softmax"}, "'softmax' is not known"),
        ({6: (plain(), plain()), "activation_func": 5}, "activation_func is a int"),
        ({6: (plain(), plain()), "dropout_structure": [0, 2, 0]}, "from 0 to below 1"),
        ({width: (plain(), plain()) for width in range(20000, 20100)}, "more than 268435456 are not read"),
        ({2**15: ({"linear.0.weight": torch.ones(1).expand(2**16, 2**15)},) * 2}, "more than 268435456 are not read"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object, found: str) -> None:
    with pytest.raises(BadHypernetwork, match=rf"other\.pt is not a hypernetwork file: .*{found}"):
        load_hypernetwork(saved(tmp_path / "other.pt", content))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    save_hypernetwork(path, network(widths=(4,)))
    content = path.read_bytes()
    for length in range(0, len(content), 29):
        path.write_bytes(content[:length])
        with pytest.raises(BadHypernetwork, match=str(path)):
            load_hypernetwork(path)


@same_folder
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_a_hypernetwork_or_a_clear_error(
    tmp_path: Path, suffix: str, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path / f"damaged{suffix}"
    save_hypernetwork(path, network(widths=(4,)))
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        load_hypernetwork(path)
    except UserError as error:
        assert str(path) in str(error)


@same_folder
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02"]))
def test_noise_is_refused(tmp_path: Path, content: bytes, magic: bytes) -> None:
    (tmp_path / "noise.pt").write_bytes(magic + content)
    with pytest.raises(BadHypernetwork, match="noise"):
        load_hypernetwork(tmp_path / "noise.pt")


@pytest.mark.parametrize(
    ("options", "more", "found"),
    [
        (None, {}, "does not say under 'hypernetwork'"),
        ("[1]", {}, "does not say under 'hypernetwork'"),
        ("[" * 100000, {}, "does not say under 'hypernetwork'"),
        ("{}", {"lora.down": torch.ones(1)}, "a tensor 'lora.down'"),
        ('{"layer_structure": [1, NaN, 1]}', {}, "not above 0"),
        ('{"layer_structure": [1, 3, 1]}', {}, r"wanted \(12, 4\)"),
    ],
)
def test_other_tensors_are_refused(tmp_path: Path, options: str | None, more: dict[str, Tensor], found: str) -> None:
    tensors = {f"4.{which}.{key}": value for which in "kv" for key, value in plain(4).items()}
    save_file(tensors | more, tmp_path / "other.safetensors", None if options is None else {"hypernetwork": options})
    with pytest.raises(BadHypernetwork, match=found):
        load_hypernetwork(tmp_path / "other.safetensors")


def test_what_is_too_large_is_refused_without_loading_it(tmp_path: Path) -> None:
    for name, start in (("model.pt", b"\x80\x02"), ("model.safetensors", b"\x02" + bytes(7) + b"{}")):
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(2**32)
        with pytest.raises(BadHypernetwork, match=r"4096 MiB|larger than 1024 MiB"):
            load_hypernetwork(tmp_path / name)


def test_no_file_is_no_hypernetwork_and_neither_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_hypernetwork(tmp_path / "none.pt")
    with pytest.raises(BadHypernetwork, match="cannot be read"):
        load_hypernetwork(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_who_takes_it_for_a_word_is_told_what_it_is(tmp_path: Path, suffix: str) -> None:
    save_hypernetwork(tmp_path / f"style{suffix}", network())
    with pytest.raises(BadEmbedding, match="it is a hypernetwork"):
        read_embedding(tmp_path / f"style{suffix}")


@pytest.mark.parametrize(
    ("structure", "told"),
    [
        (Structure(), ""),
        (Structure(activation="relu"), ""),
        (Structure(layer_norm=True), ""),
        (Structure(activation="relu", layer_norm=True), "activation after the last linear layer"),
        (Structure(activation="gelu"), "refuses a hypernetwork with the activation 'gelu'"),
    ],
)
def test_what_comfyui_reads_otherwise_is_told(structure: Structure, told: str) -> None:
    assert told in structure.told_of_comfyui() and bool(told) == bool(structure.told_of_comfyui())


def test_the_order_of_widths_lives_through_a_format_without_order(tmp_path: Path) -> None:
    save_hypernetwork(tmp_path / "style.safetensors", network(widths=(12, 100, 8)))
    read = load_hypernetwork(tmp_path / "style.safetensors")
    assert read.widths == [12, 100, 8] and files.OPTIONS not in read.metadata
    tensors = {f"4.{which}.{key}": value for which in "kv" for key, value in plain(4).items()}
    save_file(tensors, tmp_path / "odd.safetensors", {"hypernetwork": json.dumps({"widths": [4, 4, "x"]})})
    assert load_hypernetwork(tmp_path / "odd.safetensors").widths == [4]
