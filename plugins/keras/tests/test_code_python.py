"""Python as the judge of both interpreters: they compute plain values as Python and numpy do, or refuse."""

from __future__ import annotations

import ast
import itertools
import json
import marshal
import types
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.rules.foreign import ForeignNode
from convcore_keras.code.domain import CodeRefused, Domain, Options
from convcore_keras.code.lambdas import StoredFunction
from convcore_keras.code.names import MODULES, ROOTS
from convcore_keras.code.source.domain import SourceDomain
from convcore_keras.code.source.layers import Host
from convcore_keras.code.source.library import Library, SourceFile
from convcore_keras.code.source.module import Env, SourceModule
from convcore_keras.files.config import LayerConfig
from convcore_keras.load_context import KerasContext
from convcore_keras.rules import RULES

TABLE = json.loads((Path(__file__).parent / "data" / "code_python.json").read_text("utf-8"))
"""Bodies of functions: that give what Python gives, and that are refused, with the reason."""

HEAD = "import math, itertools, functools, operator, collections, copy, dataclasses, enum, typing\nimport numpy as np\n"
MORE = HEAD + "import keras\nimport tensorflow as tf\nfrom keras import backend as K, ops\n"


def _domain(era: str = "keras3", version: str = "3.15.0") -> tuple[Host, SourceDomain, list[Any]]:
    """Tensors of a size that is not known, of a vector, of whole numbers and of an image, which ``f`` may take."""
    b = Builder(Graph())
    root = types.SimpleNamespace(trainable=True)
    model: Any = types.SimpleNamespace(era=era, backend="", keras_version=version, root=root, container="keras-zip")
    g = KerasContext(b, model, RULES, {})
    node = ForeignNode("F", "f", [], {})
    layer = LayerConfig("f", "F", "F", {})
    h = Host(g, node, layer, True, {})
    shapes: dict[str, Any] = {"x": (Dim("N"), 3, 5), "v": (4,), "i": (2,), "m": (1, 8, 9, 3)}
    tensors = [b.input(n, "int32" if n == "i" else "float32", shape) for n, shape in shapes.items()]
    return h, SourceDomain(h.ops, Library(), h), tensors


def by_source(text: str, names: str = "", era: str = "keras3", version: str = "3.15.0", settling: bool = True) -> Any:
    """What the interpreter of source makes of ``f`` of a module, given the tensors named, in a file of some Keras; while layers
    are called, or (not ``settling``) made."""
    _, d, tensors = _domain(era, version)
    file = SourceFile(Path("f.py"), Path())
    file.__dict__["tree"] = ast.parse(MORE + text)
    env = Env(SourceModule(file, d), values=dict(zip("xvim", tensors)))
    d.settling = settling
    return d.evaluate(ast.parse(f"f({names})", mode="eval").body, env)


def by_bytecode(text: str, names: str = "") -> Any:
    """What the interpreter of bytecode makes of ``f``, compiled by the Python that runs the test."""
    module = compile(text, "f.py", "exec")
    (code,) = [c for c in module.co_consts if isinstance(c, types.CodeType)]
    (reading, *_) = StoredFunction(marshal.dumps(code), (), ()).readings()
    h, _, tensors = _domain()
    return reading.invoke(Domain(h.ops, Options(ROOTS, MODULES)), tensors[: len(names.split(", ")) if names else 0], {})


def by_python(text: str) -> Any:
    scope: dict[str, Any] = {}
    exec(compile(HEAD + text, "f.py", "exec", dont_inherit=True), scope)
    return scope["f"]()


def plain(x: Any) -> Any:
    """A value with its type; arrays by type, shape and elements; what is gone over once as a list."""
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0):  # numbers are Python's own
        x = x.item()
    if isinstance(x, np.ndarray):
        return "array", str(x.dtype), x.shape, x.tolist()
    if isinstance(x, dict):
        return "dict", [(plain(k), plain(v)) for k, v in x.items()]
    if isinstance(x, (list, tuple)):
        return type(x).__name__, [plain(v) for v in x]
    return type(x).__name__, x if x == x else "nan"


def body(text: str) -> str:
    return "def f():\n" + "".join(f"    {line}\n" for line in text.split("\n"))


BOTH = {"source": by_source, "bytecode": by_bytecode}

# ---- operators
VALUES = ["True", "0", "-3", "7", "2.5", "'ab'", "''", "[1, 2]", "(3,)", "{'a': 1}", "None"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>", "@"]
OPERATORS += ["<", "<=", "==", "!=", ">", ">=", "is", "is not", "in", "not in", "and", "or"]
REFUSED = {
    "bytecode": {"raises a number to a large power": 96, "shifts a number far": 88, "formats text with %": 22,
                 "repeats a sequence too often": 40, "compares objects by identity": 162},
    "source": {"raises a number to a large power": 96, "shifts a number far": 88, "repeats a sequence too often": 40,
               "compares objects by identity": 162, "formats something else than names and numbers with %": 4,
               "formats text with %": 18},
}  # fmt: skip
"""Refusals by reason, of those pairs as well that Python raises for."""


def _why(text: str) -> str:
    """The kind of a reason: without the values in it."""
    return next((k for kinds in REFUSED.values() for k in kinds if text.startswith(k)), "fails")


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("end", BOTH)
def test_operators_give_what_python_gives(end: str) -> None:
    """Every operator of every two kinds of values, in place as well; what Python computes and we refuse is counted by reason."""
    refused: Counter[str] = Counter()
    for op, x, y in itertools.product(OPERATORS, VALUES, VALUES):
        text = f"def f():\n    x, y = {x}, {y}\n    return x {op} y\n"
        try:
            found = BOTH[end](text)
        except CodeRefused as e:
            why = _why(str(e))
            refused[why] += 1
            if why == "fails":
                with pytest.raises((TypeError, ArithmeticError, ValueError)):
                    by_python(text)
            continue
        assert plain(found) == plain(by_python(text)), text
    del refused["fails"]
    assert refused == REFUSED[end]


UNARY = [
    "-x",
    "+x",
    "~x",
    "not x",
    "x[0]",
    "x[-1]",
    "x[1:]",
    "x[::-1]",
    "len(x)",
    "abs(x)",
    "bool(x)",
    "str(x)",
    "list(x)",
    "tuple(x)",
]


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("end", BOTH)
def test_operators_of_one_value(end: str) -> None:
    for form, x in itertools.product(UNARY, VALUES):
        text = f"def f():\n    x = {x}\n    return {form}\n"
        try:
            found = BOTH[end](text)
        except CodeRefused:
            with pytest.raises((TypeError, LookupError)):
                by_python(text)
            continue
        assert plain(found) == plain(by_python(text)), text


@pytest.mark.parametrize("end", BOTH)
def test_operators_in_place(end: str) -> None:
    """``x op= y`` changes a list under all its names, and makes anew what cannot change."""
    for op, (x, y) in itertools.product(
        ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"],
        [
            ("7", "3"),
            ("-8", "2"),
            ("2.5", "2"),
            ("[1, 2]", "(3, 4)"),
            ("[1]", "3"),
            ("(1,)", "(2,)"),
            ("'a'", "'b'"),
            ("'a'", "3"),
        ],
    ):
        text = f"def f():\n    x = z = {x}\n    x {op}= {y}\n    return x, z, x is z if x is None else 0\n"
        try:
            want = by_python(text)
        except TypeError:
            with pytest.raises(CodeRefused):
                BOTH[end](text)
            continue
        assert plain(BOTH[end](text)) == plain(want), text


# ---- what both interpreters compute as Python does


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("end", BOTH)
@pytest.mark.parametrize("text", TABLE["both"])
def test_both_give_what_python_gives(end: str, text: str) -> None:
    assert plain(BOTH[end](body(text))) == plain(by_python(body(text)))


# ---- what only the source can say


@pytest.mark.parametrize("text", [*TABLE["source"], *(f"return {t}" for t in TABLE["numpy"])])
def test_the_source_gives_what_python_and_numpy_give(text: str) -> None:
    assert plain(by_source(body(text))) == plain(by_python(body(text)))


# ---- what neither follows


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("end", BOTH)
@pytest.mark.parametrize("text", TABLE["refused"])
def test_what_neither_follows_is_refused(end: str, text: str) -> None:
    with pytest.raises(CodeRefused, match=TABLE["refused"][text]):
        BOTH[end]("def f(x, v, i, m):\n" + "".join(f"    {line}\n" for line in text.split("\n")), "x, v, i, m")


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("text", TABLE["refused_by_source"])
def test_what_the_source_may_not_say_is_refused(text: str) -> None:
    with pytest.raises(CodeRefused, match=TABLE["refused_by_source"][text]) as found:
        by_source("def f(x, v, i, m):\n" + "".join(f"    {line}\n" for line in text.split("\n")), "x, v, i, m")
    assert found.value.place.startswith("f.py:")
