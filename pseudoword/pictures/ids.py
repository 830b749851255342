"""The ids of pictures: which file a picture was made of, which tile of it, and how it is mirrored.

`1b74ced5fb8f` is the picture of a file, `1b74ced5fb8f-t0` its first tile, `1b74ced5fb8f-t0-h` a mirrored copy of that.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

MIRRORINGS = ("h", "v", "hv")  # left to right, top to bottom, both


class PictureId(NamedTuple):
    """An id in its parts; `str()` gives the id."""

    content: str  # 12 hexadecimal digits of the SHA-256 of the file's bytes
    tile: str = ""  # t0, t1, ... of a long picture
    mirrored: str = ""  # one of MIRRORINGS

    @classmethod
    def parse(cls, text: str) -> Self:
        """The parts of an id; each file name and table holds ids as text."""
        content, *suffixes = text.split("-")
        mirrored = suffixes.pop() if suffixes and suffixes[-1] in MIRRORINGS else ""
        return cls(content, "-".join(suffixes), mirrored)

    def __str__(self) -> str:
        return "-".join(filter(None, self))

    @property
    def left_is_right(self) -> bool:
        return "h" in self.mirrored


def count_unmirrored(ids: Iterable[str]) -> int:
    """How many pictures there are without mirrored copies, which show nothing that more vectors would be needed for."""
    return sum(not PictureId.parse(text).mirrored for text in ids)
