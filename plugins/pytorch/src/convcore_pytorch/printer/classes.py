"""Classes: blocks that differ in numbers only share one, whose constructor takes the numbers."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from convcore.plugin import Block, Dialect, DType, Names, Plan, State, Unit

from ..rules.base import one_if_equal
from ..types import TORCH_TYPES
from .forward import Forward
from .members import attribute, is_parameter, lists_of, statements
from .text import Bracket, Doc, flat, lay, literal, tuple_doc

__all__ = ["BUFFERS", "Classes", "Template", "is_sequence"]

DEFAULTS: dict[str, dict[str, Any]] = {
    **{f"Conv{n}d": {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True} for n in (1, 2, 3)},
    **{
        f"ConvTranspose{n}d": {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True}
        for n in (1, 2, 3)
    },
    **{f"MaxPool{n}d": {"padding": 0, "dilation": 1} for n in (1, 2, 3)},
    **{f"AvgPool{n}d": {"padding": 0} for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": {"eps": 1e-5, "momentum": 0.1} for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": {"eps": 1e-5, "affine": False} for n in (1, 2, 3)},
    "Linear": {"bias": True}, "LayerNorm": {"eps": 1e-5}, "GroupNorm": {"eps": 1e-5},
    "LSTM": {"batch_first": False, "bidirectional": False}, "GRU": {"batch_first": False, "bidirectional": False},
    "RNN": {"batch_first": False, "bidirectional": False},
}  # fmt: skip
"""What constructors take when an argument is left out (torch 2.6 to 2.13)."""

POSITIONAL: dict[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features"), "Embedding": ("num_embeddings", "embedding_dim"),
    "LSTM": ("input_size", "hidden_size"), "GRU": ("input_size", "hidden_size"), "RNN": ("input_size", "hidden_size"),
    "LayerNorm": ("normalized_shape",), "RMSNorm": ("normalized_shape",), "GroupNorm": ("num_groups", "num_channels"),
    "Dropout": ("p",), "Dropout1d": ("p",), "Dropout2d": ("p",), "Dropout3d": ("p",), "AlphaDropout": ("p",),
    "PReLU": ("num_parameters",), "PixelShuffle": ("upscale_factor",), "PixelUnshuffle": ("downscale_factor",),
    "LeakyReLU": ("negative_slope",), "LocalResponseNorm": ("size",), "MultiheadAttention": ("embed_dim", "num_heads"),
}  # fmt: skip
for _n in (1, 2, 3):
    POSITIONAL |= {
        f"Conv{_n}d": ("in_channels", "out_channels"), f"ConvTranspose{_n}d": ("in_channels", "out_channels"),
        f"BatchNorm{_n}d": ("num_features",), f"InstanceNorm{_n}d": ("num_features",), f"MaxPool{_n}d": ("kernel_size",),
        f"AvgPool{_n}d": ("kernel_size",), f"AdaptiveAvgPool{_n}d": ("output_size",), f"AdaptiveMaxPool{_n}d": ("output_size",),
    }  # fmt: skip

BUFFERS = frozenset(("running_mean", "running_var", "num_batches_tracked"))
"""States of torch's modules that are no parameters."""
Column = tuple[str, Any]


@dataclass(eq=False)
class Template:
    """One class: its blocks, and the numbers in which they differ."""

    name: str = ""
    blocks: list[Block] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    values: dict[Block, list[Any]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    forward: Forward | None = None


def is_sequence(block: Block) -> bool:
    """Whether a block is a chain of members named 0, 1, 2..., each called once."""
    if list(block.members) != [str(i) for i in range(len(block.members))] or len(block.calls) != len(block.members):
        return False
    if len(block.inputs) != 1 or len(block.outputs) != 1 or not block.calls:
        return False
    at: Any = block.inputs[0]
    for call, member in zip(block.calls, block.members.values()):
        if call.target is not member or call.args != (at,) or len(call.results) != 1:
            return False
        at = call.results[0]
    return block.outputs[0] is at


class Classes:
    """The classes of a plan whose scopes are blocks, inner ones first; the last is the model."""

    def __init__(self, plan: Plan, dialect: Dialect, inputs: list[str], name: str, unsaved: frozenset[int] = frozenset()) -> None:
        self.dialect, self.unsaved = dialect, unsaved
        self.root = plan.root
        states = [s for s in plan.paths().values() if _trains(s)]
        self.all_frozen = bool(states) and not any(s.trainable for s in states)
        self.of: dict[Block, Template] = {}
        self.templates: list[Template] = []
        self.forwards: dict[Block, Forward] = {}
        self.names = Names(reserved=[*dialect.reserved, name])
        by_height: dict[int, list[Block]] = {}
        self._heights(plan.root, by_height, {})
        for height in sorted(by_height):
            groups: dict[Any, list[Block]] = {}
            for block in by_height[height]:
                if block is not plan.root and is_sequence(block):
                    continue
                given = inputs if block is plan.root else _input_names(block)
                self.forwards[block] = Forward(block, given)
                groups.setdefault(self._skeleton(block), []).append(block)
            for blocks in groups.values():
                self._template(blocks)
        self.of[plan.root].name = name

    def _heights(self, block: Block, found: dict[int, list[Block]], seen: dict[Block, int]) -> int:
        if block in seen:
            return seen[block]
        inner = [self._heights(m, found, seen) for m in block.members.values() if isinstance(m, Block)]
        seen[block] = h = 1 + max(inner, default=0)
        found.setdefault(h, []).append(block)
        return h

    # ---- what blocks have in common
    def _skeleton(self, block: Block) -> Any:
        f = self.forwards[block]
        return tuple((n, self._form(m)) for n, m in block.members.items()), tuple(f.inputs), tuple(f.lines)

    def _form(self, m: Any) -> Any:
        if isinstance(m, State):
            return ("state", m.role, str(m.dtype), m.trainable, len(m.shape or ()), id(m) in self.unsaved)
        if isinstance(m, Block):
            if m in self.of:
                return ("block", id(self.of[m]))
            return ("sequence", tuple(self._form(c) for c in m.members.values()))
        config = _config(m)
        fixed = tuple((k, _kind(v)) for k, v in config.items())
        return (m.type, fixed, tuple((k, str(s.dtype), _trains(s) and s.trainable) for k, s in m.states.items()))

    def _columns(self, m: Any) -> list[Column]:
        if isinstance(m, State):
            return [("size", n) for n in m.shape or ()]
        if isinstance(m, Block):
            if m in self.of:
                t = self.of[m]
                return list(zip(t.params, t.values[m]))
            return [c for child in m.members.values() for c in self._columns(child)]
        return [(k, v) for k, v in _config(m).items() if not isinstance(_kind(v), tuple) or _kind(v)[0] == "numbers"]

    def _template(self, blocks: list[Block]) -> None:
        first = blocks[0]
        t = Template(blocks=blocks, forward=self.forwards[first])
        table = {b: [c for m in b.members.values() for c in self._columns(m)] for b in blocks}
        names = Names(reserved=["self", *t.forward.inputs] if t.forward else [])
        by_values: dict[Any, str] = {}
        for j, (key, value) in enumerate(table[first]):
            row = tuple(table[b][j][1] for b in blocks)
            if all(v == value for v in row):
                t.texts.append(_value_text(value))
                continue
            if row not in by_values:
                by_values[row] = names.fresh(key)
                t.params.append(by_values[row])
                for b, v in zip(blocks, row):
                    t.values.setdefault(b, []).append(v)
            t.texts.append(by_values[row])
        for b in blocks:
            t.values.setdefault(b, [])
            self.of[b] = t
        t.name = self._name(blocks) if first is not self.root else ""
        self.templates.append(t)

    def _name(self, blocks: list[Block]) -> str:
        first = blocks[0]
        of = first.path[-1].type if first.path else ""
        wanted = of if of and not re.search(r"(Functional|Sequential|Model)$", of) else first.name
        if not of and len(blocks) > 1:
            wanted = re.sub(r"\d+", "", wanted)
        name = self.dialect.class_name(wanted or "Block")
        tries = (name if n == 1 else f"{name}V{n}" if name[-1].isdigit() else f"{name}{n}" for n in itertools.count(1))
        return self.names.fresh(next(n for n in tries if n not in self.names))

    # ---- text
    def constructed(self, m: Any, texts: list[str]) -> Doc:
        """The expression that makes a member; takes its numbers from the front of ``texts``."""
        if isinstance(m, State):
            shape = ", ".join(texts.pop(0) for _ in m.shape or ())
            made = f"torch.empty({shape or '()'}{_dtype(m.dtype)})"
            if not is_parameter(m):
                return made
            return Bracket("nn.Parameter", [made] if m.trainable or self.all_frozen else [made, "requires_grad=False"])
        if isinstance(m, Block):
            if m in self.of:
                t = self.of[m]
                return Bracket(t.name, [texts.pop(0) for _ in t.params]) if t.params else f"{t.name}()"
            return Bracket("nn.Sequential", [self.constructed(c, texts) for c in m.members.values()])
        return self._unit(m, texts)

    def _unit(self, m: Unit, texts: list[str]) -> Doc:
        short = m.type.rpartition(".")[2]
        defaults, config = DEFAULTS.get(short, {}), _config(m)
        shown: dict[str, str] = {}
        for k, v in config.items():
            kind = _kind(v)
            text = texts.pop(0) if not isinstance(kind, tuple) or kind[0] == "numbers" else _value_text(v)
            if k not in defaults or text != _value_text(defaults[k]):
                shown[k] = text
        args: list[Doc] = []
        for k in POSITIONAL.get(short, ()):
            if k not in shown:
                break
            args.append(shown.pop(k))
        args += [f"{k}={v}" for k, v in shown.items()]
        dtypes = {s.dtype for s in m.states.values() if _float(s.dtype)} - {DType.FLOAT32}
        if dtypes:
            args.append(f"dtype=torch.{TORCH_TYPES[dtypes.pop()]}")  # type: ignore[index]
        tail = "" if self.all_frozen or not _frozen(m, True) else ".requires_grad_(False)"
        return Bracket(f"nn.{short}", args, tail=tail) if args else f"nn.{short}(){tail}"

    def lines(self, t: Template) -> list[str]:
        """``__init__`` of a class, 4 columns in."""
        block = t.blocks[0]
        texts = list(t.texts)
        types = [_annotation(t, i) for i in range(len(t.params))]
        params = ["self", *(f"{n}: {a}" for n, a in zip(t.params, types))]
        out = lay(Bracket("def __init__", list(params)), 4, "", " -> None:")
        out.append("        super().__init__()")
        lists = lists_of(block.members)
        docs = {name: self.constructed(m, texts) for name, m in block.members.items()}
        out += statements(block.members, docs, self.unsaved)
        for name, m in block.members.items():
            if not self.all_frozen:
                out += [f"        {attribute(name, lists=lists)}{p}.requires_grad_(False)" for p in _partly(m)]
        return out


def _partly(m: Any) -> list[str]:
    """Frozen states of layers that have others that train, as attributes behind a member."""
    if isinstance(m, Unit):
        return [] if _frozen(m, True) else [f".{k}" for k in _frozen(m, False)]
    if isinstance(m, Block) and is_sequence(m):
        return [f"[{i}]{p}" for i, c in enumerate(m.members.values()) for p in _partly(c)]
    return []


def _frozen(m: Unit, whole: bool) -> list[str]:
    own = [k for k in m.states if k not in BUFFERS]
    names = [k for k in own if not m.states[k].trainable]
    return names if not whole or len(names) == len(own) else []


def _trains(s: State) -> bool:
    return _float(s.dtype) and s.role != "buffer"


def _float(dtype: DType | None) -> bool:
    return dtype is not None and dtype.is_float


def _config(m: Unit) -> dict[str, Any]:
    """The configuration as the rule gave it, defaults behind."""
    own = {k: one_if_equal(v) if isinstance(v, (list, tuple)) and k != "normalized_shape" else v for k, v in m.config.items()}
    return {**own, **{k: v for k, v in DEFAULTS.get(m.type.rpartition(".")[2], {}).items() if k not in m.config}}


def _kind(v: Any) -> Any:
    """ "number" for what may be a constructor's argument, else the value itself."""
    if isinstance(v, int) and not isinstance(v, bool):
        return "number"
    if isinstance(v, tuple) and v and all(isinstance(n, int) and not isinstance(n, bool) for n in v):
        return ("numbers", len(v))
    return ("fixed", repr(v))


def _value_text(v: Any) -> str:
    return flat(tuple_doc([_value_text(x) for x in v])) if isinstance(v, (tuple, list)) else literal(v)


def _annotation(t: Template, i: int) -> str:
    v = t.values[t.blocks[0]][i]
    return f"tuple[{', '.join(['int'] * len(v))}]" if isinstance(v, tuple) else "int"


def _dtype(dtype: DType | None) -> str:
    return "" if dtype in (None, DType.FLOAT32) else f", dtype=torch.{TORCH_TYPES[dtype]}"


def _input_names(block: Block) -> list[str]:
    return ["x" if i == 0 else f"x{i + 1}" for i in range(len(block.inputs))]
