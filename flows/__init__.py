"""Flows schedule, spread and show the stages of dvc.yaml; whatever they do can be done by hand with `dvc repro`.

A flow knows nothing of pictures or models: it runs DVC, and DVC runs the stages.
"""

import os
import warnings

# Read by prefect when it is imported, so set before. Nothing is sent anywhere unless asked for.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# flows.server tells it with the way out.
warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
