"""The work on rows as CUDA graphs. A step of Stable Diffusion 1.5 makes 3,000 kernels, and to launch them one by one
takes the host longer than most GPUs take to run them (docs/decisions/0004): recorded once, they are launched as one.

Letters in shapes: n rows, V rows of parameters of all runs, D numbers of a row, R runs.
"""

import gc
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from pseudoword.base.hub import first_line
from pseudoword.errors import is_out_of_memory
from stages.train.capacity import MAX_ERROR, error_of
from stages.train.samples import Rows

MAX_GRAPHS = 16  # of rows of different shapes and numbers

Done = tuple[Tensor, Tensor]  # losses (n,), gradient (V, D)
Work = Callable[[Tensor, Tensor, Rows], Done]  # of parameters (V, D), scale (R,), rows


class Recorded:
    """Work that was recorded on some rows, and is done again on others of the same shapes."""

    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: tuple[Tensor, Tensor, Rows], outputs: Done) -> None:
        self.graph, self.inputs, self.outputs = graph, inputs, outputs

    @classmethod
    def of(cls, work: Work, parameters: Tensor, scale: Tensor, rows: Rows, pool: Any) -> Self:
        """`pool`, a handle of torch's: where the recorded kernels work. Graphs may share one, since nothing there but a
        graph's outputs outlives its replay."""
        inputs = (parameters.clone(), scale.clone(), rows.copied())
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        # Entered twice, so that the stream of before comes back also where the recording itself fails to give it back.
        with torch.cuda.stream(torch.cuda.current_stream()):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                work(*inputs)  # cuBLAS takes a workspace for each stream, which must not be the graph's
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                outputs = work(*inputs)
        return cls(graph, inputs, outputs)

    def __call__(self, parameters: Tensor, scale: Tensor, rows: Rows) -> Done:
        """What it returns is overwritten by the next call."""
        for mine, given in zip(self.inputs[:2], (parameters, scale), strict=True):
            mine.copy_(given)
        self.inputs[2].take(rows)
        self.graph.replay()
        return self.outputs


class Graphs:
    """Does work as it is the first time that rows of a shape and number come, records it the second time, and from then
    on replays what was recorded. What there is no room for, and more than MAX_GRAPHS kinds, is done as it is; where
    recording fails otherwise, or gives another gradient, all is from then on."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.wanted = True
        self.forget()

    def forget(self) -> None:
        """Give the memory of all graphs back."""
        self.seen: set[tuple[object, ...]] = set()
        self.recorded: dict[tuple[object, ...], Recorded | None] = {}  # None: there was no room for it
        self.pool = torch.cuda.graph_pool_handle()  # an old one goes with its last graph
        gc.collect()

    def __call__(self, work: Work, parameters: Tensor, scale: Tensor, rows: Rows) -> Done:
        kind = (rows.group, rows.noise.shape, rows.ids.shape)
        if kind in self.recorded:
            return (self.recorded[kind] or work)(parameters, scale, rows)
        if kind not in self.seen or not self.wanted or len(self.recorded) == MAX_GRAPHS:
            self.seen.add(kind)
            return work(parameters, scale, rows)
        held = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        done = work(parameters, scale, rows)
        needed = torch.cuda.max_memory_allocated(self.device) - held
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        if 2 * needed <= free:
            self._record(kind, work, parameters, scale, rows, done)
        else:  # a graph keeps to itself what its kernels need, and previews and evaluations need as much again
            print(
                f"note: {len(rows)} rows are not recorded as a CUDA graph: {2 * needed / 2**30:.1f} GiB would have to "
                f"be free, {free / 2**30:.1f} are. A smaller train.batch leaves more"
            )
            self.recorded[kind] = None
        return done

    def _record(
        self, kind: tuple[object, ...], work: Work, parameters: Tensor, scale: Tensor, rows: Rows, expected: Done
    ) -> None:
        try:
            recorded = Recorded.of(work, parameters, scale, rows, self.pool)
            _, gradient = recorded(parameters, scale, rows)
            error = error_of(gradient, expected[1])
        except RuntimeError as failure:
            why = "memory ran out" if is_out_of_memory(failure) else first_line(failure)
        else:
            if error <= MAX_ERROR or not expected[1].isfinite().all():  # of what overflows nothing can be compared
                self.recorded[kind] = recorded
                return
            why = f"the gradient is {error:.0%} off"
        self.wanted = False
        self.forget()
        print(f"warning: a step cannot be recorded as a CUDA graph ({why}); going on without")
