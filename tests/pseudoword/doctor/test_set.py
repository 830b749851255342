"""What the pictures, captions and settings say together: each check where it must speak, and where it must not."""

from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageOps

from pseudoword.base.identity import ModelIdentity
from pseudoword.captions.words import scene_words
from pseudoword.doctor.intent import RunIntent
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.report import Report, summary
from pseudoword.findings import SEVERITIES, names
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings
from pseudoword.templates import Prompts
from stages.preprocess.__main__ import main as preprocess
from tests.project import shipped_params, write_checked
from tests.pseudoword.doctor.drawn import (
    INTENT,
    SCENERY,
    diagnose,
    drippy,
    everything,
    in_style,
    named,
    preprocessed,
    save,
    scenery,
    thing,
    things_everywhere,
    why_not,
)  # fmt: skip

TRAIN = TrainSettings(template=Prompts(Path("template.txt"), ("a [name] [filewords]",)))


def same_room(number: int, others: int) -> list[Image.Image]:
    """The wood panels: one thing, mostly before one background."""
    return [thing(at, "cave") for at in range(number)] + things_everywhere(others)


@pytest.mark.parametrize(("number", "others", "severity"), [(6, 2, "warning"), (4, 4, "info"), (2, 6, None)])
def test_one_background_in_most_pictures(number: int, others: int, severity: str | None) -> None:
    save(same_room(number, others))
    findings = diagnose("background")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    if severity:
        assert named(findings[0]) == [f"{at:02d}.png" for at in range(number)]


@pytest.mark.parametrize("grey", [6, 8])
def test_the_backgrounds_of_black_and_white_pictures_cannot_be_told_apart(grey: int) -> None:
    pictures = [ImageOps.grayscale(scenery(at)).convert("RGB") if at < grey else scenery(at) for at in range(8)]
    save(pictures)
    assert diagnose("background") == []
    assert why_not("background") == f"it goes by colours, and {grey} of 8 pictures have none"


@pytest.mark.parametrize("ran", [True, False], ids=["as preprocess wrote them", "as they are in the folder"])
def test_of_cut_outs_only_what_counts_is_looked_at(ran: bool) -> None:
    """Their transparent background is white, and has no weight in training."""
    pictures = []
    for at in range(5):
        picture, alpha = scenery(at), Image.new("L", (256, 256))
        alpha.paste(255, (100, 100, 150, 150))
        picture = picture.copy()
        picture.putalpha(alpha)
        pictures.append(picture)
    save(pictures)
    if ran:
        params = shipped_params()
        params["data"]["folder"], params["preprocess"]["resolution"] = "data", 256
        write_checked(params)
        preprocess()
    assert why_not("background") == "the background does not count: 5 of 5 pictures have a loss weight"
    assert diagnose("look") == [] and diagnose("black-and-white") == []


@pytest.mark.parametrize(
    ("check", "number", "why"),
    [
        ("background", 2, "backgrounds are compared from 3 pictures on, and there are 2"),
        ("look", 3, "a look shows from 4 pictures on, and there are 3"),
        ("mirrored", 1, "it compares pictures with each other, and there is one"),
    ],
)
def test_what_too_few_pictures_cannot_tell_is_left_out_with_the_reason(check: str, number: int, why: str) -> None:
    preprocessed([scenery(at) for at in range(number)], mirrored=check == "mirrored")
    assert why_not(check) == why


def test_a_background_that_the_captions_name_is_only_told() -> None:
    preprocessed(same_room(6, 2), [*["in a brown cave"] * 6, "in the snow", "by the sea"])
    (finding,) = diagnose("background")
    assert finding.severity == "info" and "'cave'" in finding.message


def test_a_background_that_no_caption_names() -> None:
    preprocessed(same_room(6, 2), [f"seen from {word}" for word in SCENERY])
    (finding,) = diagnose("background")
    assert finding.severity == "warning" and "no word of their captions is theirs alone" in finding.message


def test_a_word_of_every_caption_does_not_name_the_background_of_some() -> None:
    preprocessed(same_room(6, 2), ["a flower, in flat style"] * 8)
    (finding,) = diagnose("background")
    assert finding.severity == "warning" and "'style'" not in finding.message


@pytest.mark.parametrize("words", [["in a brown cave"] * 5, ["in flat style"] * 5])
def test_where_all_share_a_background_no_word_can_be_told_to_name_it(words: list[str]) -> None:
    preprocessed(same_room(5, 0), words)
    (finding,) = diagnose("background")
    assert finding.severity == "warning" and "helps" not in finding.message


def test_a_word_that_most_captions_share() -> None:
    """The tree branches."""
    captions = [f"a bird, on a branch in the {word}" for word in SCENERY[:6]]
    preprocessed(things_everywhere(), [*captions, "a bird, by the sea", "a bird, at night"])
    (finding,) = diagnose("words")
    assert finding.severity == "warning" and "'branch' in 75 %" in finding.message
    assert named(finding) == [f"{at:02d}.png" for at in range(6)]


def test_a_word_that_the_captioner_says_of_every_picture_is_only_told() -> None:
    """A captioner of drawn pictures says "in gendoid style" of photographs."""
    preprocessed(things_everywhere(), [f"a bird in gendoid style {at}" for at in range(8)], origin="draft")
    (finding,) = diagnose("words")
    assert finding.severity == "info" and "drafts as the captioner left them" in finding.message
    table = Path("outputs/captions.csv")
    table.write_text(table.read_text().replace(",draft,", ",edit,"))
    assert [finding.severity for finding in diagnose("words")] == ["warning"]


def test_the_subject_and_the_init_text_may_be_in_every_caption() -> None:
    preprocessed(things_everywhere(), [f"a red flower with flower petals in the {word}" for word in SCENERY])
    assert [finding.figure["share"] for finding in diagnose("words")] == [{"petal": 1.0}]
    Path("outputs/captions.csv").write_text(Path("outputs/captions.csv").read_text().replace(" with flower petals", ""))
    assert diagnose("words") == []


def test_the_subject_is_cut_from_a_caption() -> None:
    assert scene_words("A woman, with a hat in front of wood panels", "woman") == {"hat", "wood", "panel"}
    assert scene_words("blue sky and white clouds", "") == {"blue", "sky", "white", "cloud"}
    assert scene_words("", "") == set()


@pytest.mark.parametrize("pictures", [things_everywhere(), in_style(3), [scenery(at) for at in range(8)]])
def test_one_picture_of_other_lines_and_textures(pictures: list[Image.Image]) -> None:
    """The drippy stalactites."""
    save([drippy(one) if at == 5 else one for at, one in enumerate(pictures)])
    (finding,) = diagnose("outlier")
    assert finding.severity == "info" and named(finding) == ["05.png"]
    assert finding.message.startswith("05.png is made of lines and textures that no other picture has")
    assert finding.figure["above_median"] >= 2 and finding.figure["above_next"] >= 1.4


def test_one_picture_in_another_style() -> None:
    save([*in_style(4)[:7], in_style(5)[7]])
    (finding,) = diagnose("outlier")
    assert named(finding) == ["07.png"]


@pytest.mark.parametrize(
    "pictures",
    [
        things_everywhere(),
        *(in_style(index) for index in range(6)),
        [scenery(at) for at in range(8)],
        [drippy(one) if at in (2, 5) else one for at, one in enumerate(things_everywhere())],
        [*things_everywhere(3), drippy(thing(3, "snow"))],
        [Image.new("RGB", (128, 128), (20 * at, 90, 90)) for at in range(6)],
    ],
    ids=["things", *(f"style {index}" for index in range(6)), "scenery", "two of a kind", "too few to tell", "plain"],
)
def test_pictures_of_which_none_stands_alone(pictures: list[Image.Image]) -> None:
    save(pictures)
    assert diagnose("outlier") == []


def test_a_mirrored_copy_is_no_company() -> None:
    preprocessed([drippy(one) if at == 5 else one for at, one in enumerate(things_everywhere())], mirrored=True)
    (finding,) = diagnose("outlier")
    assert named(finding) == ["05.png"]


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("a flower, on a branch in the snow", "only its caption says 'branch', see whether that names it"),
        ("a flower, in the snow", "its caption has no word that the others lack"),
    ],
)
def test_what_only_the_caption_of_the_odd_picture_says(caption: str, told: str) -> None:
    pictures = [drippy(one) if at == 5 else one for at, one in enumerate(things_everywhere())]
    preprocessed(pictures, [caption if at == 5 else f"a bird, in the snow {at}" for at in range(8)])
    (finding,) = diagnose("outlier")
    assert told in finding.message


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        ([ImageEnhance.Brightness(scenery(at)).enhance(0.2) for at in range(5)], "dark"),
        ([scenery(at, colour=(240, 240, 240)) for at in range(5)], "pale"),
        ([scenery(at, colour=(220, 120, 30)) for at in range(5)], "of one colour cast"),
        ([scenery(at, colour=(60 + 30 * at,) * 3) for at in range(5)], None),
        (things_everywhere(), None),
    ],
    ids=["dark", "pale", "orange", "mixed", "things"],
)
def test_one_look_in_most_pictures(pictures: list[Image.Image], told: str | None) -> None:
    save(pictures)
    findings = diagnose("look")
    assert [finding.severity for finding in findings] == (["info"] if told else [])
    assert all(f"pictures are {told}" in finding.message for finding in findings)


@pytest.mark.parametrize(("grey", "severity"), [(0, None), (1, "info"), (2, "info"), (4, "warning"), (8, "info")])
def test_black_and_white_among_colour(grey: int, severity: str | None) -> None:
    pictures = things_everywhere()
    save([ImageOps.grayscale(one).convert("RGB") if at < grey else one for at, one in enumerate(pictures)])
    findings = diagnose("black-and-white")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert [len(finding.pictures) for finding in findings] == ([grey] if grey else [])


@pytest.mark.parametrize(
    ("caption", "names_it"),
    [
        ("a black and white photo", True),
        ("a black-and-white photo of a dog", True),
        ("Black & White", True),
        ("a b&w portrait", True),
        ("a dog, in black and white, at night", True),
        ("monochrome, grainy", True),
        ("a monochromatic picture", True),
        ("greyscale", True),
        ("sepia.", True),
        ("a black dog in the snow", False),
        ("a black and white dog in the snow", False),
        ("a black car and white snow", False),
        ("in the snow", False),
    ],
)
def test_black_and_white_that_the_caption_names(caption: str, names_it: bool) -> None:
    pictures = [ImageOps.grayscale(one).convert("RGB") if at < 3 else one for at, one in enumerate(things_everywhere())]
    preprocessed(pictures, [*[caption] * 3, *SCENERY[:5]])
    assert [finding.severity for finding in diagnose("black-and-white")] == ([] if names_it else ["warning"])


def test_a_number_of_pictures_against_which_nothing_is_to_be_said() -> None:
    save([scenery(at, 64, 64) for at in range(12)])
    (finding,) = diagnose("number", resolution=64)
    assert finding.severity == "info" and finding.advice.startswith("Nothing to do")


def test_captions_that_do_not_fit_the_pictures() -> None:
    preprocessed(things_everywhere(4), SCENERY[:3])
    (finding,) = diagnose("captions")
    assert finding.severity == "error" and named(finding) == ["03.png"]
    preprocessed_again = Path("outputs/captions.csv")
    preprocessed_again.write_text(preprocessed_again.read_text() + "000000000003,x,edit,\nffffffffffff,x,edit,\n")
    (finding,) = diagnose("captions")
    assert finding.severity == "warning" and "ffffffffffff" in finding.message


def test_captions_that_fit() -> None:
    preprocessed(things_everywhere(4), SCENERY[:4])
    assert diagnose("captions") == []


def test_without_captions_those_checks_are_left_out() -> None:
    save(things_everywhere(4))
    report = everything()
    assert set(report.left_out) == {"captions", "words", "outlier", "lettering"}
    assert "left out  words: there are no captions of these pictures yet" in summary(report)


@pytest.mark.parametrize(
    ("number", "changes", "severity", "told"),
    [
        (1, {}, "warning", "copied"),
        (4, {}, "info", "hard to place"),
        (
            8,
            {},
            "info",
            "8 pictures: 2 vectors, 300 steps of 8 samples. Batch x accumulation that sees each once: 1 x 8, 2 x 4",
        ),
        (8, {"vectors": 20}, "warning", "learned by heart"),
        (8, {"batch": 3, "accumulation": 2}, "warning", "A step sees 6 samples"),
        (8, {"accumulation": 2}, "error", "train.batch is auto"),
    ],
)
def test_what_the_number_of_pictures_implies(number: int, changes: dict[str, object], severity: str, told: str) -> None:
    save([scenery(at, 64, 64) for at in range(number)])
    (finding,) = diagnose("number", resolution=64, **changes)
    assert finding.severity == severity and told in finding.message


def test_mirrored_copies_are_seen_by_each_update_and_bring_no_vectors() -> None:
    preprocessed([scenery(at, 64, 64) for at in range(7)], mirrored=True)
    (finding,) = diagnose("number", resolution=64)
    assert "7 pictures, 14 with copies and tiles: 2 vectors, 300 steps of 14 samples" in finding.message


def test_batch_and_accumulation_come_as_a_table() -> None:
    save([scenery(at, 64, 64) for at in range(12)])
    (finding,) = diagnose("number", resolution=64)
    assert finding.figure["batch_x_accumulation"] == [[1, 12], [2, 6], [3, 4], [4, 3], [6, 2], [12, 1]]


@pytest.mark.parametrize(
    ("wanted", "severity", "told"),
    [
        ({"resolution": "auto"}, None, ""),
        ({"resolution": 64}, None, ""),
        ({"resolution": 72}, "info", "at 72 px"),
        ({"resolution": 32}, "warning", "cuts things off where they are smaller"),
        ({"resolution": 512}, "warning", "draws things twice"),
        ({"resolution": "auto", "shape": "buckets"}, None, ""),
        ({"resolution": "auto", "shape": "keep"}, "warning", "at 288 x 96 px"),
        ({"resolution": "auto", "shape": "autosize", "autosize": {"max_error": 0.5}}, "warning", "at 768 x 512 px"),
    ],
)
def test_pictures_of_other_px_than_the_base_models(wanted: dict[str, object], severity: str | None, told: str) -> None:
    save([scenery(0, 288, 96)])
    findings = diagnose("resolution", **wanted)  # type: ignore[arg-type]
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert all("trained on 64 px" in finding.message and told in finding.message for finding in findings)


def test_a_base_model_that_is_not_there(folder: Path) -> None:
    save([scenery(0, 64, 64)])
    (folder / "empty").mkdir()
    report = everything(model=ModelIdentity("empty"))
    (finding,) = report.at_least("error")
    assert finding.check == "resolution" and "no model_index.json" in finding.message
    assert set(report.left_out) >= {"name", "budget"}


@pytest.mark.parametrize(
    ("name", "severity", "told"),
    [
        ("snorf", None, ""),
        ("snorf-x1", None, ""),
        ("forest", "error", "knows already"),
        ("red-forest", "info", "red, forest"),
        ("forrest", "info", "'forest'"),
    ],
)
def test_a_name_that_the_model_knows(name: str, severity: str | None, told: str) -> None:
    save([scenery(0, 64, 64)])
    findings = diagnose("name", name=name)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert all(told in finding.message for finding in findings)


def test_memory_disk_and_time_are_estimated() -> None:
    save([scenery(at, 64, 64) for at in range(15)])
    (finding,) = diagnose("budget", resolution=64)
    assert finding.severity == "info" and "Estimated" in finding.message
    assert finding.figure["samples"] == 300 * 15
    # One sample took 0.22 GFLOP forward, counted; training takes 2.1 of them.
    assert finding.figure["flops"] == pytest.approx(300 * 15 * 2.1 * 0.2215e9, rel=0.1)
    four = [RunIntent(WordSettings(name="snorf"), TRAIN) for _ in range(4)]
    (sweep,) = diagnose("budget", resolution=64, trained=four)
    assert sweep.figure["flops"] == pytest.approx(4 * finding.figure["flops"], rel=0.01)


def test_the_budget_counts_the_numbers_of_hypernetworks() -> None:
    save([scenery(at, 64, 64) for at in range(4)])
    word = RunIntent(WordSettings(name="snorf"), TRAIN)
    network = word._replace(hypernetwork=HypernetworkSettings())
    changes = {"resolution": 64, "steps": 10, "save_every": 5}  # three checkpoints with the start
    (words,), (networks,) = (diagnose("budget", trained=[run] * 2, **changes) for run in (word, network))
    # Of layers 1, 2, 1: two matrices of 2 w^2 and two biases, for keys and for values.
    numbers = 2 * sum(2 * (4 * width**2 + 3 * width) for width in INTENT.model.context_widths)
    assert networks.figure["gpu_bytes"] - words.figure["gpu_bytes"] == pytest.approx(5 * 4 * numbers)
    assert networks.figure["disk_bytes"] - words.figure["disk_bytes"] == pytest.approx(2 * 3 * 4 * numbers, rel=0.01)


def test_the_budget_counts_the_px_of_wide_pictures() -> None:
    save([scenery(0, 96, 96)])
    (square,) = diagnose("budget", shape="keep")
    save([scenery(0, 288, 96)])
    (wide,) = diagnose("budget", shape="keep")
    for figure in ("gpu_bytes_per_sample", "flops"):
        assert wide.figure[figure] == pytest.approx(3 * square.figure[figure], rel=0.01)
    assert wide.figure["disk_bytes"] - square.figure["disk_bytes"] > 2 * 2 * 192 * 96


@pytest.mark.parametrize(
    ("machine", "severities"),
    [
        (Machine(gpu=80 * 10**9, disk=10**12), []),
        (Machine(gpu=10**9, disk=10**12), ["warning"]),
        (Machine(gpu=None, disk=10**5), ["error"]),
    ],
)
def test_a_machine_that_has_too_little(machine: Machine, severities: list[str]) -> None:
    save([scenery(at, 64, 64) for at in range(4)])
    findings = [one for one in diagnose("budget", machine, resolution=64) if one.severity != "info"]
    assert [one.severity for one in findings] == severities


def test_equal_data_give_equal_reports() -> None:
    save(same_room(4, 4))
    assert everything().model_dump_json() == everything().model_dump_json()


def test_a_check_that_is_ignored_is_said_to_be() -> None:
    save(same_room(6, 2))
    assert "background" in {one.check for one in everything().findings}
    report = everything(ignore=["background"])
    assert "background" not in {one.check for one in report.findings}
    assert report.left_out["background"] == "doctor.ignore names it"


def test_the_worst_comes_first_and_is_counted() -> None:
    save(same_room(6, 2))
    report = everything(name="forest")
    order = [finding.severity for finding in report.findings]
    assert order == sorted(order, key=SEVERITIES.index) and order[0] == "error" and report.count("error") == 1
    assert report.at_least("none") == [] and len(report.at_least("info")) == len(report.findings)
    assert "1 error, " in summary(report)


def test_names_of_files_in_a_sentence() -> None:
    assert names(["a"]) == "a" and names(["a", "b"]) == "a and b" and names(["a", "b", "a", "c"]) == "a, b and c"
    assert names([str(at) for at in range(9)]) == "0, 1, 2, 3, 4, 5 and 3 more"


def test_a_report_is_read_back_as_it_was() -> None:
    save(same_room(6, 2))
    report = everything()
    assert Report.model_validate_json(report.model_dump_json()) == report
