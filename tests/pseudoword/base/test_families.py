"""Each family: what training tells the UNet, and what is drawn, is what diffusers' own pipeline makes of the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from pseudoword.base.attention import NoXformers, set_attention
from pseudoword.base.families import UnknownFamily, family_of
from pseudoword.base.inpainting import Inpainting
from pseudoword.base.interface import Base, Conditioning
from pseudoword.base.sampling import SAMPLERS, UnknownSampler, sample
from pseudoword.base.sdxl import StableDiffusionXL
from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.base.text import BadClipSkip
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.writing import write_embedding
from pseudoword.prompts import Vocabulary
from pseudoword.settings.train import PreviewSettings
from tests.tiny import tiny_inpainting, tiny_sdxl, tiny_stable_diffusion

WORD = "snorf"
PROMPTS = ["a snorf by the sea", "snorf", "a photo of a snorf, snorf, left", "a word that is not there", ""]
MAKERS: dict[str, Any] = {
    "sd1": lambda: tiny_stable_diffusion("epsilon"),
    "sd2": lambda: tiny_stable_diffusion("v_prediction"),
    "sd1-inpainting": lambda: tiny_inpainting("epsilon"),
    "sd2-inpainting": lambda: tiny_inpainting("v_prediction"),
    "sdxl": tiny_sdxl,
}


def base_of(pipeline: Any, clip_skip: int = 0) -> Base:
    for part in (pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None), pipeline.vae):
        if part is not None:
            part.requires_grad_(False).eval()
    kind = StableDiffusionXL if hasattr(pipeline, "text_encoder_2") else StableDiffusion
    return (Inpainting if pipeline.unet.config.in_channels == 9 else kind)(pipeline, clip_skip)


def ids_of(base: Base, prompts: list[str], vectors: int) -> Tensor:
    """(B, E, 1, L)."""
    return Vocabulary(base.tokenizers, [len(table) for table in base.tables], WORD, vectors).encode_all(prompts)


def word_of(base: Base, vectors: int) -> Tensor:
    return torch.randn(vectors, sum(base.widths), generator=torch.Generator().manual_seed(0))


def with_word(pipeline: Any, vectors: Tensor, path: Path) -> Any:
    """diffusers' pipeline with the word read from an exported file, one or two encoders."""
    widths = [pipeline.text_encoder.config.hidden_size]
    if not hasattr(pipeline, "text_encoder_2"):
        write_embedding(path, Embedding(WORD, vectors, {}))
        pipeline.load_textual_inversion(path)
        return pipeline
    first, second = vectors.split([widths[0], vectors.shape[1] - widths[0]], dim=1)
    write_embedding(path, Embedding(WORD, first.contiguous(), {}, second.contiguous()))
    state = load_file(path)
    for key, encoder, tokenizer in (
        ("clip_l", pipeline.text_encoder, pipeline.tokenizer),
        ("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2),
    ):
        pipeline.load_textual_inversion(state[key], token=WORD, text_encoder=encoder, tokenizer=tokenizer)
    return pipeline


# ---------------------------------------------------------------------------------------------- conditioning


@pytest.mark.parametrize("clip_skip", [0, 1])
@pytest.mark.parametrize("vectors", [1, 5])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sd2-inpainting"])
def test_the_conditioning_is_that_of_diffusers(tmp_path: Path, family: str, vectors: int, clip_skip: int):
    base = base_of(MAKERS[family](), clip_skip)
    word = word_of(base, vectors)
    ours = base.encode(ids_of(base, PROMPTS, vectors), word)

    pipeline = with_word(MAKERS[family](), word, tmp_path / "snorf.safetensors")
    # diffusers asks the text encoder for its `text_model`, which transformers has since made one with it.
    object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    theirs = pipeline.encode_prompt(PROMPTS, "cpu", 1, False, clip_skip=clip_skip)[0]
    torch.testing.assert_close(ours.states, theirs)
    assert ours.pooled is None


@pytest.mark.parametrize("clip_skip", [0, 1])
@pytest.mark.parametrize("vectors", [1, 5])
def test_the_conditioning_of_sdxl_is_that_of_diffusers(tmp_path: Path, vectors: int, clip_skip: int):
    base = base_of(tiny_sdxl(), clip_skip)
    word = word_of(base, vectors)
    ours = base.encode(ids_of(base, PROMPTS, vectors), word)

    pipeline = with_word(tiny_sdxl(), word, tmp_path / "snorf.safetensors")
    states, _, pooled, _ = pipeline.encode_prompt(PROMPTS, None, "cpu", 1, False, clip_skip=clip_skip)
    torch.testing.assert_close(ours.states, states)
    torch.testing.assert_close(ours.pooled, pooled)


def test_the_pooled_vector_is_read_at_the_end_of_text_where_diffusers_takes_the_word_for_it(tmp_path: Path):
    """With the eos_token_id 2 of old, transformers pools at the highest id: the placeholder of the word itself."""
    base = base_of(tiny_sdxl(old_eos=True))
    word = word_of(base, 2)
    ours = base.encode(ids_of(base, PROMPTS, 2), word)

    pipeline = with_word(tiny_sdxl(old_eos=True), word, tmp_path / "snorf.safetensors")
    assert pipeline.text_encoder_2.text_model.eos_token_id == 2
    wrong = pipeline.encode_prompt(PROMPTS, None, "cpu", 1, False)[2]
    pipeline.text_encoder_2.text_model.eos_token_id = pipeline.tokenizer_2.eos_token_id
    right = pipeline.encode_prompt(PROMPTS, None, "cpu", 1, False)[2]
    torch.testing.assert_close(ours.pooled, right)
    with_the_word = torch.tensor([WORD in prompt for prompt in PROMPTS])
    assert ((wrong - right).abs().amax(1) > 1e-3).equal(with_the_word)


def test_each_tokenizer_pads_in_its_own_way():
    base = base_of(tiny_sdxl())
    first, second = ids_of(base, ["a"], 1)[0, :, 0, -1].tolist()
    assert (first, second) == (base.tokenizers[0].eos_token_id, 0)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_windows_of_a_long_prompt_stand_side_by_side(family: str):
    base = base_of(MAKERS[family]())
    word = word_of(base, 1)
    ids = ids_of(base, ["a snorf", "by the sea"], 1)
    long = base.encode(ids.permute(2, 1, 0, 3), word)
    single = base.encode(ids, word)
    torch.testing.assert_close(long.states[0], single.states.flatten(0, 1))
    assert long.states.shape[1] == 2 * 77
    if single.pooled is not None:
        torch.testing.assert_close(long.pooled, single.pooled[:1])


@pytest.mark.parametrize(("family", "most"), [("sd1", 1), ("sdxl", 1)])
def test_more_layers_than_there_are_cannot_be_skipped(family: str, most: int):
    with pytest.raises(BadClipSkip, match=rf"base\.clip_skip: 2 .* 0 to {most}"):
        base_of(MAKERS[family](), clip_skip=2)


# ---------------------------------------------------------------------------------------------- pictures


def drawn(base: Base, word: Tensor, guidance: float, noise: Tensor) -> list[Image.Image]:
    conditioning = base.encode(ids_of(base, PROMPTS[:2], len(word)), word)
    return base.draw(conditioning, None, noise, 4, guidance)


def noise_of(base: Base, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(2, *base.latent_shape(height, width), generator=torch.Generator().manual_seed(3))


def assert_alike(ours: list[Image.Image], theirs: list[Image.Image]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert own.size == other.size
        assert np.abs(np.asarray(own, int) - np.asarray(other, int)).max() <= 1


def theirs_drawn(pipeline: Any, guidance: float, noise: Tensor, **more: Any) -> list[Image.Image]:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    height, width = (8 * side for side in noise.shape[2:])
    pictures: list[Image.Image] = pipeline(
        PROMPTS[:2], latents=noise, num_inference_steps=4, guidance_scale=guidance, height=height, width=width, **more
    ).images
    return pictures


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_a_picture_is_that_of_diffusers(tmp_path: Path, family: str, guidance: float):
    base = base_of(MAKERS[family]())
    word, noise = word_of(base, 2), noise_of(base, 32, 48)
    pipeline = with_word(MAKERS[family](), word, tmp_path / "snorf.safetensors")
    assert_alike(drawn(base, word, guidance, noise), theirs_drawn(pipeline, guidance, noise))


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_picture_of_sdxl_is_that_of_diffusers(tmp_path: Path, guidance: float, zeros: bool):
    base = base_of(tiny_sdxl(zeros=zeros))
    word, noise = word_of(base, 2), noise_of(base, 48, 32)
    pipeline = with_word(tiny_sdxl(zeros=zeros), word, tmp_path / "snorf.safetensors")
    assert_alike(drawn(base, word, guidance, noise), theirs_drawn(pipeline, guidance, noise))


@pytest.mark.parametrize("family", ["sd1-inpainting", "sd2-inpainting"])
def test_an_inpainting_model_draws_all_of_the_picture_as_diffusers_does(tmp_path: Path, family: str):
    base = base_of(MAKERS[family]())
    assert isinstance(base, Inpainting)
    word, noise = word_of(base, 2), noise_of(base)
    pipeline = with_word(MAKERS[family](), word, tmp_path / "snorf.safetensors")
    any_picture, everywhere = Image.new("RGB", (32, 32), "teal"), Image.new("L", (32, 32), 255)
    # diffusers draws from the VAE's posterior; handing it the middle of it takes that chance out.
    middle = base.hole(4, 4)[:, 1:]
    theirs = theirs_drawn(pipeline, 4.0, noise, image=any_picture, mask_image=everywhere, masked_image_latents=middle)
    assert_alike(drawn(base, word, 4.0, noise), theirs)


def test_what_an_inpainting_model_sees_is_the_masked_picture_of_diffusers_own_preprocessing():
    base, pipeline = base_of(tiny_inpainting()), tiny_inpainting()
    assert isinstance(base, Inpainting)
    picture = pipeline.image_processor.preprocess(Image.new("RGB", (48, 32), "teal"), height=32, width=48)
    mask = pipeline.mask_processor.preprocess(Image.new("L", (48, 32), 255), height=32, width=48)
    # In one memory layout: a VAE with one channel to a group blows the rounding of an even picture up.
    masked = pipeline.vae.encode((picture * (mask < 0.5)).contiguous()).latent_dist
    own = base.hole(4, 6)
    assert torch.equal(own[:, :1], torch.ones(1, 1, 4, 6))
    torch.testing.assert_close(own[:, 1:], masked.mean * pipeline.vae.config.scaling_factor)


def test_a_picture_of_a_long_prompt_is_guided_away_from_nothing():
    base = base_of(tiny_sdxl())
    word, noise = word_of(base, 1), noise_of(base)
    short = base.encode(ids_of(base, PROMPTS[:2], 1), word)
    long = Conditioning(short.states.repeat(1, 2, 1), short.pooled)
    # The same window twice is what the attention reads from it once.
    assert_alike(base.draw(long, None, noise, 3, 4.0), base.draw(short, None, noise, 3, 4.0))


def test_every_sampler_draws_and_another_is_refused():
    base = base_of(tiny_stable_diffusion())
    told = base.encode(ids_of(base, PROMPTS[:2], 1), word_of(base, 1))
    pictures = {name: base.draw(told, None, noise_of(base), 3, 3.0, name)[0].tobytes() for name in SAMPLERS}
    assert len(set(pictures.values())) == len(SAMPLERS)
    with pytest.raises(UnknownSampler, match=r"'dpm' is not known; can be: dpm\+\+2m"):
        base.draw(told, None, noise_of(base), 3, 3.0, "dpm")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", [{}, {"timestep_spacing": "leading"}])
def test_every_sampler_makes_as_many_steps_as_the_settings_take(sampler: str, spacing: dict[str, str]):
    """On the noise schedules of Stable Diffusion 1.x and SDXL."""
    most = PreviewSettings.model_json_schema()["properties"]["inference_steps"]["maximum"]
    schedule = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "steps_offset": 1, **spacing}
    drawn = sample(lambda latents, _: latents / 10, schedule, torch.ones(1, 4, 2, 2), most, sampler)
    assert drawn.isfinite().all()


# ---------------------------------------------------------------------------------------------- loss and gradient


def gradient(base: Base, word: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Loss of two samples and its gradient."""
    leaf = word.to(dtype).clone().requires_grad_()
    generator = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 2, *base.latent_shape(32, 48), generator=generator).to(dtype)
    told = base.encode(ids_of(base, PROMPTS[:2], len(word)), leaf)
    loss = base.loss(clean, noise, torch.tensor([20, 700]), told)
    loss.sum().backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


@pytest.mark.parametrize("family", MAKERS)
def test_the_gradient_reaches_all_vectors_and_the_frozen_model_keeps_its_bits(family: str):
    base = base_of(MAKERS[family]())
    parts = [base.unet, base.vae, *base.text_encoders]
    before = [value.clone() for part in parts for value in part.state_dict().values()]
    word = word_of(base, 3)
    for _ in range(3):
        word = word - 0.1 * gradient(base, word)[1].sign()
    after = [value for part in parts for value in part.state_dict().values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(parameter.grad is None for part in parts for parameter in part.parameters())
    assert (gradient(base, word)[1] != 0).all()


@pytest.mark.parametrize("family", MAKERS)
def test_in_double_precision_the_gradient_is_the_slope_of_the_loss(family: str):
    pipeline = MAKERS[family]()
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)):
        if part is not None:
            part.double()
    base = base_of(pipeline)
    word = word_of(base, 2).double()
    loss, slope = gradient(base, word, torch.float64)
    assert loss.dtype is torch.float64
    along = torch.randn(word.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = 1e-6
    ahead, behind = (gradient(base, word + sign * step * along, torch.float64)[0].sum() for sign in (1, -1))
    torch.testing.assert_close((ahead - behind) / (2 * step), (slope * along).sum(), rtol=1e-5, atol=1e-9)


def test_a_prediction_without_signal_at_the_last_step_has_a_finite_loss():
    pipeline = tiny_stable_diffusion("v_prediction")
    pipeline.scheduler.register_to_config(rescale_betas_zero_snr=True)
    base = base_of(pipeline)
    assert base.alpha_bar[-1] == 0
    clean, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    told = base.encode(ids_of(base, ["a snorf"], 1), word_of(base, 1))
    assert base.loss(clean, noise, torch.tensor([999]), told).isfinite().all()
    assert base.draw(told, None, noise, 3, 3.0)[0].getextrema() != ((0, 0),) * 3


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_recomputed_activations_take_less_memory_and_give_the_same_gradient(family: str):
    base = base_of(MAKERS[family]())
    word = word_of(base, 2)

    def run() -> tuple[int, Tensor]:
        counted = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: counted.append(t.numel()) or t, lambda t: t):
            slope = gradient(base, word)[1]
        return sum(counted), slope

    plain, slope = run()
    base.checkpoint_gradients(True)
    spared, again = run()
    base.checkpoint_gradients(False)
    assert spared < 0.75 * plain
    assert torch.equal(slope, again)
    assert run()[0] == plain


# ---------------------------------------------------------------------------------------------- precision, attention


@pytest.mark.parametrize("attention", ["sdpa", "sliced"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_v_prediction_is_finite_in_half_precision(dtype: torch.dtype, attention: str):
    """The products of queries and keys of SD 2.x are larger than fp16 holds."""
    full, half = tiny_stable_diffusion("v_prediction"), tiny_stable_diffusion("v_prediction")
    for pipeline in (full, half):
        for name, parameter in pipeline.unet.named_parameters():
            if "to_q" in name or "to_k" in name:
                parameter.data *= 600
    for part in (half.unet, half.text_encoder, half.vae):
        part.to(dtype)
    set_attention(half.unet, attention)
    base = base_of(half)
    loss, slope = gradient(base, word_of(base, 2))
    expected, _ = gradient(base_of(full), word_of(base, 2))
    assert slope.isfinite().all()
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)


def test_sliced_attention_gives_the_gradient_of_the_fused_one():
    fused, sliced = tiny_sdxl(), tiny_sdxl()
    set_attention(sliced.unet, "sliced")
    word = word_of(base_of(fused), 2)
    torch.testing.assert_close(
        gradient(base_of(tiny_sdxl()), word)[1], gradient(base_of(sliced), word)[1], rtol=1e-4, atol=1e-6
    )


def test_xformers_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoXformers, match=r"base\.attention"):
        set_attention(tiny_stable_diffusion().unet, "xformers")


# ---------------------------------------------------------------------------------------------- detection

SCHEDULER = {"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
XL_UNET = {"in_channels": 4, "cross_attention_dim": 2048, "addition_embed_type": "text_time"}
XL_INDEX = {"_class_name": "StableDiffusionXLPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}


@pytest.mark.parametrize(
    ("pipeline", "channels", "width", "expected"),
    [
        ("StableDiffusionPipeline", 4, 768, "sd1"),
        ("StableDiffusionPipeline", 4, 1024, "sd2"),
        ("StableDiffusionInpaintPipeline", 9, 768, "sd1-inpainting"),
        ("StableDiffusionInpaintPipeline", 9, 1024, "sd2-inpainting"),
        ("StableDiffusionPipeline", 9, 768, "sd1-inpainting"),
    ],
)
def test_the_family_is_read_from_the_configs(pipeline: str, channels: int, width: int, expected: str):
    unet = {"in_channels": channels, "cross_attention_dim": width}
    for prediction in ("epsilon", "v_prediction"):
        scheduler = SCHEDULER | {"prediction_type": prediction}
        assert family_of("m", {"_class_name": pipeline}, unet, scheduler) == expected
    assert family_of("m", XL_INDEX, XL_UNET, SCHEDULER) == "sdxl"


@pytest.mark.parametrize(
    ("index", "unet", "scheduler", "found"),
    [
        ({"_class_name": "FluxPipeline"}, {}, {}, "a FluxPipeline"),
        ({"_class_name": "StableDiffusion3Pipeline"}, {}, {}, "a StableDiffusion3Pipeline"),
        ({"_class_name": "KandinskyPipeline"}, {"in_channels": 4}, {}, "a KandinskyPipeline"),
        ({"_class_name": "StableDiffusionInstructPix2PixPipeline"}, {"in_channels": 8}, {}, "InstructPix2Pix"),
        ({"_class_name": "StableDiffusionPipeline"}, {"in_channels": 8}, {}, "UNet takes 8 channels"),
        ({"_class_name": "StableDiffusionXLImg2ImgPipeline"}, {"in_channels": 4}, {}, "XLImg2Img"),
        (XL_INDEX | {"text_encoder": [None, None]}, {}, {}, "without the first text encoder"),
        (XL_INDEX, {"in_channels": 9}, {}, "UNet takes 9 channels"),
        (XL_INDEX, {"time_cond_proj_dim": 256}, {}, "distilled"),
        (XL_INDEX, {}, {"prediction_type": "sample"}, "trained for sample"),
    ],
)
def test_another_family_is_refused_with_what_was_found(
    index: dict[str, Any], unet: dict[str, Any], scheduler: dict[str, Any], found: str
):
    with pytest.raises(UnknownFamily, match=found) as error:
        family_of("some/model", index, XL_UNET | unet, SCHEDULER | scheduler)
    assert "some/model" in str(error.value) and "Stable Diffusion XL" in str(error.value)


def test_a_schedule_that_is_not_of_betas_is_refused():
    scheduler = {"_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": "epsilon"}
    with pytest.raises(UnknownFamily, match="EDMDPMSolverMultistepScheduler has no noise schedule of betas"):
        family_of("m", XL_INDEX, XL_UNET, scheduler)
