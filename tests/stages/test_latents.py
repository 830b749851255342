"""The latents stage on tiny random VAEs: what is encoded again, what is reused, weights, tiles, precision."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import save_file

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_vae
from pseudoword.latents import INDEX, LATENTS, Latents, OtherVae, check_vae, read_latents
from pseudoword.pictures.prepared import PicturesUnreadable, to_tensor
from pseudoword.scratch import KEPT_DAYS
from stages.latents.__main__ import main
from stages.latents.encoding import NotFinite, batch_for, encode, prepare
from stages.latents.prepared import BadMask, read_weight
from tests.original_layout import original
from tests.project import shipped_params, write_checked
from tests.tiny import tiny_stable_diffusion

ROOT = Path(__file__).parents[2]
SHAPES = {"00000000000a": (32, 32), "00000000000a-h": (32, 32), "00000000000b": (64, 32), "00000000000c": (32, 32),
          "00000000000d-t0": (32, 32), "00000000000e": (32, 32), "00000000000f": (32, 32)}  # fmt: skip


def picture(name: str, seed: int = 0) -> Image.Image:
    width, height = SHAPES[name]
    draws = np.random.default_rng([seed, *name.encode()])
    return Image.fromarray(draws.integers(0, 255, (height, width, 3), dtype=np.uint8))


def write_table(names: list[str], weighted: tuple[str, ...] | None = None) -> None:
    table = pd.DataFrame({"id": names, "state": "used"})
    if weighted is not None:
        table["weighted"] = ["yes" if name in weighted else "" for name in names]
    table.to_csv("outputs/pictures.csv", index=False)


def write_params(**latents: object) -> None:
    content = shipped_params()
    content["base"] |= {"model": "base", "device": "cpu"}
    content["latents"] |= latents
    write_checked(content)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_stable_diffusion().save_pretrained(folder)
    return folder


@pytest.fixture
def project(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the stage runs: a tiny base model and pictures of two shapes."""
    monkeypatch.chdir(tmp_path)
    Path("base").symlink_to(model)
    Path("outputs/pictures").mkdir(parents=True)
    for name in SHAPES:
        picture(name).save(f"outputs/pictures/{name}.png")
    write_table(list(SHAPES))
    write_params()
    return tmp_path


def stage(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, bytes]]:
    """Run it; the counts that it prints, and the files that it writes."""
    main()
    files = {path.name: path.read_bytes() for path in LATENTS.iterdir()}
    return capsys.readouterr().out.partition(".")[0], files


def by_id(latents: Latents) -> dict[str, tuple[torch.Tensor, ...]]:
    return {
        latents.ids[row]: (group.mean[at], group.std[at], group.weight[at])
        for group in latents.groups
        for at, row in enumerate(group.rows)
    }


# ---------------------------------------------------------------------------------------------- what is written


def test_each_picture_has_the_vaes_mean_and_spread_in_the_unets_units(project: Path):
    main()
    latents = read_latents()
    assert latents.ids == list(SHAPES)
    assert [group.mean.shape for group in latents.groups] == [(6, 4, 4, 4), (1, 4, 4, 8)]
    vae = load_vae(ModelIdentity("base"), "cpu")
    for name, (mean, std, weight) in by_id(latents).items():
        with torch.no_grad():
            posterior = vae.encode(to_tensor(picture(name))[None]).latent_dist
        torch.testing.assert_close(mean, posterior.mean[0] * vae.config.scaling_factor, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(std, posterior.std[0] * vae.config.scaling_factor, rtol=1e-4, atol=1e-5)
        assert torch.equal(weight, torch.ones_like(weight))


def test_a_picture_that_is_gone_or_cut_off_is_named(project: Path):
    path = Path("outputs/pictures/00000000000c.png")
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(PicturesUnreadable, match=r"00000000000c\.png cannot be read"):
        main()
    path.unlink()
    with pytest.raises(PicturesUnreadable, match=r"00000000000c\.png cannot be read"):
        main()


# ---------------------------------------------------------------------------------------------- what is reused


def test_one_changed_picture_is_encoded_and_the_rest_keeps_its_bits(project: Path, capsys: pytest.CaptureFixture[str]):
    said, first = stage(capsys)
    assert said == "7 encoded, 0 reused"
    assert stage(capsys) == ("0 encoded, 7 reused", first)
    before = by_id(read_latents())
    picture("00000000000c", seed=1).save("outputs/pictures/00000000000c.png")
    said, changed = stage(capsys)
    assert said == "1 encoded, 6 reused"
    after = by_id(read_latents())
    assert {name for name in SHAPES if not torch.equal(before[name][0], after[name][0])} == {"00000000000c"}
    for path in Path(".scratch/latents").glob("*/*"):
        path.unlink()
    assert stage(capsys) == ("7 encoded, 0 reused", changed)


def test_a_pictures_bits_do_not_depend_on_those_encoded_with_it(project: Path, capsys: pytest.CaptureFixture[str]):
    main()
    together = by_id(read_latents())
    for names in (["00000000000c"], ["00000000000a", "00000000000f"], list(SHAPES)[2:]):
        for path in Path(".scratch/latents").glob("*/*"):
            path.unlink()
        write_table(names)
        main()
        for name, own in by_id(read_latents()).items():
            assert all(torch.equal(left, right) for left, right in zip(own, together[name], strict=True))


@pytest.mark.parametrize("change", ["vae", "precision", "tile"])
def test_another_vae_precision_or_tile_encodes_all(project: Path, capsys: pytest.CaptureFixture[str], change: str):
    _, first = stage(capsys)
    if change == "vae":
        Path("base").unlink()
        tiny_stable_diffusion(seed=1).save_pretrained("base")
    else:
        write_params(**{"precision": {"precision": "bf16"}, "tile": {"tile": 64}}[change])
    said, second = stage(capsys)
    assert said == "7 encoded, 0 reused"
    assert (first == second) == (change == "tile")  # no picture here is that large


def scaled(folder: str, scale: float) -> None:
    config = Path(folder, "vae/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": scale}))


@pytest.mark.parametrize("from_file", ["base.model", "base.vae"])
def test_a_file_read_with_another_config_encodes_all(
    project: Path, model: Path, capsys: pytest.CaptureFixture[str], from_file: str
):
    Path("base").unlink()
    shutil.copytree(model, "base")
    file = {"model": "base.safetensors", "config": "base"} if from_file == "base.model" else {"vae": "base.safetensors"}
    save_file(original(tiny_stable_diffusion()), "base.safetensors")
    content = shipped_params()
    content["base"] |= {"model": "base", "device": "cpu", **file}
    write_checked(content)
    first = {}
    for scale, said in (
        (0.18215, "7 encoded, 0 reused"),
        (0.13, "7 encoded, 0 reused"),
        (0.18215, "0 encoded, 7 reused"),
    ):
        scaled("base", scale)
        told, files = stage(capsys)
        assert told.startswith(said)
        first.setdefault(scale, files)
        assert files == first[scale]
    base = ModelIdentity(content["base"]["model"], config=content["base"]["config"], vae=content["base"]["vae"])
    check_vae(base.vae_sha256, None)
    scaled("base", 0.13)
    changed = ModelIdentity(base.name, config=base.config, vae=base.vae)
    with pytest.raises(OtherVae, match="dvc repro -f -s latents"):
        check_vae(changed.vae_sha256, None)


def test_another_unet_encodes_nothing(project: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    main()
    Path("base").unlink()
    shutil.copytree(model, "base")
    tiny_stable_diffusion(seed=1).unet.save_pretrained("base/unet")
    capsys.readouterr()
    said, _ = stage(capsys)
    assert said == "0 encoded, 7 reused"


@pytest.mark.parametrize("harm", ["cut off", "another picture's", "empty"])
def test_a_scratch_entry_that_is_not_what_was_saved_is_not_used(
    project: Path, capsys: pytest.CaptureFixture[str], harm: str
):
    _, first = stage(capsys)
    entry, other = sorted(Path(".scratch/latents").glob("*/*"))[:2]
    entry.write_bytes({"cut off": entry.read_bytes()[:-4], "another picture's": other.read_bytes(), "empty": b""}[harm])
    assert stage(capsys) == ("1 encoded, 6 reused", first)


def test_what_nobody_has_used_for_long_is_thrown_away(project: Path, capsys: pytest.CaptureFixture[str]):
    main()
    long_ago = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    for path in Path(".scratch/latents").glob("*/*"):
        os.utime(path, (long_ago, long_ago))
    write_table(list(SHAPES)[:3])
    capsys.readouterr()
    said, _ = stage(capsys)
    assert said == "0 encoded, 3 reused"
    assert len(list(Path(".scratch/latents").glob("*/*"))) == 3


def test_a_killed_run_goes_on_with_what_it_had(project: Path, capsys: pytest.CaptureFixture[str]):
    names = []
    for number in range(24):
        names.append(f"{number:012x}")
        draws = np.random.default_rng(number).integers(0, 255, (256, 256, 3), dtype=np.uint8)
        Image.fromarray(draws).save(f"outputs/pictures/{names[-1]}.png")
    write_table(names)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    run = subprocess.Popen([sys.executable, "-m", "stages.latents"], env=environment, stderr=subprocess.DEVNULL)
    while len(list(Path(".scratch/latents").glob("*/*.safetensors"))) < 4 and run.poll() is None:
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (LATENTS / INDEX).exists()
    said, went_on = stage(capsys)
    assert said.startswith(tuple(f"{24 - done} encoded, {done} reused" for done in range(4, 24)))
    for path in Path(".scratch/latents").glob("*/*"):
        path.unlink()
    assert stage(capsys) == ("24 encoded, 0 reused", went_on)


# ---------------------------------------------------------------------------------------------- weights


def test_the_mask_of_a_wide_picture_weighs_the_side_that_it_marks(project: Path):
    pixels = np.zeros((32, 64), np.uint8)
    pixels[:, 32:] = 255  # the right half
    pixels[24:, :32] = 128  # and, less, the lowest quarter of the left
    Image.fromarray(pixels).save("outputs/pictures/00000000000b.mask.png")
    write_table(list(SHAPES), weighted=("00000000000b",))
    main()
    latents = by_id(read_latents())
    weight = latents["00000000000b"][2]
    share = torch.zeros(1, 4, 8)
    share[..., 4:] = 1
    share[:, 3, :4] = 128 / 255
    torch.testing.assert_close(weight, share / share.mean())
    assert torch.equal(latents["00000000000a"][2], torch.ones(1, 4, 4))


def test_a_changed_mask_encodes_nothing_and_changes_the_weight(project: Path, capsys: pytest.CaptureFixture[str]):
    write_table(list(SHAPES), weighted=("00000000000a",))
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    mask.save("outputs/pictures/00000000000a.mask.png")
    main()
    left = by_id(read_latents())["00000000000a"][2]
    mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("outputs/pictures/00000000000a.mask.png")
    capsys.readouterr()
    assert stage(capsys)[0] == "0 encoded, 7 reused"
    right = by_id(read_latents())["00000000000a"][2]
    assert torch.equal(right, left.flip(-1)) and not torch.equal(right, left)


@pytest.mark.parametrize("grey", [1, 127, 254, 255])
def test_a_constant_mask_is_none(tmp_path: Path, grey: int):
    Image.new("L", (576, 448), grey).save(tmp_path / "mask.png")
    assert torch.equal(read_weight(tmp_path / "mask.png", (576, 448), 56, 72), torch.ones(1, 56, 72))


def test_a_place_weighs_what_its_pixels_weigh_on_average(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    weight = read_weight(tmp_path / "mask.png", (40, 24), 3, 5)
    cells = torch.from_numpy(pixels).float().view(3, 8, 5, 8).mean((1, 3))
    torch.testing.assert_close(weight[0], cells / cells.mean())


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.new("L", (64, 32), 0), "is black all over"),
        (Image.new("L", (32, 64), 9), "is 32x64 px, its picture 64x32"),
    ],
)
def test_a_mask_that_cannot_weigh_is_refused_by_name(project: Path, mask: Image.Image, message: str):
    mask.save("outputs/pictures/00000000000b.mask.png")
    write_table(list(SHAPES), weighted=("00000000000b",))
    with pytest.raises(BadMask, match=rf"00000000000b\.mask\.png: .*{message}"):
        main()


def test_a_mask_that_is_missing_is_named(project: Path):
    write_table(list(SHAPES), weighted=("00000000000b",))
    with pytest.raises(PicturesUnreadable, match=r"00000000000b\.mask\.png"):
        main()


# ---------------------------------------------------------------------------------------------- the VAE


@pytest.fixture
def vae() -> AutoencoderKL:
    return load_vae(ModelIdentity(str(ROOT / "models/toyworld")), "cpu")


def waves(width: int, height: int) -> torch.Tensor:
    """A smooth picture (1, 3, height, width) in [-1, 1], alike all over: waves of 63 px."""
    y, x = torch.meshgrid(torch.arange(height) / 10, torch.arange(width) / 10, indexing="ij")
    return torch.stack([x.sin(), y.cos(), (x + y).sin()])[None] * 0.8


def test_a_large_picture_in_tiles_is_nearly_the_same(vae: AutoencoderKL):
    pictures = waves(320, 192)
    whole, whole_std = encode(prepare(vae, "fp32", 320), pictures)
    tiled, tiled_std = encode(prepare(vae, "fp32", 128), pictures)
    assert tiled.shape == whole.shape == tiled_std.shape == (1, 4, 24, 40)
    assert not torch.equal(tiled, whole)
    assert (tiled - whole).abs().mean() < 0.05 * whole.std()
    assert (tiled_std / whole_std).log().abs().mean() < 0.5


def test_bf16_is_close_to_fp32_and_kept_as_float32(vae: AutoencoderKL):
    pictures = waves(64, 64)
    exact, _ = encode(prepare(vae, "fp32", 1536), pictures)
    rough, std = encode(prepare(vae, "bf16", 1536), pictures)
    assert rough.dtype == std.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.05 * exact.std()


def test_a_vae_that_overflows_is_refused_with_the_pictures_names(project: Path):
    Path("base").unlink()
    broken = tiny_stable_diffusion()
    with torch.no_grad():
        broken.vae.encoder.conv_in.weight[0] = float("inf")
    broken.save_pretrained("base")
    with pytest.raises(NotFinite, match=r"infinite or undefined numbers for 00000000000a,"):
        main()
    assert not LATENTS.exists()


def test_larger_pictures_go_through_in_smaller_batches():
    assert [batch_for(side, side) for side in (64, 256, 320, 512, 1024)] == [4, 4, 2, 1, 1]
