"""Checkpoints of one file: the same model as in the folder, and nothing in the file is ever run."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pseudoword.base.families import UnknownFamily
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_base, load_vae
from pseudoword.base.location import ModelNotFound, NoConfigs, NoVae, digest
from pseudoword.base.single_file import BadCheckpoint, home_of
from tests.original_layout import original
from tests.tiny import tiny_inpainting, tiny_sdxl, tiny_stable_diffusion

MAKERS: dict[str, Any] = {
    "sd1": lambda seed: tiny_stable_diffusion("epsilon", seed=seed),
    "sd2": lambda seed: tiny_stable_diffusion("v_prediction", seed=seed),
    "sd1-inpainting": lambda seed: tiny_inpainting("epsilon", seed=seed),
    "sdxl": lambda seed: tiny_sdxl(seed=seed),
}


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network whose hub cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def parts_of(base: Any) -> dict[str, torch.Tensor]:
    named = {"unet": base.unet, "vae": base.vae} | {f"text{at}": part for at, part in enumerate(base.text_encoders)}
    return {f"{part}.{name}": value for part, module in named.items() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("family", MAKERS)
def test_a_file_holds_the_model_of_the_folder(tmp_path: Path, family: str, suffix: str):
    folder, configs, file = tmp_path / "folder", tmp_path / "configs", tmp_path / f"model{suffix}"
    pipeline = MAKERS[family](1)
    pipeline.save_pretrained(folder)
    MAKERS[family](2).save_pretrained(configs)  # its weights are others, and not to be used
    if suffix == ".ckpt":
        torch.save({"state_dict": original(pipeline), "global_step": 7}, file)
    else:
        save_file(original(pipeline), file)
    whole = load_base(ModelIdentity(str(folder)), "cpu", torch.float32)
    single = load_base(ModelIdentity(str(file), config=str(configs)), "cpu", torch.float32)
    theirs, ours = parts_of(whole), parts_of(single)
    assert theirs.keys() == ours.keys()
    assert [name for name in theirs if not torch.equal(theirs[name], ours[name])] == []
    assert (single.family, single.prediction_type) == (whole.family, whole.prediction_type)
    vae = load_vae(ModelIdentity(str(file), config=str(configs)), "cpu").state_dict()
    assert all(torch.equal(value, ours[f"vae.{name}"]) for name, value in vae.items())


def test_the_digest_of_a_file_is_its_sha256_and_its_resolution_that_of_the_configs(tmp_path: Path):
    pipeline, file = tiny_stable_diffusion(), tmp_path / "model.safetensors"
    save_file(original(pipeline), file)
    pipeline.save_pretrained(tmp_path / "configs")
    assert digest(ModelIdentity(str(file)).place) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert ModelIdentity(str(file), config=str(tmp_path / "configs")).resolution == 32


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("suffix", [".ckpt", ".pt"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, suffix: str):
    file, proof = tmp_path / f"model{suffix}", tmp_path / "was-run"
    torch.save({"state_dict": original(tiny_stable_diffusion()), "callbacks": Hostile(proof)}, file)
    tiny_stable_diffusion().save_pretrained(tmp_path / "configs")
    for load in (
        lambda: load_base(ModelIdentity(str(file), config=str(tmp_path / "configs")), "cpu", torch.float32),
        lambda: load_vae(ModelIdentity(str(file), config=str(tmp_path / "configs")), "cpu"),
        lambda: home_of(file),
    ):
        with pytest.raises(BadCheckpoint, match="more than tensors"):
            load()
    with pytest.raises(NoVae, match="more than tensors"):
        load_vae(ModelIdentity(str(tmp_path / "configs"), vae=str(file)), "cpu")
    assert not proof.exists()


@pytest.mark.parametrize("missing", ["diffusion_model.out.2.bias", "final_layer_norm.weight", "encoder.conv_in"])
def test_a_file_that_lacks_weights_is_refused_and_not_filled_with_random_ones(tmp_path: Path, missing: str):
    weights = {name: value for name, value in original(tiny_stable_diffusion()).items() if missing not in name}
    save_file(weights, tmp_path / "model.safetensors")
    tiny_stable_diffusion().save_pretrained(tmp_path / "configs")
    with pytest.raises(BadCheckpoint, match=r"it holds \d+ of the \d+ tensors of the"):
        load_base(
            ModelIdentity(str(tmp_path / "model.safetensors"), config=str(tmp_path / "configs")), "cpu", torch.float32
        )


def test_a_file_without_a_vae_wants_one_and_takes_it(tmp_path: Path):
    weights = original(tiny_stable_diffusion())
    file, configs = str(tmp_path / "model.safetensors"), str(tmp_path / "configs")
    save_file({name: value for name, value in weights.items() if not name.startswith("first_stage_model.")}, file)
    tiny_stable_diffusion(seed=3).save_pretrained(configs)
    with pytest.raises(BadCheckpoint, match=r"it holds no VAE; name one in base\.vae"):
        load_base(ModelIdentity(file, config=configs), "cpu", torch.float32)
    base = load_base(ModelIdentity(file, config=configs, vae=configs), "cpu", torch.float32)
    assert torch.equal(base.vae.decoder.conv_in.weight, tiny_stable_diffusion(seed=3).vae.decoder.conv_in.weight)


def test_a_file_and_configs_of_another_architecture_are_refused(tmp_path: Path):
    save_file(original(tiny_stable_diffusion(width=32)), tmp_path / "model.safetensors")
    tiny_stable_diffusion().save_pretrained(tmp_path / "configs")
    with pytest.raises(BadCheckpoint, match="with the configs of"):
        load_base(
            ModelIdentity(str(tmp_path / "model.safetensors"), config=str(tmp_path / "configs")), "cpu", torch.float32
        )


def test_a_damaged_file_is_refused(tmp_path: Path):
    for suffix in (".safetensors", ".ckpt"):
        file = tmp_path / f"model{suffix}"
        file.write_bytes(b"not a model at all")
        with pytest.raises(BadCheckpoint, match=rf"model{suffix}"):
            _ = ModelIdentity(str(file)).resolution
    (tmp_path / "model.gguf").write_bytes(b"")
    with pytest.raises(ModelNotFound, match=r"does not end in \.safetensors"):
        _ = ModelIdentity(str(tmp_path / "model.gguf")).place


def test_a_file_of_another_kind_is_told_from_a_whole_model(tmp_path: Path):
    save_file({"lora_unet_down.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(BadCheckpoint, match="no whole model"):
        home_of(tmp_path / "lora.safetensors")
    flux = {"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": torch.zeros(1),
            "model.diffusion_model.img_in.weight": torch.zeros(4, 64)}  # fmt: skip
    save_file(flux, tmp_path / "flux.safetensors")
    with pytest.raises(UnknownFamily, match="layout flux"):
        home_of(tmp_path / "flux.safetensors")


def test_the_layout_of_a_file_decides_whose_configs_are_fetched(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    save_file(original(tiny_stable_diffusion()), file)
    assert home_of(file) == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    inpainting = tmp_path / "inpainting.safetensors"
    save_file(original(tiny_inpainting()), inpainting)
    assert home_of(inpainting) == "stable-diffusion-v1-5/stable-diffusion-inpainting"


@pytest.mark.usefixtures("no_hub")
def test_configs_that_cannot_be_had_are_named(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    save_file(original(tiny_stable_diffusion()), file)
    with pytest.raises(NoConfigs, match=r"base\.config.*stable-diffusion-v1-5"):
        _ = ModelIdentity(str(file)).resolution
    with pytest.raises(NoConfigs, match=r"no model_index\.json"):
        _ = ModelIdentity(str(file), config=str(tmp_path)).resolution
