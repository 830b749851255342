"""The nouns that the stages share: the settings, the word, the base model, the pictures, the files."""

import os

# Before anything imports them: nothing of the work is sent anywhere, and their remarks on optional packages, which say
# nothing about the user's pictures or settings, stay out of the log.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
