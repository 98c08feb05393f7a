"""Activations of recurrent layers: ONNX's names with alpha and beta lists, ours as ``name(parameter, ...)``."""

from __future__ import annotations

from typing import Any

from convcore.plugin import ForeignNode, Node, NotExpressible, activation

__all__ = ["emit_activations", "load_activations"]

TABLE: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "relu": ("relu", ()),
    "tanh": ("tanh", ()),
    "sigmoid": ("sigmoid", ()),
    "softsign": ("softsign", ()),
    "softplus": ("softplus", ()),
    "affine": ("affine", (None, None)),
    "leakyrelu": ("leaky_relu", (0.01,)),
    "thresholdedrelu": ("thresholded_relu", (1.0,)),
    "scaledtanh": ("scaled_tanh", (None, None)),
    "hardsigmoid": ("hard_sigmoid", (0.2, 0.5)),
    "elu": ("elu", (1.0,)),
}
"""ONNX's name in lower case: (ours, defaults of alpha and beta; None: it must be given)."""

NAMES = {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus", "affine": "Affine",
    "leaky_relu": "LeakyRelu", "thresholded_relu": "ThresholdedRelu", "scaled_tanh": "ScaledTanh", "elu": "Elu",
}  # fmt: skip

DEFAULTS = {"lstm": ("Sigmoid", "Tanh", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}
ATTRS = {
    "lstm": ("recurrent_activation", "activation", "output_activation"), "gru": ("recurrent_activation", "activation"),
    "rnn": ("activation",),
}  # fmt: skip


def load_activations(node: ForeignNode, kind: str, directions: int) -> dict[str, str]:
    """Our attributes. Parameters are taken in order by the activations that have them."""
    count = len(DEFAULTS[kind])
    given = list(node.attr("activations", None) or DEFAULTS[kind] * directions)
    alphas, betas = (list(node.attr(f"activation_{p}", None) or ()) for p in ("alpha", "beta"))
    if len(given) != count * directions:
        raise node.refuse(f"{len(given)} activations, {count * directions} are needed")
    names = []
    for raw in given:
        found = TABLE.get(str(raw).lower())
        if found is None:
            raise node.refuse(f"activation {raw!r} is not known")
        ours, defaults = found
        values = []
        for default, left, what in zip(defaults, (alphas, betas), ("alpha", "beta")):
            value = left.pop(0) if left else default
            if value is None:
                raise node.refuse(f"activation {raw} needs activation_{what}")
            values.append(value)
        names.append(f"{ours}({', '.join(map(repr, values))})" if values else ours)
    if alphas or betas:
        raise node.refuse("activation_alpha or activation_beta has more entries than the activations take")
    first = names[:count]
    if any(names[i * count : (i + 1) * count] != first for i in range(directions)):
        raise node.refuse(f"the directions have different activations: {given}")
    out = dict(zip(ATTRS[kind], first))
    if kind == "lstm" and out["output_activation"] == out["activation"]:
        del out["output_activation"]
    return out


def _one(text: str) -> tuple[str, list[float]]:
    """(ONNX's name, its parameters)."""
    name, _, rest = text.partition("(")
    name = name.strip()
    given = [float(t) for t in rest.rstrip(") ").split(",") if t.strip()]
    if name == "linear":
        return "Affine", [1.0, 0.0]
    if name in ("hard_sigmoid", "hard_sigmoid_legacy"):
        ((_, attrs, _),) = activation(text).steps
        values = dict(attrs)
        return "HardSigmoid", [values["alpha"], values["beta"]]
    if name == "elu" and not given:
        given = [1.0]
    if name not in NAMES:
        raise NotExpressible(f"ONNX has no recurrent activation {name!r}")
    return NAMES[name], given


def emit_activations(node: Node, directions: int) -> dict[str, Any]:
    """``activations`` with their parameters; nothing where they are the defaults."""
    a, kind = node.attrs, node.op
    texts = [a[k] for k in ATTRS[kind]]
    if kind == "lstm" and texts[2] is None:
        texts[2] = texts[1]
    parts = [_one(t) for t in texts] * directions
    names = [n for n, _ in parts]
    if tuple(names) == DEFAULTS[kind] * directions:
        return {}
    alphas = [p[0] for _, p in parts if p]
    betas = [p[1] for _, p in parts if len(p) > 1]
    if betas and len({len(p) for _, p in parts if p}) > 1:
        # runtimes differ in how they count parameters when some activations have one and others two
        raise NotExpressible(f"activations {', '.join(names)} mix one and two parameters")
    out: dict[str, Any] = {"activations": names}
    if alphas:
        out["activation_alpha"] = alphas
    if betas:
        out["activation_beta"] = betas
    return out
