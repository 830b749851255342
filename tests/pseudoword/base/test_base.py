"""What training sees of the base model is what diffusers' own pipeline computes from the exported file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from pseudoword.base.families import UnknownFamily
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Conditioning
from pseudoword.base.loading import load_base, load_vae
from pseudoword.base.location import ModelNotFound, NoNativeResolution, NoVae, digest
from pseudoword.base.placement import NoSuchDevice, resolve_device
from pseudoword.base.single_file import BadCheckpoint
from pseudoword.base.splice import SplicedEmbedding
from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.formats.embedding import save_embedding
from pseudoword.prompts import Vocabulary
from tests.original_layout import original
from tests.tiny import tiny_inpainting, tiny_sdxl, tiny_stable_diffusion

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
    base.predict = lambda noisy, t, conditioning: v  # type: ignore[method-assign]
    assert float(base.loss(clean, noise, t, Conditioning(torch.zeros(3, 77, 16))).max()) < 1e-10


@pytest.mark.parametrize(("sample_size", "expected"), [(4, 32), ([4, 4], 32), (None, None)])
def test_native_resolution_comes_from_the_configs(tmp_path: Path, sample_size: object, expected: int | None):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "unet/config.json").read_text())
    (tmp_path / "unet/config.json").write_text(json.dumps(config | {"sample_size": sample_size}))
    if expected:
        assert ModelIdentity(str(tmp_path)).resolution == expected
    else:
        with pytest.raises(NoNativeResolution, match=r"unet/config\.json"):
            _ = ModelIdentity(str(tmp_path)).resolution


def test_a_folder_with_half_precision_weights_only_loads(tmp_path: Path):
    tiny_stable_diffusion().to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    assert load_base(ModelIdentity(str(tmp_path)), "cpu", torch.float32).unet.dtype is torch.float32
    assert load_vae(ModelIdentity(str(tmp_path)), "cpu").dtype is torch.float32


def test_a_folder_whose_weights_are_missing_is_named(tmp_path: Path):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    for path in tmp_path.glob("unet/*.safetensors"):
        path.unlink()
    with pytest.raises(ModelNotFound, match=re.escape(str(tmp_path))):
        load_base(ModelIdentity(str(tmp_path)), "cpu", torch.float32)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_folder_that_lacks_a_tensor_is_refused_rather_than_filled_up_at_random(tmp_path: Path, part: str):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    (file,) = (tmp_path / part).glob("*.safetensors")
    weights = load_file(file)
    del weights[max(weights)]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(BadCheckpoint, match=rf"{part}' cannot be read .*: it holds {len(weights)} of the "):
        load_base(ModelIdentity(str(tmp_path)), "cpu", torch.float32)


def test_another_family_is_refused_with_what_was_found(tmp_path: Path):
    tiny_stable_diffusion().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(UnknownFamily, match="StableDiffusionXLPipeline"):
        _ = ModelIdentity(str(tmp_path)).place


def test_a_folder_without_a_model_and_a_hub_id_out_of_reach_are_told_apart(tmp_path: Path):
    with pytest.raises(ModelNotFound, match=r"no model_index\.json"):
        _ = ModelIdentity(str(tmp_path)).place
    with pytest.raises(ModelNotFound, match=r"hub id"):
        _ = ModelIdentity("nobody/nothing-here").place


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(NoSuchDevice, match="cuda:99"):
        resolve_device("cuda:99")


# ---------------------------------------------------------------------------------------------- the whole model loaded


def saved(pipeline: Any, folder: Path) -> str:
    pipeline.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("maker", "family"), [(tiny_stable_diffusion, "sd1"), (tiny_inpainting, "sd1-inpainting"), (tiny_sdxl, "sdxl")]
)
def test_a_folder_loads_as_the_family_that_its_configs_say(tmp_path: Path, maker: Any, family: str):
    base = load_base(ModelIdentity(saved(maker(), tmp_path)), "cpu", torch.float32)
    assert base.family == family
    assert len(base.tokenizers) == len(base.tables) == len(base.widths) == (2 if family == "sdxl" else 1)
    assert base.latent_shape(32, 48) == (4, 4, 6)
    parts = [base.unet, base.vae, *base.text_encoders]
    assert not any(part.training or any(p.requires_grad for p in part.parameters()) for part in parts)


def test_another_vae_takes_the_place_of_the_models_own_in_latents_and_drawing(tmp_path: Path):
    model = saved(tiny_stable_diffusion(seed=0), tmp_path / "model")
    other = tiny_stable_diffusion(seed=1)
    saved(other, tmp_path / "other")
    other.vae.save_pretrained(tmp_path / "vae")
    save_file(original(other), tmp_path / "whole.safetensors")
    alone = {name.removeprefix("first_stage_model."): value for name, value in original(other).items()
             if name.startswith("first_stage_model.")}  # fmt: skip
    save_file(alone, tmp_path / "vae.safetensors")
    for place in ("other", "vae", "whole.safetensors", "vae.safetensors"):
        vae = load_vae(ModelIdentity(model, vae=str(tmp_path / place)), "cpu")
        drawing = load_base(ModelIdentity(model, vae=str(tmp_path / place)), "cpu", torch.float32).vae
        for name, value in other.vae.state_dict().items():
            assert torch.equal(vae.state_dict()[name], value), f"{place}: {name}"
            assert torch.equal(drawing.state_dict()[name], value), f"{place}: {name}"
    assert digest(Path(model), str(tmp_path / "vae")) not in (digest(Path(model)), digest(Path(model), model))


def test_a_vae_that_does_not_fit_is_refused(tmp_path: Path):
    model = saved(tiny_stable_diffusion(), tmp_path / "model")
    wide = AutoencoderKL(block_out_channels=(4,), norm_num_groups=4, latent_channels=16)
    wide.save_pretrained(tmp_path / "wide")
    (tmp_path / "empty").mkdir()
    save_file({"lora.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    refusals = {"wide": "latents have 16 channels", "empty": "no config.json", "lora.safetensors": "missing"}
    for place, reason in refusals.items():
        with pytest.raises(NoVae, match=rf"base\.vae: .*{reason}"):
            load_vae(ModelIdentity(model, vae=str(tmp_path / place)), "cpu")
    with pytest.raises(NoVae, match=r"base\.vae: 'nobody/nothing-here'"):
        load_vae(ModelIdentity(model, vae="nobody/nothing-here"), "cpu")


@pytest.mark.parametrize(("upcast", "expected"), [(True, torch.float32), (False, torch.float16)])
def test_a_vae_that_overflows_in_fp16_stays_in_fp32(tmp_path: Path, upcast: bool, expected: torch.dtype):
    pipeline = tiny_sdxl()
    pipeline.vae.register_to_config(force_upcast=upcast)
    model = saved(pipeline, tmp_path)
    base = load_base(ModelIdentity(model), "cpu", torch.float16)
    assert (base.dtype, base.vae.dtype) == (torch.float16, expected)
    assert load_base(ModelIdentity(model), "cpu", torch.bfloat16).vae.dtype is torch.bfloat16
    told = base.encode(torch.zeros(1, 2, 1, 77, dtype=torch.long), torch.empty(0, 40))
    assert len(base.draw(told, None, torch.zeros(1, 4, 4, 4), 2, 3.0)) == 1


def test_the_attention_of_the_settings_is_that_of_the_unet(tmp_path: Path):
    model = saved(tiny_stable_diffusion(), tmp_path)
    for attention, expected in (("auto", "AttnProcessor2_0"), ("sdpa", "AttnProcessor2_0"), ("sliced", "SlicedAttn")):
        base = load_base(ModelIdentity(model), "cpu", torch.float32, attention=attention)
        assert all(expected in type(own).__name__ for own in base.unet.attn_processors.values())


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")  # dynamo looks at gradients of what is no leaf, and uses old names of torch
def test_a_compiled_unet_gives_the_same_loss_and_gradient(tmp_path: Path):
    base = load_base(ModelIdentity(saved(tiny_stable_diffusion(), tmp_path)), "cuda:0", torch.float32)
    clean, noise = torch.randn(2, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).cuda()
    ids = Vocabulary(base.tokenizers, [len(base.tables[0])], "snorf", 2).encode_all(["a snorf", "snorf"]).cuda()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        word = torch.randn(2, 16, generator=torch.Generator().manual_seed(1)).cuda().requires_grad_()
        t = torch.tensor([1, 900], device="cuda")
        loss = base.loss(clean, noise, t, base.encode(ids, word))
        loss.sum().backward()
        assert word.grad is not None
        return loss.detach(), word.grad

    plain = run()
    base.compile()
    torch.testing.assert_close(run(), plain, rtol=1e-3, atol=1e-5)
    assert base.unet._compiled_call_impl is not None
