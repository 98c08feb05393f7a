"""Which layer types a flavor of Caffe has."""

from __future__ import annotations

from convcore.plugin import NotExpressible

from .layer_spec import FLAVORS, spec_of

__all__ = ["DEFAULT_FLAVOR", "FLAVORS", "check_type"]

DEFAULT_FLAVOR = "bvlc"


def check_type(type_: str, flavor: str) -> None:
    """NotExpressible when the flavor has no such layer."""
    where = spec_of(type_).writes
    if flavor not in where:
        elsewhere = f" (--caffe-flavor {where[0]} has it)" if where else ""
        raise NotExpressible(f"the Caffe flavor {flavor} has no layer type {type_}{elsewhere}")
