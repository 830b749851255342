"""The caption stage with a tiny random BLIP in the layout of the real one."""

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pandas as pd
import pytest
import torch
import yaml
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

from pseudoword.errors import UserError
from stages.caption.__main__ import main
from stages.caption.captioner import FALLBACK, choose_model, tidy

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
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["base"] |= {"model": base_model, "device": "cpu"}
    content["caption"] |= {"model": str(model), "max_tokens": 6, **caption}
    Path("params.yaml").write_text(yaml.safe_dump(content))
    main()
    table = pd.read_csv("outputs/drafts.csv", dtype=str, keep_default_na=False)
    assert list(table) == ["id", "draft"] and list(table["id"]) == IDS
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
    assert choose_model("auto", "somebody/some-model") == FALLBACK
    assert choose_model("somebody/some-captioner", "base") == "somebody/some-captioner"


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
    ],
)
def test_a_draft_is_tidied(draft: str, prefix: str, wanted: str) -> None:
    assert tidy(draft, prefix) == wanted
