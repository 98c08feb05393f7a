"""What runs a model for a comparison: its framework's own runtime, or the interpreter on the model read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameworkMissingError, InputError, PluginNotInstalledError, UnsupportedError
from ..hookspecs import Runtime
from ..host import host
from ..ir.dtypes import DType
from ..ir.graph import Graph
from ..report.compare import EPS, RTOL
from .child import Child, open_in_child

__all__ = ["given_inputs", "native", "precision", "read_back_order", "read_back_runtime"]

Array = NDArray[Any]
Run = Callable[[list[Array]], list[Array]]

HALF = {DType.FLOAT16: (5e-3, 2.0**-10), DType.BFLOAT16: (4e-2, 2.0**-7)}
"""Default tolerance and unit in the last place of models that compute in half precision. Either is 5 units: frameworks round
partial sums differently (TensorFlow's CPU kernels every product), and bfloat16 rounds 8 times as coarsely as float16."""


def precision(*graphs: Graph) -> tuple[float, float]:
    """Default rtol and eps of the least precise float type any of the graphs computes in."""
    used = {v.dtype for g in graphs for node in g for v in node.outputs}
    return max((HALF[d] for d in used if d in HALF), default=(RTOL, EPS))


def native(
    framework: str, source: Any, weights: Any, notes: list[str], *, apart: bool, children: dict[str, Child] | None = None
) -> Runtime | None:  # fmt: skip
    """The framework's own runtime for a source, or None, with the reason among the notes where there is one to tell.

    ``apart`` opens a file in a process of its own (one of ``children``): one that convcore did not write itself may make a native
    library die. What only this process can open, code that it has written, has no runtime there and is run here.
    """
    if source is None or not framework or not host().can(framework, "runtime"):
        return None
    try:
        if apart and isinstance(source, Path) and (opened := open_in_child(framework, source, weights, children)) is not None:
            return opened
        return host().runtime(framework, source, weights)
    except (FrameworkMissingError, PluginNotInstalledError) as e:
        notes.append(f"{framework} did not run it: {e}")
        return None
    except UnsupportedError as e:
        notes.append(f"{e.problems[0].type} cannot run it ({e.problems[0].why}): the interpreter did")
        return None


def given_inputs(graph: Graph, example: Any) -> list[Array]:
    """The user's arrays in the order of the inputs; InputError where they do not name or number them."""
    names = [v.name for v in graph.inputs]
    if isinstance(example, Mapping):
        if set(example) != set(names):
            raise InputError(f"example_inputs must name the inputs {', '.join(names)}")
        return [np.asarray(example[n]) for n in names]
    arrays = list(example) if isinstance(example, (list, tuple)) else [example]
    if len(arrays) != len(names):
        raise InputError(f"example_inputs must hold {len(names)} arrays, got {len(arrays)}")
    return [np.asarray(a) for a in arrays]


def read_back_order(back: Graph, wanted_in: Sequence[str]) -> Callable[[list[Array]], list[Array]]:
    """Puts arrays in the order of ``wanted_in`` into that of the graph, which formats may choose themselves (Caffe: by name)."""
    have = [v.name for v in back.inputs]
    if sorted(wanted_in) != sorted(have) or len(set(have)) != len(have):
        return lambda arrays: arrays
    return lambda arrays: [arrays[wanted_in.index(n)] for n in have]


def read_back_runtime(back: Graph, run: Run, wanted_in: Sequence[str], wanted_out: Sequence[str]) -> Runtime:
    """The interpreter's ``run`` of the result read back, inputs and outputs in the source's order by their names there."""
    order = read_back_order(back, wanted_in)
    have_out = [v.name for v in back.outputs]

    def in_order(arrays: list[Array]) -> list[Array]:
        results = run(order(arrays))
        if sorted(wanted_out) == sorted(have_out) and len(set(have_out)) == len(have_out):
            results = [results[have_out.index(n)] for n in wanted_out]
        return results

    return Runtime("convcore interpreter (read back)", in_order)
