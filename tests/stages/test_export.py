import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.errors import UserError
from pseudoword.formats.embedding import load_embedding, save_embedding
from pseudoword.formats.hypernetwork import load_hypernetwork, save_hypernetwork
from pseudoword.formats.reading import read_embedding, read_learned
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork, initial_modules
from pseudoword.prompts import Vocabulary
from pseudoword.results.tables import MEASURES
from pseudoword.structure import Structure
from pseudoword.word import to_embedding
from stages.export.__main__ import main
from stages.export.card import by_prompt
from tests.project import resolve_settings, write_checked
from tests.tiny import tiny_sdxl, tiny_stable_diffusion

PROJECT = Path(__file__).parents[2]
WORD, WIDTH = "snorf", 16
CHOICE, FILE = Path("outputs/choice/choice.json"), Path(f"outputs/embedding/{WORD}.safetensors")
SHEETS, MEASURED = Path("outputs/evaluation/sheets"), Path("outputs/judged/pictures.csv")
FORMATS = ["safetensors", "pt", "bin", "png"]
COLOURS = {"base-40/00-0.png": (200, 0, 0), "base-40/00-1.png": (0, 200, 0), "base-60/00-0.png": (0, 0, 200)}
PROMPT = f"a {WORD} by the sea"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text(re.sub(r"(?m)^word:\n  name: \S+", f"word:\n  name: {WORD}", params.read_text()))
    monkeypatch.chdir(tmp_path)
    resolve_settings()
    return tmp_path


def set_formats(*formats: str, key: str = "word") -> None:
    content = yaml.safe_load(Path("params.yaml").read_text())
    write_checked(content | {"export": {"formats": list(formats), "key": key}})


def write_inputs(num_vectors: int, widths: tuple[int, ...] = (WIDTH,), **changes: Any) -> Tensor:
    """The files that export reads; returns the chosen checkpoint's vectors (K, sum of widths)."""
    vectors = torch.randn(num_vectors, sum(widths), generator=torch.Generator().manual_seed(num_vectors))
    checkpoint = Path(f"outputs/words/base/steps/{WORD}-40.safetensors")
    write_embedding(checkpoint, to_embedding(WORD, vectors, widths, {}), overwrite=True)
    write_sheets()
    record = {
        "settings": {"word": {"init_text": "star"}, "train": {"seed": 3}},
        "pictures": 15,
        "samples_per_update": 15,
        "windows": 1,
        "templates": ["a [name]"],
        "versions": {"pseudoword": "0.1.0"},
        "device": "cpu",
        "precision": "float32",
        "model": {"name": "models/toyworld", "family": "sd1", "resolution": 64, "sha256": "ab"},
    }
    Path("outputs/words/base/settings.json").write_text(json.dumps(record))
    choice = {"word": WORD, "run": "base", "step": 40, "file": str(checkpoint), "reason": ["Good.", "Early."]}
    CHOICE.parent.mkdir(parents=True, exist_ok=True)
    CHOICE.write_text(json.dumps({**choice, "likeness": 0.7, "share": {"40": 0.5}, **changes}))
    return vectors


def write_sheets() -> None:
    """Two pictures of the chosen checkpoint, of which the second is the better one, and a better one of another."""
    for file, colour in COLOURS.items():
        (SHEETS / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(SHEETS / file)
    steps = [int(file.split("-")[1].split("/")[0]) for file in COLOURS]
    table = {
        "run": "base",
        "step": steps,
        "control": "",
        "elsewhere": "",
        "prompt": "a [name]",
        "seed": [0, 1, 0],
        "file": list(COLOURS),
    }
    measured = dict.fromkeys(MEASURES, 0.5) | {"similarity": [0.5, 0.6, 0.9], "nearest": ""}
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({**table, **measured}).to_csv(MEASURED, index=False)
    write_judges("captions")


def write_judges(ceiling: str) -> None:
    obedience = {"zero": 0.0, "one": 0.1, "source": ceiling}
    record = {"images": "clip", "texts": "clip", "kind": "thing", "obedience": obedience}
    MEASURED.with_name("judges.json").write_text(json.dumps(record))


def write_settings(**sections: dict[str, Any]) -> None:
    """What the run was trained with, in its record."""
    path = Path("outputs/words/base/settings.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": sections}))


def written() -> list[str]:
    """The files that other tools read; A1111 takes each PNG in their folder for a word."""
    return sorted(path.name for path in FILE.parent.iterdir() if path.name not in ("README.md", "samples.jpg"))


def test_a_card_tells_what_it_is_how_to_use_it_and_where_it_fails(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(2)
    main()
    text = (FILE.parent / "README.md").read_text()
    assert text.startswith('---\nbase_model: "models/toyworld"\n')
    assert capsys.readouterr().out.strip() in text
    assert "| prompt | likeness | obedience |" in text and "Fill in the licence" in text
    with Image.open(FILE.parent / "samples.jpg") as picture:
        assert max(picture.size) >= 256


@pytest.mark.parametrize(
    ("ceiling", "told"),
    [
        ("captions", "1 what the real pictures reach with their own captions."),
        ("controls", "1 what is drawn with nothing in the word's place."),
        ("", "1 the pictures among themselves."),
    ],
)
def test_a_card_tells_what_1_stands_for(project: Path, ceiling: str, told: str) -> None:
    write_inputs(1)
    write_judges(ceiling)
    main()
    (legend,) = [
        line for line in (FILE.parent / "README.md").read_text().splitlines() if line.startswith("Likeness: 0 is")
    ]
    assert legend.startswith("Likeness: 0 is what the init text draws") and legend.endswith(told)


def test_the_figures_of_a_card_are_on_the_scale_of_the_choice(project: Path) -> None:
    """Of two starts the nearer one is the 0: 0.5 and 0.6 are 5/11 and 7/11 of the way from 0.25 to 0.8."""
    write_inputs(1)
    write_judges("captions")
    scales = {"base": {"zero": 0.2, "one": 0.8}, "near": {"zero": 0.25, "one": 0.8}}
    judges = MEASURED.with_name("judges.json")
    judges.write_text(json.dumps(json.loads(judges.read_text()) | {"likeness": scales}))
    table = pd.read_csv(MEASURED, keep_default_na=False)
    start = table.assign(run="near", step=0, control="init", similarity=0.25)
    pd.concat([table, start]).to_csv(MEASURED, index=False)
    main()
    text = (FILE.parent / "README.md").read_text()
    assert f"`a {WORD}` | 0.55 |" in text and "Likeness: 0 is what the start of near draws" in text


@pytest.mark.parametrize("start", ["text", "file", "hypernetwork"])
def test_what_had_no_part_is_not_told(project: Path, start: str) -> None:
    write_inputs(1)
    word = {"init_text": "star", "vectors": 2, "init_file": "gloop.pt" if start == "file" else None}
    train = {"learn": "word", "learn_rate": "0.005", "norm": "free", "steps": 40}
    if start == "hypernetwork":
        modules = initial_modules(Structure(), [WIDTH], "Normal", 0)
        save_hypernetwork(
            Path(f"outputs/words/base/steps/{WORD}-40.safetensors"), Hypernetwork(WORD, Structure(), modules, {})
        )
        network = {"learn_rate": "1e-05", "layers": [1, 2, 1], "init_file": "gloop.pt"}
        write_settings(word=word, train=train | {"learn": "hypernetwork"}, hypernetwork=network)
    else:
        write_settings(word=word, train=train)
    main()
    card = (FILE.parent / "README.md").read_text()
    shown = {line.split("`")[1]: line.split("`")[3] for line in card.splitlines() if line.startswith("- `")}
    of_words = {"word.vectors": "2", "train.steps": "40", "train.learn_rate": "0.005", "train.norm": "free"}
    assert (
        shown
        == {
            "text": of_words | {"word.init_text": "star"},
            "file": of_words | {"word.init_file": "gloop.pt"},
            "hypernetwork": {
                "train.steps": "40",
                "hypernetwork.init_file": "gloop.pt",
                "hypernetwork.layers": "[1, 2, 1]",
                "hypernetwork.learn_rate": "1e-05",
            },
        }[start]
    )
    metadata = read_learned(FILE.with_suffix(".pt")).metadata
    assert metadata.get("pseudoword.init_text", "") == ("star" if start == "text" else "")
    assert metadata.get("pseudoword.init_file", "") == ("" if start == "text" else "gloop.pt")


def test_no_sign_of_a_prompt_leaves_its_place_in_the_card() -> None:
    rows = pd.DataFrame({"prompt": ["a | b ` c\n# d"], "likeness": [0.5], "obedience": [None]})
    (line,) = [line for line in by_prompt(rows, WORD) if line.startswith("| `")]
    assert line == "| `a \\| b ' c # d` | 0.50 | – |"


@pytest.mark.parametrize("num_vectors", [1, 5])
def test_the_file_is_the_chosen_checkpoint_with_its_provenance(project: Path, num_vectors: int) -> None:
    vectors = write_inputs(num_vectors)
    main()
    embedding = load_embedding(FILE)
    assert embedding.name == WORD and torch.equal(embedding.vectors, vectors)
    assert (
        embedding.metadata.items()
        >= {
            "modelspec.architecture": "stable-diffusion-v1/textual-inversion",
            "modelspec.trigger_phrase": WORD,
            "pseudoword.step": "40",
            "pseudoword.run": "base",
            "pseudoword.vectors": str(num_vectors),
            "pseudoword.width": str(WIDTH),
            "pseudoword.base_model": "models/toyworld",
            "pseudoword.likeness": "0.7",
        }.items()
    )
    assert "pseudoword.obedience" not in embedding.metadata


def test_a_hypernetwork_is_written_for_a1111_and_comfyui(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structure = Structure(activation="relu")
    modules = initial_modules(structure, [WIDTH, 8], "Normal", 0)
    checkpoint = Path(f"outputs/words/base/steps/{WORD}-40.safetensors")
    write_inputs(1)
    save_hypernetwork(checkpoint, Hypernetwork(WORD, structure, modules, {"weight_initialization": "Normal"}))
    main()
    assert written() == [f"{WORD}.pt", f"{WORD}.safetensors"]
    for path in FILE.parent.glob(f"{WORD}.*"):
        read = load_hypernetwork(path)
        assert read.name == WORD and read.structure == structure
        assert all(torch.equal(read.modules[8][1][key], value) for key, value in modules[8][1].items())
        assert read.metadata["pseudoword.likeness"] == "0.7" and read.metadata["pseudoword.widths"] == "16, 8"
    assert f"<hypernet:{WORD}:1>" in capsys.readouterr().out
    set_formats("bin", "png")
    with pytest.raises(UserError, match=r"export\.formats: found bin, png, and a hypernetwork is written as"):
        main()
    assert FILE.exists()  # nothing was done


@pytest.mark.parametrize("widths", [(WIDTH,), (WIDTH, 24)], ids=["sd", "sdxl"])
def test_equal_inputs_give_equal_bytes(project: Path, widths: tuple[int, ...]) -> None:
    set_formats(*FORMATS)
    write_inputs(2, widths)
    main()
    first = {path.name: path.read_bytes() for path in FILE.parent.iterdir()}
    assert written() == sorted(f"{WORD}.{kind}" for kind in FORMATS)
    main()
    assert {path.name: path.read_bytes() for path in FILE.parent.iterdir()} == first


@pytest.mark.parametrize("widths", [(WIDTH,), (WIDTH, 24)], ids=["sd", "sdxl"])
@pytest.mark.parametrize("num_vectors", [1, 8])
def test_every_format_holds_the_word_and_where_it_comes_from(
    project: Path, widths: tuple[int, ...], num_vectors: int
) -> None:
    set_formats(*FORMATS)
    vectors = write_inputs(num_vectors, widths)
    main()
    stated = read_embedding(FILE).metadata
    assert stated["pseudoword.run"] == "base"
    for kind in FORMATS:
        read = read_embedding(FILE.with_suffix(f".{kind}"))
        parts = [read.vectors] if read.vectors_g is None else [read.vectors, read.vectors_g]
        assert read.name == WORD and torch.equal(torch.cat(parts, 1), vectors)
        if kind != "bin" and (kind, len(widths)) != ("pt", 2):  # which have no room
            assert stated.items() <= read.metadata.items(), kind


def test_only_the_formats_that_are_asked_for_are_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_inputs(1)
    for formats in (["png", "bin"], ["safetensors"], ["png"]):
        set_formats(*formats)
        main()
        assert written() == sorted(f"{WORD}.{kind}" for kind in formats)
        assert ("load_textual_inversion" in capsys.readouterr().out) == (formats != ["png"])


@pytest.mark.parametrize("key", ["emb_params", "emp_params"])
def test_the_key_for_another_tool_is_told_to_diffusers(
    project: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    set_formats("safetensors", "bin", "pt", key=key)
    vectors = write_inputs(3)
    main()
    assert torch.equal(load_file(FILE)[key], vectors)
    assert torch.equal(torch.load(FILE.with_suffix(".bin"), weights_only=True)[key], vectors)
    assert read_embedding(FILE).name == read_embedding(FILE.with_suffix(".pt")).name == WORD
    assert f'load_textual_inversion("{FILE}", token="{WORD}")' in capsys.readouterr().out


def test_a_missing_picture_is_named_before_anything_is_written(project: Path) -> None:
    write_inputs(1)
    shutil.rmtree(SHEETS)
    with pytest.raises(UserError, match=r"sheets.*\.png"):
        main()
    assert not FILE.parent.exists()


def test_the_png_shows_the_best_picture_of_the_choice_and_carries_the_word_twice(project: Path) -> None:
    vectors = write_inputs(3)
    main()
    png = FILE.with_suffix(".png")
    with Image.open(png) as image:
        middle = np.asarray(image)[image.height // 2, image.width // 2]
        assert image.height == 512 and middle[1] > 150 and middle[0] < 30 and middle[2] < 30
        bare = io.BytesIO()
        image.save(bare, "PNG", pnginfo=PngInfo())
        image.crop((0, 0, 9, 9)).save("text.png", pnginfo=_chunks(image))
    Path("pixels.png").write_bytes(bare.getvalue())
    for carrier in ("text.png", "pixels.png"):
        assert torch.equal(read_embedding(Path(carrier)).vectors, vectors)


def _chunks(image: Any) -> PngInfo:
    chunks = PngInfo()
    chunks.add_text("sd-ti-embedding", image.text["sd-ti-embedding"])
    return chunks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="similarity"), "it has no column 'similarity'"),
        (lambda table: table[table["step"] == 60], "has no picture of step 40 of run base"),
        (lambda table: table.assign(file="../../../secret.png"), r"secret.png. is not in"),
        (lambda table: table.assign(file="base-40/09-0.png"), "09-0.png cannot carry the word"),
    ],
)
def test_sheets_that_do_not_fit_are_refused_before_anything_is_written(
    project: Path, change: Any, message: str
) -> None:
    write_inputs(1)
    change(pd.read_csv(MEASURED, keep_default_na=False)).to_csv(MEASURED, index=False)
    with pytest.raises(UserError, match=message):
        main()
    assert not FILE.exists()


def test_a_wrong_format_is_refused(project: Path) -> None:
    for formats, message in ((["ckpt"], "found 'ckpt'"), ([], r"export\.formats"), (["pt", "pt"], "each format once")):
        with pytest.raises(UserError, match=message):
            set_formats(*formats)


def test_diffusers_reads_a_word_for_sdxl_by_the_lines_that_are_printed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = write_inputs(2, (16, 24))
    pipe = tiny_sdxl()
    capsys.readouterr()
    for formats in (["safetensors"], ["pt"]):
        set_formats(*formats)
        main()
        said = capsys.readouterr().out
        lines = [line.removeprefix("diffusers:").strip() for line in said.splitlines() if "parts" in line]
        assert len(lines) == 3
        pipe.unload_textual_inversion()
        pipe.unload_textual_inversion(tokenizer=pipe.tokenizer_2, text_encoder=pipe.text_encoder_2)
        exec("import safetensors.torch, torch\n" + "\n".join(lines), {"pipe": pipe})
        for tokenizer, encoder, part in (
            (pipe.tokenizer, pipe.text_encoder, vectors[:, :16]),
            (pipe.tokenizer_2, pipe.text_encoder_2, vectors[:, 16:]),
        ):
            ids = tokenizer.convert_tokens_to_ids([WORD, f"{WORD}_1"])
            assert torch.equal(encoder.get_input_embeddings().weight[ids], part)


@pytest.mark.parametrize("widths", [(768,), (1024,), (768, 1280)], ids=["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("num_vectors", [1, 8, 75])
def test_a1111_takes_the_pt_and_the_png_at_every_width(
    project: Path, num_vectors: int, widths: tuple[int, ...]
) -> None:
    """The names in the zip are those that its strictest version allows, and the numbers in the picture the same."""
    vectors = write_inputs(num_vectors, widths)
    main()
    with zipfile.ZipFile(FILE.with_suffix(".pt")) as file:
        assert all(re.fullmatch(r"[^/]+/(data\.pkl|data/\d+|version)", name) for name in file.namelist())
    content = torch.load(FILE.with_suffix(".pt"), weights_only=True)
    tensors = [content[key] for key in ("clip_l", "clip_g")] if len(widths) == 2 else [content["string_to_param"]["*"]]
    assert torch.equal(torch.cat(tensors, 1), vectors)
    with Image.open(FILE.with_suffix(".png")) as image:
        image.save("pixels.png", pnginfo=PngInfo())
    for path in (FILE.with_suffix(".png"), Path("pixels.png")):
        read = read_embedding(path)
        assert torch.equal(torch.cat([read.vectors, *([] if read.vectors_g is None else [read.vectors_g])], 1), vectors)


@pytest.mark.parametrize(("num_vectors", "extra_lines"), [(1, False), (5, True)])
def test_it_says_how_the_file_is_used(
    project: Path, capsys: pytest.CaptureFixture[str], num_vectors: int, extra_lines: bool
) -> None:
    write_inputs(num_vectors)
    main()
    said = capsys.readouterr().out
    assert "load_textual_inversion" in said and "embeddings/" in said
    assert (f"all {num_vectors} vectors" in said) == extra_lines


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("num_vectors", [1, 5])
def test_diffusers_reads_the_prompt_as_we_do_and_draws_another_picture(
    project: Path, num_vectors: int, prediction_type: str
) -> None:
    vectors = write_inputs(num_vectors)
    main()
    theirs = tiny_stable_diffusion(prediction_type)
    theirs.set_progress_bar_config(disable=True)
    before = draw(theirs)
    theirs.load_textual_inversion(str(FILE))
    after = draw(theirs)
    ours = StableDiffusion(tiny_stable_diffusion(prediction_type))
    ids = Vocabulary(ours.tokenizers, [len(ours.tables[0])], WORD, num_vectors).encode_all([PROMPT])
    with torch.no_grad():
        expected = ours.encode(ids, vectors).states
        read = theirs.encode_prompt(PROMPT, "cpu", 1, do_classifier_free_guidance=False)[0]
    torch.testing.assert_close(read, expected)
    assert (before - after).abs().max() > 1e-3


def draw(pipeline: Any) -> Tensor:
    """A picture (H, W, 3) of PROMPT from fixed noise, in [0, 1]."""
    random = torch.Generator().manual_seed(0)
    drawn = pipeline(PROMPT, num_inference_steps=2, height=32, width=32, generator=random, output_type="np")
    return torch.from_numpy(drawn.images[0])


@pytest.mark.parametrize("num_vectors", [1, 5])
def test_the_rules_of_a1111_take_it_for_an_embedding(project: Path, num_vectors: int) -> None:
    """One key of any name, whose tensor has rank 1 or 2; the trigger is the file's stem; numbers become float32."""
    vectors = write_inputs(num_vectors)
    main()
    content = load_file(FILE)
    assert len(content) == 1
    tensor = next(iter(content.values()))
    assert tensor.ndim in (1, 2) and tensor.is_floating_point() and tensor.dtype == torch.float32
    assert torch.equal(tensor, vectors) and FILE.stem == WORD
    with safe_open(FILE, framework="pt") as file:
        assert all(isinstance(value, str) for value in file.metadata().values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"word": "other"}, "choice.json holds the word 'other', but word.name is 'snorf'"),
        ({"file": "/etc/passwd"}, "/etc/passwd, which is not in outputs/words"),
        ({"file": "outputs/words/../../params.yaml"}, "not in outputs/words"),
        ({"file": "outputs/words/base/steps/snorf-60.safetensors"}, "snorf-60.safetensors does not exist"),
        ({"file": "outputs/words/base/settings.json"}, "settings.json is not an embedding file"),
        ({"run": "../base"}, "choice.json: run"),
        ({"run": "seed7"}, "seed7/settings.json: cannot be read"),
        ({"step": "soon"}, "choice.json: step"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(project: Path, changes: dict[str, Any], message: str) -> None:
    write_inputs(1, **changes)
    with pytest.raises(UserError, match=re.escape(message)):
        main()
    assert not FILE.exists()


def test_where_nothing_is_better_than_the_init_nothing_is_exported_and_the_way_out_is_told(project: Path) -> None:
    write_inputs(1, better_than_init=False, reason="Nothing is better than the init.", advice=["Look at the captions."])
    with pytest.raises(UserError, match=r"Nothing is better than the init\. Look at the captions\. There is no word"):
        main()
    assert not FILE.exists()


def test_a_missing_choice_is_named(project: Path) -> None:
    with pytest.raises(UserError, match=r"choice\.json: cannot be read"):
        main()


def test_a_checkpoint_of_another_word_is_refused(project: Path) -> None:
    write_inputs(1)
    save_embedding(Path(f"outputs/words/base/steps/{WORD}-40.safetensors"), "other", torch.ones(1, WIDTH), {})
    with pytest.raises(UserError, match="holds the word 'other'"):
        main()
