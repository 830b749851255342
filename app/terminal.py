"""Text on its way to the terminal."""


def printable(text: str) -> str:
    """Text of a file with control characters written out, so that none of them reaches the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
