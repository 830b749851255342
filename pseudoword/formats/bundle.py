"""Words that come inside a LoRA file: tensors under `bundle_emb.<word>.<key>` of a safetensors file.

<key> is what the word's own file would have: `string_to_param.*`, `clip_l` and `clip_g`, or any single one.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open

from pseudoword.formats.embedding import Embedding, stored_tensor
from pseudoword.formats.keyed import from_keyed
from pseudoword.formats.keys import BUNDLED


def is_bundle(keys: Iterable[str]) -> bool:
    return any(key.startswith(BUNDLED) for key in keys)


def load_bundle(path: Path) -> list[Embedding]:
    """The words of a LoRA file by name, without loading the LoRA. Raises BadEmbedding and safetensors' own errors."""
    words: defaultdict[str, dict[object, object]] = defaultdict(dict)
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 -- the file is no dict
            if key.startswith(BUNDLED):
                name, _, rest = key.removeprefix(BUNDLED).partition(".")
                words[name][rest] = stored_tensor(file, key, path)
    return [replace(from_keyed(words[name], path), name=name or path.stem) for name in sorted(words)]
