"""safetensors with the same bytes for the same content.

The safetensors package writes the metadata in the order of a hash table with a random seed, so that two files of
equal content differ. DVC compares bytes: everything that follows would run again. Here the header is sorted.
"""

import json
import struct
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from pseudoword.files import write_bytes

ALIGNMENT = 8  # bytes: where the data starts, so that it can be mapped into memory


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write `tensors` (any shapes, moved to the CPU) and `metadata` atomically."""
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    write_bytes(path, _with_sorted_header(content))


def _with_sorted_header(content: bytes) -> bytes:
    (length,) = struct.unpack_from("<Q", content)
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]
