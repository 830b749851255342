"""What every stage does around its work: write alone, report errors to the user, take the GPU alone."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NoReturn, TextIO, cast

from pseudoword.errors import UserError, is_of_the_machine, message_of
from pseudoword.locks import file_lock
from pseudoword.terminal import PrintableStream, print_error

LOCKS = Path(".scratch/locks")


class Interrupted(UserError):
    """The stage was asked to stop and has saved what it needs to go on."""

    def __init__(self, signal_number: int, what: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}: {what}")
        self.exit_code = 128 + signal_number  # as a shell reports it


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main` as the one process of that stage in this folder.

    What the user can mend becomes one message on stderr, without a traceback, and an exit code that is not zero.
    """
    # A line appears when it is printed, also through a pipe.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with redirect_stdout(cast(TextIO, PrintableStream(sys.stdout))):
        _run(main)


def _run(main: Callable[[], None]) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # since the imports began
        signal.signal(signal.SIGINT, signal.default_int_handler)
    module = sys.modules["__main__"].__spec__  # None where it was not started by its name
    stage = str(module.parent).rpartition(".")[2] if module else None
    if module and module.name.startswith("stages.") and sys.argv[1:]:
        _stop(f"a stage takes no arguments, and was given {' '.join(sys.argv[1:])}. `dvc repro {stage}` runs it.", 2)
    try:
        with _alone_in_folder(stage):
            main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more of them would interrupt the message
        _stop("stopped by SIGINT; `dvc repro` goes on from what is finished.", 128 + signal.SIGINT)
    except Interrupted as error:
        _stop(message_of(error), error.exit_code)
    except Exception as error:
        _tell_of_earlier_outputs()
        if not is_of_the_machine(error):
            raise
        _stop(message_of(error), error.exit_code if isinstance(error, UserError) else 1)


def _tell_of_earlier_outputs() -> None:
    """How to have the outputs again that DVC deleted before it started this stage. The error itself is said last."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return
    try:
        from pseudoword.dvc.outputs import way_back  # here, as it takes a second

        command = way_back(stage)
    except Exception:  # there is something worse to say
        return
    if command:
        print_error(f"note: `{command}` brings back what this stage made when it last ended well.")


def _stop(message: str, exit_code: int) -> NoReturn:
    print_error(f"error: {message}")
    sys.exit(exit_code)


@contextmanager
def _alone_in_folder(stage: str | None) -> Iterator[None]:
    """Hold a file lock for this stage of this folder: what an earlier process of it still does has to end first."""
    if stage is None:
        yield
        return
    with file_lock(LOCKS / f"{stage}.lock", f"another {stage} to end: it still writes in this folder"):
        yield


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Yield a function that tells which of SIGINT and SIGTERM came first, 0 for none; a second SIGINT stops at once."""
    came: list[int] = []

    def note(number: int, _: object) -> None:
        # One that goes to the whole process group comes twice: by itself, and when dvc dies of it.
        if came and number == signal.SIGINT:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alone_on(device: str) -> Iterator[None]:
    """Hold a file lock for a GPU while the body runs. A CPU is shared.

    All checkouts and users of a machine share the locks, which lie in PSEUDOWORD_GPU_LOCKS or the folder for temporary
    files. A card has one, by whichever number CUDA_VISIBLE_DEVICES shows it.
    """
    if device == "cpu":
        yield
        return
    folder = Path(os.environ.get("PSEUDOWORD_GPU_LOCKS", Path(tempfile.gettempdir()) / "pseudoword-locks"))
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)  # whoever comes first, the others have locks of other cards to add
    with file_lock(folder / f"{_card(device)}.lock", f"{device}: another stage is using it"):
        yield


def _card(device: str) -> str:
    """A name of the card that stays the same when another process sees it under another number."""
    if not device.startswith("cuda"):
        return device.replace(":", "-")
    import torch  # here, so that the stages without a model start without it

    return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
