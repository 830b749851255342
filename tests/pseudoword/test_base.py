"""What training sees of the base model is what diffusers' own pipeline computes from the exported file."""

import json
import re
from pathlib import Path

import pytest
import torch

from pseudoword.base.interface import Conditioning
from pseudoword.base.loading import load_base, load_vae
from pseudoword.base.location import ModelNotFound, NoNativeResolution, UnknownFamily, locate, native_resolution
from pseudoword.base.placement import NoSuchDevice, resolve_device
from pseudoword.base.splice import SplicedEmbedding
from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.formats.embedding import save_embedding
from pseudoword.prompts import Vocabulary
from tests.tiny import tiny_stable_diffusion

PROMPTS = [
    "a snorf by the sea",
    "snorf",
    "a photo of a snorf, snorf, left",
    "no snorf; (snorf)",
    "a word that is not there",
    "",
]


@pytest.mark.parametrize("name", ["snorf", "mycat-x1", "my.cat", "my_cat"])
@pytest.mark.parametrize("vectors", [1, 5])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_conditioning_of_training_is_that_of_the_exported_file_in_diffusers(
    tmp_path: Path, prediction_type: str, vectors: int, name: str
):
    word = torch.randn(vectors, 16, generator=torch.Generator().manual_seed(0))
    base = StableDiffusion(tiny_stable_diffusion(prediction_type))
    vocabulary = Vocabulary(base.tokenizers, [len(base.tables[0])], name, vectors)
    prompts = [prompt.replace("snorf", name) for prompt in PROMPTS]
    ours = base.encode(vocabulary.encode_all(prompts), word).states

    save_embedding(tmp_path / "word.safetensors", name, word, {})
    pipeline = tiny_stable_diffusion(prediction_type)
    pipeline.load_textual_inversion(tmp_path / "word.safetensors")
    theirs = pipeline.encode_prompt(prompts, "cpu", 1, False)[0]
    torch.testing.assert_close(ours, theirs)


def test_gradient_reaches_the_vectors_and_nothing_else():
    pipeline = tiny_stable_diffusion()
    pipeline.text_encoder.requires_grad_(False)
    base = StableDiffusion(pipeline)
    word = torch.randn(2, 16, requires_grad=True)
    ids = Vocabulary(base.tokenizers, [len(base.tables[0])], "snorf", 2).encode_all(["a snorf"])
    base.encode(ids, word).states.sum().backward()
    assert word.grad is not None and (word.grad != 0).all()
    assert base.tables[0].grad is None


def test_the_gradient_has_the_same_bits_each_time_with_several_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(max(2, threads))
    generator = torch.Generator().manual_seed(0)
    spliced = SplicedEmbedding(torch.nn.Embedding(100, 128).requires_grad_(False))
    ids, upstream = torch.randint(105, (64, 77), generator=generator), torch.randn(64, 77, 128, generator=generator)
    word = torch.randn(5, 128, generator=generator)

    def gradient() -> torch.Tensor:
        leaf = word.clone().requires_grad_()
        with spliced.holding(leaf):
            (spliced(ids) * upstream).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    first = gradient()
    same = [torch.equal(gradient(), first) for _ in range(30)]
    torch.set_num_threads(threads)
    assert all(same)


def test_the_loss_of_v_prediction_vanishes_for_a_model_that_answers_v():
    base = StableDiffusion(tiny_stable_diffusion("v_prediction"))
    clean, noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([1, 500, 999])
    a = base.alpha_bar[t].view(-1, 1, 1, 1)
    v = a.sqrt() * noise - (1 - a).sqrt() * clean
    base.unet.forward = lambda noisy, t, states: type("Out", (), {"sample": v})()
    assert float(base.loss(clean, noise, t, Conditioning(torch.zeros(3, 77, 16))).max()) < 1e-10


@pytest.mark.parametrize(("sample_size", "expected"), [(4, 32), ([4, 4], 32), (None, None)])
def test_native_resolution_comes_from_the_configs(tmp_path: Path, sample_size: object, expected: int | None):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "unet/config.json").read_text())
    (tmp_path / "unet/config.json").write_text(json.dumps(config | {"sample_size": sample_size}))
    if expected:
        assert native_resolution(str(tmp_path), None) == expected
    else:
        with pytest.raises(NoNativeResolution, match=r"unet/config\.json"):
            native_resolution(str(tmp_path), None)


def test_a_folder_with_half_precision_weights_only_loads(tmp_path: Path):
    tiny_stable_diffusion().to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    assert load_base(str(tmp_path), None, "cpu", torch.float32).unet.dtype is torch.float32
    assert load_vae(str(tmp_path), None, "cpu").dtype is torch.float32


def test_a_folder_whose_weights_are_missing_is_named(tmp_path: Path):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    for path in tmp_path.glob("unet/*.safetensors"):
        path.unlink()
    with pytest.raises(ModelNotFound, match=re.escape(str(tmp_path))):
        load_base(str(tmp_path), None, "cpu", torch.float32)


def test_another_family_is_refused_with_what_was_found(tmp_path: Path):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(UnknownFamily, match="StableDiffusionXLPipeline"):
        locate(str(tmp_path), None)


def test_a_folder_without_a_model_and_a_hub_id_out_of_reach_are_told_apart(tmp_path: Path):
    with pytest.raises(ModelNotFound, match=r"no model_index\.json"):
        locate(str(tmp_path), None)
    with pytest.raises(ModelNotFound, match=r"hub id"):
        locate("nobody/nothing-here", None)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(NoSuchDevice, match="cuda:99"):
        resolve_device("cuda:99")
