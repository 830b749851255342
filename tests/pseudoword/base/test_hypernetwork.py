"""Hypernetworks at the attention layers: what the facts of the format say, computed here a second time."""

import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pseudoword.base.dropout import Masks
from pseudoword.base.hypernetwork import Applied, Hypernetworks
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base, Conditioning
from pseudoword.hypernetwork import Hypernetwork, State, initial_modules
from pseudoword.structure import ACTIVATIONS, INITIALISATIONS, Structure
from tests.pseudoword.base.test_families import MAKERS, base_of, ids_of, noise_of, word_of
from tests.tiny import tiny_stable_diffusion

FAMILIES = ["sd1", "sd2", "sd1-inpainting", "sdxl"]
CPU = torch.device("cpu")


def network(base: Base, structure: Structure | None = None, seed: int = 0, scale: float = 30) -> Hypernetwork:
    """One that changes much: its biases are not zero, either."""
    structure = structure or Structure()
    modules = initial_modules(structure, base.keys_and_values.widths, "Normal", seed)
    for width, pair in modules.items():
        for module in pair:
            for i, value in enumerate(module.values()):
                value.mul_(scale).add_(torch.full_like(value, 0.01 * (i + width % 7)))
    return Hypernetwork("style", structure, modules, {})


def told(base: Base, rows: int = 2) -> Conditioning:
    ids = ids_of(base, ["a snorf by the sea", "snorf", "a photo of a snorf"][:rows], 2)
    return base.encode(ids, word_of(base, 2).to(base.dtype))


def through(conditioning: Conditioning, hypernetworks: Hypernetworks | None) -> Conditioning:
    return Conditioning(conditioning.states, conditioning.pooled, conditioning.mask, hypernetworks)


def inputs(base: Base, rows: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Clean latents, noise and noise levels."""
    dice = torch.Generator().manual_seed(4)
    clean, noise = torch.randn(2, rows, *base.latent_shape(32, 32), generator=dice).to(base.dtype)
    return clean, noise, torch.tensor([100, 700, 400][:rows])


def loss(base: Base, conditioning: Conditioning, hypernetworks: Hypernetworks | None) -> Tensor:
    return base.loss(*inputs(base, len(conditioning.states)), through(conditioning, hypernetworks))


# ------------------------------------------------------------------------------------------ one module


def sequence(module: State, kinds: list[Any]) -> nn.Sequential:
    """torch's own layers, in the order that the facts give, with the parameters under torch's own keys."""
    made = nn.Sequential(*kinds)
    made.load_state_dict({key.removeprefix("linear."): value for key, value in module.items()}, strict=True)
    return made.eval()


CASES = {
    "1-2-1": (Structure(), lambda d: [nn.Linear(d, 2 * d), nn.Linear(2 * d, d)]),
    "relu": (Structure(activation="relu"), lambda d: [nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d)]),
    "swish": (Structure(activation="swish"), lambda d: [nn.Linear(d, 2 * d), nn.Hardswish(), nn.Linear(2 * d, d)]),
    "output": (
        Structure(activation="mish", activate_output=True),
        lambda d: [nn.Linear(d, 2 * d), nn.Mish(), nn.Linear(2 * d, d), nn.Mish()],
    ),
    "prelu": (Structure(activation="prelu"), lambda d: [nn.Linear(d, 2 * d), nn.PReLU(), nn.Linear(2 * d, d)]),
    "all": (
        Structure((1, 2, 1.5, 1), "relu", True, (0, 0.05, 0.15, 0)),
        lambda d: [
            nn.Linear(d, 2 * d), nn.ReLU(), nn.LayerNorm(2 * d), nn.Dropout(0.05),
            nn.Linear(2 * d, int(1.5 * d)), nn.ReLU(), nn.LayerNorm(int(1.5 * d)), nn.Dropout(0.15),
            nn.Linear(int(1.5 * d), d), nn.LayerNorm(d),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_module_is_the_sequence_of_layers_that_its_structure_says(case: str) -> None:
    structure, kinds = CASES[case]
    dice = torch.Generator().manual_seed(1)
    state = {key: torch.randn(shape, generator=dice) / 3 for key, shape in structure.shapes(15).items()}
    context = torch.randn(2, 3, 15, generator=dice)
    wanted = context + 0.7 * sequence(state, kinds(15))(context)
    applied = Applied(structure, {15: (state, state)}, 0.7)
    torch.testing.assert_close(applied.change(context, 0, None), wanted)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("linear", "prelu")])
def test_every_activation_is_torchs_of_that_name_and_works_number_by_number(name: str) -> None:
    kinds = {kind.__name__.lower(): kind for kind in vars(nn.modules.activation).values() if isinstance(kind, type)}
    kind = nn.Hardswish if name == "swish" else kinds[name]
    structure = Structure(activation=name)
    dice = torch.Generator().manual_seed(2)
    state = {key: torch.randn(shape, generator=dice) for key, shape in structure.shapes(4).items()}
    context = torch.randn(3, 2, 4, generator=dice)
    applied = Applied(structure, {4: (state, state)})
    changed = applied.change(context, 1, None)
    torch.testing.assert_close(changed, context + sequence(state, [nn.Linear(4, 8), kind(), nn.Linear(8, 4)])(context))
    torch.testing.assert_close(changed[:1], applied.change(context[:1], 1, None))


def test_a_width_without_modules_is_left_as_it_is() -> None:
    applied = Applied(Structure(), initial_modules(Structure(), [8], "Normal", 0))
    context = torch.randn(1, 2, 9)
    assert applied.change(context, 0, None) is context


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_modules_start_as_torch_would_start_them(initialisation: str) -> None:
    structure = Structure((1, 2, 1), "prelu", layer_norm=True)
    ((k, v),) = initial_modules(structure, [256], initialisation, 5).values()
    weight = k["linear.0.weight"]
    assert not torch.equal(weight, v["linear.0.weight"]) and not k["linear.0.bias"].any()
    assert k["linear.1.weight"].tolist() == [0.25]
    theirs = torch.empty_like(weight)
    if initialisation == "Normal":
        nn.init.normal_(theirs, 0, 0.01)
    else:
        kind, shape = re.findall("[A-Z][a-z]+", initialisation)
        more = {"nonlinearity": "relu"} if kind == "Kaiming" else {}
        getattr(nn.init, f"{kind}_{shape}_".lower())(theirs, **more)
    assert weight.std() == pytest.approx(float(theirs.std()), rel=0.02) and abs(weight.mean()) < 0.02 * weight.std()
    within = 0.02 if "Uniform" in initialisation else 0.3
    assert weight.abs().max() == pytest.approx(float(theirs.abs().max()), rel=within)
    again = initial_modules(structure, [64, 256], initialisation, 5)[256][0]
    assert torch.equal(again["linear.0.weight"], weight)  # a width's draws do not depend on the others


def test_a_layer_norm_starts_at_one() -> None:
    """A1111 draws its weight from N(0, 0.01): what a module adds begins at next to nothing and hardly learns."""
    structure = Structure(layer_norm=True)
    ((k, v),) = initial_modules(structure, [64], "Normal", 0).values()
    for module in (k, v):
        assert (module["linear.1.weight"] == 1).all() and not module["linear.1.bias"].any()
    context = torch.randn(2, 3, 64)
    added = Applied(structure, {64: (k, v)}).change(context, 0, None) - context
    assert added.std() > 0.9


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: Structure((2, 1)), "begin and end with 1"),
        (lambda: Structure((1,)), "begin and end with 1"),
        (lambda: Structure((1, -2, 1)), "not above 0"),
        (lambda: Structure((1, float("nan"), 1)), "not above 0"),
        (lambda: Structure((1, 1e9, 1)), "at most 64"),
        (lambda: Structure(activation="softmax"), "'softmax' is not known, or does not work number by number"),
        (lambda: Structure(dropout=(0, 0.3)), "not as many numbers"),
        (lambda: Structure(dropout=(0, 1, 0)), "from 0 to below 1"),
        (lambda: Structure((1, 0.1, 1)).layers(8), "leaves nothing of a width of 8"),
    ],
)
def test_a_structure_that_cannot_be_is_refused_in_words(made: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        made()


# ------------------------------------------------------------------------------------------ in the UNet


def patched_by_hand(base: Base, networks: list[tuple[Hypernetwork, float]]) -> list[Any]:
    """Put the formula before to_k and to_v of each attention layer by wrapping them, found by their names alone."""
    undo = []
    for name, layer in base.unet.named_modules():
        if name.rpartition(".")[2] not in ("attn1", "attn2"):
            continue
        for place, attribute in enumerate(("to_k", "to_v")):
            projection = getattr(layer, attribute)

            def wrapped(context: Tensor, projection: Any = projection, place: int = place) -> Tensor:
                for each, strength in networks:
                    if context.shape[-1] in each.modules:
                        state = each.modules[context.shape[-1]][place]
                        hidden = context @ state["linear.0.weight"].T + state["linear.0.bias"]
                        hidden = hidden @ state["linear.1.weight"].T + state["linear.1.bias"]
                        context = context + strength * hidden
                return nn.functional.linear(context, projection.weight, projection.bias)

            projection.forward = wrapped
            undo.append(projection)
    return undo


@pytest.mark.parametrize("family", FAMILIES)
def test_two_with_strengths_are_chained_at_every_keys_and_values(family: str) -> None:
    base = base_of(MAKERS[family]())
    conditioning = told(base)
    networks = [(network(base, seed=1), 0.8), (network(base, seed=2), -0.4)]
    ours = loss(base, conditioning, Hypernetworks.of(networks, CPU))
    plain = loss(base, conditioning, None)
    projections = patched_by_hand(base, networks)
    assert len(projections) == 2 * sum(name.endswith((".attn1", ".attn2")) for name, _ in base.unet.named_modules())
    theirs = base.loss(*inputs(base), conditioning)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert ((ours - plain).abs() > 1e-3).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_widths_are_the_texts_and_those_of_the_layers(family: str, tmp_path: Path) -> None:
    pipeline = MAKERS[family]()
    pipeline.save_pretrained(tmp_path)
    base = base_of(pipeline)
    text = base.unet.config.cross_attention_dim
    seen = {layer.to_k.in_features for name, layer in base.unet.named_modules() if name.endswith(("attn1", "attn2"))}
    assert base.keys_and_values.widths[0] == text and set(base.keys_and_values.widths) == seen
    assert ModelIdentity(str(tmp_path)).context_widths == base.keys_and_values.widths  # by the configs alone


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_0_is_none_to_the_bit_and_no_weight_is_touched(family: str) -> None:
    base = base_of(MAKERS[family]())
    before = {key: value.clone() for key, value in base.unet.state_dict().items()}
    conditioning = told(base)
    plain = loss(base, conditioning, None)
    loss(base, conditioning, Hypernetworks.of([(network(base), 1.0)], CPU))
    assert torch.equal(loss(base, conditioning, Hypernetworks.of([(network(base), 0.0)], CPU)), plain)
    assert torch.equal(loss(base, conditioning, None), plain)
    after = base.unet.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_picture_is_drawn_through_it_with_and_without_the_prompt(guidance: float) -> None:
    base = base_of(tiny_stable_diffusion())
    networks = [(network(base), 1.0)]
    conditioning, noise = told(base), noise_of(base)
    ours = base.draw(through(conditioning, Hypernetworks.of(networks, CPU)), None, noise, 3, guidance)
    plain = base.draw(conditioning, None, noise, 3, guidance)
    patched_by_hand(base, networks)
    theirs = base.draw(conditioning, None, noise, 3, guidance)
    assert [picture.tobytes() for picture in ours] == [picture.tobytes() for picture in theirs]
    assert [picture.tobytes() for picture in ours] != [picture.tobytes() for picture in plain]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_of_half_precision_is_changed_in_float32(dtype: torch.dtype) -> None:
    base = base_of(tiny_stable_diffusion().to(dtype))
    hypernetworks = Hypernetworks.of([(network(base), 1.0)], CPU)
    changed = loss(base, told(base), hypernetworks)
    assert changed.isfinite().all() and not torch.equal(changed, loss(base, told(base), None))
    context = torch.randn(1, 2, 16).to(dtype)
    exact = Applied.of(network(base), 1.0, CPU).change(context.float(), 0, None)
    assert torch.equal(hypernetworks.change(context, 0, 0), exact.to(dtype))


# ------------------------------------------------------------------------------------------ runs in a pack


def double(family: str) -> Base:
    pipeline = MAKERS[family]()
    for part in (pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None), pipeline.vae):
        if part is not None:
            part.double()
    return base_of(pipeline)


def trainable(each: Hypernetwork) -> Applied:
    modules = {
        width: tuple({key: value.double().requires_grad_() for key, value in module.items()} for module in pair)
        for width, pair in each.modules.items()
    }
    return Applied(each.structure, modules)  # type: ignore[arg-type]


def gradients(
    base: Base, applied: tuple[Applied, ...], rows: tuple[int, ...], masks: Tensor | None
) -> list[list[Tensor]]:
    """Of each run, from its rows of a batch of six."""
    clean, noise = torch.randn(2, 6, *base.latent_shape(32, 32), generator=torch.Generator().manual_seed(4)).double()
    t = torch.tensor([100, 700, 400, 5, 999, 50])
    conditioning = told(base, 3)[[0, 1, 2, 2, 1, 0]]
    kept = [place for place, run in enumerate((1, 0, 2, 0, 1, 1)) if run in rows]
    hypernetworks = Hypernetworks(tuple((each,) for each in applied), rows, None if masks is None else masks[kept])
    base.loss(clean[kept], noise[kept], t[kept], through(conditioning[kept], hypernetworks)).sum().backward()
    return [[v.grad for pair in each.modules.values() for module in pair for v in module.values()] for each in applied]  # type: ignore[misc]


@pytest.mark.parametrize("dropout", [(), (0, 0.4, 0)])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_gradient_of_a_run_in_a_pack_is_that_of_the_run_alone(family: str, dropout: tuple[float, ...]) -> None:
    base = double(family)
    masks = torch.tensor([3, 1, 4, 1, 5, 9]) if dropout else None
    structures = [Structure((1, 2, 1), "relu", dropout=dropout), Structure((1, 2, 1), dropout=dropout),
                  Structure((1, 1.5, 2, 1), "prelu", True)]  # fmt: skip
    networks = [network(base, structure, seed) for seed, structure in enumerate(structures)]
    packed = gradients(base, tuple(trainable(each) for each in networks), (1, 0, 2, 0, 1, 1), masks)
    for run, each in enumerate(networks):
        runs = tuple(trainable(each) for _ in networks)
        alone = gradients(base, runs, tuple(r for r in (1, 0, 2, 0, 1, 1) if r == run), masks)[run]
        ours, theirs = (torch.cat([part.flatten() for part in parts]) for parts in (packed[run], alone))
        assert float(theirs.abs().max()) > 1e-4
        assert float((ours - theirs).norm()) <= 1e-12 * float(theirs.norm())


@pytest.mark.parametrize("dropout", [(), (0, 0.4, 0)])
def test_recomputed_activations_go_through_the_same_hypernetworks(dropout: tuple[float, ...]) -> None:
    base = double("sd1")
    each, masks = network(base, Structure(dropout=dropout)), torch.tensor([3, 1, 4, 1, 5, 9]) if dropout else None
    plain = gradients(base, (trainable(each),) * 2, (1, 0, 0, 1, 1), masks)
    base.checkpoint_gradients(True)
    spared = gradients(base, (trainable(each),) * 2, (1, 0, 0, 1, 1), masks)
    for ours, theirs in zip(chain(*plain), chain(*spared), strict=True):
        assert torch.equal(ours, theirs)


# ------------------------------------------------------------------------------------------ dropout


def test_a_mask_is_a_function_of_its_key_and_place() -> None:
    hidden = torch.ones(4, 50, 80)
    keys = torch.tensor([11, 12, 2**62 + 1, 12])
    first = Masks(keys, 3).dropped(hidden, 0.3, 2)
    assert torch.equal(first, Masks(keys, 3).dropped(hidden, 0.3, 2))
    assert torch.equal(first[1], first[3]) and torch.equal(first[2:3], Masks(keys[2:3], 3).dropped(hidden[:1], 0.3, 2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, Masks(keys, 4).dropped(hidden, 0.3, 2))
    assert not torch.equal(first, Masks(keys, 3).dropped(hidden, 0.3, 3))
    assert set(first.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}


def test_so_many_numbers_are_dropped_and_neighbours_are_independent() -> None:
    kept = Masks(torch.arange(8), 0).dropped(torch.ones(8, 300, 100), 0.2, 0).bool().double()
    assert float(kept.mean()) == pytest.approx(0.8, abs=0.003)
    for a, b in ((kept[:, :, 1:], kept[:, :, :-1]), (kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1])):
        assert float((a * b).mean()) == pytest.approx(0.64, abs=0.005)
