"""Whatever train would refuse of settings, captions and files is a finding before: each refusal, and a table of all."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import stages.train.__main__
from pseudoword.doctor.intent import RunIntent
from pseudoword.errors import UserError
from pseudoword.findings import Finding
from pseudoword.formats.embedding import save_embedding
from pseudoword.formats.tensors import save_tensors
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import EMBEDDINGS, InitFile, WordSettings
from pseudoword.templates import Prompts
from tests.pseudoword.doctor.drawn import INTENT, SCENERY, diagnose, named, preprocessed, save, scenery

assert stages.train.__main__  # for the refusals that it brings along

TEMPLATE = Prompts(Path("templates/mine.txt"), ("a [name]", "a photo of a [name] [filewords]"))
LONG = "in the snow " * 40


def wanted(train: dict[str, object] | None = None, **word: object) -> list[RunIntent]:
    return [RunIntent(WordSettings(name="snorf", **word), TrainSettings(**{"template": TEMPLATE, **(train or {})}))]  # type: ignore[arg-type]


def refusals(
    train: dict[str, object] | None = None, captions: list[str] | None = None, **word: object
) -> list[Finding]:
    """The findings about four pictures with captions."""
    preprocessed([scenery(at, 64, 64) for at in range(4)], captions or SCENERY[:4])
    return diagnose("refused", resolution=64, trained=wanted(train, **word))


def embedding(width: int = 128, vectors: int = 3) -> InitFile:
    EMBEDDINGS.mkdir(parents=True)
    save_embedding(EMBEDDINGS / "old.safetensors", "old", torch.randn(vectors, width), {})
    return InitFile.read(Path("old.safetensors"))


def test_of_what_can_be_trained_nothing_is_said() -> None:
    assert refusals({"preview": {"every": 10, "prompt": "a [name] at night"}, "warm_up": 50}) == []


def test_a_caption_that_is_too_long_is_told_with_its_picture_and_its_file() -> None:
    Path("data").mkdir()
    Path("data/captions.yaml").touch()
    (finding,) = refusals(captions=[*SCENERY[:2], LONG, SCENERY[3]])
    assert finding.severity == "error" and named(finding) == ["02.png"]
    assert "The caption of 02.png is too long" in finding.message and "data/captions.yaml" in finding.message
    assert "takes 126 tokens with the word's vectors in it, and the model reads 75" in finding.message
    assert finding.figure["tokens"] == {"02.png": 126}


@pytest.mark.parametrize(("origin", "file"), [("draft", "outputs/drafts.csv"), ("file", "data/02.txt")])
def test_the_file_of_a_long_caption_is_where_it_was_written(origin: str, file: str) -> None:
    preprocessed([scenery(at, 64, 64) for at in range(4)], [*SCENERY[:2], LONG, SCENERY[3]], origin=origin)
    Path("data/02.txt").write_text(LONG)
    (finding,) = diagnose("refused", resolution=64, trained=wanted())
    assert finding.figure["file"] == {"02.png": file}


def test_a_long_caption_may_be_read_in_windows() -> None:
    assert refusals({"long_prompts": "window"}, [*SCENERY[:3], LONG]) == []


@pytest.mark.parametrize(
    ("train", "source"),
    [
        ({"template": Prompts(Path("templates/mine.txt"), (f"a [name] {LONG}",))}, "templates/mine.txt"),
        ({"preview": {"every": 10, "prompt": f"a [name] {LONG}"}}, "train.preview.prompt"),
        ({"preview": {"every": 10, "negative": LONG}}, "train.preview.negative"),
    ],
)
def test_prompts_that_are_too_long_are_told_with_where_they_stand(train: dict[str, object], source: str) -> None:
    (finding,) = refusals(train)
    assert finding.severity == "error" and finding.message.startswith(f"{source}: '") and "reads 75" in finding.message


def test_prompts_of_the_evaluation_that_are_too_long_are_told() -> None:
    preprocessed([scenery(at, 64, 64) for at in range(4)], SCENERY[:4])
    prompts = Prompts(Path("templates/eval.txt"), ("a [name]", f"a [name] {LONG}"))
    (finding,) = diagnose("refused", resolution=64, trained=wanted(), prompts=prompts)
    assert finding.message.startswith("templates/eval.txt: '")


def test_a_file_to_start_from_that_does_not_fit_is_told() -> None:
    (finding,) = refusals(init_file=embedding(width=768))
    assert "has vectors of 768 numbers, wanted 128 for this base model" in finding.message


def test_a_file_to_start_from_with_another_number_of_vectors_is_told() -> None:
    (finding,) = refusals(init_file=embedding(vectors=3), vectors=5)
    assert "has 3 vectors, wanted word.vectors, which is 5" in finding.message


def test_a_lora_of_several_words_of_which_none_is_named_is_told() -> None:
    EMBEDDINGS.mkdir(parents=True)
    words = {f"bundle_emb.{name}.emb_params": torch.randn(2, 128) for name in ("cat", "dog")}
    save_tensors(EMBEDDINGS / "lora.safetensors", words, {})
    (finding,) = refusals(init_file=InitFile.read(Path("lora.safetensors")))
    assert "'lora.safetensors:cat', 'lora.safetensors:dog'" in finding.message
    dog = wanted(init_file=InitFile.read(Path("lora.safetensors"), "dog"))
    assert diagnose("refused", resolution=64, trained=dog) == []


def test_a_file_to_start_from_that_is_no_embedding_is_told() -> None:
    embedding()
    (EMBEDDINGS / "old.safetensors").write_bytes(b"no embedding")
    (finding,) = refusals(init_file=InitFile.read(Path("old.safetensors")))
    assert finding.severity == "error" and "old.safetensors" in finding.message


def test_a_warm_up_as_long_as_the_updates_that_auto_comes_to_is_told() -> None:
    (finding,) = refusals({"steps": "auto", "warm_up": 300})
    assert finding.message.startswith("train.warm_up: found 300, wanted less than the run's 300 steps")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clip_skip": 12}, "base.clip_skip: 12 layers are to be skipped; the model's text encoders allow 0 to 2"),
        ({"attention": "xformers"}, "base.attention: xformers is asked for"),
        ({"model": replace(INTENT.model, vae="nowhere")}, "base.vae"),
    ],
)
def test_what_the_base_model_has_not_is_told(changes: dict[str, object], told: str) -> None:
    preprocessed([scenery(at, 64, 64) for at in range(4)], SCENERY[:4])
    (finding,) = diagnose("refused", resolution=64, trained=wanted(), **changes)
    assert finding.severity == "error" and told in finding.message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"also_on": ["nowhere"]}, "evaluate.also_on: 'nowhere'"),
        (
            {"together_with": "wide"},
            "evaluate.together_with: data/embeddings/old.safetensors has vectors of 768 numbers",
        ),
        ({"together_with": "long"}, "templates/eval.txt: 'a snorf, old' takes"),
        ({"together_with": "fit"}, ""),
    ],
)
def test_what_the_word_cannot_be_drawn_with_is_told(changes: dict[str, object], told: str) -> None:
    if kind := changes.get("together_with"):
        file = embedding(width=768 if kind == "wide" else 128, vectors=74 if kind == "long" else 3)
        changes = {"together_with": [file]}
    preprocessed([scenery(at, 64, 64) for at in range(4)], SCENERY[:4])
    prompts = Prompts(Path("templates/eval.txt"), ("a [name]",))
    found = diagnose("refused", resolution=64, trained=wanted(), prompts=prompts, **changes)
    assert [(finding.severity, finding.message.startswith(told)) for finding in found] == [("error", True)] * bool(told)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"widths": [123]}, "hypernetwork.widths: found 123, wanted some of the base model's own: 128"),
        ({"layers": [1, 0.001, 1]}, "hypernetwork.layers: "),
    ],
)
def test_a_hypernetwork_that_the_base_model_cannot_have_is_told(section: dict[str, object], told: str) -> None:
    preprocessed([scenery(at, 64, 64) for at in range(4)], SCENERY[:4])
    ((word, train, _),) = wanted({"learn": "hypernetwork"})
    run = RunIntent(word, train, HypernetworkSettings.model_validate(section))
    (finding,) = diagnose("refused", resolution=64, trained=[run])
    assert finding.severity == "error" and finding.message.startswith(told)


def test_what_says_nothing_of_a_hypernetwork_speaks_not_against_one() -> None:
    """Its name is text, it has no vectors and a rate of its own."""
    save([scenery(at, 64, 64) for at in range(4)])
    ((word, train, _),) = wanted({"learn": "hypernetwork", "learn_rate": "0.01:10", "warm_up": 20, "steps": 50})
    run = RunIntent(word, train, HypernetworkSettings.model_validate({"learn_rate": 0.001}))
    assert diagnose("refused", resolution=64, trained=[run]) == []
    (finding,) = diagnose("number", resolution=64, vectors=75, trained=[run])
    assert finding.severity == "info" and "vector" not in finding.message and "vectors" not in finding.figure
    (finding,) = diagnose("name", resolution=64, name="flower", trained=[run])
    assert finding.severity == "info" and "beside a hypernetwork it means that" in finding.message


def test_what_the_runs_of_a_sweep_share_is_told_once() -> None:
    preprocessed([scenery(at, 64, 64) for at in range(4)], [*SCENERY[:3], LONG])
    assert len(diagnose("refused", resolution=64, trained=[*wanted(), *wanted(vectors=3)])) == 1


# Where each refusal that train can come to is made before it: every class of error that its modules define or import.
REFUSED_BEFORE = {
    "check": "BadSettings BadTemplate NoSuchDevice UnknownSampler",
    "doctor: refused": "BadClipSkip BadEmbedding DoesNotFit CannotBeMade NotForThisModel NoVae NoXformers NotInBundle "
    "PromptTooLong WarmUpTooLong",
    "doctor: number": "AccumulationWithoutBatch",
    "doctor: name": "NameTaken",
    "doctor: captions": "CaptionsDoNotFit",
    "doctor: resolution, or latents, which opens the model": "BadCheckpoint ModelNotFound NoConfigs NoNativeResolution "
    "UnknownFamily",
    "an output of another stage is damaged or of another model": "BadLatents NoList NotChecked OtherModel OtherVae "
    "InitFileChanged",
    "what shows while it runs": "CannotCompile Diverged Interrupted OutOfMemory",
    "writing what no setting of train asks for": "AlreadyThere BadHypernetwork BadPicture NoPictureWanted ReservedName "
    "UnknownExtension",
}


def test_each_refusal_of_train_has_its_place_before() -> None:
    known = {name for names in REFUSED_BEFORE.values() for name in names.split()}
    reached = {
        kind.__name__
        for kind in _kinds(UserError)
        if any(getattr(module, kind.__name__, None) is kind for module in _modules_of_train())
    }
    assert {"PromptTooLong", "WarmUpTooLong", "OutOfMemory"} <= reached
    assert not reached - known, "say where it is refused before train, with a test, and write it into the table"


def _kinds(kind: type[Exception]) -> list[type[Exception]]:
    return [each for child in kind.__subclasses__() for each in (child, *_kinds(child))]


def _modules_of_train() -> list[object]:
    """The modules that `check` lists for train."""
    import sys

    from stages.check.code import code_list

    root = Path(__file__).parents[3]
    names = [Path(line.split()[-1]) for line in code_list("train", root).splitlines()]
    modules = [".".join(path.with_suffix("").parts) for path in names if path.suffix == ".py"]
    return [sys.modules[name] for name in modules if name in sys.modules]
