"""The front door: all that a plugin may import of convcore, stable as docs/stability.md says.

    from convcore.plugin import A, Builder, ForeignNode, RuleSet, W

Names are imported on first use, so a module of hooks that takes only :data:`hookimpl` and :class:`Framework` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .budget import BYTES, NODES, RESULTS, TEXT, bounded_results, spend_bytes, spend_nodes
    from .build.builder import Builder, infer_outputs
    from .build.opaque import opaque_problems
    from .collector import alone
    from .emit.dialect import Dialect
    from .emit.flat import flatten
    from .emit.kept import KeptConfig, keep_layers
    from .emit.legalise import legalise, plan
    from .emit.names import Names, identifier
    from .emit.nest import nest
    from .emit.plan import Block, Plan, PlanCall, Ref, State, Unit, leaves, reads
    from .emit.scopes import Step
    from .emit.scribe import LEFT_OUT, Scribe
    from .emit.tidy import Peephole, Tidy, prune, tidy
    from .errors import (
        BadFileError,
        ConvcoreError,
        DeclarationError,
        FrameworkMissingError,
        InputError,
        OutputError,
        Problem,
        ShapeError,
        UnsupportedError,
        UsageError,
        ask,
        ask_option,
        ask_override,
        flags_asked,
    )
    from .files import passing, reading, watched
    from .hookspecs import (
        CONVCORE_API,
        Checkpoint,
        EmitRequest,
        Emitted,
        Framework,
        HubFolder,
        Identified,
        LoadRequest,
        Option,
        PassSpec,
        Runtime,
        hookimpl,
    )
    from .host import host
    from .ir.about import about, about_text, take_about, take_text
    from .ir.dims import Dim, DimLike, Shape, ceil_div, dim_max, product, shape_text
    from .ir.dtypes import DType
    from .ir.flat import FlatLayer, FlatModel, FlatValue
    from .ir.graph import BUFFER, CONSTANT, PARAMETER, Graph, Node, Origin, Scope, Value
    from .ir.parse_dims import parse_dim
    from .ir.scopes import Layer
    from .ir.tensors import ArrayTensor, LazyTensor, MappedTensor, Tensor, ViewTensor, as_tensor, moves_of, uncast
    from .layout import Convention
    from .loading import Driver, Head, InputShapes, check_heaps, let_go, load_flat, read_head
    from .ops.detection_bodies import rows_or_none
    from .ops.pooling import pooled
    from .ops.resampling import axis_matrix, coordinates, nearest_index, resized
    from .ops.rnn_activations import activation
    from .ops.sequences import as_optional, as_sequence
    from .opset import Attr, AxesAttr, AxisAttr, InferContext, Op, OpSet, Role, Sample, Trait, find_op, op, traits_of
    from .opset.axes import Axis, AxisRule, Broadcast, Elementwise, Opaque
    from .opset.shapes import broadcast_shapes, same, window_pads
    from .output import writing
    from .passes.search import every
    from .passes.shapes import ShapeTracker, fold_constants
    from .passes.signs import never_negative
    from .rules import (
        MISSING,
        A,
        Call,
        EmitContext,
        ForeignNode,
        Given,
        I,
        Last,
        LoadContext,
        NotExpressible,
        Rank,
        Rest,
        Row,
        RuleSet,
        Size,
        W,
        isomorphism,
        known_shape,
        unsupported,
    )
    from .rules.rows import permutation_of

__all__ = [
    "A",
    "ArrayTensor",
    "Attr",
    "AxesAttr",
    "Axis",
    "AxisAttr",
    "AxisRule",
    "BUFFER",
    "BYTES",
    "BadFileError",
    "Block",
    "Broadcast",
    "Builder",
    "CONSTANT",
    "CONVCORE_API",
    "Call",
    "ConvcoreError",
    "Checkpoint",
    "Convention",
    "DType",
    "DeclarationError",
    "Dialect",
    "Dim",
    "DimLike",
    "Driver",
    "Elementwise",
    "EmitContext",
    "EmitRequest",
    "Emitted",
    "FlatLayer",
    "FlatModel",
    "FlatValue",
    "ForeignNode",
    "Framework",
    "FrameworkMissingError",
    "Given",
    "Graph",
    "Head",
    "HubFolder",
    "I",
    "Last",
    "Identified",
    "InferContext",
    "InputError",
    "InputShapes",
    "KeptConfig",
    "LEFT_OUT",
    "Layer",
    "LazyTensor",
    "LoadContext",
    "LoadRequest",
    "MISSING",
    "MappedTensor",
    "NODES",
    "Names",
    "Node",
    "NotExpressible",
    "Op",
    "OpSet",
    "Opaque",
    "Option",
    "Origin",
    "OutputError",
    "PARAMETER",
    "PassSpec",
    "Peephole",
    "Plan",
    "PlanCall",
    "Problem",
    "RESULTS",
    "Rank",
    "Ref",
    "Rest",
    "Role",
    "Row",
    "RuleSet",
    "Runtime",
    "Sample",
    "Scope",
    "Scribe",
    "Shape",
    "ShapeError",
    "ShapeTracker",
    "Size",
    "State",
    "Step",
    "TEXT",
    "Tensor",
    "Tidy",
    "Trait",
    "Unit",
    "UnsupportedError",
    "UsageError",
    "Value",
    "ViewTensor",
    "W",
    "about",
    "about_text",
    "alone",
    "activation",
    "as_optional",
    "as_sequence",
    "as_tensor",
    "ask",
    "ask_option",
    "ask_override",
    "every",
    "flags_asked",
    "axis_matrix",
    "bounded_results",
    "broadcast_shapes",
    "ceil_div",
    "check_heaps",
    "coordinates",
    "dim_max",
    "find_op",
    "flatten",
    "fold_constants",
    "hookimpl",
    "host",
    "identifier",
    "infer_outputs",
    "isomorphism",
    "keep_layers",
    "known_shape",
    "leaves",
    "legalise",
    "let_go",
    "load_flat",
    "moves_of",
    "nearest_index",
    "nest",
    "never_negative",
    "op",
    "opaque_problems",
    "parse_dim",
    "permutation_of",
    "plan",
    "pooled",
    "product",
    "prune",
    "read_head",
    "reading",
    "reads",
    "resized",
    "rows_or_none",
    "same",
    "shape_text",
    "spend_bytes",
    "spend_nodes",
    "take_about",
    "take_text",
    "tidy",
    "traits_of",
    "uncast",
    "unsupported",
    "watched",
    "passing",
    "window_pads",
    "writing",
]

_FROM = {
    "budget": ("BYTES", "NODES", "RESULTS", "TEXT", "bounded_results", "spend_bytes", "spend_nodes"),
    "build.builder": ("Builder", "infer_outputs"),
    "build.opaque": ("opaque_problems",),
    "collector": ("alone",),
    "emit.dialect": ("Dialect",),
    "emit.flat": ("flatten",),
    "emit.kept": ("KeptConfig", "keep_layers"),
    "emit.legalise": ("legalise", "plan"),
    "emit.names": ("Names", "identifier"),
    "emit.nest": ("nest",),
    "emit.plan": ("Block", "PlanCall", "Plan", "Ref", "State", "Unit", "leaves", "reads"),
    "emit.scopes": ("Step",),
    "emit.scribe": ("LEFT_OUT", "Scribe"),
    "emit.tidy": ("Peephole", "Tidy", "prune", "tidy"),
    "errors": (
        "BadFileError",
        "ConvcoreError",
        "DeclarationError",
        "FrameworkMissingError",
        "InputError",
        "OutputError",
        "Problem",
        "ShapeError",
        "UnsupportedError",
        "UsageError",
        "ask",
        "ask_option",
        "ask_override",
        "flags_asked",
    ),
    "files": ("reading", "watched", "passing"),
    "hookspecs": (
        "Checkpoint",
        "CONVCORE_API",
        "EmitRequest",
        "Emitted",
        "Framework",
        "HubFolder",
        "Identified",
        "LoadRequest",
        "Option",
        "PassSpec",
        "Runtime",
        "hookimpl",
    ),
    "host": ("host",),
    "ir.about": ("about", "about_text", "take_about", "take_text"),
    "ir.dims": ("Dim", "DimLike", "Shape", "ceil_div", "dim_max", "product", "shape_text"),
    "ir.parse_dims": ("parse_dim",),
    "ir.dtypes": ("DType",),
    "ir.flat": ("FlatValue", "FlatLayer", "FlatModel"),
    "ir.graph": ("BUFFER", "CONSTANT", "PARAMETER", "Graph", "Node", "Origin", "Scope", "Value"),
    "ir.scopes": ("Layer",),
    "ir.tensors": ("ArrayTensor", "LazyTensor", "MappedTensor", "Tensor", "ViewTensor", "as_tensor", "moves_of", "uncast"),
    "layout": ("Convention",),
    "loading": ("Driver", "Head", "InputShapes", "check_heaps", "let_go", "load_flat", "read_head"),
    "ops.detection_bodies": ("rows_or_none",),
    "ops.pooling": ("pooled",),
    "ops.resampling": ("axis_matrix", "coordinates", "nearest_index", "resized"),
    "ops.rnn_activations": ("activation",),
    "ops.sequences": ("as_optional", "as_sequence"),
    "opset": (
        "Attr",
        "AxesAttr",
        "AxisAttr",
        "InferContext",
        "Op",
        "OpSet",
        "Role",
        "Sample",
        "Trait",
        "find_op",
        "op",
        "traits_of",
    ),
    "opset.axes": ("Axis", "AxisRule", "Broadcast", "Elementwise", "Opaque"),
    "opset.shapes": ("broadcast_shapes", "same", "window_pads"),
    "output": ("writing",),
    "passes.shapes": ("ShapeTracker", "fold_constants"),
    "passes.search": ("every",),
    "passes.signs": ("never_negative",),
    "rules": (
        "A",
        "Call",
        "EmitContext",
        "ForeignNode",
        "Given",
        "I",
        "Last",
        "Last",
        "LoadContext",
        "MISSING",
        "NotExpressible",
        "Rank",
        "Row",
        "RuleSet",
        "Rest",
        "Size",
        "W",
        "isomorphism",
        "known_shape",
        "unsupported",
    ),
    "rules.rows": ("permutation_of",),
}
_WHERE = {name: module for module, names in _FROM.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'convcore.plugin' has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{module}", __package__), name)
    globals()[name] = found
    return found
