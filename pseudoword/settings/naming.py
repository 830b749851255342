"""Names that say which settings differ: `lr0.02-seed1`.

A name depends on its own values alone, so that another value on an axis leaves the names of the other runs as they are.
It is a folder's name on every file system and a git ref, and tells case apart on none.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

# Of a key that has none here, `section.key`; of word, train and hypernetwork, which runs mostly differ in, `key` alone.
LABELS = {
    "data.folder": "data",
    "base.model": "model",
    "preprocess.resolution": "px",
    "word.init_text": "init",
    "word.init_file": "file",
    "train.learn_rate": "lr",
    "train.weight_decay": "wd",
    "train.min_snr_gamma": "snr",
    "hypernetwork.learn_rate": "lr",
    "hypernetwork.weight_decay": "wd",
}
MAX_CHARACTERS, MAX_OF_VALUE = 60, 24  # a character takes up to four bytes, a folder's name 255


def names_of(points: Sequence[Mapping[str, object]]) -> list[str]:
    """A name for each of these settings by key, values as they were read. Unique, whatever the values are.

    Where two would be named alike (templates of one name in two folders, texts that differ after what is shown), each
    gets a digest of its values.
    """
    names = [_name(values) for values in points]
    times = Counter(map(str.casefold, names))
    return [
        name if times[name.casefold()] == 1 else f"{name}_{_digest(values)}"
        for name, values in zip(names, points, strict=True)
    ]


def natural_order(name: str) -> list[tuple[float, str]]:
    """The sort key by which seed2 comes before seed10, and lr0.005 before lr0.02."""
    return [
        (float(part), "") if i % 2 else (0.0, part)
        for i, part in enumerate(re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name))
    ]


def _name(values: Mapping[str, object]) -> str:
    name = "-".join(_label(key) + _valued(value) for key, value in values.items())
    return name if len(name) <= MAX_CHARACTERS else f"{name[:MAX_CHARACTERS]}_{_digest(values)}"


def _label(key: str) -> str:
    section, _, leaf = key.partition(".")
    return LABELS.get(key) or (leaf if section in ("word", "train", "hypernetwork") else key)


def _valued(value: object) -> str:
    """`0.02`, to stand right behind its label, or `_style` where it does not begin with a digit."""
    text = _text(value)
    # NFC, so that a name typed on macOS is the same folder; and nothing that a shell, a URL or a git ref reads.
    plain = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text)).strip("._-")
    plain = re.sub(r"\.{2,}", ".", plain).replace(".lock", "_lock")
    if len(plain) > MAX_OF_VALUE or not plain:
        plain = f"{plain[:MAX_OF_VALUE]}_{_digest(text)}".strip("_")
    return plain if plain[0].isdecimal() else f"_{plain}"


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    if isinstance(value, float):
        return re.sub(r"e([+-])0?", lambda found: f"e{found[1].strip('+')}", f"{value:.15g}")
    if isinstance(value, Mapping):  # the axes of a sweep
        return "_".join(map(_label, value))
    if isinstance(value, list | tuple):
        return "_".join(map(_text, value))
    if re.fullmatch(r"-?\d+(\.\d*)?e[+-]?\d{1,3}", str(value)):  # 1e+38 of a schedule
        return _text(float(str(value)))
    path = _named(value)
    if isinstance(path, PurePath) or "/" in str(path):
        return re.sub(r"\.[A-Za-z]\w*$", "", str(path).rstrip("/").rpartition("/")[2])
    return str(value)


def _named(value: object) -> object:
    """The path of a file that was read with the settings, with the word of it that is meant; else the value."""
    path, word = getattr(value, "path", value), getattr(value, "word", None)
    return path if word is None else f"{path}:{word}"


def _digest(values: object) -> str:
    if isinstance(values, Mapping):
        values = {key: _named(value) for key, value in values.items()}
    return hashlib.sha256(str(values).encode()).hexdigest()[:6]
