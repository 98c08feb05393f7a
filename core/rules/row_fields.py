"""What a mapping row is: its fields, whether they fit the op, its conditions, and the row as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any

from ..errors import DeclarationError
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..opset import Op, op
from ..opset.declare import REQUIRED
from ..records import dataclass
from .calls import Call
from .foreign import MISSING, ForeignNode
from .isomorphisms import NotExpressible
from .values import jsonable
from .wiring import Wiring, wire
from .words import A, Given, I, Last, Rank, Rest, Size, W

__all__ = ["RowFields", "pairs"]


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """``"X=x, W=w"`` as pairs; a bare name stands for both."""
    out = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        theirs, _, ours = part.partition("=")
        out.append((theirs.strip(), (ours or theirs).strip()))
    return tuple(out)


@dataclass(frozen=True, eq=False)
class RowFields:
    """The fields of a row, as :meth:`RuleSet.op` takes them."""

    foreign: str
    op_name: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    mapping: Mapping[str, Any]
    when: Mapping[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    priority: int = 0
    direction: str = "both"
    then: tuple[str, ...] = ()
    distribution: str = "convcore"
    doc: str = ""
    rank: tuple[Rank, ...] = ()
    alike: tuple[str, ...] = ()
    types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    call: Call | None = None
    unless: Mapping[str, Any] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    fills: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    listed: bool = False
    spans: tuple[str, ...] = ()

    @property
    def operands(self) -> tuple[str, ...]:
        """The parameters of its call that are inputs of the op, by the call's own names."""
        inputs = {t.rstrip("*?") for t, _ in self.inputs}
        return () if self.call is None else tuple(p.name for p in self.call.parameters if p.ours in inputs)

    @property
    def decl(self) -> Op:
        return op(self.op_name)

    @cached_property
    def _wiring(self) -> Wiring:
        return wire(self.decl, self.inputs, self.outputs, self.mapping, (*self.ignore, *self.when))

    def validate(self) -> None:
        """Check the row against the op's declaration; DeclarationError says what does not fit."""
        decl = self.decl
        names = {a.name for a in decl.inputs}

        def bad(why: str) -> DeclarationError:
            return DeclarationError(f"row {self.foreign} -> {self.op_name}: {why}")

        given = {ours.rstrip("*") for _, ours in self.inputs if ours != "_"}
        sized: set[str] = set()
        for key, src in self.mapping.items():
            if isinstance(src, (Size, Given)):
                if src.of not in names:
                    raise bad(f"the op has no input {src.of!r}, which {key} speaks of")
            elif key in names:
                if not isinstance(src, W):
                    raise bad(f"{key} is an input of the op and must be mapped by W or in the input list")
                given.add(key)
                src.validate()
                for _, size in src.sizes:
                    if size not in decl.attrs:
                        raise bad(f"the op has no attribute {size!r}, which is said to be a size of {key}")
                    sized.add(size)
            elif key not in decl.attrs:
                raise bad(f"the op has neither an input nor an attribute {key!r}")
            elif isinstance(src, W):
                raise bad(f"{key} is an attribute, not an input")
            elif isinstance(src, Last) and decl.attrs[key].kind != "axes":
                raise bad(f"{key} are no axes, as Last says")
            elif isinstance(src, I) and src.name not in {t.rstrip("*?") for t, _ in self.inputs}:
                raise bad(f"input {src.name!r} of I is not in the input list")
        for of in (
            *self.types,
            *self.needs,
            *self.fills,
            *self.spans,
            *self.numbers,
            *self.numbers.values(),
            *(r.of for r in self.rank if r.of),
        ):
            if of not in names:
                raise bad(f"the op has no input {of!r}")
        for key in (*self.unless, *self.one_of):
            if key not in decl.attrs:
                raise bad(f"the op has no attribute {key!r}")
        if set(self.alike) - {"rank", "dtype"}:
            raise bad(f"alike={self.alike} is not of 'rank' and 'dtype'")
        if self.call is not None:
            left = {t.rstrip("*?") for t, _ in self.inputs} - {p.ours for p in self.call.parameters}
            if left:
                raise bad(f"the call has no parameter {sorted(left)[0]!r}")
        for name in given - names:
            raise bad(f"the op has no input {name!r}")
        for a in decl.inputs:
            if not a.optional and not a.variadic and a.name not in given:
                raise bad(f"the op's input {a.name!r} is not mapped")
        for name, attr in decl.attrs.items():
            if attr.default is REQUIRED and name not in self.mapping and name not in sized:
                raise bad(f"the op's attribute {name!r} has no default and is not mapped")
        for _, ours in self.outputs:
            if ours != "_" and ours.rstrip("*") not in decl.outputs:
                raise bad(f"the op has no output {ours!r}")

    # ---- conditions
    def mismatch(self, node: ForeignNode) -> str:
        """Why the row does not apply to a foreign node ("" if it does)."""
        for name, want in self.when.items():
            got = node.attrs.get(name, MISSING)
            if isinstance(want, (set, frozenset)):
                if not any(got is w or (type(got).__hash__ is not None and got == w) for w in want):
                    return f"{name} is {got!r}, the rule wants one of {sorted(want, key=repr)}"
            elif got is MISSING:
                if want is not None:
                    return f"{name} is not set, the rule wants {want!r}"
            elif got != want:
                return f"{name} is {got!r}, the rule wants {'it not set' if want is None else repr(want)}"
        return ""

    def _check_inputs(self, by_name: Mapping[str, Value | None], every: Sequence[Value | None], *, emitting: bool) -> None:
        """The row's conditions on ranks and element types; NotExpressible where one is not met (or, emitting, not known)."""
        for want in self.rank:
            v = by_name.get(want.of) if want.of else next(iter(every), None)
            rank = None if v is None else v.rank
            if rank != want.n and (rank is not None or (emitting and v is not None)):
                shown = "an unknown number of" if rank is None else rank
                raise NotExpressible(f"its input has {shown} axes, {self.foreign} takes {want.n}", "unsupported_input")
        for name in self.needs:
            if by_name.get(name) is None:
                raise NotExpressible(f"its input {name!r} is missing", "missing_input")
        for what in self.alike:
            found = [getattr(v, what) for v in every if v is not None]
            if any(x is None or x != found[0] for x in found):
                raise NotExpressible(f"its inputs are not of one {what}: {', '.join(map(str, found))}", "unsupported_input")
        for name, allowed in self.types.items():
            for v in [by_name.get(name)] if name in by_name else every:
                if v is not None and not _is_of(v.dtype, allowed):
                    raise NotExpressible(f"{name} is {v.dtype}, the rule is for {', '.join(allowed)}", "unsupported_dtype")

    def _check_spans(self, by_name: Mapping[str, Value | None], axes: Sequence[int], x: Value | None, *, emitting: bool) -> None:
        """Parameters along all axes, in order; NotExpressible for one that is broadcast (or, emitting, of unknown sizes)."""
        for name in self.spans:
            v = by_name.get(name)
            if v is None:
                continue
            if v.rank != len(axes):
                raise NotExpressible(f"its {name} has {v.rank} axes, {len(axes)} are normalised", "unsupported_input")
            shape = None if x is None or x.shape is None else [x.shape[a] for a in axes]
            if emitting and (shape is None or list(v.shape or ()) != shape or list(axes) != sorted(axes)):
                raise NotExpressible(f"its {name} does not span axes {tuple(axes)}, in order")

    # ---- as data
    def to_json(self) -> dict[str, Any]:
        """The row as plain data; every function in it is a name."""
        out: dict[str, Any] = {
            "foreign": self.foreign,
            "op": self.op_name,
            "inputs": [list(p) for p in self.inputs],
            "outputs": [list(p) for p in self.outputs],
            "mapping": {k: _source_json(v) for k, v in self.mapping.items()},
            "direction": self.direction,
            "distribution": self.distribution,
        }
        for key in ("since", "until"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        if self.rank:
            ranks = [r.to_json() if r.of else r.n for r in self.rank]
            out["rank"] = ranks[0] if len(ranks) == 1 else ranks
        if self.needs:
            out["needs"] = list(self.needs)
        if self.fills:
            out["fills"] = dict(self.fills)
        if self.numbers:
            out["numbers"] = dict(self.numbers)
        if self.spans:
            out["spans"] = list(self.spans)
        if self.listed:
            out["listed"] = True
        if self.alike:
            out["alike"] = list(self.alike)
        if self.types:
            out["types"] = {k: list(v) for k, v in self.types.items()}
        if self.call is not None:
            out["call"] = self.call.to_json()
        if self.unless:
            out["unless"] = jsonable(dict(self.unless))
        if self.one_of:
            out["one_of"] = list(self.one_of)
        if self.priority:
            out["priority"] = self.priority
        if self.when:
            out["when"] = jsonable(dict(self.when))
        if self.ignore:
            out["ignore"] = list(self.ignore)
        if self.then:
            out["then"] = list(self.then)
        return out


def _is_of(dtype: DType | None, allowed: Sequence[str]) -> bool:
    """Whether a dtype is one of those named; "float" and "int" name all of their kind. An unknown one is none."""
    if dtype is None:
        return False
    return str(dtype) in allowed or ("float" in allowed and dtype.is_float) or ("int" in allowed and dtype.is_int)


def _source_json(v: Any) -> Any:
    if isinstance(v, (A, I, W, Size, Given, Rest, Last)):
        return v.to_json()
    if isinstance(v, tuple) and any(isinstance(p, A) for p in v):
        return [_source_json(p) for p in v]
    return {"value": jsonable(v)}
