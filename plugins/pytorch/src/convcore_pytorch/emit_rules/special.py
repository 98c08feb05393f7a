"""Special functions as torch and torch.special have them."""

from __future__ import annotations

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES
from .base import E, given

_ONE = {
    "lgamma": "torch.lgamma", "digamma": "torch.digamma", "erfinv": "torch.erfinv", "erfcx": "torch.special.erfcx",
    "log_ndtr": "torch.special.log_ndtr",
}  # fmt: skip


@RULES.emit(*_ONE)
def one(e: E, node: Node) -> None:
    e.call(_ONE[node.op], [e.value(given(node.inputs[0]))], outputs=node.outputs)


@RULES.emit("bessel")
def bessel(e: E, node: Node) -> None:
    a = node.attrs
    kind, order, scaled = a["kind"], a["order"], a["scaled"]
    if kind == "i":
        name = f"torch.special.i{order}{'e' if scaled else ''}"
    elif kind == "k":
        name = f"torch.special.{'scaled_' if scaled else ''}modified_bessel_k{order}"
    elif scaled:
        raise NotExpressible(f"kind={kind}, scaled")
    else:
        name = f"torch.special.bessel_{kind}{order}"
    e.call(name, [e.value(given(node.inputs[0]))], outputs=node.outputs)


@RULES.emit("zeta")
def zeta(e: E, node: Node) -> None:
    e.call("torch.special.zeta", [e.value(given(v)) for v in node.inputs], outputs=node.outputs)


@RULES.emit("orthogonal_polynomial")
def polynomial(e: E, node: Node) -> None:
    family, _, letter = node.attrs["kind"].rpartition("_")
    name = f"torch.special.{family}_polynomial_{letter}"
    e.call(name, [e.value(given(v)) for v in node.inputs], outputs=node.outputs)
