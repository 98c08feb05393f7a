"""The body of ``forward``: one statement a call."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from convcore.plugin import Block, Dim, DType, Names, NotExpressible, PlanCall, Ref, State, Unit, identifier, leaves, reads

from ..functions import HELPERS
from ..types import TORCH_TYPES
from .members import attribute, lists_of
from .text import WIDTH, Bracket, Doc, flat, lay, literal, tuple_doc

__all__ = ["TAKEN", "Forward", "annotation"]

_OPERATORS = frozenset(["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "&", "|", "<<", ">>"])
_RECURRENT = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")
_LISTS = ("torch.split", "torch.unbind", ".unbind")
_FACTORIES = frozenset(["torch.full", "torch.arange", "torch.eye", "torch.tensor", "torch.ones", "torch.zeros"])
TAKEN = frozenset(["self", "torch", "F", "nn", "l", "O", "I", "_", "max", "min", "float", "Tensor", "Path", "json", "load",
                    "Any", "math", "states", "slices", "step", "then", "other", *HELPERS])  # fmt: skip


class Forward:
    """Statements of one block. ``names`` are those of the inputs, ``lines`` the body.

    A region of control flow is a function within the function (``outer``), which reads the names around it and leaves them be.
    """

    def __init__(self, block: Block, inputs: Sequence[str], outer: Forward | None = None) -> None:
        self.block = block
        self.indent: int = 8 if outer is None else outer.indent + 4
        self.member: dict[int, str] = {id(m): name for name, m in block.members.items()} if outer is None else outer.member
        self.lists: frozenset[str] = lists_of(block.members) if outer is None else outer.lists
        self.names: dict[Ref, str] = {} if outer is None else dict(outer.names)
        self.around = frozenset(self.names.values())
        self.names.update(zip(block.inputs, inputs))
        self.inputs = list(inputs)
        self.tensors: dict[str, bool] = {} if outer is None else dict(outer.tensors)
        self.tensors.update((name, is_tensor(r)) for name, r in zip(inputs, block.inputs))
        self.last: dict[Ref, int] = {}
        for i, call in enumerate(block.calls):
            self.last.update((r, i) for r in reads(call))
        for a in leaves(block.outputs):
            if isinstance(a, Ref):
                self.last[a] = len(block.calls)
        self.lines: list[str] = []
        self.sizes: dict[str, str] = {}
        """Sizes that are variables, for the statement under way."""
        for i, call in enumerate(block.calls):
            self._statement(i, call)
        if outer is None:
            self.returns([self.text(a, ()) for a in block.outputs])

    def returns(self, outs: Sequence[Doc]) -> None:
        """The last statement."""
        pad = " " * self.indent
        if len(outs) == 1:
            self.lines += lay(outs[0], self.indent, "return ")
            return
        line = f"{pad}return {', '.join(map(flat, outs))}"
        if len(line) <= WIDTH:
            self.lines.append(line)
        else:
            self.lines += [f"{pad}return (", *(f"{pad}    {flat(o)}," for o in outs), f"{pad})"]

    # ---- statements
    def _statement(self, i: int, call: PlanCall) -> None:
        self.sizes = {}
        if any(isinstance(v, Block) for v in call.kwargs.values()):
            value = self._controlled(call)
        else:
            value = self._value(call)
        targets = self._targets(i, call)
        for r in call.results:
            if r in self.names:
                self.tensors[self.names[r]] = is_tensor(r)
        self.lines += _assigned(targets, value, self.indent)

    def _controlled(self, call: PlanCall) -> Doc:
        """Regions as functions in front of the call that takes them: see ``written.py`` for what they take and return."""
        config = dict(call.kwargs)
        names = {name: region for name, region in config.items() if isinstance(region, Block)}
        for name, region in names.items():
            self._function(call.type, name, region, config.get("states"))
        if call.type == "branch":
            return Bracket("branch", [self.text(call.args[0], ()), *names])
        return Bracket(call.type, [*names, *(self.text(a, call.args) for a in call.args)])

    def _function(self, kind: str, name: str, region: Block, n: Any) -> None:
        taken = Names(reserved=(*TAKEN, *self.names.values()))
        params = [taken.fresh(_short(r) or "x") for r in region.inputs]
        inner = Forward(region, params, self)
        pad = " " * self.indent
        outs = [inner.text(a, ()) for a in region.outputs]
        if self.lines and self.lines[-1]:
            self.lines.append("")
        if kind == "branch":
            self.lines.append(f"{pad}def {name}() -> Any:")
            inner.returns(outs)
        elif kind == "repeat":
            self.lines += lay(
                Bracket(f"def {name}", [f"{p}: {annotation(r)}" for p, r in zip(params, region.inputs)]),
                self.indent,
                "",
                " -> Any:",
            )
            inner.returns([outs[0], tuple_doc(outs[1 : n + 1]), tuple_doc(outs[n + 1 :])])
        else:
            self.lines.append(f"{pad}def {name}(states: Any, slices: Any) -> Any:")
            for what, given in (("states", params[:n]), ("slices", params[n:])):
                if given:
                    self.lines += _assigned(_unpacked(given), what, self.indent + 4)
            inner.returns([tuple_doc(outs[:n]), tuple_doc(outs[n:])])
        self.lines += [*inner.lines, ""]

    def _targets(self, i: int, call: PlanCall) -> str:
        live = {self.names[r] for r, n in self.last.items() if n > i and r in self.names} | self.around
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
        kind = call.results[0].dtype if call.results else None
        whole = kind is not None and kind.is_container and call.type in _LISTS
        if len(found) == 1 and (call.type in _LISTS or call.type in ("repeat", "scan")) and not whole:
            return _unpacked(found)
        return ", ".join(found)

    def _fresh(self, call: PlanCall, r: Ref, taken: set[str]) -> str:
        wanted = ""
        if isinstance(call.target, (Unit, Block)):
            wanted = self.member.get(id(call.target), "")
        elif r.value is not None and r.value.producer is not None:
            wanted = r.value.producer.origin.layer.rpartition("/")[2]
        name = _short(wanted)
        if not isinstance(call.target, (Unit, Block)):
            name = re.sub(r"_\d+$", "", name)  # the number of the call in the whole model
        name = identifier(name) if name and len(name) <= 12 else next((n for n in "yzuvw" if n not in taken), "y")
        n, base = 1, name
        while name in taken or name in TAKEN:
            n += 1
            name = f"{base}{n}" if not base[-1].isdigit() else f"{base}_{n}"
        return name

    # ---- expressions
    def _value(self, call: PlanCall) -> Doc:
        t = call.target
        args = [self.text(a, call.args) for a in call.args]
        if isinstance(t, (Unit, Block)):
            return Bracket(
                attribute(self.member[id(t)], lists=self.lists), [*args, *(f"{k}={literal(v)}" for k, v in call.kwargs.items())]
            )
        if t in _OPERATORS:
            a, b = map(flat, args)
            if t == "**":
                return Bracket("torch.pow", args) if not isinstance(call.args[0], (Ref, State)) else f"{a}**{b}"
            if t == "+" and b.startswith("-") and isinstance(call.args[1], (int, float)):
                t, b = "-", b[1:]
            return f"{a} {t} {b}"
        if t in ("list", "[*]"):
            return Bracket("", [f"*{flat(args[0])}", *args[1:]] if t == "[*]" else args, "[", "]", display=True)
        if t == "None":
            return t
        if t == "[]":
            return f"{flat(args[0])}[{', '.join(self._index(ix, call) for ix in call.kwargs['index'])}]"
        named: list[Doc] = []
        for k, v in call.kwargs.items():
            doc = self.text(v, call.args)
            named.append(f"{k}={doc}" if isinstance(doc, str) else Bracket(f"{k}={doc.head}", doc.items, display=doc.display))
        if t in _FACTORIES and "device" not in call.kwargs:
            beside = next((n for n in self.names.values() if self.tensors.get(n)), None)
            named += [] if beside is None else [f"device={beside}.device"]
        if t.startswith("."):
            head, rest = flat(args[0]), args[1:]
            return Bracket(f"{head}{t}", [*rest, *named]) if [*rest, *named] else f"{head}{t}()"
        return Bracket(t, [*args, *named]) if [*args, *named] else f"{t}()"

    def _index(self, ix: Any, call: PlanCall) -> str:
        def part(a: Any) -> str:
            return "" if a is None else flat(self.text(a, call.args))

        if isinstance(ix, tuple) and ix[0] == "slice":
            _, a, b, s = ix
            text = f"{part(a)}:{part(b)}"
            return text if s is None else f"{text}:{part(s)}"
        if isinstance(ix, tuple) and ix[0] == "arg":
            return flat(self.text(call.args[ix[1]], ()))
        return "..." if ix == "..." else literal(ix)

    def text(self, a: Any, near: Sequence[Any]) -> Doc:
        """An argument; ``near`` are the operands whose shapes say symbolic sizes."""
        if isinstance(a, Ref):
            if a not in self.names:
                raise AssertionError(f"{a!r} is read before it is made")
            return self.names[a]
        if isinstance(a, State):
            return attribute(self.member[id(a)], a, self.lists)
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
        for factor, mono in sorted(d.terms, key=lambda t: t[0] < 0):  # a sum does not begin with a minus
            atoms = [atom for atom, power in mono for _ in range(power)]
            alone = len(atoms) == 1 and (factor == 1 or (factor == -1 and bool(out)))
            parts = [self._atom(atom, near, tight=not alone) for atom in atoms]
            if abs(factor) != 1 or not parts:
                parts.insert(0, str(abs(factor)))
            term = " * ".join(parts)
            out = (f"-{term}" if factor < 0 else term) if not out else f"{out} {'-' if factor < 0 else '+'} {term}"
        return f"({out})" if tight and " " in out else out

    def _atom(self, atom: Any, near: Sequence[Any], tight: bool) -> str:
        if isinstance(atom, str):
            return self.size(Dim(atom), near)
        fn, args = atom
        parts = [self.size(a, near, tight=fn in ("//", "%")) for a in args]
        if fn in ("//", "%"):
            return f"({parts[0]} {fn} {parts[1]})" if tight else f"{parts[0]} {fn} {parts[1]}"
        out: Doc = parts[0]
        for p in parts[1:]:
            out = Bracket(f"torch.sym_{fn}", [out, p])
        return self._named(out) if len(flat(out)) > 24 else flat(out)

    def _named(self, size: Doc) -> str:
        """A long size as a variable of its own, made before the statement that needs it."""
        text = flat(size)
        if text not in self.sizes:
            taken = {*self.names.values(), *self.sizes.values(), *TAKEN}
            self.sizes[text] = next(n for n in (f"size{i}" if i else "size" for i in itertools.count()) if n not in taken)
            self.lines += _assigned(self.sizes[text], size, self.indent)
        return self.sizes[text]


def is_tensor(a: Any) -> bool:
    """Whether what is passed is a tensor, not a size."""
    return annotation(a) == "Tensor"


def annotation(a: Any) -> str:
    """The type of what is passed."""
    d = a.dtype if isinstance(a, Ref) else None
    if d is not None and d.is_container:
        return ("Sequence[Tensor]" if d.held.is_sequence else "Tensor") + (" | None" if d.is_optional else "")
    return "Tensor" if isinstance(a, State) or (isinstance(a, Ref) and (a.shape is not None or a.value is not None)) else "int"


def _short(wanted: str | Ref) -> str:
    """A name for a variable: small letters, no number in front."""
    if isinstance(wanted, Ref):
        wanted = wanted.value.name if wanted.value is not None else ""
    return re.sub(r"^[\d_]+", "", identifier(wanted)).lower()[:24].rstrip("_") if wanted else ""


def _unpacked(names: Sequence[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


def _assigned(target: str, value: Doc, indent: int) -> list[str]:
    pad = " " * indent
    head = value if isinstance(value, str) else f"{value.head}{value.open}"
    if ", " in target and len(f"{pad}{target} = {head}") > WIDTH:
        return [f"{pad}(", *(f"{pad}    {name}," for name in target.split(", ")), *lay(value, indent, ") = ")]
    if isinstance(value, str):
        line = f"{pad}{target} = {value}"
        return [line] if len(line) <= WIDTH or " " not in value else [f"{pad}{target} = (", f"{pad}    {value}", f"{pad})"]
    return lay(value, indent, f"{target} = ")
