"""A command line's answer, as a person sees it."""

import pytest

from app.cli import main

Output = pytest.CaptureFixture[str]


def run(output: Output, *arguments: object) -> str:
    """What a command that succeeds prints."""
    assert main([str(argument) for argument in arguments]) == 0
    captured = output.readouterr()
    assert captured.err == ""
    return captured.out


def refusal(output: Output, *arguments: object) -> str:
    """The one line with which a command fails."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = output.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err
