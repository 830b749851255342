"""Models by hub id, from a stand-in of the hub: what is loaded, what is fetched for it, and every way it can fail."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pseudoword.base.families import UnknownFamily
from pseudoword.base.hub import commit_of
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_base, load_vae
from pseudoword.base.location import ModelNotFound, NoConfigs, NoVae, digest
from pseudoword.judge import NoJudge, TextJudge
from tests.hub import TOKEN, Hub, hub_client, serving
from tests.original_layout import original
from tests.tiny import tiny_judge, tiny_sdxl, tiny_stable_diffusion

MODEL = "someone/model"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pipelines `first`, `second` (other weights), `sdxl`, a `judge`."""
    folder = tmp_path_factory.mktemp("folders")
    tiny_stable_diffusion().save_pretrained(folder / "first")
    tiny_stable_diffusion(seed=1).save_pretrained(folder / "second")
    tiny_sdxl().save_pretrained(folder / "sdxl")
    tiny_judge(folder / "judge")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serving() as served, hub_client(served.address, tmp_path / "home"):
        yield served


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def seed_of(model: str, revision: str | None = None, **options: Any) -> int:
    """Which of the two pipelines it is, by a weight of its UNet."""
    own = load_base(ModelIdentity(model, revision, **options), "cpu", torch.float32).unet.conv_in.weight
    return next(seed for seed in (0, 1) if torch.equal(own, tiny_stable_diffusion(seed=seed).unet.conv_in.weight))


def weights_asked(hub: Hub) -> list[str]:
    return [
        path.rpartition("/")[2]
        for path in hub.asked
        if path.startswith("GET") and re.search(r"(safetensors|bin)$", path)
    ]


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, folders: Path):
    old = hub.push(MODEL, folders / "second", "v1")
    new = hub.push(MODEL, folders / "first")
    found = {revision: seed_of(MODEL, revision) for revision in (None, "main", "v1", old, new)}
    assert found == {None: 0, "main": 0, "v1": 1, old: 1, new: 0}
    assert [commit_of(ModelIdentity(MODEL, revision).place) for revision in (None, "v1")] == [new, old]


def test_sdxl_comes_from_the_hub(hub: Hub, folders: Path):
    hub.push(MODEL, folders / "sdxl")
    assert load_base(ModelIdentity(MODEL), "cpu", torch.float32).family == "sdxl"


def test_once_fetched_nothing_is_fetched_again_and_no_hub_is_needed(hub: Hub, folders: Path, tmp_path: Path):
    hub.push(MODEL, folders / "first")
    assert seed_of(MODEL) == 0
    hub.asked.clear()
    with hub_client(hub.address, tmp_path / "home"):
        assert seed_of(MODEL) == 0
    assert [path for path in hub.asked if "/resolve/" in path] == []
    for address, offline in ((hub.address, True), ("http://127.0.0.1:9", False)):
        with hub_client(address, tmp_path / "home", offline=offline):
            assert seed_of(MODEL) == 0


def test_only_what_is_read_is_fetched_and_only_that_makes_the_digest(hub: Hub, folders: Path, tmp_path: Path):
    plain = content(folders / "first")
    ends = (".fp16.safetensors", ".bin")
    more = {name.replace(".safetensors", end): data for end in ends for name, data in plain.items()}
    more |= {"safety_checker/model.safetensors": b"large", "model.ckpt": b"larger", "README.md": b"about"}
    hub.push(MODEL, plain | more)
    assert seed_of(MODEL) == 0
    assert sorted(set(weights_asked(hub))) == ["diffusion_pytorch_model.safetensors", "model.safetensors"]
    place = ModelIdentity(MODEL).place
    assert digest(place) == digest(folders / "first") != digest(folders / "second")
    (place / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"of another tool")
    assert digest(place) == digest(folders / "first")


def test_half_precision_is_taken_where_there_is_no_other(hub: Hub, folders: Path):
    halves = {
        name.replace(".safetensors", ".fp16.safetensors"): data for name, data in content(folders / "first").items()
    }
    hub.push(MODEL, halves)
    assert seed_of(MODEL) == 0
    assert load_vae(ModelIdentity(MODEL), "cpu").dtype is torch.float32


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_pickles_are_read_as_tensors_alone(hub: Hub, folders: Path, tmp_path: Path):
    folder, proof = tmp_path / "pickled", tmp_path / "was-run"
    shutil.copytree(folders / "first", folder)
    for path in list(folder.rglob("*.safetensors")):
        name = "pytorch_model.bin" if path.name == "model.safetensors" else "diffusion_pytorch_model.bin"
        torch.save(load_file(path), path.with_name(name))
        path.unlink()
    hub.push(MODEL, folder)
    assert seed_of(MODEL) == 0
    for part in ("unet", "text_encoder"):
        hostile = content(folder)
        name = next(name for name in hostile if name.startswith(part) and name.endswith(".bin"))
        torch.save({"conv_in.weight": Hostile(proof)}, tmp_path / "hostile.bin")
        hub.push(MODEL, hostile | {name: (tmp_path / "hostile.bin").read_bytes()}, part)
        with pytest.raises(ModelNotFound, match=r"base\.model: 'someone/model'"):
            load_base(ModelIdentity(MODEL, part), "cpu", torch.float32)
    assert not proof.exists()


def test_a_model_of_another_family_is_refused_before_its_weights_come(hub: Hub, folders: Path):
    index = json.dumps({"_class_name": "FluxPipeline"}).encode()
    hub.push(MODEL, content(folders / "first") | {"model_index.json": index})
    with pytest.raises(UnknownFamily, match=r"base\.model: 'someone/model' is a FluxPipeline"):
        _ = ModelIdentity(MODEL).place
    assert weights_asked(hub) == []


def test_a_repository_without_a_pipeline_is_told(hub: Hub):
    hub.push(MODEL, {"dream.safetensors": b"", "config.json": b"{}"})
    with pytest.raises(ModelNotFound, match=r"base\.model: 'someone/model'.* no model_index\.json; a checkpoint in it"):
        _ = ModelIdentity(MODEL).place


@pytest.mark.parametrize(
    ("model", "revision", "told"),
    [
        ("someone/other", None, r"no file or folder here, and the hub knows no such model; for a private .*HF_TOKEN"),
        ("models/toywrld", None, r"no file or folder here, and the hub knows no such model"),
        ("./models/toywrld", None, r"no file or folder here, and a hub id is written as owner/name"),
        (MODEL, "v9", r"no branch, tag or commit of it that is called 'v9'"),
        (MODEL, "0" * 40, r"no branch, tag or commit of it that is called '0000"),
        ("someone/gated", None, r"accepted its terms.* `hf auth login` or set HF_TOKEN"),
    ],
)  # fmt: skip
def test_what_the_hub_does_not_give_is_told(hub: Hub, folders: Path, model: str, revision: str | None, told: str):
    hub.push(MODEL, folders / "first")
    hub.push("someone/gated", folders / "first")
    hub.gated.add("someone/gated")
    with pytest.raises(
        ModelNotFound, match=rf"base\.model: '{re.escape(model)}'.*{told}.* Give a folder, a file, or a hub"
    ):
        _ = ModelIdentity(model, revision).place


def test_a_gated_model_comes_with_a_token(hub: Hub, folders: Path, tmp_path: Path):
    hub.push(MODEL, folders / "first")
    hub.gated.add(MODEL)
    with hub_client(hub.address, tmp_path / "home", token=TOKEN):
        assert seed_of(MODEL) == 0


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_does_not_answer_is_told(tmp_path: Path, offline: bool):
    reason = "offline mode is enabled" if offline else "Connection refused"
    message = rf"the hub does not answer \(.*{reason}.*\), and the cache lacks it"
    with (
        hub_client("http://127.0.0.1:9", tmp_path / "home", offline=offline),
        pytest.raises(ModelNotFound, match=message),
    ):
        _ = ModelIdentity(MODEL).place


def test_a_download_that_breaks_off_is_told_and_the_next_one_heals(hub: Hub, folders: Path, tmp_path: Path):
    hub.push(MODEL, folders / "first")
    hub.cut_off.add("unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelNotFound, match=r"base\.model: 'someone/model'.*download broke off \(.+\).*run it again"):
        _ = ModelIdentity(MODEL).place
    with (
        hub_client(hub.address, tmp_path / "home", offline=True),
        pytest.raises(ModelNotFound, match=r"the hub does not answer .* and the cache lacks it or a part"),
    ):
        _ = ModelIdentity(MODEL).place
    hub.cut_off.clear()
    with hub_client(hub.address, tmp_path / "home"):
        assert seed_of(MODEL) == 0
    assert not list((tmp_path / "home").rglob("*.incomplete"))


@pytest.mark.parametrize("flat", [True, False])
def test_a_vae_by_hub_id(hub: Hub, folders: Path, flat: bool):
    hub.push(MODEL, folders / "first")
    commit = hub.push("someone/vae", folders / "second" / "vae" if flat else folders / "second", "v2")
    for name in ("someone/vae@v2", f"someone/vae@{commit}"):
        base = load_base(ModelIdentity(MODEL, vae=name), "cpu", torch.float32)
        assert torch.equal(base.vae.encoder.conv_in.weight, tiny_stable_diffusion(seed=1).vae.encoder.conv_in.weight)
    assert weights_asked(hub)[3:] == ["diffusion_pytorch_model.safetensors"]  # behind those of the base model
    assert digest(ModelIdentity(MODEL).place, "someone/vae@v2") != digest(ModelIdentity(MODEL).place)
    with pytest.raises(NoVae, match=r"base\.vae: 'someone/vae@v3'.*no branch, tag or commit of it that is called 'v3'"):
        load_base(ModelIdentity(MODEL, vae="someone/vae@v3"), "cpu", torch.float32)


def test_the_configs_of_a_file_by_hub_id(hub: Hub, folders: Path, tmp_path: Path):
    file = tmp_path / "model.safetensors"
    save_file(original(tiny_stable_diffusion(seed=1)), file)
    hub.push("someone/configs", folders / "first")
    assert seed_of(str(file), config="someone/configs") == 1
    assert weights_asked(hub) == []
    with pytest.raises(NoConfigs, match=r"base\.config: .*'someone/nothing'.*the hub knows no such model"):
        load_base(ModelIdentity(str(file), config="someone/nothing"), "cpu", torch.float32)


def test_a_judge_by_hub_id(hub: Hub, folders: Path):
    commit = hub.push("someone/judge", folders / "judge")
    judge = TextJudge.load("someone/judge", "cpu")
    own = TextJudge.load(str(folders / "judge"), "cpu")
    assert torch.equal(judge.texts(["a star"]), own.texts(["a star"]))
    assert (judge.name, own.name) == (f"someone/judge@{commit}", str(folders / "judge"))
    with pytest.raises(NoJudge, match=r"judge\.texts: 'someone/nobody'.*the hub knows no such model"):
        TextJudge.load("someone/nobody", "cpu")
