"""Files that are taken for embeddings, told as what they are: by their first bytes or by the keys in them."""

import re
from collections.abc import Collection

HYPERNETWORK = "it is a hypernetwork, which holds no word"
HYPERNETWORK_KEY = re.compile(r"\d{1,5}\.[kv]\.linear\.\d{1,3}\.(weight|bias)")  # of our own file
OUTPUTS = {"emp_params_out", "clip_l_out", "clip_g_out", "t5_out"}
MODEL_PARTS = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner.", "down_blocks.")
VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
ARCHIVES = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"Rar!": "RAR"}
SHOWN_TEXT = 60  # characters of a text in place of a file
LORA_KEY = re.compile(r"lora_(unet|te\d?)_|.*\.(lora|lokr|hada)_|.*\.lora\.")


def told_by_bytes(start: bytes) -> str | None:
    """What a file that begins like this is, where that is no file of tensors at all; None when it may be one."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, which stands for a file that was not fetched; `git lfs pull` fetches it"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, saved in place of the file; download the file itself"
    for mark, kind in ARCHIVES.items():
        if start.startswith(mark):
            return f"it is a {kind} archive; unpack it first"
    if start.startswith(b"GGUF"):
        return "it is a model in GGUF, which no file of words is"
    return _told_by_text(start)


def _told_by_text(start: bytes) -> str | None:
    """What a server or a pointer says in place of a file: no file of tensors begins with text alone."""
    text = " ".join(start.decode("utf-8-sig", errors="replace").split())
    if not text.isprintable() or "\ufffd" in text[:-1]:  # the last character may be cut
        return None
    shown = text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}..."
    return f"it is a text, perhaps a server's answer in place of the file: '{shown}'"


def is_hypernetwork(content: object) -> bool:
    """Whether a pickled dict is the other thing that A1111 trains: widths as keys, pairs of modules as values."""
    return isinstance(content, dict) and any(
        type(key) is int and isinstance(value, list | tuple) for key, value in content.items()
    )


def has_hypernetwork(keys: Collection[str]) -> bool:
    """Whether the keys of a safetensors file are a hypernetwork's."""
    return any(HYPERNETWORK_KEY.fullmatch(key) for key in keys)


def told_by_keys(keys: Collection[object]) -> str | None:
    """What holds tensors under these keys, where that is known and no embedding; None for everything else."""
    names = {key for key in keys if isinstance(key, str)}
    if has_hypernetwork(names):
        return HYPERNETWORK
    if "optimizer_state_dict" in names:
        return "it is the state of A1111's optimizer; the word is in the file beside it whose name lacks .optim"
    if "t5xxl" in names and len(names) > 1:
        return "it is an embedding for Stable Diffusion 3, whose third text encoder is not supported"
    if outputs := sorted(OUTPUTS & names):
        return f"it holds an output embedding of OneTrainer ({', '.join(outputs)}), which stands for no tokens"
    if {"IN01", "MID"} <= names:
        return "it is an XTI embedding, which has other vectors for each layer of the UNet"
    if any(LORA_KEY.match(name) for name in names):
        return "it is a LoRA without a word"
    if any(name.startswith(MODEL_PARTS) for name in names):
        return "it is a whole model"
    if len(names) > 1 and all(name.startswith(VAE_PARTS) for name in names):
        return "it is a VAE"
    return None
