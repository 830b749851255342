"""The tagger of the caption stage: that its tags are right, how they are written, and what is no tagger."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng
from onnx import TensorProto
from PIL import Image

from pseudoword.errors import UserError
from stages.caption.__main__ import main
from stages.caption.tagger import to_deepdanbooru, to_wd14
from stages.caption.tags import Tag, Writing, read_tags
from tests.hub import environment, hub_client, serving
from tests.onnx_tagger import SCENE_TAGS, save_blind_tagger, save_selected_tags, save_world_taggers
from tests.project import shipped_params, write_checked
from tests.stages.test_caption import save_captioner
from toyworld.world import COLOURS, draw, new_thing

ROOT = Path(__file__).parents[2]
NUM_PICTURES = 40
BOTH = ("tagger", "captioner")


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taggers")
    save_world_taggers(folder / "deepdanbooru", folder / "wd14")
    return folder


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A project with pictures of the drawn world; the scene tag and the colour that each shows."""
    monkeypatch.chdir(tmp_path)
    Path("outputs/pictures").mkdir(parents=True)
    shown, rows, random = [], [], default_rng(5)
    for at in range(NUM_PICTURES):
        tag, colour = list(SCENE_TAGS)[at % len(SCENE_TAGS)], list(COLOURS)[at % len(COLOURS)]
        thing = replace(new_thing(at % 8), pattern="plain")
        pixels = draw(thing, SCENE_TAGS[tag], random, colour=colour, resolution=64)
        Image.fromarray(pixels).save(f"outputs/pictures/{at:012x}.png")
        rows.append({"id": f"{at:012x}", "source": f"{at}-{colour}.png", "state": "used"})
        shown.append((tag, colour))
    pd.DataFrame(rows).to_csv("outputs/pictures.csv", index=False)
    return shown


def test_nothing_is_kept_to_be_sent_to_those_who_made_the_runtime(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", "import stages.caption.tagger"], cwd=ROOT, check=True,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert not [path for path in tmp_path.rglob("*") if "onnx" in path.name]


def run(model: Path | str | None, drafters: tuple[str, ...] = ("tagger",), caption: Any = None, **tagger: Any) -> Any:
    """The list of drafts that the stage writes."""
    write_params(model, drafters, caption, **tagger)
    main()
    return read_drafts()


def write_params(model: Path | str | None, drafters: tuple[str, ...], caption: Any = None, **tagger: Any) -> None:
    content = shipped_params()
    content["base"]["device"] = "cpu"
    content["caption"] |= {"drafters": list(drafters)} | (caption or {})
    content["caption"]["tagger"] |= {"model": None if model is None else str(model), **tagger}
    write_checked(content)


def read_drafts() -> list[str]:
    return list(pd.read_csv("outputs/drafts.csv", dtype=str, keep_default_na=False)["draft"])


@pytest.mark.parametrize("kind", ["wd14", "deepdanbooru"])
def test_a_tagger_says_what_the_pictures_show(drawn: list[tuple[str, str]], taggers: Path, kind: str) -> None:
    tags = [draft.split(", ") for draft in run(taggers / kind)]
    scenes = np.mean([scene.replace("_", " ") in found for (scene, _), found in zip(drawn, tags, strict=True)])
    colours = np.mean([colour in found for (_, colour), found in zip(drawn, tags, strict=True)])
    assert scenes >= 0.9 and colours >= 0.9
    # So the right ones are not there because all are.
    assert max(len(found) for found in tags) <= 3
    assert not any("general" in name or "zora" in name for found in tags for name in found)


def test_both_kinds_see_the_same(drawn: list[tuple[str, str]], taggers: Path) -> None:
    assert run(taggers / "wd14") == run(taggers / "deepdanbooru" / "model.onnx")


def test_ratings_and_characters_are_written_when_asked_for(drawn: list[tuple[str, str]], taggers: Path) -> None:
    assert all("general" in draft.split(", ") for draft in run(taggers / "wd14", skip=["character"]))
    drafts = run(taggers / "wd14", character_threshold=0.4, escape=True)
    assert all(r"zora \(toyworld\)" in draft for draft in drafts)
    assert not any("zora" in draft for draft in run(taggers / "wd14", character_threshold=0.4, skip=["character"]))


def test_captioner_tagger_and_file_name_are_joined_in_the_order_asked_for(
    drawn: list[tuple[str, str]], taggers: Path
) -> None:
    save_captioner(Path("captioner"))
    own = {"model": "captioner", "max_tokens": 6}
    said = run(None, ("captioner",), own)
    tags = run(taggers / "wd14")
    names = [colour for _, colour in drawn]
    for order, parts in (
        (("captioner", "tagger"), (said, tags)),
        (("tagger", "captioner", "filename"), (tags, said, names)),
    ):
        wanted = [", ".join(filter(None, (text.strip(" ,") for text in row))) for row in zip(*parts, strict=True)]
        assert run(taggers / "wd14", order, own) == wanted


def test_where_no_tag_is_sure_enough_the_draft_is_empty(drawn: list[tuple[str, str]], taggers: Path) -> None:
    assert run(taggers / "wd14", threshold=1.0, character_threshold=1.0) == [""] * NUM_PICTURES
    assert run(taggers / "wd14", ("tagger", "filename"), threshold=1.0)[0] == drawn[0][1]


TAGS = [Tag("red_hair", "general"), Tag("^_^", "general"), Tag("bow_(weapon)", "general"), Tag("safe", "rating"),
        Tag("zora_(toyworld)", "character"), Tag("a_lot", "general"), Tag(":\\", "general"),
        Tag("1girl", "general")]  # fmt: skip
SCORES = [0.7, 0.9, 0.6, 0.99, 0.8, 0.2, 0.4, 0.7]


@pytest.mark.parametrize(
    ("ways", "wanted"),
    [
        ({}, "^_^, 1girl, red hair, bow (weapon), :\\"),
        ({"spaces": False}, "^_^, 1girl, red_hair, bow_(weapon), :\\"),
        ({"sort": "alphabet"}, "1girl, :\\, ^_^, bow (weapon), red hair"),
        ({"escape": True}, "^_^, 1girl, red hair, bow \\(weapon\\), :\\\\"),
        ({"ranks": True, "threshold": 0.7}, "(^_^:0.900), (1girl:0.700), (red hair:0.700)"),
        ({"ranks": True, "escape": True, "threshold": 0.6, "leave_out": ["^_^", "1girl"]},
         "(red hair:0.700), (bow \\(weapon\\):0.600)"),
        ({"leave_out": ["Red Hair", "bow_(weapon)"]}, "^_^, 1girl, :\\"),
        ({"skip": [], "character_threshold": 0.8}, "safe, ^_^, zora (toyworld), 1girl, red hair, bow (weapon), :\\"),
        ({"skip": ["general"], "character_threshold": 0.8}, "safe, zora (toyworld)"),
        ({"threshold": 0.0}, "^_^, 1girl, red hair, bow (weapon), :\\, a lot"),
        ({"threshold": 1.0}, ""),
    ],
)  # fmt: skip
def test_tags_are_written_as_asked_for(ways: dict[str, Any], wanted: str) -> None:
    assert Writing(**ways).write(TAGS, SCORES) == wanted


FACES = "0_0 (o)_(o) +_+ +_- ._. <o>_<o> <|>_<|> =_= >_< 3_3 6_9 >_o @_@ ^_^ o_o u_u x_x |_| ||_||"


def test_faces_keep_their_mouths() -> None:
    written = Writing().write([Tag(face, "general") for face in FACES.split()], [1.0] * len(FACES.split()))
    assert sorted(written.split(", ")) == sorted(FACES.split())


def test_pictures_reach_the_tagger_square_and_in_its_units() -> None:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, :, 0], pixels[0, :, 1] = 200, 50
    wide = Image.fromarray(pixels)
    white = to_wd14(wide, 4)
    assert white.shape == (1, 4, 4, 3) and white.dtype == np.float32
    assert white[0, :, 0].tolist() == [[255, 255, 255], [0, 50, 200], [0, 0, 200], [255, 255, 255]]
    edges = to_deepdanbooru(wide, 4)
    assert edges.shape == (1, 4, 4, 3) and edges.dtype == np.float32
    assert (edges[0, :, 0] * 255).round().tolist() == [[200, 50, 0], [200, 50, 0], [200, 0, 0], [200, 0, 0]]
    assert to_wd14(wide.transpose(Image.Transpose.ROTATE_90), 8).shape == (1, 8, 8, 3)


def test_tag_files_are_read_with_their_categories(tmp_path: Path) -> None:
    rows = [(9, "safe"), (0, 'say_"hi",_there'), (4, "zora"), (1, "kim"), (3, "game"), (5, "scan")]
    save_selected_tags(tmp_path, rows)
    categories = ["rating", "general", "character", "artist", "copyright", "meta"]
    assert read_tags(tmp_path / "selected_tags.csv") == [Tag(r[1], c) for r, c in zip(rows, categories, strict=True)]
    (tmp_path / "tags.txt").write_bytes(b"\xef\xbb\xbfred_hair\r\nzora\r\nrating:safe\r\n\r\n")
    (tmp_path / "tags-character.txt").write_text("zora\n")
    wanted = [Tag("red_hair", "general"), Tag("zora", "character"), Tag("rating:safe", "rating")]
    assert read_tags(tmp_path / "tags.txt") == wanted


def break_it(kind: str) -> None:
    folder = Path("tagger")
    save_blind_tagger(folder, [0.5, 0.6])
    save_selected_tags(folder, [(0, "red"), (0, "blue")])
    table = folder / "selected_tags.csv"
    match kind:
        case "no model":
            (folder / "model.onnx").unlink()
        case "no tags":
            table.unlink()
        case "too few tags":
            save_selected_tags(folder, [(0, "red")])
        case "empty tags":
            table.write_text("tag_id,name,category,count\n")
        case "no category":
            table.write_text("tag_id,name\n1,red\n2,blue\n")
        case "short line":
            table.write_text("tag_id,name,category\n1,red,0\n2\n")
        case "other category":
            save_selected_tags(folder, [(0, "red"), (77, "blue")])
        case "binary tags":
            table.write_bytes(b"tag_id,name,category\n1,\xff\xfe,0\n")
        case "no onnx":
            (folder / "model.onnx").write_bytes(b"<html>not found</html>")
        case "empty model":
            (folder / "model.onnx").write_bytes(b"")
        case "cut model":
            (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:40])
        case "channels first":
            save_blind_tagger(folder, [0.5, 0.6], (1, 3, 8, 8))
        case "oblong":
            save_blind_tagger(folder, [0.5, 0.6], (1, 8, 16, 3))
        case "text model":
            save_blind_tagger(folder, [0.5, 0.6], (1, 8), TensorProto.INT64)
        case "logits":
            save_blind_tagger(folder, [-3.5, 4.25])
        case "nan":
            save_blind_tagger(folder, [float("nan"), 0.5])
        case "data elsewhere":
            Path("secret.bin").write_bytes(np.asarray([0.5, 0.6], np.float32).tobytes())
            save_blind_tagger(folder, [0.5, 0.6], external="../secret.bin")
        case "data of the system":
            save_blind_tagger(folder, [0.5, 0.6], external="/etc/hostname")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "no model",
            r"'tagger' cannot be used as a tagger: there is no file tagger/model.onnx\nSet caption.tagger.model",
        ),
        ("no tags", "neither selected_tags.csv nor tags.txt lies beside tagger/model.onnx"),
        ("too few tags", "tagger/selected_tags.csv: holds 1 tags, but tagger/model.onnx gives 2 scores"),
        ("empty tags", "tagger/selected_tags.csv: holds no tags"),
        ("no category", "selected_tags.csv: line 2 has no category.*Wanted beside the model"),
        ("short line", "selected_tags.csv: line 3 has no name"),
        ("other category", "selected_tags.csv: line 3 has the category '77'"),
        ("binary tags", r"selected_tags.csv: is not UTF-8 text \(byte 23\)"),
        ("no onnx", "ONNX Runtime cannot read tagger/model.onnx"),
        ("empty model", "ONNX Runtime cannot read tagger/model.onnx"),
        ("cut model", "ONNX Runtime cannot read tagger/model.onnx"),
        ("channels first", r"it takes \[1, 3, 8, 8\]; wanted is \(1, side, side, 3\)"),
        ("oblong", "it takes pictures of 16 x 8 px; wanted are square ones"),
        ("text model", r"it takes picture tensor\(int64\) \[1, 8\]; wanted is one picture"),
        ("logits", "its scores reach from -3.5 to 4.25, wanted is 0 to 1"),
        ("nan", "its scores reach from nan to nan"),
        ("data elsewhere", "ONNX Runtime cannot read tagger/model.onnx"),
        ("data of the system", "ONNX Runtime cannot read tagger/model.onnx"),
    ],
)
def test_what_is_no_tagger_is_an_error_that_says_why(drawn: list[tuple[str, str]], kind: str, message: str) -> None:
    break_it(kind)
    with pytest.raises(UserError, match=f"(?s){message}"):
        run("tagger")
    assert not Path("outputs/drafts.csv").exists()


def test_a_tagger_that_is_nowhere_is_an_error_with_the_way_out(drawn: list[tuple[str, str]]) -> None:
    for model in ("models/no/such/folder", "nobody/no-such-tagger", "no-such.onnx", "../x"):
        with pytest.raises(UserError, match=rf"(?s)caption.tagger.model: '{model}' cannot.*params.yaml.*network up"):
            run(model)


def test_tagger_and_captioner_come_from_the_hub_with_their_revisions_and_then_need_none(
    drawn: list[tuple[str, str]], tmp_path: Path
) -> None:
    commits = {}
    with serving() as hub:
        for at, tags in enumerate([("old_tag", "b_b"), ("new_tag", "b_b")]):
            save_blind_tagger(tmp_path / f"tagger{at}", [0.5, 0.1], ("batch", 8, 8, 3))
            save_selected_tags(tmp_path / f"tagger{at}", [(0, tag) for tag in tags])
            save_captioner(tmp_path / f"captioner{at}", seed=at)
            for name in ("tagger", "captioner"):
                (tmp_path / f"{name}{at}" / "large.h5").write_bytes(b"of another library")
                commits[name, at] = hub.push(f"somebody/{name}", tmp_path / f"{name}{at}")
        local = [run(tmp_path / f"tagger{at}", BOTH, {"model": str(tmp_path / f"captioner{at}")}) for at in (0, 1)]
        assert local[0] != local[1]

        def by_id(at: int | None, offline: bool = False, tagger: str = "tagger", captioner: str = "captioner") -> Any:
            shutil.rmtree(".scratch", ignore_errors=True)
            own = {"model": f"somebody/{captioner}", "revision": at if at is None else commits["captioner", at]}
            with hub_client(hub.address, tmp_path / "home", offline=offline):
                return run(f"somebody/{tagger}", BOTH, own, revision=at if at is None else commits["tagger", at])

        assert [by_id(None), by_id(0)] == [local[1], local[0]]
        assert not [path for path in hub.asked if path.endswith("large.h5")]
        assert by_id(None, offline=True) == local[1]
        with pytest.raises(UserError, match=r"caption\.tagger\.model: 'somebody/nothing'.*the hub knows no such model"):
            by_id(None, tagger="nothing")
        with pytest.raises(UserError, match=r"caption\.model: 'somebody/nothing'.*the hub knows no such model"):
            by_id(None, captioner="nothing")


def test_the_stage_finds_the_hub_and_its_cache_where_the_environment_says(
    drawn: list[tuple[str, str]], tmp_path: Path
) -> None:
    """As `python -m stages.caption`, because the hub's client reads where the hub is when it is imported."""
    save_blind_tagger(tmp_path / "tagger", [0.5], ("batch", 8, 8, 3))
    save_selected_tags(tmp_path / "tagger", [(0, "a_tag")])
    with serving() as hub:
        hub.push("somebody/tagger", tmp_path / "tagger")
        for model, status, told in (
            ("somebody/tagger", 0, ""),
            ("somebody/nothing", 1, "error: caption.tagger.model: "),
        ):
            write_params(model, ("tagger",))
            own = environment(hub.address, tmp_path / "home") | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run([sys.executable, "-m", "stages.caption"], env=own, capture_output=True, text=True)
            assert (done.returncode, "Traceback" in done.stderr) == (status, False) and told in done.stderr
    assert set(read_drafts()) == {"a tag"}


def test_other_weights_beside_the_model_make_other_drafts(drawn: list[tuple[str, str]]) -> None:
    save_blind_tagger(Path("tagger"), [0.5, 0.6], external="weights.bin")
    save_selected_tags(Path("tagger"), [(0, "red"), (0, "blue")])
    for scores, said in (([0.9, 0.1], "red"), ([0.1, 0.9], "blue")):
        Path("tagger/weights.bin").write_bytes(np.asarray(scores, np.float32).tobytes())
        assert set(run("tagger")) == {said}


@pytest.mark.parametrize("kind", ["no tags", "empty tags", "too few tags", "no onnx", "oblong", "data elsewhere"])
def test_a_tagger_that_cannot_be_used_is_told_before_the_captioner_drafts(
    drawn: list[tuple[str, str]], kind: str
) -> None:
    break_it(kind)
    save_captioner(Path("captioner"))
    with pytest.raises(UserError, match=r"selected_tags|cannot be used as a tagger"):
        run("tagger", ("captioner", "tagger"), {"model": "captioner"})
    assert not list(Path(".scratch").rglob("*.txt"))


def test_a_tagger_with_open_sides_gets_the_usual_ones(drawn: list[tuple[str, str]]) -> None:
    save_blind_tagger(Path("tagger"), [0.5, 0.6], ("batch", "height", "width", 3))
    save_selected_tags(Path("tagger"), [(0, "red"), (0, "two\nlines\x1b[31m")])
    assert set(run("tagger")) == {"two lines [31m, red"}


def test_settings_name_a_tagger_that_is_missing(drawn: list[tuple[str, str]]) -> None:
    with pytest.raises(UserError, match=r"(?s)caption: found .*wanted a caption.tagger.model, as caption.dra"):
        run(None)
