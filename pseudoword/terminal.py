"""Text on its way to the terminal: names of files and what stands in them may hold anything."""

import json
import sys
from typing import Any, TextIO


def printable(text: str) -> str:
    """Text of a file with control characters written out, so that none of them reaches the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def printable_lines(text: str) -> str:
    """The same where the line breaks are ours."""
    return "\n".join(map(printable, text.split("\n")))


class PrintableStream:
    """A text stream whose `write` writes control characters out; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable_lines(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_json(content: object) -> None:
    """In ASCII, so that nothing reaches the terminal raw."""
    print(json.dumps(content, indent=2))


def print_error(message: str) -> None:
    """On stderr."""
    print(printable_lines(message), file=sys.stderr)
