"""Times an op without the overhead of its call: replays a CUDA graph over inputs that are not cached."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from benchmarks.timing import alternate

_MOST_SETS = 64


def sets_past_the_caches(one_set: Any, device: torch.device) -> int:
    """Returns how many sets of arguments and results fill the L2 cache four times, at most 64.

    Four times, because an op may not read and write all of a set. The sets of the smallest cases stay in the
    cache.
    """
    size = sum(leaf.nbytes for leaf in tree_leaves(one_set) if isinstance(leaf, torch.Tensor))
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    return min(_MOST_SETS, -(-4 * cache // size))


def seconds_of_replay(
    run: Callable[..., Any], sets: Sequence[tuple[Any, ...]], device: torch.device, seconds: float
) -> float:
    """Returns the median time of a call, replayed over sets of arguments in turn for about `seconds`.

    The arguments must have been made on the current stream, because their backward pass runs on that stream.
    """
    stream = torch.cuda.current_stream(device)
    run(*sets[0])  # loads the kernels, which a capture must not do
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = [run(*arguments) for arguments in sets]  # kept, so that each has its own memory
    measured = alternate({"replay": graph.replay}, (), device, seconds=seconds)["replay"]
    del results
    return measured / len(sets)
