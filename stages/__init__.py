"""The verbs: one folder for each stage of dvc.yaml, run as `python -m stages.<name>`."""

import os
import signal
import sys

from stages._parent import end_with_dvc

if sys.argv[:1] == ["-m"]:  # `python -m stages.<name>` looks for the module; others import us with a path there
    end_with_dvc()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback

# Before anything imports them: nothing of the work is sent anywhere, and their remarks on optional packages, which say
# nothing about the user's pictures or settings, stay out of the log.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
