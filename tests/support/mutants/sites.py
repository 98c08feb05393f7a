"""The places of a source where one change can be made, by kind."""

from __future__ import annotations

import ast
import operator
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

PARTS = {
    "core": "core",
    "keras": "plugins/keras/src",
    "onnx": "plugins/onnx/src",
    "caffe": "plugins/caffe/src",
    "pytorch": "plugins/pytorch/src",
}

TURNED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}  # fmt: skip

KINDS = ("refusal", "comparison", "constant", "swap", "not", "default", "and/or")

ANY_ORDER = {
    "isinstance", "issubclass", "hasattr",
    "max", "min", "maximum", "minimum", "add", "mul", "gcd", "lcm", "isclose", "broadcast_shapes",
    "logical_and", "logical_or", "and_", "or_", "equal", "not_equal", "array_equal", "allclose",
}  # fmt: skip
"""Functions whose arguments may stand in any order, or that raise at once when they do not."""

OUTCOMES: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """The bytes of a file between two offsets replaced; ``first`` to ``last`` are the lines of the statement around them."""

    path: str
    line: int
    first: int
    last: int
    start: int
    end: int
    new: str
    kind: str
    what: str
    statement: str
    inside: bool
    """Whether the change is in a function, so that tests can be seen to run it."""

    def apply(self, text: bytes) -> bytes:
        new = self.new.encode()
        return text[: self.start] + new + b"\n" * (text.count(b"\n", self.start, self.end) - new.count(b"\n")) + text[self.end :]

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when lines above are added."""
        return self.path, self.statement, self.what

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.kind}: {self.what}"


def refuses(node: ast.AST) -> bool:
    """A ``raise``, and ``c.fail(...)``, ``b.require(...)`` and their like as statements."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(node, ast.Raise) or (
        isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("fail", "require", "refuse")
    )


def part_of(path: str) -> str:
    return next(name for name, folder in PARTS.items() if path.startswith(f"{folder}/"))


def texts(folders: Iterable[str] = ()) -> dict[str, bytes]:
    """The sources, whole or of the named files and folders."""
    out: dict[str, bytes] = {}
    for folder in list(folders) or PARTS.values():
        top = ROOT / folder
        for p in [top] if top.is_file() else sorted(top.rglob("*.py")):
            out[str(p.relative_to(ROOT))] = p.read_bytes()
    return out


def sample(every: Iterable[Mutant], seed: int, count: int) -> list[Mutant]:
    """The same number of each kind in each part, as far as there are that many; a file stands as often as it is long."""
    cells: defaultdict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for m in every:
        cells[part_of(m.path), m.kind].append(m)
    rng = random.Random(seed)
    for cell in cells.values():
        rng.shuffle(cell)
    order = sorted(cells)
    rng.shuffle(order)
    out: list[Mutant] = []
    while len(out) < count and any(cells.values()):
        out += [cells[c].pop() for c in order if cells[c]][: count - len(out)]
    return out


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _assigned(node: ast.AST) -> list[str]:
    """The one name that a statement assigns."""
    return (
        [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) and len(node.targets) == 1 else []
    )


def making_samples(tree: ast.Module) -> set[str]:
    """The functions and values of a module that make the inputs of samples and nothing else: all that name them are calls of
    ``Sample``, what is given as ``samples``, and each other."""
    functions: dict[str, ast.AST] = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    functions |= {name: n for n in tree.body for name in _assigned(n)}
    told = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    given = [n for n in told if _called(n) == "Sample"] + [k.value for n in told for k in n.keywords if k.arg == "samples"]
    read = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    named = {name: {id(n) for n in read if n.id == name} for name in functions}
    inside, found = {id(n) for g in given for n in ast.walk(g)}, set[str]()
    while new := {name for name in functions.keys() - found if named[name] and named[name] <= inside}:
        found |= new
        inside |= {id(n) for name in new for n in ast.walk(functions[name])}
    return found


class Sites(ast.NodeVisitor):
    """Every change to one file, but for those that change nothing by rule: words of messages, a test's own numbers (samples and
    what makes them), what only mypy reads (protocols, overloads), ``strict=True`` of ``zip`` (an assertion), and a fallback
    (``default=0``) that a comparison with a number decides alike.
    """

    def __init__(self, path: str, text: bytes) -> None:
        self.path, self.text, self.found = path, text, list[Mutant]()
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.depth, self.statement = 0, ast.stmt()
        self.alike: dict[int, Callable[[Any], bool]] = {}
        """By number that another number is compared with through ``min``, ``max`` or ``get``: what the comparison says of it."""
        self.samples: set[str] = set()

    def span(self, node: ast.AST) -> tuple[int, int]:
        n = node
        assert isinstance(n, (ast.expr, ast.stmt)) and n.end_lineno is not None and n.end_col_offset is not None
        return self.starts[n.lineno - 1] + n.col_offset, self.starts[n.end_lineno - 1] + n.end_col_offset

    def source(self, node: ast.AST) -> str:
        return self.text[slice(*self.span(node))].decode()

    def add(self, start: int, end: int, new: str, kind: str, what: str) -> None:
        s = self.statement
        body = getattr(s, "body", None)
        head = max(s.lineno, body[0].lineno - 1 if body else s.end_lineno or 0)
        words = " ".join(self.text[self.span(s)[0] : self.starts[head]].decode().split())
        line = self.text.count(b"\n", 0, start) + 1
        self.found.append(
            Mutant(
                self.path, line, min(s.lineno, line), max(line, head), start, end, new, kind, what, words[:200], self.depth > 0
            )
        )

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str, kind: str) -> None:
        start, end = self.span(left)[1], self.span(right)[0]
        at = self.text.find(old.encode(), start, end)
        if at >= 0:
            self.add(at, at + len(old), new, kind, f"{self.source(left)[-30:]} {old.strip()} -> {new.strip()}")

    def visit(self, node: ast.AST) -> None:
        if not self.depth and not self.samples.isdisjoint(_assigned(node)):
            return
        if isinstance(node, ast.stmt):
            before, self.statement = self.statement, node
            if refuses(node):
                self.add(*self.span(node), "pass", "refusal", " ".join(self.source(node).split())[:110])
            if not isinstance(node, ast.Raise):
                super().visit(node)
            self.statement = before
        elif not isinstance(node, ast.JoinedStr):  # words of a message
            super().visit(node)

    def visit_Module(self, node: ast.Module) -> None:
        self.samples = making_samples(node)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        overload = any(getattr(d, "id", getattr(d, "attr", "")) == "overload" for d in node.decorator_list)
        if overload or (not self.depth and node.name in self.samples):
            return
        for d in (*node.args.defaults, *node.args.kw_defaults):
            if d is not None:
                self.constant(d, "default")
        self.depth += 1
        for child in node.body:
            self.visit(child)
        self.depth -= 1

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.depth += 1
        self.visit(node.body)
        self.depth -= 1

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(getattr(b, "id", getattr(b, "attr", "")) == "Protocol" for b in node.bases):
            return
        for child in node.body:
            self.visit(child)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            self.between(left, right, *TURNED[type(op)], "comparison")
        if len(node.ops) == 1 and (says := OUTCOMES.get(type(node.ops[0]))):
            right = node.comparators[0].operand if isinstance(node.comparators[0], ast.UnaryOp) else node.comparators[0]
            if isinstance(right, ast.Constant) and (fallback := _fallback(node.left)):
                self.alike[id(fallback)] = partial(_says, says, ast.literal_eval(node.comparators[0]))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = (" and ", " or ") if isinstance(node.op, ast.And) else (" or ", " and ")
        for left, right in zip(node.values, node.values[1:]):
            self.between(left, right, old, new, "and/or")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start, end = self.span(node)
            self.add(start, end, f"bool({self.source(node.operand)})", "not", f"{self.source(node)[:60]}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name in ("Sample", "cast", "TypeVar"):
            return  # a test's own numbers, words for mypy
        self.visit(node.func)
        plain = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant)
        for a, b in zip(node.args, node.args[1:]):
            if isinstance(a, plain) and isinstance(b, plain) and self.source(a) != self.source(b) and name not in ANY_ORDER:
                words = self.text[self.span(a)[1] : self.span(b)[0]].decode()
                self.add(self.span(a)[0], self.span(b)[1], f"{self.source(b)}{words}{self.source(a)}", "swap",
                         f"{name}(.. {self.source(a)}, {self.source(b)} ..)")  # fmt: skip
                break
        said = refuses(self.statement) and getattr(self.statement, "value", None) is node
        for i, arg in enumerate(node.args):
            if said and (name != "require" or i):
                continue
            if not (i and name in ("get", "getattr", "pop") and self.constant(arg, "default")):
                self.visit(arg)
        for k in node.keywords:
            if k.arg == "samples" or (k.arg == "strict" and name == "zip" and getattr(k.value, "value", None) is True):
                continue
            if not (k.arg == "default" and self.constant(k.value, "default")):
                self.visit(k.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        self.constant(node, "constant")

    def constant(self, node: ast.AST, kind: str) -> bool:
        """Another value of the same type in place of a bool or a number."""
        v = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(v, (bool, int, float)):
            return False
        new = (not v) if isinstance(v, bool) else v + 1 if isinstance(v, int) else v * 1.5 + 0.1
        if (says := self.alike.get(id(node))) and says(v) == says(new):
            return True
        before = self.text[max(0, self.span(node)[0] - 25) : self.span(node)[0]].decode(errors="ignore").split("\n")[-1]
        self.add(*self.span(node), repr(new), kind, f"{before}{self.source(node)} -> {new!r}")
        return True


def _fallback(node: ast.AST) -> ast.Constant | None:
    """The number that ``max(..., default=0)`` or ``x.get(k, 0)`` falls back to."""
    if not isinstance(node, ast.Call):
        return None
    given = [k.value for k in node.keywords if k.arg == "default"] if _called(node) in ("min", "max") else node.args[1:2]
    return given[0] if given and isinstance(given[0], ast.Constant) else None


def _says(outcome: Callable[[Any, Any], bool], right: Any, left: Any) -> bool:
    return outcome(left, right)


def mutants_of(path: str, text: bytes) -> Iterator[Mutant]:
    """Every change to one file that still compiles."""
    sites = Sites(path, text)
    sites.visit(ast.parse(text))
    seen: set[tuple[int, int, str]] = set()
    for m in sites.found:
        if (m.start, m.end, m.new) not in seen:
            seen.add((m.start, m.end, m.new))
            yield m
