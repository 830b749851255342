"""How many rows fit into the device's memory at once: measured, not guessed."""

from collections.abc import Callable

import torch

KEPT_FREE = 0.1  # share of the free memory, for what the allocator cannot use and the pictures of a preview


def rows_that_fit(peak_of: Callable[[int], int], free: int, most: int) -> int:
    """At least 1 and at most `most`.

    peak_of  bytes that so many rows take at their peak; grows by the same for each row from the first
    free     bytes
    """
    one, two = peak_of(1), peak_of(2)
    each = max(two - one, 1)
    return max(1, min(most, int((free * (1 - KEPT_FREE) - (one - each)) // each)))


def probed_rows(probe: Callable[[int], None], device: torch.device, most: int) -> int:
    """`rows_that_fit` of a CUDA device, by running `probe` with one row and with two."""

    def peak_of(rows: int) -> int:
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        probe(rows)
        return torch.cuda.max_memory_allocated(device) - before

    probe(1)  # cuBLAS and cuDNN take their workspaces once
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return rows_that_fit(peak_of, free, most)
