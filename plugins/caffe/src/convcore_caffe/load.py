"""Reading a Caffe net into a graph: the loader the host calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convcore.plugin import BadFileError, Graph, LoadRequest, UsageError, ask_option

from .files import Net, read_net, sniff
from .load_net import NetLoader

__all__ = ["load"]


def load(request: LoadRequest) -> Graph:
    """The graph of a net: a prototxt with weights (caffemodel or HDF5), a caffemodel with its own definition, or a :class:`Net`.

    Layers convcore does not know become opaque nodes. Raises BadFileError for what Caffe refuses, naming every layer, and where
    weights are missing (unless ``init_weights``); UsageError for shapes the prototxt leaves open and ``input_shapes`` does not
    give.
    """
    source, weights = request.source, request.weights
    if isinstance(source, Net):
        return NetLoader(source, request).run()
    if not isinstance(source, (str, Path)):
        raise UsageError(f"a Caffe net is read from files, not from a {type(source).__name__}")
    options: dict[str, Any] = dict(request.options)
    if weights is not None and sniff(weights) == "prototxt" and sniff(source) in ("caffemodel", "hdf5"):
        raise UsageError(f"{source} holds weights and {weights} the net: give them the other way round")
    stages = tuple(s.strip() for s in (options.get("stages") or "").split(",") if s.strip())
    net = read_net(source, weights, phase=options.get("phase") or "TEST", level=options.get("level") or 0, stages=stages)
    if net.missing and not options.get("init_weights"):
        named = ", ".join(repr(n) for n in net.missing[:5]) + (
            f" and {len(net.missing) - 5} more" if len(net.missing) > 5 else ""
        )
        what = "holds no weights" if weights is None else f"{weights} holds no weights"
        raise BadFileError(
            f"{source}: {what} for {named}: give the caffemodel ({ask_option('weights')}), or "
            f"{ask_option('init_weights', True)} to fill them as training starts"
        )
    return NetLoader(net, request).run()
