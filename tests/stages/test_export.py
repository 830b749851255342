import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.errors import UserError
from pseudoword.formats.embedding import load_embedding, save_embedding
from pseudoword.prompts import Vocabulary
from stages.export.__main__ import main
from tests.tiny import tiny_stable_diffusion

PROJECT = Path(__file__).parents[2]
WORD, WIDTH = "snorf", 16
CHOICE, FILE = Path("outputs/evaluation/choice.json"), Path(f"outputs/embedding/{WORD}.safetensors")
PROMPT = f"a {WORD} by the sea"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text(re.sub(r"(?m)^word:\n  name: \S+", f"word:\n  name: {WORD}", params.read_text()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_inputs(num_vectors: int, **changes: Any) -> Tensor:
    """The files that export reads; returns the chosen checkpoint's vectors (K, WIDTH)."""
    vectors = torch.randn(num_vectors, WIDTH, generator=torch.Generator().manual_seed(num_vectors))
    checkpoint = Path(f"outputs/words/base/steps/{WORD}-40.safetensors")
    save_embedding(checkpoint, WORD, vectors, {})
    record = {
        "settings": {"word": {"init_text": "star"}, "train": {"seed": 3}},
        "pictures": 15,
        "samples_per_update": 15,
        "versions": {"pseudoword": "0.1.0"},
        "device": "cpu",
        "precision": "float32",
        "model": {"name": "models/toyworld", "family": "sd1", "resolution": 64, "sha256": "ab"},
    }
    Path("outputs/words/base/settings.json").write_text(json.dumps(record))
    choice = {"word": WORD, "run": "base", "step": 40, "file": str(checkpoint), "reason": ["Good.", "Early."]}
    CHOICE.parent.mkdir(parents=True)
    CHOICE.write_text(json.dumps({**choice, "image_similarity": 0.7, "share": {"40": 0.5}, **changes}))
    return vectors


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
            "pseudoword.image_similarity": "0.7",
        }.items()
    )
    assert "pseudoword.text_similarity" not in embedding.metadata


def test_equal_inputs_give_equal_bytes(project: Path) -> None:
    write_inputs(2)
    main()
    first = FILE.read_bytes()
    main()
    assert FILE.read_bytes() == first


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
        ({"run": "run07"}, "run07/settings.json: cannot be read"),
        ({"step": "soon"}, "choice.json: step"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(project: Path, changes: dict[str, Any], message: str) -> None:
    write_inputs(1, **changes)
    with pytest.raises(UserError, match=re.escape(message)):
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
