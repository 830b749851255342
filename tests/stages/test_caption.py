"""The caption stage with a tiny random BLIP in the layout of the real one."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPConfig,
    CLIPModel,
)

from pseudoword.captions.models import FALLBACK, captioner_name
from pseudoword.errors import UserError
from stages.caption.__main__ import main
from stages.caption.captioner import tidy
from stages.caption.filename import read_name
from tests.project import shipped_params, write_checked
from tests.tiny_captioners import KINDS

ROOT = Path(__file__).parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
WORDS = [
    *SPECIAL,
    "a",
    "an",
    "the",
    "in",
    "on",
    "of",
    "photo",
    "dog",
    "star",
    "snow",
    "red",
    "blue",
    "with",
    ",",
    "hat",
]
POSITIONS = 24


def save_captioner(folder: Path, seed: int = 0) -> None:
    """Three layers in all, which say random words of WORDS, other ones for other pictures."""
    tokenizer = BertTokenizer(vocab={word: at for at, word in enumerate(WORDS)}, bos_token="[DEC]", model_max_length=20)
    marks = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    shared = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "initializer_range": 1.0}
    text = {"vocab_size": len(WORDS), "max_position_embeddings": POSITIONS, "encoder_hidden_size": 16,
            "num_hidden_layers": 2, "projection_dim": 16, "is_decoder": True, "tie_word_embeddings": False}  # fmt: skip
    vision = {"num_hidden_layers": 1, "image_size": 16, "patch_size": 8}
    torch.manual_seed(seed)
    config = BlipConfig(text_config=shared | text | marks, vision_config=shared | vision, projection_dim=16,
                        image_text_hidden_size=16, tie_word_embeddings=False, **marks)  # fmt: skip
    model = BlipForConditionalGeneration(config)
    # Tied to the input, a random model would say the same word over and over.
    torch.nn.init.normal_(model.text_decoder.cls.predictions.decoder.weight)
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 16, "width": 16}), tokenizer).save_pretrained(folder)


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioner")
    save_captioner(folder)
    return folder


IDS = [f"{at:012x}" for at in range(11)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eleven used pictures, so more than one batch, of as many colours; the table lists them backwards."""
    monkeypatch.chdir(tmp_path)
    Path("outputs/pictures").mkdir(parents=True)
    for at, name in enumerate(IDS):
        Image.new("RGB", (32, 32), (at * 25, 250 - at * 25, 99)).save(f"outputs/pictures/{name}.png")
    rows = [*({"id": name, "source": f"{name}.jpg", "state": "used"} for name in IDS[::-1]), {"state": "skipped"}]
    pd.DataFrame(rows).to_csv("outputs/pictures.csv", index=False)
    return tmp_path


def run(model: Path | str, base_model: str = "nothing", **caption: Any) -> list[str]:
    content = shipped_params()
    content["base"] |= {"model": base_model, "device": "cpu"}
    content["caption"] |= {"model": str(model), "max_tokens": 6, **caption}
    write_checked(content)
    main()
    table = pd.read_csv("outputs/drafts.csv", dtype=str, keep_default_na=False)
    assert list(table)[:2] == ["id", "draft"] and list(table["id"]) == IDS
    return list(table["draft"])


def test_each_used_picture_gets_a_draft_of_its_own(project: Path, captioner: Path) -> None:
    drafts = run(captioner)
    assert len(set(drafts)) > 3
    assert all(set(re.findall(r"\w+|,", draft)) <= set(WORDS) for draft in drafts)


def test_a_draft_depends_on_the_picture_alone(project: Path, captioner: Path) -> None:
    drafts = run(captioner)
    for name in IDS[1:]:
        Path(f"outputs/pictures/{name}.png").write_bytes(Path(f"outputs/pictures/{IDS[0]}.png").read_bytes())
    assert run(captioner) == [drafts[0]] * len(IDS)
    assert run(captioner) == [drafts[0]] * len(IDS)


def test_drafts_start_with_the_prefix_once_and_go_on(project: Path, captioner: Path) -> None:
    drafts = run(captioner, prefix="a photo of")
    assert all(draft.startswith("a photo of") for draft in drafts)
    assert any(len(draft) > len("a photo of") for draft in drafts)


def test_max_tokens_bounds_the_draft_and_the_models_positions_bound_it_too(project: Path, captioner: Path) -> None:
    assert max(len(draft.split()) for draft in run(captioner, max_tokens=2)) <= 2
    longest = max(len(draft.split()) for draft in run(captioner, max_tokens=10_000, prefix="a photo of", beams=1))
    assert longest <= POSITIONS


def test_beams_change_what_is_said(project: Path, captioner: Path) -> None:
    assert run(captioner, beams=1) != run(captioner, beams=5)


def test_auto_is_the_base_models_captioner_and_else_blip(project: Path, captioner: Path) -> None:
    save_captioner(Path("base/captioner"), seed=1)
    own = run("auto", base_model="base")
    assert own == run("base/captioner") and own != run(captioner)
    assert captioner_name("auto", "somebody/some-model") == FALLBACK
    assert captioner_name("somebody/some-captioner", "base") == "somebody/some-captioner"


def test_a_model_that_cannot_be_loaded_is_an_error_with_the_way_out(
    project: Path, captioner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    Path("empty").mkdir()
    for model in ("empty", "models/no/such/folder", "nobody/no-such-captioner"):
        with pytest.raises(UserError, match=rf"(?s)caption.model: '{model}' cannot be loaded.*params.yaml.*network up"):
            run(model)
    assert not Path("outputs/drafts.csv").exists()


def test_a_model_of_another_kind_is_an_error_and_so_is_a_damaged_one(project: Path, captioner: Path) -> None:
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    CLIPModel(CLIPConfig(text_config=tiny, vision_config=tiny | {"image_size": 8, "patch_size": 8})).save_pretrained(
        "clip"
    )
    BlipProcessor.from_pretrained(captioner).save_pretrained("clip")
    with pytest.raises(UserError, match=r"caption.model: 'clip' cannot be loaded"):
        run("clip")
    save_captioner(Path("cut"))
    weights = Path("cut/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"caption.model: 'cut' cannot be loaded"):
        run("cut")
    save_captioner(Path("other-size"))
    processor = BlipProcessor.from_pretrained("other-size")
    processor.image_processor.size = {"height": 24, "width": 24}
    processor.save_pretrained("other-size")
    with pytest.raises(UserError, match=r"'other-size' cannot be loaded as a captioner: it does not caption a picture"):
        run("other-size")
    save_captioner(Path("torn"))
    Path("torn/config.json").write_text(json.dumps({"model_type": "blip"})[:-3])
    with pytest.raises(UserError, match=r"caption.model: 'torn' cannot be loaded"):
        run("torn")


@pytest.mark.parametrize(
    ("draft", "prefix", "wanted"),
    [
        ("a dog , outlined", "", "a dog, outlined"),
        ("a photo of a dog", "a photo of", "a photo of a dog"),
        ("a photo of a photo of a dog", "A photo of ", "a photo of a dog"),
        ("a photo of a photo of a dog", "", "a photo of a photo of a dog"),
        ("  a  dog\n", "", "a dog"),
        ("in snow", "a photo of", "a photo of in snow"),
        ("it ' s an arger dog", "It's an Ärger", "it ' s an arger dog"),
        ("a dog", "фото собаки", "фото собаки a dog"),
        ("a dog", "写真", "写真 a dog"),
        ("写真 a dog", "写真", "写真 a dog"),
        ("ФОТО ЖЁЛТОЙ", "фото жёлтой", "ФОТО ЖЁЛТОЙ"),
        ("a dog", "***", "*** a dog"),
    ],
)
def test_a_draft_is_tidied(draft: str, prefix: str, wanted: str) -> None:
    assert tidy(draft, prefix) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_captioners_work_too_and_start_with_the_prefix(project: Path, kind: str) -> None:
    KINDS[kind](Path(kind))
    plain = run(kind)
    assert len(set(plain)) > 1 and not any(draft.startswith("a dog") for draft in plain)
    drafts = run(kind, prefix="a dog")
    assert all(re.match(r"a dog(?!.*a do)", draft) for draft in drafts)
    assert any(len(draft) > len("a dog") for draft in drafts)


def test_min_tokens_makes_drafts_longer(project: Path) -> None:
    model = ROOT / "models" / "toyworld" / "captioner"
    assert min(len(draft.split()) for draft in run(model, max_tokens=30)) < 12
    assert min(len(draft.split()) for draft in run(model, max_tokens=30, min_tokens=15)) >= 12


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_drafts_do_not_depend_on_what_else_is_read_at_once(project: Path, captioner: Path, batch: int) -> None:
    together = run(captioner)
    shutil.rmtree(".scratch/caption")
    assert run(captioner, batch=batch) == together


def test_a_prefix_without_room_for_a_draft_is_an_error(project: Path, captioner: Path) -> None:
    with pytest.raises(UserError, match=r"caption.prefix: 'a a .*' takes 42 of the 24 tokens"):
        run(captioner, prefix=" ".join(["a"] * 40))


def test_without_drafters_the_drafts_are_empty(project: Path) -> None:
    assert run("none") == [""] * len(IDS)
    assert run("no/such/folder", drafters=[]) == [""] * len(IDS)


def mark_drafts() -> None:
    """Make it seen which drafts are taken from those that were made before."""
    for path in Path(".scratch/caption").rglob("*.txt"):
        path.write_text("before")


def test_only_what_was_not_drafted_before_is_drafted(project: Path, captioner: Path) -> None:
    run(captioner)
    mark_drafts()
    assert run(captioner) == ["before"] * len(IDS)
    picture = Path(f"outputs/pictures/{IDS[3]}.png")
    Image.new("RGB", (32, 32), (7, 99, 200)).save(picture)
    again = run(captioner)
    assert [draft == "before" for draft in again] == [at != 3 for at in range(len(IDS))]
    assert len(list(Path(".scratch/caption").rglob("*.txt"))) == len(IDS) + 1


@pytest.mark.parametrize("change", [{"beams": 2}, {"max_tokens": 5}, {"min_tokens": 2}, {"prefix": "a"}])
def test_other_settings_make_other_drafts(project: Path, captioner: Path, change: dict[str, Any]) -> None:
    run(captioner)
    mark_drafts()
    assert not any(draft == "before" for draft in run(captioner, **change))
    assert all(draft == "before" for draft in run(captioner, batch=2))


def test_another_model_in_the_same_folder_makes_other_drafts(project: Path) -> None:
    save_captioner(Path("own"), seed=1)
    drafts = run("own")
    save_captioner(Path("own"), seed=2)
    assert run("own") != drafts


def test_a_stopped_stage_goes_on(project: Path, captioner: Path) -> None:
    drafts = run(captioner)
    shutil.rmtree(".scratch/caption")
    picture = Path(f"outputs/pictures/{IDS[-1]}.png")
    content = picture.read_bytes()
    picture.write_bytes(content[:40])
    with pytest.raises(UserError, match=f"{IDS[-1]}.png cannot be read"):
        run(captioner, batch=4)
    assert len(list(Path(".scratch/caption").rglob("*.txt"))) == 8
    mark_drafts()
    picture.write_bytes(content)
    assert run(captioner, batch=4) == ["before" if at < 8 else draft for at, draft in enumerate(drafts)]


@pytest.mark.parametrize(
    ("source", "ways", "wanted"),
    [
        ("00012-3-a cat.png", {}, "a cat"),
        ("a cat 3.v2.png", {}, "a cat 3.v2"),
        ("sub/folder-7/12 a cat.jpeg", {}, "a cat"),
        ("0001.png", {}, ""),
        ("0001-a cat.png", {"strip": ""}, "0001-a cat"),
        ("IMG_0001 a cat.png", {"strip": r"IMG_\d+ "}, "a cat"),
        ("00012-a_red_cat-2.png", {"words": "[a-z]+"}, "a red cat"),
        ("00012-a_red_cat-2.png", {"words": "[a-z]+", "join": ", "}, "a, red, cat"),
        ("cat (red) dog (blue).png", {"words": r"\((\w+)\)"}, "red blue"),
        ("a\ncat\x1b.png", {}, "a cat"),
        ("красный кот.png", {"words": r"\w+", "join": "-"}, "красный-кот"),
    ],
)
def test_a_file_name_is_read_as_a_text(source: str, ways: dict[str, str], wanted: str) -> None:
    assert read_name(source, **{"strip": r"^[-\d]+\s*", "words": "", "join": " "} | ways) == wanted


def test_mirrored_copies_are_drafted_by_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, captioner: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs/pictures").mkdir(parents=True)
    ids = [f"{'a' * 12}{end}" for end in ("", "-h", "-hv", "-t0", "-t0-h", "-v")]
    for at, name in enumerate(ids):
        Image.new("RGB", (32 + 8 * at, 32), (at * 40, 250 - at * 40, 99)).save(f"outputs/pictures/{name}.png")
    rows = [{"id": name, "source": "1 a dog left of a rightly lit hat.png", "state": "used"} for name in ids]
    pd.DataFrame(rows).to_csv("outputs/pictures.csv", index=False)
    content = shipped_params()
    content["base"]["device"] = "cpu"
    content["caption"] |= {"model": str(captioner), "drafters": ["filename", "captioner"]}
    write_checked(content)
    main()
    table = pd.read_csv("outputs/drafts.csv", dtype=str, keep_default_na=False)
    assert list(table["id"]) == ids
    sides = ["right" if "h" in name else "left" for name in ids]
    assert list(table) == ["id", "draft", "filename", "captioner"]
    parts = zip(table["filename"], table["captioner"].str.strip(" ,"), strict=True)
    assert list(table["draft"]) == [", ".join(filter(None, both)) for both in parts]
    names, said = zip(*(draft.split(" hat", 1) for draft in table["draft"]), strict=True)
    assert list(names) == [f"a dog {side} of a rightly lit" for side in sides]
    assert len(set(said)) > 3
