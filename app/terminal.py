"""Text on its way to the terminal."""

import json
import sys


def printable(text: str) -> str:
    """Text of a file with control characters written out, so that none of them reaches the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def print_json(content: object) -> None:
    """In ASCII, so that nothing reaches the terminal raw."""
    print(json.dumps(content, indent=2))


def print_error(message: str) -> None:
    """On stderr; the line breaks are ours."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr)
