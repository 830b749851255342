"""The verbs: one folder for each stage of dvc.yaml, run as `python -m stages.<name>`."""

import signal
import sys

import pseudoword  # noqa: F401  # first: what it sets is read by libraries when they are imported
from stages._parent import end_with_dvc

if sys.argv[:1] == ["-m"]:  # `python -m stages.<name>` looks for the module; others import us with a path there
    end_with_dvc()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback
