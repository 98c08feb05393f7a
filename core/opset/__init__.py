"""The op language: how ops are declared, their axis rules and shape rules, and the registry of all of them.

``op("conv")`` is a declaration; :func:`all_ops` lists every op, the ones of loaded plugins included. The ops themselves are in
:mod:`convcore.ops`.
"""

from __future__ import annotations

from .declare import Attr, AxesAttr, AxisAttr, Op, OpSet, Sample
from .infer import InferContext
from .registry import all_ops, find_op, op, register, traits_of
from .traits import Role, Trait

__all__ = [
    "Attr",
    "AxesAttr",
    "AxisAttr",
    "InferContext",
    "Op",
    "OpSet",
    "Role",
    "Sample",
    "Trait",
    "all_ops",
    "find_op",
    "op",
    "register",
    "traits_of",
]
