"""A flow as a command: on which server it runs, how it is stopped, and what its end says."""

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.server import prefect_server
from pseudoword.errors import UserError, message_of


def run_flow(flow: Callable[[], State[Any]], done: Callable[[State[Any]], str]) -> int:
    """Run it and return the exit status; whatever goes wrong is one message on stderr, and `done` the last line."""
    # Prefect hands SIGTERM on to this handler once the flow has tidied up. By default the process would die there and
    # then, without stopping the temporary server.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(_stopped(number)))
    try:
        with prefect_server():
            state = flow()
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except (UserError, OSError, MemoryError) as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, _nothing)  # all that is left is to stop the server
    if not state.is_completed():
        print(f"\n{state.result(raise_on_failure=False)}", file=sys.stderr)
        return 1
    print(done(state))
    return 0


def setting(text: str) -> tuple[str, Any]:
    """`train.learn_rate=0.01` as its key and its value."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"found {text!r}, wanted SECTION.KEY=VALUE such as train.learn_rate=0.01")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        why = getattr(error, "problem", None) or "it is no YAML"
        raise argparse.ArgumentTypeError(
            f"found {text!r}: {why}; wanted a value as params.yaml has it, such as {key}=0.01 or '{key}=[0, 1]'"
        ) from None


def _nothing(_number: int, _frame: object) -> None:
    """In place of SIG_IGN, which child processes would inherit."""


def _stopped(number: int) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C would leave the server behind
    print("\nStopped, and every running stage with it. The same command goes on from here.", file=sys.stderr)
    return 128 + number
