"""How many rows fit into the device's memory at once: measured, not guessed."""

from collections.abc import Callable

import torch

from stages.train.loop import Training, is_out_of_memory

KEPT_FREE = 0.1  # share of the free memory, for what the allocator cannot use and the pictures of a preview


def rows_that_fit(peak_of: Callable[[int], int], free: int, most: int) -> int:
    """At least 1 and at most `most`.

    peak_of  bytes that so many rows take at their peak, which grows by the same for each row; one row fits
    free     bytes
    """
    one = peak_of(1)
    try:
        two = peak_of(2)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 1
    each = max(two - one, 1)
    return max(1, min(most, int((free * (1 - KEPT_FREE) - (one - each)) // each)))


def probed_rows(training: Training, device: torch.device, most: int) -> int:
    """`rows_that_fit` of a CUDA device. Spares memory where not even one row fits; raises OutOfMemory."""

    def peak_of(rows: int) -> int:
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        training.probe(rows)
        return torch.cuda.max_memory_allocated(device) - before

    try:
        training.probe(1)  # cuBLAS and cuDNN take their workspaces once
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        training.spare_memory()
        torch.cuda.empty_cache()
        return probed_rows(training, device, most)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return rows_that_fit(peak_of, free, most)
