"""The deterministic loss on pictures of several shapes, with and without weights."""

from pathlib import Path

import pytest
import torch

from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.deterministic_loss import SEED, DeterministicLoss, fixed_noise, noise_key
from pseudoword.draws import Stream, generator
from pseudoword.latents import Encoded, Latents, read_latents, write_latents
from pseudoword.prompts import Vocabulary
from tests.tiny import tiny_stable_diffusion

SHAPES = {"00000000000a": (4, 4), "00000000000b": (4, 8), "00000000000b-h": (4, 8), "00000000000c-t0": (4, 4)}
LEVELS = 3


@pytest.fixture(scope="module")
def base() -> StableDiffusion:
    pipeline = tiny_stable_diffusion()
    for part in (pipeline.unet, pipeline.text_encoder):
        part.requires_grad_(False).eval()
    return StableDiffusion(pipeline)


def latents_of(folder: Path, names: list[str], weights: dict[str, torch.Tensor] | None = None) -> Latents:
    def encoded(name: str) -> Encoded:
        own = torch.Generator().manual_seed(noise_key(name) % 1000)
        mean = torch.randn(4, *SHAPES[name], generator=own)
        return Encoded(name, "", mean, torch.ones_like(mean), (weights or {}).get(name))

    write_latents(map(encoded, names), {}, folder)
    return read_latents(folder)


def score(base: StableDiffusion, latents: Latents) -> float:
    vocabulary = Vocabulary(base.tokenizers, [len(base.tables[0])], "snorf", 1)
    prompts = vocabulary.encode_all([f"a snorf {noise_key(name) % 7}" for name in latents.ids])
    vectors = torch.full((1, base.tables[0].shape[1]), 0.1)
    return float(DeterministicLoss(base, latents, LEVELS)(lambda rows: base.encode(prompts[rows], vectors)))


def test_pictures_of_several_shapes_count_alike_whatever_their_neighbours(base: StableDiffusion, tmp_path: Path):
    together = score(base, latents_of(tmp_path, list(SHAPES)))
    alone = [score(base, latents_of(tmp_path, [name])) for name in SHAPES]
    assert len(set(alone)) == len(SHAPES)
    assert together == pytest.approx(sum(alone) / len(alone), rel=1e-5)


def test_a_subset_counts_alone_and_takes_no_other_noise(base: StableDiffusion, tmp_path: Path):
    latents = latents_of(tmp_path, list(SHAPES))
    vocabulary = Vocabulary(base.tokenizers, [len(base.tables[0])], "snorf", 1)
    ids = vocabulary.encode_all([f"a snorf {noise_key(name) % 7}" for name in latents.ids])
    vectors = torch.full((1, base.tables[0].shape[1]), 0.1)
    subset = DeterministicLoss(base, latents, LEVELS, [1, 3])(lambda rows: base.encode(ids[rows], vectors))
    alone = [score(base, latents_of(tmp_path, [latents.ids[row]])) for row in (1, 3)]
    assert float(subset) == pytest.approx(sum(alone) / 2, rel=1e-5)
    small = DeterministicLoss(base, latents, LEVELS, [1, 3])(lambda rows: base.encode(ids[rows], vectors), max_batch=1)
    torch.testing.assert_close(small, subset)


def test_noise_belongs_to_the_picture_and_twins_have_their_own():
    plain = generator(SEED, Stream.SCORE, 0xB, 2).standard_normal((4, 4, 8), "float32")
    assert torch.equal(fixed_noise("00000000000b", 2, (4, 4, 8)), torch.from_numpy(plain))
    assert not torch.equal(fixed_noise("00000000000b", 2, (4, 4, 8)), fixed_noise("00000000000b-h", 2, (4, 4, 8)))


def test_where_the_weight_is_nought_nothing_counts(base: StableDiffusion, tmp_path: Path):
    name = "00000000000b"
    right = torch.zeros(1, 4, 8)
    right[..., 4:] = 2
    left = right.flip(-1)
    parts = [score(base, latents_of(tmp_path, [name], {name: weight})) for weight in (left, right)]
    plain = score(base, latents_of(tmp_path, [name]))
    assert parts[0] != pytest.approx(parts[1], rel=1e-3)
    assert sum(parts) / 2 == pytest.approx(plain, rel=1e-5)
    assert score(base, latents_of(tmp_path, [name], {name: torch.ones(1, 4, 8)})) == plain
