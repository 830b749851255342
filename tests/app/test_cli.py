import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from app.cli import main
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import write_embedding
from tests.app.commands import Output, refusal, run
from tests.original_layout import original
from tests.tiny import tiny_sdxl, tiny_stable_diffusion

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model of width 16 in models/toyworld."""
    folder = tmp_path_factory.mktemp("home")
    tiny_stable_diffusion().save_pretrained(folder / "models" / "toyworld")
    return folder


@pytest.fixture(autouse=True)
def inside(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(request.getfixturevalue("home") if "home" in request.fixturenames else tmp_path)


def word(name: str = "snorf", vectors: int = 2, width: int = 16, **metadata: str) -> Embedding:
    return Embedding(name, torch.full((vectors, width), 0.5), metadata)


def test_create_spreads_the_words_of_the_text(tmp_path: Path, home: Path, capsys: Output) -> None:
    path = tmp_path / "snorf-x1.safetensors"
    arguments = ("create", "snorf-x1", path, "--vectors", 3, "--init-text", "red blue", "--base", "models/toyworld")
    assert run(capsys, *arguments) == f"{path}: 'snorf-x1', 3 vectors of 16 numbers\n"
    vectors = read_embedding(path).vectors
    assert vectors.shape == (3, 16) and torch.equal(vectors[0], vectors[1]) and not torch.equal(vectors[1], vectors[2])
    assert "--overwrite" in refusal(capsys, *arguments)
    run(capsys, *arguments, "--overwrite")


def test_inspect_finds_the_words_that_a_new_word_was_made_of(tmp_path: Path, home: Path, capsys: Output) -> None:
    path = tmp_path / "w.pt"
    run(capsys, "create", "snorf-x1", path, "--vectors", 2, "--init-text", "red blue", "--base", "models/toyworld")
    lines = run(capsys, "inspect", path).splitlines()
    assert [line.split() for line in lines[:3]] == [["name", "snorf-x1"], ["vectors", "2"], ["width", "16"]]
    norms = [float(norm) for norm in lines[3].removeprefix("norms").split()]
    assert norms == pytest.approx(read_embedding(path).vectors.norm(dim=-1).tolist(), abs=1e-3)
    assert lines[4].startswith("nearest  in models/toyworld")
    assert lines[5].startswith("  0: red 1.00, ") and lines[6].startswith("  1: blue 1.00, ")
    assert "  pseudoword.init_text: red blue" in lines


def test_inspect_needs_no_base_model(tmp_path: Path, capsys: Output) -> None:
    write_embedding(tmp_path / "w.safetensors", word(width=4, note="n" * 9999))
    output = run(capsys, "inspect", tmp_path / "w.safetensors")
    assert "norms    1.000 1.000" in output and "nearest" not in output and len(output) < 1000


def test_inspect_with_a_base_model_of_another_width_says_so(tmp_path: Path, home: Path, capsys: Output) -> None:
    path = tmp_path / "w.safetensors"
    write_embedding(path, word(width=4))
    assert "nearest" not in run(capsys, "inspect", path)
    assert main(["inspect", str(path), "--base", "models/toyworld"]) == 1
    assert "vectors of 4 numbers, but models/toyworld wants 16" in capsys.readouterr().err


def test_inspect_shows_both_encoders_of_sdxl_and_every_word_of_a_lora(tmp_path: Path, capsys: Output) -> None:
    tensors = {"bundle_emb.a.clip_l": torch.ones(2, 4), "bundle_emb.a.clip_g": torch.ones(2, 9)}
    save_file(tensors | {"bundle_emb.b.x": torch.ones(4)}, tmp_path / "lora.safetensors")
    output = run(capsys, "inspect", tmp_path / "lora.safetensors")
    assert "width    4 + 9 (SDXL)" in output and "norms_g  3.000 3.000" in output and "name     b" in output


def test_text_of_a_file_does_not_reach_the_terminal_raw(tmp_path: Path, capsys: Output) -> None:
    write_embedding(tmp_path / "w.safetensors", word("a\x1b[2Jb\n", note="\x07\u202e"))
    for command in (("inspect", tmp_path / "w.safetensors"), ("list", tmp_path)):
        output = run(capsys, *command)
        assert "a\\x1b[2Jb\\n" in output and not set("\x1b\x07\u202e") & set(output)


@pytest.mark.parametrize("first", [".safetensors", ".pt", ".png"])
@pytest.mark.parametrize("second", [".safetensors", ".pt", ".bin", ".png"])
def test_convert_from_any_format_to_any(tmp_path: Path, capsys: Output, first: str, second: str) -> None:
    source, target = tmp_path / f"a{first}", tmp_path / f"b{second}"
    write_embedding(source, word(note="kept"))
    run(capsys, "convert", source, target)
    read = read_embedding(target)
    assert read.name == "snorf" and torch.equal(read.vectors, word().vectors)
    assert read.metadata.get("note") == (None if second == ".bin" else "kept")


def test_convert_renames_picks_and_takes_a_picture(tmp_path: Path, capsys: Output) -> None:
    source, target = tmp_path / "lora.safetensors", tmp_path / "w.png"
    save_file({"bundle_emb.a.x": torch.ones(1, 4), "bundle_emb.b.x": torch.zeros(1, 4)}, source)
    Image.new("RGB", (50, 40)).save(tmp_path / "cat.webp")
    assert "name one of them with --word: 'a', 'b'" in refusal(capsys, "convert", source, target)
    run(capsys, "convert", source, target, "--word", "a", "--name", "cat-x1", "--picture", tmp_path / "cat.webp")
    read = read_embedding(target)
    assert read.name == "cat-x1" and read.vectors.tolist() == [[1, 1, 1, 1]]
    with Image.open(target) as image:
        assert image.height == 40 * 10  # enlarged to about 512 px, so that the text can be read


def test_convert_writes_the_key_of_another_tool(tmp_path: Path, capsys: Output) -> None:
    source, out = tmp_path / "cat.pt", tmp_path / "dog.safetensors"
    write_embedding(source, Embedding("cat", torch.ones(2, 4), {}))
    assert main(["convert", str(source), str(out), "--key", "emp_params", "--name", "dog"]) == 0
    assert list(load_file(out)) == ["emp_params"] and read_embedding(out).name == "dog"
    assert main(["convert", str(source), str(tmp_path / "a.bin"), "--key", "emb_params", "--name", "b"]) == 1
    assert "another tool's key has the name of its file" in capsys.readouterr().err
    assert main(["convert", str(source), str(tmp_path / "a.pt"), "--key", "emb_params"]) == 1
    assert "InvokeAI reads the .pt as it is" in capsys.readouterr().err
    assert not (tmp_path / "a.bin").exists() and not (tmp_path / "a.pt").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".png"])
def test_convert_renames_the_word_in_its_metadata_too(tmp_path: Path, capsys: Output, suffix: str) -> None:
    source, out = tmp_path / "a.safetensors", tmp_path / f"blurb{suffix}"
    write_embedding(source, word(**modelspec("snorf", "sd1", 512, "Learned."), note="snorf"))
    run(capsys, "convert", source, out, "--name", "blurb")
    assert "cannot be the name of a word" in refusal(capsys, "convert", source, tmp_path / "no.png", "--name", "")
    wanted = {**modelspec("blurb", "sd1", 512, "Learned."), "note": "snorf"}
    assert wanted.items() <= read_embedding(out).metadata.items()
    write_embedding(source, word(note="snorf"), overwrite=True)
    run(capsys, "convert", source, out, "--name", "blurb", "--overwrite")
    assert not [key for key in read_embedding(out).metadata if key.startswith("modelspec.")]


def test_a_word_that_its_file_names_is_renamed_in_its_metadata_with_the_file(tmp_path: Path, capsys: Output) -> None:
    source, out = tmp_path / "snorf.safetensors", tmp_path / "blurb.safetensors"
    both = Embedding("snorf", torch.ones(1, 4), modelspec("snorf", "sdxl", 1024), torch.ones(1, 6))
    write_embedding(source, both)
    run(capsys, "convert", source, out)
    assert read_embedding(out).metadata == modelspec("blurb", "sdxl", 1024)


@pytest.mark.parametrize("name", ["a/b", "..", "", "a\nb"])
def test_a_name_that_no_file_can_have_is_refused_where_the_file_names_the_word(
    name: str, tmp_path: Path, capsys: Output
) -> None:
    source, out = tmp_path / "a.pt", tmp_path / "x.safetensors"
    write_embedding(source, word())
    told = refusal(capsys, "convert", source, out, "--key", "emb_params", "--name", name)
    assert "cannot be the name of a word. Wanted are" in told and not out.exists()


def test_convert_refuses_to_overwrite(tmp_path: Path, capsys: Output) -> None:
    source, target = tmp_path / "a.pt", tmp_path / "b.pt"
    write_embedding(source, word())
    target.write_text("mine")
    assert "b.pt is there already" in refusal(capsys, "convert", source, target)
    assert target.read_text() == "mine"
    run(capsys, "convert", source, target, "--overwrite")
    assert read_embedding(target).name == "snorf"


def test_what_the_user_can_mend_is_one_message(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "broken.pt").write_text("?")
    (tmp_path / "file").write_text("")
    write_embedding(tmp_path / "good.pt", word())
    assert "does not exist" in refusal(capsys, "inspect", tmp_path / "none.pt")
    assert "is not an embedding file" in refusal(capsys, "inspect", tmp_path / "broken.pt")
    assert "no format for '.ckpt'" in refusal(capsys, "convert", tmp_path / "good.pt", tmp_path / "w.ckpt")
    assert "file" in refusal(capsys, "convert", tmp_path / "good.pt", tmp_path / "file" / "w.pt")
    assert "is not a folder" in refusal(capsys, "list", tmp_path / "file")
    create = ("create", "cat-x1", tmp_path / "w.pt", "--vectors", 1, "--init-text", "cat", "--base", tmp_path)
    assert "base.model" in refusal(capsys, *create)


@pytest.mark.parametrize("vectors", ["0", "76", "-1", "two"])
def test_an_odd_number_of_vectors_is_refused(vectors: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["create", "x", "w.pt", f"--vectors={vectors}", "--init-text", "cat", "--base", "models/toyworld"])
    assert stop.value.code == 2 and "is not a number from 1 to 75" in capsys.readouterr().err


def test_a_word_of_the_vocabulary_cannot_be_created(tmp_path: Path, home: Path, capsys: Output) -> None:
    arguments = ("create", "blue", tmp_path / "w.pt", "--vectors", 1, "--init-text", "", "--base", "models/toyworld")
    assert "knows already" in refusal(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_list_says_what_is_loaded_and_why_the_rest_is_not(tmp_path: Path, home: Path, capsys: Output) -> None:
    sdxl = Embedding("big", torch.ones(1, 16), {}, torch.ones(1, 20))
    write_embedding(tmp_path / "a.pt", word())
    write_embedding(tmp_path / "b.safetensors", word(vectors=3))
    write_embedding(tmp_path / "c.bin", word("wide", width=24))
    write_embedding(tmp_path / "deep" / "d.safetensors", sdxl)
    write_embedding(tmp_path / "deep" / "e.PNG", word("card"))
    (tmp_path / "f.pt").write_bytes(b"")
    write_embedding(tmp_path / "g.pt", word("CARD", vectors=3))
    Image.new("RGB", (9, 9)).save(tmp_path / "h.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "a.Preview.png")
    (tmp_path / "i.pt").symlink_to("/dev/zero")
    (tmp_path / "j.pt").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("not looked at")
    lines = run(capsys, "list", tmp_path, "--base", "models/toyworld").splitlines()
    expected = [
        ("loaded", "a.pt", "'snorf', 2 vectors of 16 numbers"),
        ("skipped", "b.safetensors", "its name 'snorf' is that of"),
        ("skipped", "c.bin", "24 numbers, the base model wants 16"),
        ("skipped", "d.safetensors", "for SDXL"),
        ("loaded", "e.PNG", "'card'"),
        ("skipped", "f.pt", "f.pt: it is empty"),
        ("skipped", "g.pt", "its name 'CARD' is that of"),
        ("skipped", "h.png", "h.png: it is a picture without a word in it"),
        ("skipped", "i.pt", "i.pt: it is a pipe or a device"),
        ("skipped", "j.pt", "j.pt: it is a link to nowhere, which is not there"),
    ]
    assert len(lines) == len(expected)
    for line, (state, name, reason) in zip(lines, expected, strict=True):
        assert line.startswith(state) and name in line and reason in line
    without_base = run(capsys, "list", tmp_path).splitlines()
    states = ["loaded", "skipped", "loaded", "loaded", "loaded", "skipped", "skipped", "skipped", "skipped", "skipped"]
    assert [line.split()[0] for line in without_base] == states


def test_the_help_needs_no_torch() -> None:
    script = "import sys, app.cli as cli\ntry: cli.main(['--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.endswith("False\n") and "inspect" in done.stdout


def test_the_command_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pseudoword", "inspect", str(tmp_path / "none.pt")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr == f"{tmp_path / 'none.pt'} does not exist.\n"


def test_a_word_for_sdxl_has_vectors_of_both_its_encoders(tmp_path: Path, capsys: Output) -> None:
    base, file = tmp_path / "base", tmp_path / "words" / "cat-x1.safetensors"
    tiny_sdxl().save_pretrained(base)
    capsys.readouterr()
    file.parent.mkdir()
    run(capsys, "create", "cat-x1", file, "--vectors", 2, "--init-text", "cat", "--base", base)
    read = read_embedding(file)
    assert read.vectors_g is not None and (read.vectors.shape, read.vectors_g.shape) == ((2, 16), (2, 24))
    write_embedding(tmp_path / "words" / "other.pt", Embedding("other", torch.ones(1, 16), {}))
    listed = run(capsys, "list", tmp_path / "words", "--base", base)
    assert "loaded " in listed.splitlines()[0] and "it is not for SDXL" in listed.splitlines()[1]
    output = run(capsys, "inspect", file, "--base", base)
    first, second = output[: output.index("nearest_g")], output[output.index("nearest_g") :]
    assert "  0: c- 1.00" in first and "  1: c- 1.00" not in first and "  0: c- 1.00" in second
    assert "vectors of 16 numbers, but" in refusal(capsys, "inspect", tmp_path / "words/other.pt", "--base", base)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("make", [tiny_stable_diffusion, tiny_sdxl])
def test_a_checkpoint_of_one_file_is_a_base_model_too(tmp_path: Path, capsys: Output, make: Any, suffix: str) -> None:
    pipeline, base = make(), tmp_path / f"base{suffix}"
    pipeline.save_pretrained(tmp_path / "configs")
    if suffix == ".ckpt":
        torch.save({"state_dict": original(pipeline)}, base)
    else:
        save_file(original(pipeline), base)
    capsys.readouterr()
    words = []
    single, whole = ("--base", base, "--config", tmp_path / "configs"), ("--base", tmp_path / "configs")
    for folder, named in (("single", single), ("whole", whole)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "cat-x1.safetensors"
        run(capsys, "create", "cat-x1", file, "--vectors", 2, "--init-text", "red", *named)
        assert "loaded " in run(capsys, "list", tmp_path / folder, *named)
        assert "  0: red 1.00" in run(capsys, "inspect", file, *named)
        words.append(read_embedding(file))
    assert torch.equal(words[0].vectors, words[1].vectors)
    assert words[0].vectors_g is None or torch.equal(words[0].vectors_g, words[1].vectors_g)


def test_a_word_for_sdxl_keeps_its_name_or_is_refused(tmp_path: Path, capsys: Output) -> None:
    """Its file has no room for a name."""
    base, file = tmp_path / "base", tmp_path / "cat-x1.pt"
    tiny_sdxl().save_pretrained(base)
    capsys.readouterr()
    create = ("--vectors", 2, "--init-text", "cat", "--base", base)
    assert "would be lost. Write to" in refusal(capsys, "create", "cat-x1", tmp_path / "other.pt", *create)
    run(capsys, "create", "cat-x1", file, *create)
    assert "'dog-x1' would be lost" in refusal(capsys, "convert", file, tmp_path / "w.png", "--name", "dog-x1")
    assert "'dog-x1', 2 vectors" in run(capsys, "convert", file, tmp_path / "dog-x1.png", "--name", "dog-x1")
    assert "'w', 2 vectors" in run(capsys, "convert", file, tmp_path / "w.png")
    origin = read_embedding(tmp_path / "cat-x1.pt").metadata, read_embedding(tmp_path / "w.png").metadata
    assert origin == ({}, {})
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["cat-x1.pt", "dog-x1.png", "w.png"]


@pytest.mark.parametrize("name", ["Snorf X", "Snorf", "snorf\n", "../../evil", "s" * 300, "", "-x", "\x1b[2J"])
def test_a_name_that_the_settings_refuse_cannot_be_created(
    name: str, tmp_path: Path, home: Path, capsys: Output
) -> None:
    told = refusal(capsys, *create_arguments(tmp_path / "w.pt", name, 1, "red"))
    assert "cannot be the name of a word. Wanted are 1 to 64 letters in lower case" in told
    assert len(told) < 400 and "\x1b" not in told and not list(tmp_path.iterdir())


def create_arguments(path: Path, name: str, vectors: int, text: str) -> list[object]:
    return ["create", f"--vectors={vectors}", f"--init-text={text}", "--base=models/toyworld", "--", name, path]


def test_create_warns_of_what_is_hardly_meant(tmp_path: Path, home: Path, capsys: Output) -> None:
    lines = run(capsys, *create_arguments(tmp_path / "w.pt", "forrest", 1, "red star")).splitlines()
    assert lines[1:] == [
        "warning: the init text 'red star' has 2 tokens for 1 vector: the word starts from 'red' without 'star'. "
        "Shorten the text, or take more vectors.",
        "warning: 'forrest' is close to words that models/toyworld knows: forest",
        "warning: A1111 and ComfyUI go by the file's name: there the word is 'w', not 'forrest'",
    ]
    assert len(run(capsys, *create_arguments(tmp_path / "snorf-x1.png", "snorf-x1", 1, "red")).splitlines()) == 1


def test_convert_warns_of_a_name_that_is_known_or_not_the_files(tmp_path: Path, home: Path, capsys: Output) -> None:
    write_embedding(tmp_path / "a.pt", word())
    told = run(capsys, "convert", tmp_path / "a.pt", tmp_path / "b.pt", "--name", "flower", "--base", "models/toyworld")
    assert "warning: 'flower' is a word that models/toyworld knows already" in told
    assert "there the word is 'b', not 'flower'" in told
    assert "warning" not in run(capsys, "convert", tmp_path / "a.pt", tmp_path / "b.png")  # a picture tells its name
    assert "warning" not in run(
        capsys, "convert", tmp_path / "a.pt", tmp_path / "snorf.bin", "--base", "models/toyworld"
    )


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".png"])
def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(
    tmp_path: Path, suffix: str, capsys: Output
) -> None:
    write_embedding(tmp_path / "a.pt", word())
    target = tmp_path / f"{'n' * 240}{suffix}"  # too long with what is put around it while it is written
    told = refusal(capsys, "convert", tmp_path / "a.pt", target)
    assert str(target) in told and "partial" not in told


def test_vectors_of_zeros_are_near_to_no_word(tmp_path: Path, home: Path, capsys: Output) -> None:
    write_embedding(tmp_path / "w.pt", Embedding("snorf", torch.eye(2, 16) * torch.tensor([[0.0], [1.0]]), {}))
    lines = run(capsys, "inspect", tmp_path / "w.pt").splitlines()
    assert lines[5] == "  0: none, as all its numbers are zero" and lines[6].count(",") == 4


def test_vectors_of_any_length_are_facts_in_json(tmp_path: Path, home: Path, capsys: Output) -> None:
    write_embedding(tmp_path / "w.pt", Embedding("snorf", torch.tensor([[3e38] * 16, [1e-44] * 16]), {}))
    (facts,) = json.loads(run(capsys, "inspect", "--json", tmp_path / "w.pt"), parse_constant=pytest.fail)
    assert facts["norms"][0] == pytest.approx([1.2e39, 4e-44], rel=0.05)
    assert all(abs(near["cosine"]) <= 1.001 for words in facts["nearest"][0] for near in words)


def test_inspect_says_nothing_before_a_base_model_that_is_not_there(tmp_path: Path, capsys: Output) -> None:
    write_embedding(tmp_path / "w.pt", word())
    assert "nowhere" in refusal(capsys, "inspect", tmp_path / "w.pt", "--base", tmp_path / "nowhere")


@pytest.mark.parametrize("command", ["inspect", "list", "convert", "create"])
def test_an_empty_base_is_not_none(command: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "x", "--base", ""])
    assert stop.value.code == 2 and "an empty text is no model" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.split() == ["pseudoword", importlib.metadata.version("pseudoword")]


def test_a_misspelt_command_is_answered_with_the_nearest(capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["inspct", "x.pt"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and "no command 'inspct'; did you mean 'inspect'? There are: " in told


def test_inspect_takes_several_files_and_tells_of_those_that_it_cannot_read(tmp_path: Path, capsys: Output) -> None:
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    write_embedding(good, word(note="kept"))
    bad.write_text("?")
    assert main(["inspect", str(bad), str(good)]) == 1
    captured = capsys.readouterr()
    assert "bad.pt" in captured.err and captured.err.count("\n") == 1
    assert captured.out.splitlines()[:2] == [f"file     {good}", "name     snorf"]


def test_inspect_for_programs_holds_all_that_is_shown(tmp_path: Path, home: Path, capsys: Output) -> None:
    files = [tmp_path / "a.pt", tmp_path / "bad.pt", tmp_path / "zeros.pt"]
    run(capsys, *create_arguments(files[0], "snorf-x1", 2, "red blue"))
    files[1].write_text("\x1b")
    write_embedding(files[2], Embedding("\x1b[2J\u202e", torch.zeros(1, 16), {}))
    assert main(["inspect", "--json", *map(str, files)]) == 1
    output = capsys.readouterr().out
    assert output.isascii() and "\x1b" not in output
    first, second, third = json.loads(output)
    assert (first["file"], first["name"], first["vectors"], first["widths"]) == (str(files[0]), "snorf-x1", 2, [16])
    assert first["norms"][0] == pytest.approx(read_embedding(files[0]).vectors.norm(dim=-1).tolist())
    assert [near[0]["word"] for near in first["nearest"][0]] == ["red", "blue"]
    assert first["metadata"]["pseudoword.init_text"] == "red blue"
    assert set(second) == {"file", "error"}
    assert third["name"] == "\x1b[2J\u202e" and third["nearest"] == [[[]]]


def test_a_word_in_another_format_beside_it_is_the_same_word(tmp_path: Path, capsys: Output) -> None:
    """As the files that `export` writes are."""
    for name in ("a.safetensors", "b.pt", "c.png"):
        write_embedding(tmp_path / name, word())
    write_embedding(tmp_path / "d.pt", Embedding("Snorf", torch.ones(1, 16), {}))
    listed = json.loads(run(capsys, "list", "--json", tmp_path))
    assert [entry["state"] for entry in listed] == ["loaded", "same", "same", "skipped"]
    assert listed[1]["text"] == f"'snorf', 2 vectors of 16 numbers, as in {tmp_path / 'a.safetensors'}"
    assert run(capsys, "list", tmp_path).splitlines()[1].startswith("same     ")


def test_several_files_are_converted_into_a_folder(tmp_path: Path, capsys: Output) -> None:
    for name in ("a.pt", "b.safetensors"):
        write_embedding(tmp_path / name, word(name[0]))
    files, out = [tmp_path / "a.pt", tmp_path / "b.safetensors"], tmp_path / "out"
    assert "is not a folder" in refusal(capsys, "convert", *files, out, "--to", "png")
    out.mkdir()
    lines = run(capsys, "convert", *files, out, "--to", "png").splitlines()
    assert [line.split(":")[0] for line in lines] == [str(out / "a.png"), str(out / "b.png")]
    assert [read_embedding(out / f"{name}.png").name for name in "ab"] == ["a", "b"]
    (out / "a.png").unlink()
    assert "b.png is there already" in refusal(capsys, "convert", *files, out, "--to", ".png")
    assert not (out / "a.png").exists()  # none is written where one cannot be
    assert "Two of the files" in refusal(capsys, "convert", files[0], files[0], out, "--to", ".png")
    with pytest.raises(SystemExit) as stop:
        main(["convert", *map(str, files), str(out)])
    assert stop.value.code == 2 and "--to .pt" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_is_no_fault(tmp_path: Path) -> None:
    for number in range(3):
        write_embedding(tmp_path / f"w{number}.pt", word(f"w{number}"))
    script = "import os, sys; from app.cli import main; os.close(sys.stdin.fileno()); sys.exit(main(sys.argv[1:]))"
    listing = [sys.executable, "-c", script, "list", str(tmp_path)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(listing, stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_each_command_and_each_field_is_in_its_page(capsys: Output) -> None:
    page = (ROOT / "docs/cli.md").read_text()
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, re.MULTILINE)
    assert len(commands) >= 8 and all(f"`pseudoword {command}" in page for command in commands)
