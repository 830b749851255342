"""The measures against figures worked out another way, and the judge stage on toyworld's judges and drawn pictures."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import default_rng
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch.nn.functional import cosine_similarity, normalize
from transformers import AutoImageProcessor, AutoModel, CLIPModel, CLIPProcessor

from pseudoword.errors import UserError
from pseudoword.judge import ImageJudge, TextJudge
from pseudoword.prompts import without_name
from pseudoword.records import JudgesRecord, Share, read_record
from pseudoword.results.tables import MEASURES as MEASURED_COLUMNS
from stages.judge.__main__ import main
from stages.judge.faces import FaceJudge
from stages.judge.groups import two_groups
from stages.judge.measures import MEASURES
from stages.judge.measures.broken import broken
from stages.judge.measures.copying import copying, nearest
from stages.judge.measures.identity import identity
from stages.judge.measures.likeness import among_training, likeness
from stages.judge.measures.measure import Evidence, Sight, Training
from stages.judge.measures.obedience import ceiling, obedience
from stages.judge.measures.overbaked import overbaked
from stages.judge.measures.variety import variety, vendi
from stages.judge.retrieval import retrieval_at_1
from tests.project import shipped_params, write_checked
from tests.tiny import TOYWORLD, tiny_judge
from toyworld.world import DEFAULT_STYLE, NUM_NEW_THINGS, SCENES, draw, new_thing, thing_of

MODEL = TOYWORLD.as_posix()
PROMPTS = ["a [name]", "a [name] by the sea", "a [name] in the snow"]


def unit(*vectors: list[float]) -> torch.Tensor:
    return normalize(torch.tensor(vectors, dtype=torch.float32), dim=-1)


def sight(features: torch.Tensor, embeddings: torch.Tensor | None = None, pictures: list[Image.Image] = []) -> Sight:  # noqa: B006
    """A sight with these vectors, and the thumbnails and tones of `pictures` or of noise."""
    shown = pictures or [noise(seed) for seed in range(len(features))]
    plain = Sight.of(shown, Blind(), Blind())  # type: ignore[arg-type]
    return replace(plain, features=features, embeddings=features if embeddings is None else embeddings)


class Blind:
    def pictures(self, pictures: list[Image.Image]) -> torch.Tensor:
        return torch.ones(len(pictures), 1)


def noise(seed: int, low: int = 60, high: int = 200) -> Image.Image:
    return Image.fromarray(default_rng(seed).integers(low, high, (32, 32, 3), dtype=np.uint8))


def training(features: torch.Tensor, captions: list[str] | None = None, **more: object) -> Training:
    ids = [f"{i:012x}" for i in range(len(features))]
    said = captions or [""] * len(ids)
    return replace(
        Training(ids, [f"{name}.jpg" for name in ids], sight(features), said, unit(*[[1.0, 0, 0]] * len(ids))),
        **more,  # type: ignore[arg-type]
    )


def evidence(drawn: Sight, init: Sight, learned: Training, **more: object) -> Evidence:
    number = len(drawn.features)
    plain = Evidence(drawn, init, init, learned, ["a [name]"] * number, [""] * number, unit(*[[1.0, 0, 0]] * number))
    return replace(plain, **more)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ the measures


def test_likeness_is_the_share_of_the_way_from_the_init_to_the_pictures_among_themselves():
    random = torch.Generator().manual_seed(0)
    drawn, init = (normalize(torch.randn(4, 8, generator=random), dim=-1) for _ in range(2))
    learned = normalize(1 + 0.3 * torch.randn(3, 8, generator=random), dim=-1)
    found = likeness(evidence(sight(drawn), sight(init), training(learned)))
    mean = {
        name: np.mean([[float(cosine_similarity(a, b, dim=0)) for b in learned] for a in pictures], axis=1)
        for name, pictures in (("drawn", drawn), ("init", init))
    }
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    among = np.mean([float(cosine_similarity(learned[i], learned[j], dim=0)) for i, j in pairs])
    assert found == pytest.approx((mean["drawn"] - mean["init"]) / (among - mean["init"].mean()), abs=1e-5)
    alike = training(learned)
    assert likeness(evidence(sight(init), sight(init), alike)).tolist() == [0, 0, 0, 0]


def test_likeness_is_unknown_where_the_init_draws_the_concept_already():
    same = unit([1, 0], [1, 0.01])
    assert np.isnan(likeness(evidence(sight(same), sight(same), training(same)))).all()


def test_copies_of_one_file_do_not_count_as_other_pictures():
    learned = training(unit([1, 0], [1, 0], [0, 1]), sources=["a.jpg", "a.jpg", "b.jpg"])
    assert among_training(learned) == 0  # a and b are at right angles
    assert among_training(training(unit([1, 0], [1, 0], [0, 1]))) == pytest.approx(1 / 3)


def test_identity_asks_for_the_nearest_of_a_gallery():
    learned, init = unit([1, 0, 0], [1, 0.1, 0]), unit([0, 1, 0], [0, 1, 0.1])
    drawn = unit([1, 0.2, 0], [0.1, 1, 0.1], [1, 0.9, 0])
    assert identity(evidence(sight(drawn), sight(init), training(learned))).tolist() == [1, 0, 1]
    of_init = evidence(sight(init), sight(init), training(learned), is_init=True)
    assert identity(of_init).tolist() == [0, 0]  # the other one of the init's, not the picture itself
    alone = evidence(sight(init), sight(unit([0, 1, 0], [1, 0, 0.1])), training(learned), is_init=True)
    assert identity(replace(alone, drawn=alone.init)).tolist() == [1, 1]


def test_identity_of_the_only_picture_of_the_init_is_unknown():
    init = sight(unit([0, 1, 0]))
    assert np.isnan(identity(evidence(init, init, training(unit([1, 0, 0])), is_init=True))).all()
    two = sight(unit([0, 1, 0], [0, 1, 0.1]))
    of_one = identity(evidence(two, two, training(unit([1, 0, 0])), is_init=True))
    assert np.isnan(of_one[0]) and of_one[1] == 0  # the gallery has one of them


def test_obedience_runs_from_a_picture_of_another_prompt_to_the_real_pictures_with_their_captions():
    """Texts are axes. A picture of a prompt has the cosine 1 to it, one of another prompt 0."""
    sea, snow, both = [1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]
    controls = sight(unit(sea, snow), unit(sea, snow))
    learned = training(unit(sea, snow), ["by the sea", "in the snow"])
    learned = replace(learned, caption_embeddings=unit(sea, snow), sight=sight(unit(sea, snow), unit(both, snow)))
    asked = {"prompts": ["a", "b"], "texts": ["by the sea", "in the snow"], "text_embeddings": unit(sea, snow)}
    seen = evidence(sight(unit(sea, sea), unit(sea, sea)), controls, learned, **asked)
    # Own margins of the real pictures: 0.7071 - 0 by the sea, 1 - 0.7071 in the snow.
    top = (2**-0.5 - 0 + 1 - 2**-0.5) / 2
    assert ceiling(seen) == (pytest.approx(top), "captions")
    assert obedience(seen) == pytest.approx([1 / top, 0])
    bare = replace(seen, training=training(unit(sea, snow)))
    assert ceiling(bare) == (pytest.approx(1), "controls") and obedience(bare) == pytest.approx([1, 0])
    silent = replace(seen, texts=["", "in the snow"])
    assert np.isnan(obedience(silent)[0]) and obedience(silent)[1] == pytest.approx(0)


def test_obedience_is_unknown_where_the_judge_cannot_read():
    same = unit([1.0, 1.0, 0], [1.0, 1.0, 0])
    asked = {"prompts": ["a", "b"], "texts": ["x", "y"], "text_embeddings": unit([1, 0, 0], [0, 1, 0])}
    seen = evidence(sight(same, same), sight(same, same), training(same), **asked)
    assert math.isnan(ceiling(seen).margin) and np.isnan(obedience(seen)).all()


def test_variety_is_the_number_of_different_pictures_beside_the_inits():
    assert vendi(unit([1, 0], [0, 1])) == pytest.approx(2) and vendi(unit([1, 0], [1, 0])) == pytest.approx(1)
    third = vendi(unit([1, 0, 0], [1, 1, 0]))  # eigenvalues (1 +- 0.7071) / 2
    assert third == pytest.approx(math.exp(-sum(v * math.log(v) for v in (0.5 + 8**-0.5, 0.5 - 8**-0.5))), rel=1e-5)
    drawn, init = unit([1, 0, 0], [1, 1, 0], [1, 0, 0]), unit([1, 0, 0], [0, 1, 0], [1, 0, 0])
    found = variety(evidence(sight(drawn), sight(init), training(init), prompts=["a", "a", "b"]))
    assert found[0] == pytest.approx(third / 2, rel=1e-5)
    assert np.isnan(found[1:]).all()  # one value of the first prompt's two seeds, and none of a single one


def moved(picture: Image.Image, right: int, down: int) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(picture), (down, right), (0, 1)))


def test_copying_notices_a_training_picture_also_shifted_blurred_and_in_other_light():
    learned = training(torch.ones(4, 1))
    bent = ImageEnhance.Brightness(noise(2).filter(ImageFilter.GaussianBlur(0.4))).enhance(0.8)
    shown = [noise(2), moved(noise(2), 2, -1), bent, noise(77), moved(noise(2), 5, 0), ImageOps.mirror(noise(2))]
    seen = evidence(sight(torch.ones(6, 1), pictures=shown), sight(torch.ones(6, 1)), learned)
    assert copying(seen).tolist() == [1, 1, 1, 0, 0, 0]
    assert nearest(seen.drawn, learned)[:3] == [learned.ids[2]] * 3


def test_what_copies_is_a_quarter_as_far_as_is_usual():
    """The distance worked out window by window, of pictures between a training picture and noise."""
    learned = training(torch.ones(3, 1), sources=["a.jpg", "b.jpg", "b.jpg"])
    pixels = [np.asarray(noise(seed), np.float64) for seed in range(3)]
    middle = np.full((32, 32, 3), 130.0)
    mixed = [(1 - share) * pixels[0] + share * np.asarray(noise(50), np.float64) for share in np.linspace(0.2, 0.6, 9)]
    shown = [np.clip(picture, 0, 255).astype(np.uint8) for picture in [*mixed, middle]]

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        def vector(part: np.ndarray) -> np.ndarray:
            flat = (part - part.mean((0, 1))).flatten()
            return flat / max(np.linalg.norm(flat), 1e-9)

        inner = vector(one[2:-2, 2:-2])
        windows = [other[y : y + 28, x : x + 28] for y in range(5) for x in range(5)]
        return 1 - max(float(inner @ vector(window)) for window in windows)

    usual = np.mean([min(apart(pixels[0], pixels[i]) for i in (1, 2)), *(apart(pixels[i], pixels[0]) for i in (1, 2))])
    expected = [min(apart(picture.astype(float), other) for other in pixels) < usual / 4 for picture in shown]
    seen = sight(torch.ones(10, 1), pictures=[Image.fromarray(picture) for picture in shown])
    assert copying(evidence(seen, seen, learned)).tolist() == expected
    assert 2 < sum(expected) < 8
    single = training(torch.ones(2, 1), sources=["a.jpg", "a.jpg"])
    assert np.isnan(copying(evidence(seen, seen, single))).all()


def soft(seed: int) -> Image.Image:
    return noise(seed, 90, 160).filter(ImageFilter.GaussianBlur(2))


def blotched(picture: Image.Image) -> Image.Image:
    """With smooth waves of red and green all over it."""
    waves = 40 * np.sin(np.arange(32) * 0.8)[:, None, None] * np.sin(np.arange(32) * 0.8)[:, None] * [1, -1, 0]
    return Image.fromarray((np.asarray(picture) + waves).clip(0, 255).astype(np.uint8))


def halves(seed: int) -> Image.Image:
    """Two flat colours."""
    random = default_rng(seed)
    pixels = np.repeat(np.repeat(random.integers(40, 200, (1, 2, 3)), 16, axis=1), 32, axis=0)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize(
    ("plain", "burn"),
    [
        (soft, lambda picture: ImageEnhance.Color(picture).enhance(3)),
        (soft, lambda picture: ImageEnhance.Contrast(picture).enhance(3)),
        (soft, lambda picture: picture.filter(ImageFilter.UnsharpMask(2, 400, 0))),
        (halves, blotched),
    ],
    ids=["saturation", "contrast", "grain", "busyness"],
)
def test_overbaked_notices_each_way_to_burn(
    plain: Callable[[int], Image.Image], burn: Callable[[Image.Image], Image.Image]
):
    shown = [plain(seed) for seed in range(6)]
    learned = replace(training(torch.ones(6, 1)), sight=sight(torch.ones(6, 1), pictures=shown))
    init = sight(torch.ones(6, 1), pictures=shown[::-1])
    burnt = sight(torch.ones(6, 1), pictures=[burn(picture) for picture in shown[::-1]])
    assert overbaked(evidence(burnt, init, learned)).mean() > 1
    assert overbaked(evidence(init, init, learned)).mean() <= 0


def test_overbaked_counts_powers_of_two():
    shown = [soft(seed) for seed in range(6)]
    learned = replace(training(torch.ones(6, 1)), sight=sight(torch.ones(6, 1), pictures=shown))
    pixels = [np.asarray(picture, np.float64) for picture in shown]
    twice = [Image.fromarray((2 * each - each.mean()).clip(0, 255).round().astype(np.uint8)) for each in pixels]
    burnt, init = (sight(torch.ones(6, 1), pictures=pictures) for pictures in (twice, shown))
    assert 0.8 < overbaked(evidence(burnt, init, learned)).mean() <= 1.01


def tinted(picture: Image.Image) -> Image.Image:
    """One level more of red."""
    return Image.fromarray((np.asarray(picture).astype(int) + np.array([1, 0, 0])).clip(0, 255).astype(np.uint8))


def unsteady(picture: Image.Image) -> Image.Image:
    """One level more or less, at random."""
    pixels = np.asarray(picture).astype(int)
    return Image.fromarray((pixels + default_rng(0).integers(-1, 2, pixels.shape)).clip(0, 255).astype(np.uint8))


def grey(seed: int) -> Image.Image:
    return soft(seed).convert("L").convert("RGB")


@pytest.mark.parametrize(("plain", "change"), [(grey, tinted), (halves, unsteady)])
def test_what_nobody_sees_is_not_overbaked(
    plain: Callable[[int], Image.Image], change: Callable[[Image.Image], Image.Image]
):
    shown = [plain(seed) for seed in range(6)]
    learned = replace(training(torch.ones(6, 1)), sight=sight(torch.ones(6, 1), pictures=shown))
    seen, init = (sight(torch.ones(6, 1), pictures=part) for part in ([change(each) for each in shown], shown))
    assert overbaked(evidence(seen, init, learned)).mean() < 0.1


def test_pictures_like_the_training_pictures_are_not_overbaked_however_bland_the_start():
    pictures = [render(THING, scene, default_rng(i)) for i, scene in enumerate(("snow", "sea", "forest", "night") * 2)]
    learned = replace(training(torch.ones(8, 1)), sight=sight(torch.ones(8, 1), pictures=pictures))
    bland = sight(torch.ones(8, 1), pictures=[Image.new("RGB", (64, 64), (120, 130, 140))] * 8)
    assert overbaked(evidence(learned.sight, bland, learned)).mean() <= 0


def test_broken_is_one_colour():
    shown = [Image.new("RGB", (32, 32), (9, 200, 9)), noise(0)]
    seen = evidence(sight(torch.ones(2, 1), pictures=shown), sight(torch.ones(2, 1)), training(torch.ones(3, 1)))
    assert broken(seen).tolist() == [1, 0]


def test_pictures_of_two_things_are_two_groups_and_pictures_of_one_are_none():
    judge, random = ImageJudge.load(f"{MODEL}/image_judge", "thing", "cpu"), default_rng(0)

    def features(*things: int) -> torch.Tensor:
        drawn = [draw(new_thing(thing), str(random.choice(list(SCENES))), random) for thing in things]
        return judge.pictures([Image.fromarray(picture) for picture in drawn])

    mixed = training(features(*[3, 5] * 3, 3))
    assert two_groups(mixed) == [mixed.sources[::2], mixed.sources[1::2]]
    for thing in range(NUM_NEW_THINGS):
        assert two_groups(training(features(*[thing] * 8))) == []
    assert two_groups(training(features(*[3] * 5, 5, 5))) == []  # two odd ones out are no group
    # A mirrored copy is the same file: three pictures and their copies are too few for two groups.
    copied = training(features(3, 5, 3, 5, 3, 5))
    assert two_groups(replace(copied, sources=["a", "b", "a", "b", "c", "d"])) == []


def test_retrieval_is_counted_among_look_alikes_with_its_interval():
    learned = training(unit([1, 0, 0], [1, 0.1, 0], [0, 1, 0]))
    found = retrieval_at_1(learned, unit([0, 1, 0.1]))
    assert found and (found.value, found.number) == (pytest.approx(2 / 3), 3)
    mirrored = replace(training(unit([1, 0, 0], [1, 0, 0], [0, 1, 0])), sources=["a.jpg", "a.jpg", "b.jpg"])
    again = retrieval_at_1(mirrored, unit([0, 1, 0.1]))
    assert again and again.number == 2, "a file has one vote"
    # Wilson's interval of 9 of 10, as tables have it.
    nine = Share.of(9, 10)
    assert (nine.low, nine.high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))
    assert retrieval_at_1(training(unit([1, 0])), unit([0, 1])) is None


@pytest.mark.parametrize(
    ("prompt", "rest"),
    [
        ("a [name] by the sea", "by the sea"),
        ("a house by the sea in [name] style", "a house by the sea"),
        ("a cat in the style of [name]", "a cat"),
        ("a photo of a [name] in a meadow", "a photo in a meadow"),
        ("a house, by [name]", "a house"),
        ("a [name]", ""),
    ],
)
def test_what_a_prompt_says_besides_the_word(prompt: str, rest: str):
    assert without_name(prompt) == rest


def test_a_person_is_judged_by_the_largest_face_and_by_the_whole_where_there_is_none(monkeypatch: pytest.MonkeyPatch):
    judge = FaceJudge(ImageJudge.load(f"{MODEL}/image_judge", "person", "cpu"))
    shown = noise(0).resize((200, 100))
    assert judge.face(shown) is shown  # noise has no face
    monkeypatch.setattr(judge, "find", lambda _: [(0.0, 0.0, 8.0, 8.0), (100.0, 20.0, 40.0, 50.0)])
    face = judge.face(shown)
    assert face.size == (80, 80)  # 1.6 times its longer side
    assert torch.equal(judge.pictures([shown]), judge.judge.pictures([face]))


# -------------------------------------------------------------------------------------------------- the judges


def test_a_picture_has_the_same_vector_beside_any_others():
    pictures = [noise(seed) for seed in range(11)]
    texts = ["by the sea", "in the snow, at night", "x"] * 3
    images, clip = ImageJudge.load(f"{MODEL}/image_judge", "thing", "cpu"), TextJudge.load(f"{MODEL}/judge", "cpu")
    for judge in (images, clip):
        together = judge.pictures(pictures)
        assert torch.equal(together[3:4], judge.pictures(pictures[3:4]))
        assert torch.equal(together[[10, 2]], judge.pictures([pictures[10], pictures[2]]))
    assert torch.equal(clip.texts(texts)[1:2], clip.texts(texts[1:2]))


def test_toyworlds_image_judge_has_a_half_for_things_and_one_for_styles():
    pictures = [noise(seed) for seed in range(3)]
    model, processor = (kind.from_pretrained(f"{MODEL}/image_judge") for kind in (AutoModel, AutoImageProcessor))
    with torch.no_grad():
        features = model.float()(**processor(images=pictures, return_tensors="pt")).pooler_output.flatten(1)
    for kind, half in (("thing", features[:, :128]), ("style", features[:, 128:])):
        found = ImageJudge.load(f"{MODEL}/image_judge", kind, "cpu").pictures(pictures)  # type: ignore[arg-type]
        torch.testing.assert_close(found, normalize(half, dim=-1), atol=1e-5, rtol=1e-5)


def test_a_clip_judges_pictures_with_its_vision_half(tmp_path: Path):
    tiny_judge(tmp_path)
    pictures = [noise(seed) for seed in range(3)]
    images, texts = ImageJudge.load(str(tmp_path), "style", "cpu"), TextJudge.load(str(tmp_path), "cpu")
    torch.testing.assert_close(images.pictures(pictures), texts.pictures(pictures))


# --------------------------------------------------------------------------------------------------- the stage

THING, OTHER = new_thing(1), thing_of("merket")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rendered pictures of one thing to learn from; a checkpoint that draws it, an earlier one that does so half of the
    time, and controls that draw another thing."""
    monkeypatch.chdir(tmp_path)
    random = default_rng(0)
    captions = ["in the snow", "by the sea", "in the forest", "at night"]
    rows = []
    for i, caption in enumerate(captions):
        save(render(THING, caption.split()[-1], random), Path(f"outputs/pictures/{i:012x}.png"))
        rows.append({"id": f"{i:012x}", "source": f"{i}.png", "state": "used", "caption": caption})
    pd.DataFrame(rows).to_csv("outputs/pictures.csv", index=False)
    pd.DataFrame(rows)[["id", "caption"]].to_csv("outputs/captions.csv", index=False)
    table = []
    for step, control in ((0, "init"), (0, "nothing"), (20, ""), (40, "")):
        for place, prompt in enumerate(PROMPTS):
            for seed in range(2):
                thing = THING if step == 40 or (step == 20 and seed) else OTHER
                file = f"{control or step}/{place}-{seed}.png"
                save(render(thing, prompt.split()[-1], random), Path("outputs/evaluation/sheets", file))
                table.append(("base", step, control, "", prompt, seed, file))
    columns = ["run", "step", "control", "elsewhere", "prompt", "seed", "file"]
    pd.DataFrame(table, columns=columns).to_csv("outputs/evaluation/pictures.csv", index=False)
    settings()
    return tmp_path


def settings(**judges: str) -> None:
    content = shipped_params()
    content["base"] |= {"model": MODEL, "device": "cpu"}
    content["judge"] |= judges
    write_checked(content)


def render(thing: object, word: str, random: np.random.Generator) -> Image.Image:
    scene = word if word in ("snow", "sea", "forest", "night") else "room"
    return Image.fromarray(draw(thing, scene, random, "middle", DEFAULT_STYLE, resolution=64))  # type: ignore[arg-type]


def save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def test_the_stage_measures_every_picture(project: Path, capsys: pytest.CaptureFixture[str]):
    main()
    table = pd.read_csv("outputs/judged/pictures.csv", keep_default_na=False)
    drawn = pd.read_csv("outputs/evaluation/pictures.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(table[list(drawn.columns)], drawn)
    assert list(table.columns) == [*drawn.columns, *MEASURED_COLUMNS, "nearest"]
    everywhere = [measure.name for measure in MEASURES if measure.name not in ("obedience", "variety")]
    means = table.groupby(["step", "control"])[everywhere].mean()
    assert means.loc[(40, ""), "likeness"] > 0.8 and means.loc[(40, ""), "identity"] == 1
    assert 0.3 < means.loc[(20, ""), "likeness"] < 0.7 and means.loc[(0, "init"), "likeness"] == 0
    assert (means["broken"] == 0).all()
    asked = table[table["prompt"] != "a [name]"]["obedience"].astype(float)
    assert asked.mean() > 0.7 and set(table[table["prompt"] == "a [name]"]["obedience"]) == {""}
    record = read_record(Path("outputs/judged/judges.json"), JudgesRecord)
    assert record.retrieval and record.retrieval.value == 1 and not record.weak
    assert record.images == f"{MODEL}/image_judge" and record.texts == f"{MODEL}/judge"
    assert record.obedience.source == "captions"
    assert "for 100% of the 4 training pictures" in capsys.readouterr().out


def test_few_pictures_are_in_memory_at_once_and_change_no_figure(project: Path, monkeypatch: pytest.MonkeyPatch):
    main()
    expected = Path("outputs/judged/pictures.csv").read_bytes()
    of, seen = Sight.of, list[int]()
    monkeypatch.setattr(Sight, "of", lambda part, *judges: seen.append(len(part)) or of(part, *judges))
    monkeypatch.setattr("stages.judge.__main__.AT_ONCE", 2)
    main()
    assert set(seen) <= {1, 2} and Path("outputs/judged/pictures.csv").read_bytes() == expected


def test_its_figures_equal_an_independent_computation(project: Path):
    """Cosines by the models alone, without our judges and measures."""
    main()
    table = pd.read_csv("outputs/judged/pictures.csv", keep_default_na=False)
    model, processor = (kind.from_pretrained(f"{MODEL}/image_judge") for kind in (AutoModel, AutoImageProcessor))
    clip, reader = CLIPModel.from_pretrained(f"{MODEL}/judge"), CLIPProcessor.from_pretrained(f"{MODEL}/judge")

    def things(files: list[Path]) -> np.ndarray:
        with torch.no_grad():
            found = model.float()(**processor(images=[Image.open(file) for file in files], return_tensors="pt"))
        half = found.pooler_output.flatten(1)[:, :128].numpy()
        return half / np.linalg.norm(half, axis=1, keepdims=True)

    learned = things(sorted(Path("outputs/pictures").glob("*.png")))
    found = {step: things([Path("outputs/evaluation/sheets", file) for file in rows["file"]]) @ learned.T
             for step, rows in table[table["control"] != "nothing"].groupby("step")}  # fmt: skip
    among = (learned @ learned.T)[~np.eye(4, dtype=bool)].mean()
    expected = (found[40].mean() - found[0].mean()) / (among - found[0].mean())
    assert table[table["step"] == 40]["likeness"].mean() == pytest.approx(expected, abs=1e-4)
    row = table[(table["step"] == 40) & (table["prompt"] == PROMPTS[1]) & (table["seed"] == 0)].iloc[0]
    nothing = table[(table["control"] == "nothing") & (table["prompt"] != PROMPTS[1])]
    with torch.no_grad():
        files = [row["file"], *nothing["file"]]
        pictures = [Image.open(Path("outputs/evaluation/sheets", file)) for file in files]
        read = clip.float()(
            **reader(text=["by the sea"], images=pictures, return_tensors="pt", padding=True, truncation=True)
        )
        cosines = (read.logits_per_text[0] / clip.logit_scale.exp()).numpy()
    top = json.loads(Path("outputs/judged/judges.json").read_text())["obedience"]["one"]
    assert float(row["obedience"]) == pytest.approx((cosines[0] - cosines[1:].mean()) / top, abs=1e-3)


def test_another_judge_changes_what_it_judges_and_no_picture(project: Path):
    main()
    first = pd.read_csv("outputs/judged/pictures.csv")
    tiny_judge(Path("tiny"))
    settings(images="tiny")
    main()
    second = pd.read_csv("outputs/judged/pictures.csv")
    assert not first["likeness"].equals(second["likeness"])
    for name in ("obedience", "variety", "copying", "overbaked"):
        pd.testing.assert_series_equal(first[name], second[name])
    assert read_record(Path("outputs/judged/judges.json"), JudgesRecord).images == "tiny"


@pytest.mark.parametrize(("key", "wanted"), [("images", "an image model"), ("texts", "a CLIPModel")])
def test_what_is_no_judge_is_named(project: Path, key: str, wanted: str):
    Path("nothing").mkdir()
    settings(**{key: "nothing"})
    with pytest.raises(UserError, match=rf"judge\.{key}: 'nothing' is not a model that could be loaded.*{wanted}"):
        main()


@pytest.mark.parametrize("harm", ["missing", "cut off"])
def test_a_picture_that_cannot_be_read_is_named(project: Path, harm: str):
    path = Path("outputs/evaluation/sheets/40/0-0.png")
    content = path.read_bytes()
    path.unlink() if harm == "missing" else path.write_bytes(content[:100])
    with pytest.raises(UserError, match=r"40/0-0\.png cannot be shown"):
        main()
    assert not Path("outputs/judged").exists()


def test_the_weights_have_what_the_code_takes_for_things_and_styles():
    config = json.loads((TOYWORLD / "image_judge/config.json").read_text())
    width = config["hidden_sizes"][-1]
    assert config["features_by_kind"] == {"thing": [0, width // 2], "style": [width // 2, width]}


def test_what_is_drawn_elsewhere_is_held_against_the_controls_there(project: Path):
    """Elsewhere the init text draws the thing itself, so no likeness can be told there."""
    main()
    home = pd.read_csv("outputs/judged/pictures.csv", dtype=str, keep_default_na=False)
    scales = read_record(Path("outputs/judged/judges.json"), JudgesRecord).likeness
    path = Path("outputs/evaluation/pictures.csv")
    drawn = pd.read_csv(path, keep_default_na=False)
    there = drawn.assign(elsewhere="on another")
    of_40 = drawn[drawn["step"] == 40].set_index(["prompt", "seed"])["file"]
    of_init = there["control"] == "init"
    cells = there[of_init][["prompt", "seed"]].itertuples(index=False, name=None)
    there.loc[of_init, "file"] = [of_40[cell] for cell in cells]
    pd.concat([drawn, there]).to_csv(path, index=False)
    main()
    table = pd.read_csv("outputs/judged/pictures.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(table[table["elsewhere"] == ""], home)
    assert read_record(Path("outputs/judged/judges.json"), JudgesRecord).likeness == scales
    there, here = (
        table[(table["step"] == "40") & (table["elsewhere"] == label)]["likeness"] for label in ("on another", "")
    )
    assert set(there) == {""} and here.astype(float).mean() > 0.8
