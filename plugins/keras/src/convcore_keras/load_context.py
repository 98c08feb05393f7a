"""What Keras load rules work with: the builder, weights, masks, and the rules of wrapped layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convcore.plugin import (
    BUFFER,
    PARAMETER,
    Builder,
    DType,
    ForeignNode,
    LoadContext,
    Origin,
    RuleSet,
    Scope,
    Tensor,
    Value,
    permutation_of,
)

from .body import Body
from .files.model import KerasModel, LayerConfig
from .files.variables import own_variables
from .keep import SourceLayer, goes_back
from .layer_spec import spec_of
from .load_opaque import plain

if TYPE_CHECKING:
    from .code.source.custom import CustomCode

__all__ = ["UNKNOWN_SHAPE", "KerasContext", "LayerCall", "foreign_type"]

UNKNOWN_SHAPE = "unknown_shape"
"""Code of the problem of a layer whose input comes from a layer that is not mapped."""


@dataclass
class LayerCall:
    """What a rule may want besides attributes (``node.extra``): the layer, and the mask its caller passed, if any."""

    layer: LayerConfig
    mask: Value | None = None
    implicit: bool = True
    args: tuple[Any, ...] | None = None
    """The positional arguments with their structure; None where the layer is called with its inputs."""
    """Whether the mask of the first input reaches the layer. Keras 3 passes none to a call with several tensor arguments (an
    RNN with ``initial_state``), unless it is given as ``mask=``; older Keras does."""


def foreign_type(layer: LayerConfig) -> str:
    """The type rules are keyed by: ``Dense``; ``pkg>Class`` for other packages; ``ops.Add`` for operations of Keras 3."""
    if layer.custom and ">" in (layer.registered_name or ""):
        return str(layer.registered_name)
    return f"ops.{layer.class_name}" if layer.is_op else layer.class_name


_QUANTISED = {"Dense": ("int8", "int4", "float8"), "EinsumDense": ("int8",), "Embedding": ("int8",)}
"""The modes of quantisation that ``layers/quantised.py`` reads, by layer."""


class KerasContext(LoadContext):
    """``g`` in Keras rules. ``era`` is "keras1", "keras2", "tf.keras" or "keras3"; ``version`` a tuple, () when unknown;
    ``backend`` what the file says, "" if nothing."""

    def __init__(self, builder: Builder, model: KerasModel, rules: RuleSet[Any, Any], overrides: Mapping[str, Any]) -> None:
        super().__init__(builder)
        self.era, self.backend = model.era, model.backend or ""
        self.version = tuple(int(p) for p in model.keras_version.replace("-", ".").split(".")[:2] if p.isdigit())
        self.rules, self.overrides = rules, overrides
        self._masks: dict[int, tuple[Value, Value]] = {}
        self.shape_values: dict[int, tuple[Value, Any]] = {}  # values that hold sizes of tensors, and the sizes
        self._tensors: dict[int, tuple[LayerConfig, dict[str, Tensor]]] = {}
        self.trainable = model.root.trainable
        self._listed: set[tuple[str, ...]] = set()
        self._configs: dict[int, tuple[LayerConfig, dict[str, Any]]] = {}
        self.inline: Callable[[LayerConfig, str, Sequence[Value]], list[Value]] | None = None  # builds a nested model
        self.custom: CustomCode | None = None  # the source of layers that the user gives
        self.texts: dict[str, Any] = {}  # what layers compute, as the user says it, by their names
        self.texts_used: set[str] = set()
        self.explicit_states = False  # whether the states of stateful layers are inputs and outputs
        self.carried: list[tuple[str, Value]] = []  # the last states of stateful layers, by their names
        self.keeps_paths = model.container.endswith(("keras-zip", "keras-folder", "weights.h5", "shards", "live"))
        """Whether the file names the sublayer of each variable of a custom layer (``.keras``), or only orders them."""

    # ---- masks
    def mask(self, value: Value | None) -> Value | None:
        """The mask (bool; True: use this step) that travels with a value, as Keras attaches it; None if there is none."""
        found = None if value is None else self._masks.get(id(value))
        return None if found is None else found[1]

    def set_mask(self, value: Value, mask: Value | None) -> None:
        """Let a mask travel with a value (None: stop one)."""
        old = self._masks.get(id(value))
        new = None if mask is None else (value, mask)
        self._keep(value, new)
        if old is not new:
            self.b.graph.on_undo(lambda: self._keep(value, old))

    def _keep(self, value: Value, found: tuple[Value, Value] | None) -> None:
        if found is None:
            self._masks.pop(id(value), None)
        else:
            self._masks[id(value)] = found

    def input_mask(self, node: ForeignNode, i: int = 0) -> Value | None:
        """The mask a layer's call sees for input ``i``: the one given as ``mask=``, else the one that travels with it."""
        call = node.extra
        if isinstance(call, LayerCall) and i == 0 and (call.mask is not None or not call.implicit):
            return call.mask
        return self.mask(node.input(i))

    def previous_mask(self, node: ForeignNode, i: int = 0) -> Value | None:
        """The mask that ``compute_mask`` starts from: as :meth:`input_mask`, but also where the call itself sees none.

        Keras 3 before 3.11 (its pull request 21449) starts from the one that travels with the input, whatever ``mask=`` says.
        """
        if self.era == "keras3" and self.version and self.version < (3, 11):
            return self.mask(node.input(i))
        return self.input_mask(node, i) or self.mask(node.input(i))

    # ---- weights
    def derived(self, key: Any, make: Callable[[], Value], *, of: Any = None) -> Value:
        """In the body of a loop, too: made for the graph around it, and copied."""
        if not isinstance(self.b, Body):
            return super().derived(key, make, of=of)
        inner, self.b = self.b, self.b.outer
        try:
            made = self.derived(key, make, of=of)
        finally:
            self.b = inner
        return inner.bring(made)

    def weight(
        self, node: ForeignNode, name: str, tensor: Tensor, *, trainable: bool = True, role: str = PARAMETER, of: str = ""
    ) -> Value:
        """The layer's variable as a graph weight, once. ``of`` is the variable it is made from where ``name`` is another's.

        A variable that Keras never trains (a running mean) is a buffer; a parameter is trainable unless its layer, or a model
        or wrapper around it, is frozen.
        """
        if self._is_state(node, of or name):
            role, trainable = BUFFER, False
        return super().weight(node, name, tensor, trainable=trainable and not self._frozen(), role=role)

    @staticmethod
    def _is_state(node: ForeignNode, name: str) -> bool:
        if not isinstance(node.extra, LayerCall):
            return False
        return name in {v.name for v in own_variables(node.extra.layer) or () if not v.trainable}

    def _frozen(self) -> bool:
        """Whether a layer around has ``trainable=False``: the setter hands it down (``Layer.trainable``, Keras 3.15), and a
        frozen model has no trainable weights (``Network.trainable_weights``, Keras 2)."""
        return not self.trainable or any(s.config.get("trainable") is False for s in self.b.scope.ancestors())

    # ---- scopes
    def enter(self, layer: LayerConfig) -> Scope:
        """The scope of the next use of a layer, inside the current one."""
        path = (*self.b.scope.path, layer.name)
        if path in self._listed:
            self._listed.remove(path)
            self.b.graph.on_undo(lambda: self._listed.add(path))
            return self._scope(layer, 0)
        return self._scope(layer, self.b.graph.uses_of(path))

    def list_layers(self, layers: Sequence[LayerConfig]) -> None:
        """Make the scopes of the first uses of layers, which gives their order."""
        for layer in layers:
            self._listed.add(self._scope(layer, 0).path)

    def _scope(self, layer: LayerConfig, call: int) -> Scope:
        """The scope of a use of a layer in the current one, with its configuration."""
        if layer.custom or goes_back(layer):
            config = SourceLayer({**plain(layer.config), "trainable": layer.trainable}, layer)
            return self.b.graph.scope(layer.name, layer.class_name, config, parent=self.b.scope, call=call)
        first = self._configs.get(id(layer))
        if first is None:
            first = self._configs[id(layer)] = (layer, {**plain(layer.config), "trainable": layer.trainable})
        return self.b.graph.scope(layer.name, layer.class_name, first[1], parent=self.b.scope, call=call)

    def array(self, node: ForeignNode, name: str) -> Tensor:
        """A variable that must be there, as a tensor."""
        found = node.weights.get(name)
        if found is None:
            raise node.refuse(f"its weight {name!r} is missing", code="missing_weight")
        return found

    def optional(self, node: ForeignNode, name: str) -> Value | None:
        """A variable as a graph weight, None where the layer has none of the name."""
        return self.variable(node, name) if name in node.weights else None

    def variable(self, node: ForeignNode, name: str, order: str = "") -> Value:
        """A variable as a graph weight with its axes in another order (``"*IO->OI*"``)."""
        tensor = self.array(node, name)
        if not order:
            return self.weight(node, name, tensor)
        return self.variant(node, name, order, lambda t: t.transpose(permutation_of(order, t.ndim)[0]))

    def variant(self, node: ForeignNode, name: str, key: Any, make: Callable[[Tensor], Tensor], *, label: str = "") -> Value:
        """The variable ``name`` in another form, once per (variable, key) however often the layer is called.

        ``label`` is its name when it is not the variable's; trainable it is if the variable is.
        """
        tensor = self.array(node, name)

        def made() -> Value:
            return self.weight(node, label or name, make(tensor), of=name)

        return self.derived((name, key), made, of=tensor)

    # ---- layers
    def tensors(self, layer: LayerConfig) -> dict[str, Tensor]:
        """The layer's variables in its compute dtype, the same tensor objects every time."""
        found = self._tensors.get(id(layer))
        if found is None:
            out = dict(layer.weights)
            compute = compute_dtype(layer)
            if compute is not None and not spec_of(layer.class_name).float32:
                out = {k: t.cast(compute) if t.dtype.is_float else t for k, t in out.items()}
            found = self._tensors[id(layer)] = (layer, out)
        return found[1]

    def node(
        self,
        layer: LayerConfig,
        inputs: Sequence[Value | None],
        path: str,
        *,
        weights: Mapping[str, Tensor] | None = None,
        attrs: Mapping[str, Any] | None = None,
        mask: Value | None = None,
        implicit: bool = True,
    ) -> ForeignNode:
        """A layer's call as the rules see it. ``weights`` replace the layer's own (a wrapped layer's are its wrapper's)."""
        return ForeignNode(
            foreign_type(layer),
            path,
            inputs,
            {**layer.config, **(attrs or {})},
            weights=self.tensors(layer) if weights is None else weights,
            origin=Origin("keras", path, layer.source_class),
            extra=LayerCall(layer, mask, implicit),
        )

    def sublayer(
        self, node: ForeignNode, layer: LayerConfig, prefix: str, inputs: Sequence[Value | None], **extra: Any
    ) -> tuple[Value, ...]:
        """Apply a layer that ``node`` wraps; its variables are those of the wrapper under ``prefix/``.

        ``extra`` are attributes of the call (``mask=`` the mask it is given).
        """
        start = f"{prefix}/"
        weights = {k[len(start) :]: t for k, t in node.weights.items() if k.startswith(start)}
        mask = extra.pop("mask", None)
        inner = self.node(layer, inputs, f"{node.name}/{layer.name}", weights=weights, attrs=extra, mask=mask)
        with self.b.within(self.enter(layer)):
            return self.apply(inner)

    def apply(self, node: ForeignNode) -> tuple[Value, ...]:
        """Run the best rule under the layer's dtype policy. Raises UnsupportedError."""
        call = node.extra
        layer = call.layer if isinstance(call, LayerCall) else None
        with self.b.at(node.origin):
            text = next((k for k in (node.name, node.name.rpartition("/")[2]) if k in self.texts), None)
            if text is not None and layer is not None:
                from .code.source.text import run_text

                self.texts_used.add(text)
                return tuple(run_text(self, node, self.texts[text]))
            source = None if layer is None or layer.is_op or has_rule(self, node) else self.source_of(layer)
            if layer is None or layer.is_op or (source is None and not has_rule(self, node)):
                return self.rules.apply_load(self, node, self.overrides)
            self._refuse(node, layer)
            back = self._cast_inputs(node, layer)
            outs = self.rules.apply_load(self, node, self.overrides) if source is None else tuple(source.apply(self, node))
            return tuple(self.b.cast(v, to=back) for v in outs) if back is not None else outs

    def source_of(self, layer: LayerConfig) -> CustomCode | None:
        """The user's source, where it defines the class of a layer."""
        return self.custom if layer.custom and self.custom is not None and self.custom.has(layer) else None

    def _refuse(self, node: ForeignNode, layer: LayerConfig) -> None:
        if not any(v is not None for v in node.inputs):
            raise node.refuse("is called without a tensor among its positional arguments", code="unsupported_call")
        if spec_of(layer.class_name).augments:  # called with training=True unless it says otherwise, which predict overrides
            node.attrs.pop("call.training", None)
        if "call.training" in node.attrs:
            raise node.refuse(
                "is called with training=True, so it behaves at inference as in training",
                "call it without training=",
                "unsupported_call",
            )
        told_by_hand = node.name in self.overrides or node.type in self.overrides
        if (invalid := spec_of(layer.class_name).invalid(node.attrs)) and not layer.custom and not told_by_hand:
            raise node.refuse("; ".join(invalid), "correct its configuration", "unsupported_attribute")
        mode = layer.dtype.quantization
        if mode is not None and mode not in _QUANTISED.get(layer.class_name, ()):
            raise node.refuse(
                f"its weights are quantised ({mode})",
                "save the model before model.quantize(...)",
                "unsupported_quantization",
            )

    def _cast_inputs(self, node: ForeignNode, layer: LayerConfig) -> DType | None:
        """Cast floating inputs to the compute dtype, as Keras's autocast does. Returns the dtype outputs go back to, if any."""
        compute = compute_dtype(layer)
        if compute is None:
            floats = any(v is not None and v.dtype is not None and v.dtype.is_float for v in node.inputs)
            if floats and not spec_of(layer.class_name).any_dtype:
                why = f"it computes in {layer.dtype.compute}, but its input is a floating tensor"
                raise node.refuse(why, code="unsupported_dtype")
            return None
        inside = DType.FLOAT32 if spec_of(layer.class_name).float32 and compute.itemsize < 4 else compute
        every = spec_of(layer.class_name).casts_integers
        whole = any(v is not None and v.dtype is not None and not v.dtype.is_float for v in node.inputs)
        if whole and spec_of(layer.class_name).floats_only:
            raise node.refuse("on integers it means something else in each of Keras's backends", code="unsupported_dtype")
        for i, v in enumerate(node.inputs):
            if v is None or v.dtype is None or v.dtype is inside:
                continue
            if v.dtype.is_float or (every and (v.dtype.is_int or v.dtype is DType.BOOL)):
                mask = self.mask(v)
                node.inputs[i] = wide = self.b.cast(v, to=inside)
                self.set_mask(wide, mask)
        return compute if inside is not compute else None


def has_rule(g: KerasContext, node: ForeignNode) -> bool:
    """Whether the type is known, or overridden for this call."""
    return bool(g.rules.load_rules.get(node.type)) or node.name in g.overrides or node.type in g.overrides


def compute_dtype(layer: LayerConfig) -> DType | None:
    """The floating dtype a layer computes in; None for others (a layer of integers or strings casts nothing)."""
    try:
        found = DType(layer.dtype.compute)
    except ValueError:
        return None
    return found if found.is_float else None
