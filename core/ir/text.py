"""The text form: what ``str(graph)`` prints, a test can snapshot and :func:`parse_text` reads back exactly.

    graph "mlp" {
      metadata {"kind": "sequential"}
      scope 1 "fc" "Dense" {"units": 3}
      input %x: float32[batch, 5]
      weight %fc/kernel: float32[3, 5] parameter trainable "fc/kernel"
      %fc = linear(%x, %fc/kernel) : float32[batch, 3] @ "fc" in 1 origin("keras", "fc", "Dense")
      output %fc
      result 1 0 %fc
    }

A scope inside another says ``in N``, a later use of the same path ``call K``; ``result N I`` names the I-th result of scope N.
Weights appear with dtype and shape only, and where the source has them otherwise with that shape and what was done
(``"fc.weight" of [[5, 3], [["transpose", [1, 0]]]]``); their values travel beside the text (:mod:`convcore.ir.serialize`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import BadFileError, ShapeError
from .dims import Shape
from .dtypes import DType
from .graph import BUFFER, CONSTANT, PARAMETER, Graph, Node, Origin, Scope, Value
from .parse_dims import parse_dim
from .printing import to_text
from .tensors import LazyTensor, Tensor, moves_of

__all__ = ["parse_text", "to_text"]

# ---------------------------------------------------------------- parsing
_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*){0,500000}"'  # a pattern keeps a place for each repetition, so many it may
_TOKEN = re.compile(
    rf"""\s*(?:
      (?P<string>{_QUOTED})
    | (?P<dim>\{{[^{{}}=]*(?:\{{[^{{}}]*\}}[^{{}}=]*){{0,10000}}\}})
    | (?P<value>%(?:{_QUOTED}|[\w./:\#+-]+))
    | (?P<number>-?(?:inf\b|nan\b|\d+\.?\d*(?:e[+-]?\d+)?))
    | (?P<word>!?[A-Za-z_]\w*)
    | (?P<punct>\.\.\.|[][(){{}}<>=,:@?_])
    )""",
    re.VERBOSE | re.ASCII,
)


class _Line:
    """A cursor over one line."""

    def __init__(self, text: str, number: int) -> None:
        self.text, self.number, self.at = text, number, 0

    def fail(self, why: str) -> BadFileError:
        return BadFileError(f"IR text, line {self.number}: {why}: {self.text[max(0, self.at - 10) : self.at + 30]!r}")

    def next(self, *kinds: str) -> str:
        m = _TOKEN.match(self.text, self.at)
        if m is None or (kinds and m.lastgroup not in kinds):
            raise self.fail(f"expected {' or '.join(kinds) or 'more'}")
        self.at = m.end()
        return m[m.lastgroup or 0]

    def peek(self) -> str:
        m = _TOKEN.match(self.text, self.at)
        return "" if m is None else m[m.lastgroup or 0]

    def take(self, token: str) -> bool:
        m = _TOKEN.match(self.text, self.at)
        if m is not None and m[m.lastgroup or 0] == token:
            self.at = m.end()
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.fail(f"expected {token!r}")

    def string(self) -> str:
        return str(json.loads(self.next("string")))

    def integer(self) -> int:
        t = self.next("number")
        if not t.isdecimal():
            raise self.fail("expected a number from 0")
        return int(t)

    def value_name(self) -> str:
        t = self.next("value", "word")
        if t == "_":
            return ""
        if not t.startswith("%"):
            raise self.fail("expected a value")
        t = t[1:]
        if t.startswith('"'):
            return str(json.loads(t))
        # the separator of "%x: type" belongs to the name's alphabet
        if t.endswith(":"):
            self.at -= 1
            t = t[:-1]
        return t

    def names(self) -> list[str]:
        out: list[str] = []
        self.expect("(")
        while not self.take(")"):
            out.append(self.value_name())
            self.take(",")
        return out

    def rest(self) -> str:
        return self.text[self.at :].strip()

    def type(self) -> tuple[DType | None, Shape | None]:
        word = self.next("word")
        dtype = None if word == "None" else DType(word)
        start = self.text.index("[", self.at)
        depth, i = 0, start
        while True:
            depth += {"[": 1, "]": -1}.get(self.text[i], 0)
            i += 1
            if not depth:
                break
        body = self.text[start + 1 : i - 1].strip()
        self.at = i
        if body == "...":
            return dtype, None
        return dtype, tuple(None if d == "?" else parse_dim(d) for d in _split_commas(body))


def _moves(line: _Line) -> tuple[list[int], list[tuple[str, list[int]]]]:
    """The shape of the source's own weight, and the transposes and reshapes that make this one of it."""
    made = json.loads(line.rest())
    parts = [made[0], *(arg for _, arg in made[1])]
    numbers = all(isinstance(p, list) and all(type(n) is int and n >= 0 for n in p) for p in parts)
    if len(made) != 2 or not numbers or any(kind not in ("transpose", "reshape") for kind, _ in made[1]):
        raise line.fail("expected a shape, and transposes and reshapes of it")
    return made[0], [(kind, arg) for kind, arg in made[1]]


def _split_commas(text: str) -> list[str]:
    out, depth, start = [], 0, 0
    for i, ch in enumerate(text):
        depth += (ch in "({") - (ch in ")}")
        if ch == "," and not depth:
            out.append(text[start:i].strip())
            start = i + 1
    if text[start:].strip():
        out.append(text[start:].strip())
    return out


class _Parser:
    def __init__(self, text: str, weights: Mapping[str, Tensor], attr_tensors: Sequence[Tensor]) -> None:
        self.lines = [_Line(t, i + 1) for i, t in enumerate(text.splitlines()) if t.strip()]
        self.i = 0
        self.weights, self.attr_tensors = weights, list(attr_tensors)

    def line(self) -> _Line:
        if self.i >= len(self.lines):
            raise BadFileError("IR text ends inside a graph")
        self.i += 1
        return self.lines[self.i - 1]

    def graph(self, depth: int) -> Graph:
        if depth > 64:
            raise BadFileError("IR text: regions are nested too deeply")
        head = self.line()
        head.expect("graph")
        g = Graph(head.string())
        values: dict[str, Value] = {}
        scopes: list[Scope] = [g.root]

        def define(name: str, v: Value) -> Value:
            if name in values:
                raise BadFileError(f"IR text: value %{name} is defined twice")
            values[name] = v
            return v

        while True:
            line = self.line()
            word = line.peek()
            if word == "}":
                return g
            if word == "metadata":
                line.next()
                g.metadata = json.loads(line.rest())
            elif word == "input":
                line.next()
                name = line.value_name()
                line.expect(":")
                define(name, g.add_input(name, *line.type()))
            elif word == "weight":
                self._weight(g, line, define)
            elif word == "output":
                line.next()
                while line.rest():
                    g.outputs.append(self._get(values, line, line.value_name()))
                    line.take(",")
            elif word == "scope":
                self._scope(g, line, scopes)
            elif word == "result":
                line.next()
                scope, i = self._number(line, scopes), line.integer()
                v = self._get(values, line, line.value_name())
                v.results = (*v.results, (scope, i))
            else:
                self._node(g, line, values, define, scopes, depth)

    def _get(self, values: Mapping[str, Value], line: _Line, name: str) -> Value:
        if name not in values:
            raise line.fail(f"value %{name} is not defined")
        return values[name]

    def _number(self, line: _Line, scopes: Sequence[Scope]) -> Scope:
        n = line.integer()
        if n >= len(scopes):
            raise line.fail(f"scope {n} is not defined")
        return scopes[n]

    def _scope(self, g: Graph, line: _Line, scopes: list[Scope]) -> None:
        line.next()
        if line.integer() != len(scopes):
            raise line.fail(f"the next scope is number {len(scopes)}")
        name, kind = line.string(), line.string()
        parent = self._number(line, scopes) if line.take("in") else g.root
        call = line.integer() if line.take("call") else 0
        config = json.loads(line.rest()) if line.rest() else {}
        if not isinstance(config, dict):
            raise line.fail("a configuration is a JSON object")
        made = g.scope(name, kind, config, parent=parent, call=call)
        if made.config is not config:
            raise line.fail("the scope is defined twice")
        scopes.append(made)

    def _weight(self, g: Graph, line: _Line, define: Callable[[str, Value], Value]) -> None:
        line.next()
        name = line.value_name()
        line.expect(":")
        dtype, shape = line.type()
        if dtype is None or shape is None or not all(isinstance(d, int) for d in shape):
            raise line.fail("a weight needs a dtype and integer sizes")
        sizes = [d for d in shape if isinstance(d, int)]
        role = next((r for r in (PARAMETER, BUFFER) if line.take(r)), CONSTANT)
        trainable = line.take("trainable")
        source = line.string() if line.rest() else ""
        held, steps = _moves(line) if line.take("of") else (sizes, [])
        given = self.weights.get(name)
        tensor = given if given is None or not steps else moves_of(given)[0]
        if tensor is None:
            tensor = LazyTensor(_absent(name), dtype, held)
        elif tensor.dtype != dtype or tensor.shape != tuple(held):
            raise BadFileError(f"weight {name!r} is {tensor.dtype}{list(tensor.shape)}, the graph says {dtype}{held}")
        for kind, arg in steps:
            tensor = tensor.transpose(arg) if kind == "transpose" else tensor.reshape(arg)
        if tensor.shape != tuple(sizes):
            raise line.fail(f"the weight is {sizes}, and what it is made of gives {list(tensor.shape)}")
        v = g.add_weight(name, tensor, trainable=trainable, source=source, role=role)
        define(name, v)

    def _node(
        self, g: Graph, line: _Line, values: dict[str, Value], define: Callable[[str, Value], Value], scopes: Sequence[Scope],
        depth: int,
    ) -> None:  # fmt: skip
        outs = []
        while not line.take("="):
            outs.append(line.value_name())
            line.take(",")
        op = line.next("word")
        ins = [None if not n else self._get(values, line, n) for n in line.names()]
        attrs: dict[str, Any] = {}
        if line.take("{"):
            while not line.take("}"):
                key = line.next("word")
                line.expect("=")
                attrs[key] = self._attr(line, 0)
                line.take(",")
        line.expect(":")
        types = []
        while not line.take("@"):
            types.append(line.type())
            line.take(",")
        if len(types) != len(outs):
            raise line.fail(f"{len(outs)} outputs but {len(types)} types")
        name = line.string()
        scope = self._number(line, scopes) if line.take("in") else g.root
        origin = Origin()
        if line.take("origin"):
            line.expect("(")
            parts: list[str] = []
            passes: tuple[str, ...] = ()
            while not line.take(")"):
                if line.take("passes"):
                    line.expect("=")
                    m = re.match(r"\s*(\[[^\]]*\])", line.text[line.at :])
                    if m is None:
                        raise line.fail("expected a list")
                    passes = tuple(json.loads(m[1]))
                    line.at += m.end()
                else:
                    parts.append(line.string())
                line.take(",")
            parts += [""] * (4 - len(parts))
            origin = Origin(parts[0], parts[1], parts[2], parts[3], passes)
        regions = []
        if line.take("regions"):
            while self.lines[self.i].peek() != "end":
                regions.append(self.graph(depth + 1))
            self.line()
        made = []
        for n, (dtype, shape) in zip(outs, types):
            g.claim_name(n)
            made.append(define(n, Value(n, dtype, shape)))
        g.claim_name(name)
        g.insert(Node(op, ins, made, attrs, name=name, regions=regions, origin=origin, scope=scope))

    def _attr(self, line: _Line, depth: int) -> Any:
        if depth > 64:
            raise line.fail("attribute is nested too deeply")
        m = _TOKEN.match(line.text, line.at)
        if m is None:
            raise line.fail("expected an attribute value")
        kind, text = m.lastgroup, m[m.lastgroup or 0]
        if kind == "dim":
            line.at = m.end()
            return parse_dim(text[1:-1])
        if kind == "string":
            return line.string()
        if kind == "number":
            line.at = m.end()
            return float(text) if not re.fullmatch(r"-?\d+", text) else int(text)
        if line.take("("):
            items = []
            while not line.take(")"):
                items.append(self._attr(line, depth + 1))
                line.take(",")
            return tuple(items)
        if line.take("<"):
            table: dict[str, Any] = {}
            while not line.take(">"):
                key = line.string()
                line.expect(":")
                table[key] = self._attr(line, depth + 1)
                line.take(",")
            return table
        word = line.next("word")
        constants = {"none": None, "true": True, "false": False, "inf": float("inf"), "nan": float("nan")}
        if word in constants:
            return constants[word]
        if word.startswith("!"):
            return DType(word[1:])
        if word == "tensor":
            line.expect("(")
            dtype, shape = line.type()
            line.expect(")")
            if not self.attr_tensors:
                raise line.fail("the tensor of this attribute is missing")
            t = self.attr_tensors.pop(0)
            if t.dtype != dtype or t.shape != shape:
                raise line.fail(f"the tensor of this attribute is {t}")
            return t
        if word == "bytes":
            line.expect("(")
            data = bytes.fromhex(line.string())
            line.expect(")")
            return data
        raise line.fail(f"attribute value {word!r} cannot be read back")


def _absent(name: str) -> Callable[[], Any]:
    def read() -> Any:
        raise BadFileError(f"the values of weight {name!r} are not part of the text")

    return read


def parse_text(text: str, weights: Mapping[str, Tensor] | None = None, attr_tensors: Sequence[Tensor] = ()) -> Graph:
    """Read what :func:`to_text` printed. Weights not given have no values (reading them raises BadFileError);
    those that say what they are made of are given as that, or as views of it."""
    parser = _Parser(text, weights or {}, attr_tensors)
    try:
        g = parser.graph(0)
    except (ValueError, KeyError, IndexError, TypeError, ShapeError, RecursionError) as e:
        raise BadFileError(f"IR text, line {parser.i}: {e}") from e
    if parser.i != len(parser.lines):
        raise BadFileError(f"IR text: more after the graph in line {parser.lines[parser.i].number}")
    return g
