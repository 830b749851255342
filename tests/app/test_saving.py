"""captions.yaml is shared by people and programs: an edit that is saved changes its own entry and no other byte."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.review.saving import save_edit
from pseudoword.captions.edits import Edit, read_edits
from pseudoword.captions.texts import one_line
from pseudoword.errors import UserError

STARTS = ["# nothing yet\n", "", "%YAML 1.2\n---\n", "--- # mine\n"]  # files without an entry
EDIT = Edit("in the snow", "a dog in the snow", "Ada", "2026-11-21", True)
FIELDS = ['caption: "in the snow"', 'draft: "a dog in the snow"', 'who: "Ada"', "when: 2026-11-21", "approved: true"]


def saved(path: Path, before: str, name: str = "a.jpg", edit: Edit = EDIT) -> str:
    path.write_bytes(before.encode())
    save_edit(path, name, edit)
    assert read_edits(path)[name]._replace(line=0) == edit
    return path.read_bytes().decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "captions.yaml"


def test_the_first_edit_makes_the_file(path: Path) -> None:
    save_edit(path, "a.jpg", EDIT)
    head, *lines = path.read_text().splitlines()
    assert head.startswith("# Captions by picture file name")
    assert lines == ["a.jpg:", *(f"  {field}" for field in FIELDS)]


def test_a_new_entry_goes_to_the_end(path: Path) -> None:
    for before in (
        *STARTS,
        "b.png: {caption: x}  # mine\n# the end\n",
        "b.png:\n    caption: >\n      x\n",
    ):
        assert saved(path, before) == before + "".join(["a.jpg:\n", *(f"  {field}\n" for field in FIELDS)])
    assert saved(path, "b.png: {caption: x}").startswith("b.png: {caption: x}\na.jpg:\n")
    assert saved(path, "  b.png: {caption: x}\n").endswith("\n  a.jpg:\n" + "".join(f"    {f}\n" for f in FIELDS))
    assert saved(path, "{b.png: {caption: x}}\n") == f'{{b.png: {{caption: x}}, "a.jpg": {{{", ".join(FIELDS)}}}}}\n'
    assert saved(path, "{}") == f'{{"a.jpg": {{{", ".join(FIELDS)}}}}}'


def test_an_entry_is_changed_where_it_stands(path: Path) -> None:
    before = (
        "# mine\nb.png: {caption:   'x'}  # untouched\n\na.jpg:   # star\n    # why\n    caption: old  # was bad\n"
        "    draft: 'older'   # end of line\n# about c\nc.gif:\n    caption: \"y\"\n"
    )
    assert saved(path, before) == (
        "# mine\nb.png: {caption:   'x'}  # untouched\n\na.jpg:   # star\n    # why\n"
        '    caption: "in the snow"  # was bad\n    draft: "a dog in the snow"   # end of line\n    who: "Ada"\n'
        '    when: 2026-11-21\n    approved: true\n# about c\nc.gif:\n    caption: "y"\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a.jpg: {caption: old , draft: 'x'} # c\n", f"a.jpg: {{{FIELDS[0]} , {', '.join(FIELDS[1:])}}} # c\n"),
        ("a.jpg: {caption: old}", f"a.jpg: {{{', '.join(FIELDS)}}}"),
        ("a.jpg:\n  caption: old", "a.jpg:\n  " + "\n  ".join(FIELDS)),
        ("a.jpg:\n  caption: old\n   folded\n# c\n", "a.jpg:\n  " + "\n  ".join(FIELDS) + "\n# c\n"),
        ("a.jpg:\n  draft: x\n  caption: >\n    old\n    one\n\n# c\nb.png: {caption: x}\n",
         "a.jpg:\n  " + "\n  ".join([FIELDS[1], *FIELDS[2:], FIELDS[0]]) + "\n\n# c\nb.png: {caption: x}\n"),
        ("a.jpg:\r\n  caption: old\r\n# c\r\n", "a.jpg:\r\n  " + "\r\n  ".join(FIELDS) + "\r\n# c\r\n"),
        ("\ufeffa.jpg: {caption: old}\n", f"\ufeffa.jpg: {{{', '.join(FIELDS)}}}\n"),
        ("a.jpg: {caption: x, approved: false, when: 2025-01-02}\n",
         f"a.jpg: {{{FIELDS[0]}, {FIELDS[4]}, {FIELDS[3]}, {FIELDS[1]}, {FIELDS[2]}}}\n"),
    ],
)  # fmt: skip
def test_every_way_to_write_an_entry_is_kept(path: Path, before: str, after: str) -> None:
    assert saved(path, before) == after


@pytest.mark.parametrize(
    "before",
    [
        "b.png: &same {caption: x}\na.jpg: *same\n",
        "a.jpg: &same {caption: &text x}\nb.png: {caption: *text}\n",
        "a.jpg: {caption: &text x}\nb.png: {caption: *text}\n",
        "b.png: {caption: &text x}\na.jpg: {caption: *text}\n",
        "b.png: {caption: x}\n...\n",
    ],
)
def test_what_cannot_be_changed_alone_is_refused_and_stays(path: Path, before: str) -> None:
    path.write_text(before)
    name = "a.jpg"
    try:
        save_edit(path, name, EDIT)
    except UserError as error:
        assert str(error).startswith(f"{path} is written in a way") and path.read_text() == before
    else:  # an anchor that nothing else than the entry itself used
        pytest.fail("saved")


def test_an_edit_goes_through_a_link(path: Path) -> None:
    kept = path.with_name("kept.yaml")
    kept.write_text("b.png: {caption: x}\n")
    path.symlink_to("kept.yaml")
    save_edit(path, "a.jpg", EDIT)
    assert path.is_symlink() and read_edits(kept).keys() == {"b.png", "a.jpg"}


def test_a_malformed_file_is_never_written_over(path: Path) -> None:
    path.write_text("a.jpg: [")
    with pytest.raises(UserError, match="line 1: found"):
        save_edit(path, "a.jpg", EDIT)
    assert path.read_text() == "a.jpg: ["


TEXT = st.text(max_size=30)
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(
    name=TEXT, caption=TEXT, draft=st.none() | TEXT, who=st.none() | TEXT, text=st.none() | TEXT,
    others=st.dictionaries(TEXT, TEXT),
)  # fmt: skip
def test_any_text_comes_back_and_nothing_else_changes(
    path: Path, name: str, caption: str, draft: str | None, who: str | None, text: str | None, others: dict[str, str]
) -> None:
    path.unlink(missing_ok=True)
    for other, text in others.items():
        save_edit(path, other, Edit(text))
    before, text_before = read_edits(path), path.read_text() if path.exists() else ""
    save_edit(path, name, Edit(caption, draft, who, picture="1b74ced5fb8f", text=text))
    after = read_edits(path)
    assert after[name].picture == "1b74ced5fb8f"
    assert after[name].text == (None if text is None else one_line(text))
    assert after[name].caption.split() == Edit(caption).caption.translate(NO_CONTROLS).split()
    assert {key: edit.caption for key, edit in after.items() if key != name} == {
        key: edit.caption for key, edit in before.items() if key != name
    }
    if name not in others:
        assert path.read_text().startswith(text_before)


NO_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")
