"""How many threads torch takes on a CPU, asked without torch: the last digits of what it computes depend on it."""

import os


def thread_count() -> int:
    """OMP_NUM_THREADS, else MKL_NUM_THREADS, else the cores that this process may use.

    Where two of these are one physical core torch may take half as many; the same machine always does alike.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        first = os.environ.get(name, "").split(",")[0].strip()
        if first.isdecimal() and int(first):
            return int(first)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
