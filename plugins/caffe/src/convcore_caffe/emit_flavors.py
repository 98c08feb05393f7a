"""Which layer types a flavor of Caffe has."""

from __future__ import annotations

from convcore.plugin import NotExpressible, ask_option

from .files import Layer
from .layer_spec import FLAVORS, spec_of
from .opencv import faults

__all__ = ["DEFAULT_FLAVOR", "FLAVORS", "check_type", "has_layer"]

DEFAULT_FLAVOR = "bvlc"


def check_type(type_: str, flavor: str) -> None:
    """NotExpressible when the flavor has no such layer."""
    where = spec_of(type_).flavors
    if flavor not in where:
        elsewhere = f" ({ask_option('caffe_flavor', where[0])} has it)" if where else ""
        raise NotExpressible(f"the Caffe flavor {flavor} has no layer type {type_}{elsewhere}")


def has_layer(layer: Layer, flavor: str) -> bool:
    """Whether a Caffe of the flavor has a layer of a source's type: one that is written, or one of upstream's that never is."""
    spec = spec_of(layer.type)
    if flavor == "opencv":
        return bool(spec.flavors or spec.upstream) and not any(faults(layer))
    return flavor in (spec.flavors or (FLAVORS if spec.upstream else ()))
