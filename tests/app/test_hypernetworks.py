"""The commands on hypernetwork files."""

from pathlib import Path

import pytest
import torch

from app.cli import main
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.hypernetwork import load_hypernetwork, save_hypernetwork
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.structure import Structure
from tests.app.commands import Output, refusal, run
from tests.tiny import tiny_stable_diffusion


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with contexts of 16 (text) and 8 and 16 (layers) numbers."""
    folder = tmp_path_factory.mktemp("base")
    tiny_stable_diffusion().save_pretrained(folder)
    return folder


def saved(path: Path, structure: Structure | None = None, widths: tuple[int, ...] = (16, 8), **more: str) -> Path:
    structure = structure or Structure()
    modules = initial_modules(structure, widths, "Normal", 0)
    save_hypernetwork(path, Hypernetwork(path.stem, structure, modules, more))
    return path


def test_create_makes_one_for_every_width_of_the_model(tmp_path: Path, base: Path, capsys: Output) -> None:
    path = tmp_path / "style.pt"
    arguments = ("create", "style", path, "--hypernetwork", "--base", base)
    assert run(capsys, *arguments) == f"{path}: hypernetwork 'style', widths 16, 8, layers 1, 2, 1\n"
    read = load_hypernetwork(path)
    assert (read.name, read.widths, read.structure) == ("style", [16, 8], Structure())
    assert read.metadata["step"] == "0" and read.metadata["weight_initialization"] == "Normal"
    assert "--overwrite" in refusal(capsys, *arguments)
    run(capsys, *arguments, "--overwrite", "--seed", 1)
    weight = "linear.0.weight"
    assert not torch.equal(load_hypernetwork(path).modules[8][0][weight], read.modules[8][0][weight])


def test_create_takes_all_that_a_structure_has(tmp_path: Path, base: Path, capsys: Output) -> None:
    path = tmp_path / "style.safetensors"
    output = run(
        capsys, "create", "style", path, "--hypernetwork", "1, 2, 1.5, 1", "--activation", "relu", "--layer-norm",
        "--dropout", "0, 0.05, 0.15, 0", "--initialisation", "KaimingUniform", "--base", base,
    )  # fmt: skip
    assert load_hypernetwork(path).structure == Structure((1, 2, 1.5, 1), "relu", True, (0, 0.05, 0.15, 0))
    assert "warning: ComfyUI draws other pictures" in output


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (("--hypernetwork", "2, 1"), "begin and end with 1"),
        (("--hypernetwork", "1, x, 1"), "'1, x, 1' is not a row of numbers"),
        (("--hypernetwork", "1, 0.01, 1"), "leaves nothing of a width of 16"),
        (("--hypernetwork", "--activation", "softmax"), "'softmax' is not known"),
        (("--hypernetwork", "--dropout", "0, 1.5, 0"), "from 0 to below 1"),
        (("--hypernetwork", "--initialisation", "Ones"), "'Ones' is not one of Normal"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_written(
    tmp_path: Path, base: Path, capsys: Output, more: tuple[str, ...], found: str
) -> None:
    assert found in refusal(capsys, "create", "style", tmp_path / "style.pt", *more, "--base", base)
    assert list(tmp_path.iterdir()) == []


def test_its_name_is_that_of_its_file_and_its_format_has_room_for_it(
    tmp_path: Path, base: Path, capsys: Output
) -> None:
    create = ("--hypernetwork", "--base", base)
    assert "has the name of its file" in refusal(capsys, "create", "style", tmp_path / "other.pt", *create)
    assert "written as .pt or .safetensors" in refusal(capsys, "create", "style", tmp_path / "style.bin", *create)
    source = saved(tmp_path / "a.pt")
    assert "Write to" in refusal(capsys, "convert", source, tmp_path / "b.pt", "--name", "c")
    assert "written as .pt or .safetensors" in refusal(capsys, "convert", source, tmp_path / "a.png")
    assert "--word does not apply" in refusal(capsys, "convert", source, tmp_path / "b.pt", "--word", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("more", [(), ("--vectors", "1"), ("--hypernetwork", "--vectors", "1"), ("--init-text", "a")])
def test_create_makes_a_word_or_a_hypernetwork(tmp_path: Path, capsys: Output, more: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        main(["create", "style", str(tmp_path / "style.pt"), "--base", "x", *more])
    assert "for a word, or --hypernetwork alone" in capsys.readouterr().err


@pytest.mark.parametrize(("first", "second"), [(".pt", ".safetensors"), (".safetensors", ".pt"), (".pt", ".pt")])
def test_convert_keeps_all_but_the_name(tmp_path: Path, capsys: Output, first: str, second: str) -> None:
    structure = Structure((1, 2, 1), "gelu", dropout=(0, 0.1, 0))
    source, target = saved(tmp_path / f"a{first}", structure, note="kept"), tmp_path / f"b{second}"
    output = run(capsys, "convert", source, target)
    assert output.startswith(f"{target}: hypernetwork 'b', widths 16, 8, layers 1, 2, 1; gelu; dropout 0, 0.1, 0\n")
    assert "warning: ComfyUI refuses" in output
    read, written = load_hypernetwork(source), load_hypernetwork(target)
    assert written.name == "b" and written.structure == structure and written.metadata["note"] == "kept"
    assert all(torch.equal(written.modules[8][1][key], value) for key, value in read.modules[8][1].items())


def test_inspect_says_what_it_is_made_of(tmp_path: Path, base: Path, capsys: Output) -> None:
    path = saved(tmp_path / "style.pt", Structure(activation="relu", layer_norm=True), note="a\x1b[2J")
    lines = run(capsys, "inspect", path, "--base", base).splitlines()
    numbers = sum(2 * (4 * d * d + 3 * d + 6 * d) for d in (16, 8))
    assert lines[:5] == [
        "name     style", "kind     hypernetwork", "widths   16, 8", "layers   1, 2, 1; relu; layer norm",
        f"numbers  {numbers}",
    ]  # fmt: skip
    assert lines[5].startswith("note     ComfyUI draws other pictures") and "  note: a\\x1b[2J" in lines
    other = saved(tmp_path / "sd1.pt", widths=(768, 8))
    assert "modules for the widths 768, 8, but the UNet of" in refusal(capsys, "inspect", other, "--base", base)


def test_list_shows_words_and_hypernetworks_each_by_whether_they_fit(
    tmp_path: Path, base: Path, capsys: Output
) -> None:
    write_embedding(tmp_path / "cat.safetensors", Embedding("cat", torch.ones(2, 16), {}))
    saved(tmp_path / "cat.pt")
    saved(tmp_path / "sd1.safetensors", widths=(768, 8))
    (tmp_path / "broken.pt").write_bytes((tmp_path / "cat.pt").read_bytes()[:999])
    lines = run(capsys, "list", tmp_path, "--base", base).splitlines()
    assert lines == [
        f"skipped  {tmp_path / 'broken.pt'}: it is cut off or damaged",
        f"loaded   {tmp_path / 'cat.pt'}: hypernetwork 'cat', widths 16, 8, layers 1, 2, 1",
        f"loaded   {tmp_path / 'cat.safetensors'}: 'cat', 2 vectors of 16 numbers",
        f"skipped  {tmp_path / 'sd1.safetensors'}: its modules for 768 have no use, the base model has 16, 8",
    ]


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "a>b", "s" * 300, "\x1b[2J"])
def test_a_name_that_no_prompt_and_no_file_can_have_is_refused(
    name: str, tmp_path: Path, base: Path, capsys: Output
) -> None:
    told = refusal(capsys, "create", "--hypernetwork", "--base", base, "--", name, tmp_path / "out.pt")
    assert "cannot be the name of a hypernetwork, which is that of its file. Wanted are 1 to 64 letters" in told
    assert len(told) < 400 and "\x1b" not in told and not (tmp_path / "out.pt").exists()
    run(capsys, "create", "--hypernetwork", "--base", base, "style", tmp_path / "style.pt")
    told = refusal(capsys, "convert", tmp_path / "style.pt", tmp_path / "out.safetensors", f"--name={name}")
    assert "cannot be the name of a hypernetwork" in told and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("seed", ["-1", str(2**63), "x", ""])
def test_a_seed_that_is_none_is_refused(seed: str, tmp_path: Path, capsys: Output) -> None:
    with pytest.raises(SystemExit):
        main(["create", "style", str(tmp_path / "style.pt"), "--hypernetwork", "--base=x", f"--seed={seed}"])
    assert "is not a whole number from 0 to 2^63 - 1" in capsys.readouterr().err
