"""The verbs: one folder for each stage of dvc.yaml, run as `python -m stages.<name>`."""

import signal
import sys
from types import TracebackType

import pseudoword  # noqa: F401  # first: what it sets is read by libraries when they are imported
from pseudoword.errors import is_out_of_memory, message_of
from pseudoword.terminal import print_error
from stages._parent import end_with_dvc


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Imports alone take a gigabyte; what runs after them is caught by `run_stage`."""
    if is_out_of_memory(error):
        print_error(f"error: {message_of(error)}")
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.argv[:1] == ["-m"]:  # `python -m stages.<name>` looks for the module; others import us with a path there
    end_with_dvc()
    sys.excepthook = _tell
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback
