"""The body of ``forward``: one statement a call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from convcore.plugin import Block, Dim, DType, NotExpressible, PlanCall, Ref, State, Unit, identifier, leaves

from ..types import TORCH_TYPES
from .text import Bracket, Doc, flat, lay, literal, tuple_doc

__all__ = ["Forward"]

_OPERATORS = frozenset(["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "&", "|"])
_RECURRENT = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")
_TAKEN = frozenset(["self", "torch", "F", "nn", "l", "O", "I", "_", "max", "min", "float", "Tensor", "Path", "json", "load"])


class Forward:
    """Statements of one block. ``names`` are those of the inputs, ``lines`` the body, 8 columns in."""

    def __init__(self, block: Block, inputs: Sequence[str]) -> None:
        self.block = block
        self.member = {id(m): name for name, m in block.members.items()}
        self.names: dict[Ref, str] = dict(zip(block.inputs, inputs))
        self.inputs = list(inputs)
        self.last: dict[Ref, int] = {}
        for i, call in enumerate(block.calls):
            for a in leaves((*call.args, *call.kwargs.values())):
                if isinstance(a, Ref):
                    self.last[a] = i
        for a in leaves(block.outputs):
            if isinstance(a, Ref):
                self.last[a] = len(block.calls)
        self.lines: list[str] = []
        for i, call in enumerate(block.calls):
            self._statement(i, call)
        outs = [self.text(a, ()) for a in block.outputs]
        if len(outs) == 1:
            self.lines += lay(outs[0], 8, "return ")
        else:
            line = "        return " + ", ".join(map(flat, outs))
            self.lines += (
                [line] if len(line) <= 88 else ["        return (", *(f"            {flat(o)}," for o in outs), "        )"]
            )

    # ---- statements
    def _statement(self, i: int, call: PlanCall) -> None:
        value = self._value(call)
        targets = self._targets(i, call)
        self.lines += _assigned(targets, value)

    def _targets(self, i: int, call: PlanCall) -> str:
        live = {self.names[r] for r, n in self.last.items() if n > i and r in self.names}
        ended = [self.names[a] for a in leaves(call.args) if isinstance(a, Ref) and a in self.names and self.names[a] not in live]
        found: list[str] = []
        for k, r in enumerate(call.results):
            if r not in self.last:
                found.append("_")
                continue
            name = ended[0] if ended and ended[0] not in found and k == 0 else ""
            if not name and "x" not in live and "x" not in found and k == 0 and len(call.results) == 1:
                name = "x"
            if not name:
                name = self._fresh(call, r, live | set(found))
            self.names[r] = name
            found.append(name)
        if call.type in _RECURRENT:
            y, *states = found
            if all(s == "_" for s in states):
                return f"{y}, _"
            return f"{y}, ({', '.join(states)})" if len(states) > 1 else f"{y}, {states[0]}"
        return ", ".join(found) + ("," if len(found) == 1 and call.type in ("torch.split", "torch.unbind") else "")

    def _fresh(self, call: PlanCall, r: Ref, taken: set[str]) -> str:
        wanted = ""
        if isinstance(call.target, (Unit, Block)):
            wanted = self.member.get(id(call.target), "")
        elif r.value is not None and r.value.producer is not None:
            wanted = r.value.producer.origin.layer.rpartition("/")[2]
        name = re.sub(r"^[\d_]+", "", identifier(wanted)).lower()[:24].rstrip("_") if wanted else ""
        name = identifier(name) if name and len(name) <= 12 else next((n for n in "yzuvw" if n not in taken), "y")
        n, base = 1, name
        while name in taken or name in _TAKEN:
            n += 1
            name = f"{base}{n}" if not base[-1].isdigit() else f"{base}_{n}"
        return name

    # ---- expressions
    def _value(self, call: PlanCall) -> Doc:
        t = call.target
        args = [self.text(a, call.args) for a in call.args]
        if isinstance(t, (Unit, Block)):
            return Bracket(f"self.{self.member[id(t)]}", args)
        if t in _OPERATORS:
            a, b = map(flat, args)
            if t == "**":
                return Bracket("torch.pow", args) if not isinstance(call.args[0], (Ref, State)) else f"{a}**{b}"
            if t == "+" and b.startswith("-") and isinstance(call.args[1], (int, float)):
                t, b = "-", b[1:]
            return f"{a} {t} {b}"
        if t == "[]":
            return f"{flat(args[0])}[{', '.join(self._index(ix, args) for ix in call.kwargs['index'])}]"
        named: list[Doc] = []
        for k, v in call.kwargs.items():
            doc = self.text(v, call.args)
            named.append(f"{k}={doc}" if isinstance(doc, str) else Bracket(f"{k}={doc.head}", doc.items, display=doc.display))
        if t.startswith("."):
            head, rest = flat(args[0]), args[1:]
            return Bracket(f"{head}{t}", [*rest, *named]) if [*rest, *named] else f"{head}{t}()"
        return Bracket(t, [*args, *named]) if [*args, *named] else f"{t}()"

    @staticmethod
    def _index(ix: Any, args: Sequence[Doc]) -> str:
        if isinstance(ix, tuple) and ix[0] == "slice":
            _, a, b, s = ix
            text = f"{'' if a is None else a}:{'' if b is None else b}"
            return text if s is None else f"{text}:{s}"
        if isinstance(ix, tuple) and ix[0] == "arg":
            return flat(args[ix[1]])
        return literal(ix)

    def text(self, a: Any, near: Sequence[Any]) -> Doc:
        """An argument; ``near`` are the operands whose shapes say symbolic sizes."""
        if isinstance(a, Ref):
            if a not in self.names:
                raise AssertionError(f"{a!r} is read before it is made")
            return self.names[a]
        if isinstance(a, State):
            return f"self.{self.member[id(a)]}"
        if isinstance(a, DType):
            return f"torch.{TORCH_TYPES[a]}"
        if isinstance(a, Dim):
            return self.size(a, near)
        if isinstance(a, (tuple, list)):
            return tuple_doc([self.text(x, near) for x in a])
        return literal(a)

    # ---- sizes
    def size(self, d: Any, near: Sequence[Any], tight: bool = False) -> str:
        """A size: an axis of an operand, or arithmetic on such."""
        if isinstance(d, int):
            return str(d)
        for r in leaves(near):
            if isinstance(r, Ref) and r.shape is not None and r in self.names:
                for axis, n in enumerate(r.shape):
                    if isinstance(n, Dim) and n == d:
                        return f"{self.names[r]}.shape[{axis}]"
        if d.is_name:
            raise NotExpressible(f"the size {d} is not known here")
        out = ""
        for factor, mono in d.terms:
            parts = [p for atom, power in mono for p in [self._atom(atom, near)] * power]
            if abs(factor) != 1 or not parts:
                parts.insert(0, str(abs(factor)))
            term = " * ".join(parts)
            out = (f"-{term}" if factor < 0 else term) if not out else f"{out} {'-' if factor < 0 else '+'} {term}"
        return f"({out})" if tight and " " in out else out

    def _atom(self, atom: Any, near: Sequence[Any]) -> str:
        if isinstance(atom, str):
            return self.size(Dim(atom), near)
        fn, args = atom
        parts = [self.size(a, near, tight=fn in ("//", "%")) for a in args]
        if fn in ("//", "%"):
            return f"({parts[0]} {fn} {parts[1]})"
        out = parts[0]
        for p in parts[1:]:
            out = f"torch.sym_{fn}({out}, {p})"
        return out


def _assigned(target: str, value: Doc) -> list[str]:
    if isinstance(value, str):
        line = f"        {target} = {value}"
        return [line] if len(line) <= 88 or " " not in value else [f"        {target} = (", f"            {value}", "        )"]
    return lay(value, 8, f"{target} = ")
