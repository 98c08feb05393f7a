"""A custom layer of a model, from the source of its class: made, built and called as Keras does, on values of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

from convcore.plugin import ForeignNode, Tensor, UnsupportedError, Value, ask_option, ask_override

from ...files.model import LayerConfig, OpaqueObject
from ...load_context import KerasContext, LayerCall
from ..layer import told_apart
from ..values import AsksNone, CodeRefused
from .calls import made_of
from .classes import SourceClass, SourceObject
from .domain import SourceDomain
from .layers import Host
from .library import Library, library
from .state import PLAIN, Key, Run
from .statements import SourceFunction
from .weights import LeftOut, OtherNumber, Weights

__all__ = ["CustomCode", "custom_code", "refusal", "results_of"]


_MOST_TRIED = 64


class _Undone(Exception):
    """Leaves an attempt that only looked."""


class CustomCode:
    """The source that the user gives beside a model."""

    def __init__(self, files: Library) -> None:
        self.library = files
        self._arrays: dict[int, list[tuple[str, bool, Tensor]] | None] = {}
        self._kept: dict[int, tuple[LayerConfig, dict[Any, Any]]] = {}

    def arrays(self, layer: LayerConfig) -> list[tuple[str, bool, Tensor]] | None:
        """Path in the layer's folder, whether it is trained, and array of each weight of a layer that was called, in the order of
        HDF5; None where that is not known."""
        return self._arrays.get(id(layer))

    def has(self, layer: LayerConfig) -> bool:
        """Whether a file defines the class of a layer."""
        names = (layer.registered_name or "", layer.class_name, layer.source_class)
        return any(n in self.library.index or n.rpartition(">")[2] in self.library.index for n in names if n)

    def apply(self, g: KerasContext, node: ForeignNode) -> Sequence[Value]:
        """The results of a custom layer. Raises UnsupportedError with file, line and construct."""
        call: LayerCall = node.extra
        layer = call.layer
        try:
            return self._apply(g, node, layer, call)
        except CodeRefused as e:
            raise refusal(node, e) from e
        except RecursionError as e:
            raise refusal(node, CodeRefused("is nested too deeply to be followed")) from e

    def _apply(self, g: KerasContext, node: ForeignNode, layer: LayerConfig, call: LayerCall) -> Sequence[Value]:
        try:
            return self._run(g, node, layer, call, PLAIN)
        except AsksNone as e:
            return self._either_way(g, node, layer, call, e)

    def _either_way(
        self, g: KerasContext, node: ForeignNode, layer: LayerConfig, call: LayerCall, e: AsksNone
    ) -> Sequence[Value]:
        """Where the code asks whether an unknown size is None: both answers must mean the same. In graphs of TensorFlow it is
        None, and the other answer may be refused."""
        found: dict[bool, Any] = {}
        for answer in (True, False):
            try:
                with g.b.attempt():
                    before = len(g.b.graph.nodes)
                    outs = self._run(g, node, layer, call, replace(PLAIN, unknown_is_none=answer))
                    found[answer] = told_apart(g.b.graph.nodes[before:], outs)
                    raise _Undone
            except _Undone:
                continue
            except CodeRefused as refused:
                if answer or g.era == "keras3":
                    raise refused from e
        if len(found) == 2 and found[True] != found[False]:
            raise CodeRefused("computes one thing where a size is None and another where it is not", e.place)
        return self._run(g, node, layer, call, replace(PLAIN, unknown_is_none=True))

    def _run(self, g: KerasContext, node: ForeignNode, layer: LayerConfig, call: LayerCall, run: Run) -> Sequence[Value]:
        try:
            with g.b.attempt():
                return self._once(g, node, layer, call, run)
        except OtherNumber as e:
            return self._in_order(g, node, layer, call, run, e)

    def _in_order(
        self, g: KerasContext, node: ForeignNode, layer: LayerConfig, call: LayerCall, run: Run, e: OtherNumber
    ) -> Sequence[Value]:
        """Where a file only orders the weights, and layers of the source inside are built when they are called: what is built is
        seen first."""
        order: tuple[Key, ...] | None = None
        sizes = e.sizes
        try:
            with g.b.attempt():
                _, weights = self._worked(g, node, layer, call, replace(run, surveying=True))
                order, sizes = tuple(weights.surveyed()), weights.sizes
                raise _Undone
        except AsksNone:
            raise
        except (_Undone, CodeRefused):
            pass
        if order is None or len(order) > len(node.weights):
            more = e.more if order is None else len(order) - len(node.weights)
            return self._without(
                g, node, layer, call, run, OtherNumber(more + len(node.weights), len(node.weights), sizes), order
            )
        if len(order) < len(node.weights):
            raise OtherNumber(len(order), len(node.weights), sizes)
        with g.b.attempt():
            return self._once(g, node, layer, call, replace(run, order=order))

    def _without(
        self,
        g: KerasContext,
        node: ForeignNode,
        layer: LayerConfig,
        call: LayerCall,
        run: Run,
        e: OtherNumber,
        order: tuple[Key, ...] | None,
    ) -> Sequence[Value]:
        """Where a file only orders the weights: layers that are made and never called have none in it. Which those are the call
        tells; sets of layers that make up the difference are tried, and one is right where exactly the others are called."""
        called: set[str] = set()
        tried: set[frozenset[str]] = set()
        for _ in range(_MOST_TRIED):
            names = [n for n, size in e.sizes.items() if 0 < size <= e.more and n not in called]
            options = (frozenset(c) for k in range(1, 7) for c in combinations(names, k) if sum(e.sizes[n] for n in c) == e.more)
            chosen = next((c for c in islice(options, 10_000) if c not in tried), None)
            if chosen is None:
                break
            tried.add(chosen)
            left = None if order is None else tuple(k for k in order if k[1] not in chosen)
            try:
                with g.b.attempt():
                    return self._once(g, node, layer, call, replace(run, left_out=chosen, order=left))
            except LeftOut as found:
                called.add(found.label)
            except CodeRefused:
                continue
        raise e

    def _once(self, g: KerasContext, node: ForeignNode, layer: LayerConfig, call: LayerCall, run: Run) -> Sequence[Value]:
        y, weights = self._worked(g, node, layer, call, run)
        self._arrays[id(layer)] = weights.listed()
        return results_of(y)

    def _worked(self, g: KerasContext, node: ForeignNode, layer: LayerConfig, call: LayerCall, run: Run) -> tuple[Any, Weights]:
        """What the call gives, and its weights."""
        d, x = self.made(g, node, layer, run)
        args, kwargs = _arguments(node, call)
        if call.mask is not None:
            kwargs["mask"] = call.mask
        d.settling = True
        y = d.call(x, args, kwargs)
        d.host.weights.finish()
        return y, d.host.weights

    def made(self, g: KerasContext, node: ForeignNode, layer: LayerConfig, run: Run = PLAIN) -> tuple[SourceDomain, SourceObject]:
        """The layer as an object of its source, not built yet. Raises CodeRefused."""
        d = self._domain(g, node, layer, run)
        x = self._object(d, layer)
        d.host.start(d, x)
        return d, x

    def _domain(self, g: KerasContext, node: ForeignNode, layer: LayerConfig, run: Run = PLAIN) -> SourceDomain:
        kept = {} if run.surveying else self._kept.setdefault(id(layer), (layer, {}))[1].setdefault(run.left_out, {})
        h = Host(g, node, layer, g.keeps_paths, kept, run)
        d = SourceDomain(h.ops, self.library, h)
        d.unknown_is_none = run.unknown_is_none
        return d

    def _object(self, d: SourceDomain, layer: LayerConfig) -> SourceObject:
        """The layer as ``from_config`` makes it."""
        cls = self.find(d, layer)
        if not isinstance(cls, SourceClass):
            raise CodeRefused(f"is defined as something else than a class in {self.library.roots or ''}")
        said = {"name": layer.name, "trainable": layer.trainable}
        config = {k: v for k, v in said.items() if k in layer.stated} | {k: _config(v) for k, v in layer.config.items()}
        made = made_of(d, cls, config)
        if not isinstance(made, SourceObject) or made.state is None:
            raise CodeRefused(f"is no layer: {cls.name} does not extend keras.layers.Layer")
        if not made.state.ready:
            raise CodeRefused(f"{cls.name}.__init__ does not call Layer.__init__")
        made.state.trainable = layer.trainable
        return made

    def function(
        self, g: KerasContext, node: ForeignNode, name: str, module: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Sequence[Value]:
        """The results of a function that a Lambda layer names. Raises CodeRefused."""
        definition = self.library.define(name, module)
        if definition is None:
            raise CodeRefused(f"calls the function {name!r}, which is not defined in the files of {ask_option('custom')}")
        d = self._domain(g, node, node.extra.layer)
        d.settling = True
        f = d.module_of(definition.file).read(definition.name)
        given = dict(kwargs)
        if isinstance(f, SourceFunction):
            names = (*f.parameters().names, *f.parameters().keyword)
            given |= {k: v for k, v in (("mask", g.input_mask(node)), ("training", False)) if k in names and k not in given}
        with g.b.attempt():
            return results_of(d.call(f, args, given))

    def defines(self, name: str) -> bool:
        """Whether a file defines a function (or class) of that name, or registered name."""
        return name in self.library.index or name.rpartition(">")[2] in self.library.index

    def activation(self, g: KerasContext, node: ForeignNode, name: str, module: str, x: Value) -> Value:
        """A function of the source as the activation of a layer. Raises UnsupportedError."""
        try:
            (y,) = self.function(g, node, name, module, [x], {})
        except CodeRefused as e:
            raise refusal(node, e) from e
        return y

    def find(self, d: SourceDomain, layer: LayerConfig) -> Any:
        """What the library has under the name of a layer's class. Raises CodeRefused."""
        for name in dict.fromkeys((layer.registered_name or "", layer.source_class, layer.class_name)):
            definition = self.library.define(name, layer.module or "") if name else None
            if definition is not None:
                return d.module_of(definition.file).read(definition.name)
        raise CodeRefused(f"is not defined in the files of {ask_option('custom')}")


def _config(x: Any) -> Any:
    """A value of a configuration, as ``from_config`` is given it."""
    if isinstance(x, OpaqueObject):
        return x.payload
    if isinstance(x, dict):
        return {k: _config(v) for k, v in x.items()}
    return [_config(v) for v in x] if isinstance(x, list) else x


def _arguments(node: ForeignNode, call: LayerCall) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of the call with their structure, tensors as the node has them now (cast)."""
    kwargs: dict[str, Any] = {}
    for name in [k for k in node.attrs if k.startswith("call.") and k != "call.args"]:
        kwargs[name[5:]] = node.attr(name)
    node.ignore(*node.attrs)
    if call.args is None:
        tensors = node.needed()
        return [tensors[0] if len(tensors) == 1 else list(tensors)], kwargs
    rest = iter(node.inputs)

    def now(x: Any) -> Any:
        if isinstance(x, Value):
            return next(rest)
        if isinstance(x, (list, tuple)):
            return type(x)(now(v) for v in x)
        return {k: now(x[k]) for k in sorted(x)} if isinstance(x, dict) else x

    return [now(a) for a in call.args], kwargs


def results_of(y: Any) -> Sequence[Value]:
    """What code gave, as values. Raises CodeRefused."""
    if isinstance(y, Mapping):
        y = [y[k] for k in sorted(y)]
    items = list(y) if isinstance(y, (list, tuple)) else [y]
    flat: list[Any] = []
    for v in items:
        flat += v if isinstance(v, (list, tuple)) else [v]
    if not flat or not all(isinstance(v, Value) for v in flat):
        raise CodeRefused("returns something else than tensors")
    return flat


def refusal(node: ForeignNode, e: CodeRefused) -> UnsupportedError:
    """The error of a layer whose source is not understood."""
    place = f"{e.place}: " if e.place else ""
    return node.refuse(
        f"{place}its source {e.why}",
        f"change that line, or say what the layer computes: {ask_override(node.name)}",
        "custom_layer",
    )


def custom_code(value: Any, named: Sequence[tuple[str, str, Path]] = ()) -> CustomCode:
    """From the option ``custom`` (a path, several or None) and what ``custom_objects`` names. Raises UsageError."""
    paths = [] if not value else [value] if isinstance(value, str) or hasattr(value, "__fspath__") else list(value)
    return CustomCode(library(paths, named))
