"""What the doctor asks of a thing, a style and a person, each where it must speak, and where it must not."""

import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageOps

from pseudoword.settings.kind import BY_KIND
from tests.pseudoword.doctor.drawn import diagnose, in_style, named, save, scenery, things_everywhere


def portrait(*places: tuple[int, int, float]) -> Image.Image:
    """A photograph of a woman pasted on a ground: left, top and scale each time; her face is 0.35 of its height."""
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
        whole = photograph.convert("RGB")
    ground = Image.new("RGB", (600, 600), (120, 130, 140))
    for left, top, scale in places:
        ground.paste(whole.resize((round(512 * scale), round(600 * scale))), (left, top))
    return ground


def test_a_person_has_one_face_in_each_picture_and_a_large_one() -> None:
    near, far = portrait((40, 0, 1.0)), portrait((40, 0, 0.25))
    two, from_behind = portrait((0, 0, 0.55), (290, 0, 0.55)), scenery(3)
    save([near, near.rotate(3, fillcolor=(90, 90, 90)), far, two, from_behind])
    found = {finding.message.partition(" ")[0]: finding for finding in diagnose("faces", kind="person", resolution=512)}
    assert {start: (finding.severity, named(finding)) for start, finding in found.items()} == {
        "No": ("info", ["04.png"]),
        "The": ("info", ["02.png"]),
        "There": ("warning", ["03.png"]),
    }
    assert diagnose("faces", resolution=512) == []


def test_a_person_without_a_face_in_most_pictures_is_warned_of() -> None:
    save([scenery(1), scenery(2), portrait((40, 0, 1.0))])
    (finding,) = diagnose("faces", kind="person")
    assert finding.severity == "warning" and named(finding) == ["00.png", "01.png"]


def test_a_look_is_what_a_style_is_meant_to_have() -> None:
    save([ImageOps.grayscale(picture).convert("RGB") for picture in in_style(2)])
    assert diagnose("black-and-white") and not diagnose("black-and-white", kind="style")
    save([scenery(seed, colour=(30, 25, 20)) for seed in range(8)])
    assert diagnose("look") and not diagnose("look", kind="style")


def test_a_black_and_white_picture_among_others_is_not_of_the_style() -> None:
    pictures = things_everywhere()
    save([ImageOps.grayscale(pictures[0]).convert("RGB"), *pictures[1:]])
    (finding,) = diagnose("black-and-white", kind="style")
    assert "Leave it out" in finding.advice
    (finding,) = diagnose("black-and-white")
    assert "in the caption" in finding.advice


@pytest.mark.parametrize("kind", BY_KIND)
def test_how_many_pictures_are_enough_goes_by_the_kind(kind: str) -> None:
    save(things_everywhere(8))
    (finding,) = diagnose("number", kind=kind)
    few = {"thing": False, "style": True, "person": True}[kind]
    assert (f"a {kind} of so few pictures" in finding.message) is few and finding.severity == "info"
