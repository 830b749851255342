"""Writing one edit into captions.yaml: every other byte of the file stays, comments and quoting included."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode

from pseudoword.captions.edits import BadEdits, Edit, parse_edits, read_edits
from pseudoword.captions.texts import one_line, read_text
from pseudoword.errors import UserError
from pseudoword.files import write_text

MARK = "\ufeff"
HEAD = (
    "# Captions by picture file name, each with the draft that it answers. `make review` and people write this file.\n"
)


class CannotSplice(UserError):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path} is written in a way that keeps the entry of '{name}' from being changed alone (an alias, perhaps, "
            "or two documents). Nothing was saved; change it in an editor."
        )


def save_edit(path: Path, name: str, edit: Edit) -> None:
    """Put the edit of picture `name` into the file; what the edit leaves None stays as the file has it.

    Raises BadEdits, NotUtf8 and CannotSplice; then nothing changes.
    """
    before = read_edits(path)
    old = before.get(name, edit)
    edit = edit._replace(
        caption=one_line(edit.caption),
        draft=old.draft if edit.draft is None else one_line(edit.draft),
        who=old.who if edit.who is None else one_line(edit.who),
        when=edit.when or old.when,
        picture=old.picture if edit.picture is None else one_line(edit.picture),
        text=old.text if edit.text is None else one_line(edit.text),
    )
    wanted = {**before, name: edit}
    text = read_text(path) if path.exists() else HEAD
    new = _spliced(path, text, name, _values(edit))
    try:
        found = parse_edits(new, path)
    except BadEdits:
        raise CannotSplice(path, name) from None
    if _without_lines(found) != _without_lines(wanted):
        raise CannotSplice(path, name)
    marked = path.exists() and path.read_bytes().startswith(MARK.encode())
    write_text(path.resolve(), MARK * marked + new)  # what a link leads to, not the link


def _without_lines(edits: dict[str, Edit]) -> dict[str, Edit]:
    return {name: edit._replace(line=0) for name, edit in edits.items()}


def _values(edit: Edit) -> dict[str, str]:
    """The fields that are set, as YAML."""
    quoted = {"caption", "draft", "who", "picture", "text"}
    texts = {key: _quoted(text) for key, text in edit._asdict().items() if key in quoted and text is not None}
    values = texts | ({"when": edit.when} if edit.when else {}) | {"approved": str(edit.approved).lower()}
    return {key: values[key] for key in Edit._fields if key in values}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in escaped) + '"'


def _spliced(path: Path, text: str, name: str, values: dict[str, str]) -> str:
    root = YAML().compose(text)
    if not isinstance(root, MappingNode):  # nothing but comments, or an empty document after `---`
        return _appended(text, 0, name, values)
    entry = next((node for key, node in root.value if key.value == name), None)
    if entry is None:
        return _appended_to(root, text, name, values)
    key = next(key for key, _ in root.value if key.value == name)
    if not isinstance(entry, MappingNode) or entry.start_mark.index < key.end_mark.index:
        raise CannotSplice(path, name)
    return _changed(entry, text, values)


def _appended_to(root: Any, text: str, name: str, values: dict[str, str]) -> str:
    if not root.flow_style:
        return _appended(text, root.start_mark.column, name, values)
    inside = ", ".join(f"{key}: {value}" for key, value in values.items())
    end = root.end_mark.index - 1
    return f"{text[:end]}{', ' if root.value else ''}{_quoted(name)}: {{{inside}}}{text[end:]}"


def _appended(text: str, column: int, name: str, values: dict[str, str]) -> str:
    newline = _newline(text)
    plain = re.fullmatch(r"[A-Za-z][\w-]*\.[A-Za-z]+", name, re.ASCII)
    lines = [f"{name if plain else _quoted(name)}:", *(f"  {key}: {value}" for key, value in values.items())]
    gap = newline if text and not text.endswith("\n") else ""
    return text + gap + "".join(f"{' ' * column}{line}{newline}" for line in lines)


def _changed(entry: MappingNode, text: str, values: dict[str, str]) -> str:
    """Existing values are exchanged where they stand; new ones follow the last, or come before a folded last one."""
    present = {key.value: node for key, node in entry.value}
    changes = [(*_span(node, text), values[key]) for key, node in present.items() if key in values]
    new = [f"{key}: {value}" for key, value in values.items() if key not in present]
    if new:
        changes.append(_insertion(entry, text, new))
    for start, end, value in sorted(changes, reverse=True):
        text = text[:start] + value + text[end:]
    return text


def _span(node: Any, text: str) -> tuple[int, int]:
    """From where to where a value stands, without the line break that a block scalar (`>`, `|`) ends with."""
    start, end = node.start_mark.index, node.end_mark.index
    return start, start + len(text[start:end].rstrip()) if node.style in ("|", ">") else end


def _insertion(entry: MappingNode, text: str, new: list[str]) -> tuple[int, int, str]:
    key, last = entry.value[-1]
    if entry.flow_style:
        return last.end_mark.index, last.end_mark.index, "".join(f", {line}" for line in new)
    newline, indent = _newline(text), " " * key.start_mark.column
    if last.style in ("|", ">"):
        return key.start_mark.index, key.start_mark.index, "".join(f"{line}{newline}{indent}" for line in new)
    end = text.find("\n", last.end_mark.index)
    end = len(text) if end < 0 else end - text[:end].endswith("\r")
    return end, end, "".join(f"{newline}{indent}{line}" for line in new)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
