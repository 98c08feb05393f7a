"""What Python's classes say themselves: equality, truth, how they are made; names of comprehensions; copies."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import problems
from test_custom_records import IMPORTS, TOP, A, _load, model

from convcore.interpreter.execute import Interpreter

__all__ = ["model"]

MORE = """
class Mode(str, enum.Enum):
    SUM = "sum"
    MEAN = "mean"

class Deep(enum.IntEnum):
    TWO = 2
    REAL = True

class Empty:
    def __len__(self):
        return 0

class Off:
    def __bool__(self):
        return False

class Other:
    pass

@dataclass
class Own(Base):
    c: int = 3

    def __init__(self, a):
        self.a, self.b = a * 10, 77

class Plain:
    def __init__(self, *args):
        self.a = 5

@dataclass
class Made(Plain):
    b: int = 2

@dataclass
class Outer:
    inner: Base
    j: int = 4
"""
BODIES = [
    "return x * (2 if Mode.SUM in ('sum', 'mean') and 'sum' in (Mode.SUM, Mode.MEAN) and 'add' not in (Kind.ADD, 3) else 3)",
    "return x * {'sum': 4}.get(Mode.SUM, 9) * {Mode.MEAN: 5}['mean'] * (2 if 'sum' in {Mode.SUM: 1} else 3)",
    "return x * (2 if Mode.SUM in {'sum': 1} and Mode.SUM in {'sum', 'b'} and Kind.ADD not in {'add': 1} else 3)",
    "return x * (2 if [Mode.SUM] == ['sum'] and (Mode.SUM, 1) == ('sum', 1) and (Kind.ADD, 1) != ('add', 1) else 3)",
    "return x * (2 if isinstance(Mode.SUM, str) and isinstance(Level.LOW, int) and not isinstance(Level.LOW, str) else 3)",
    "return x * (2 if Level.LOW == Deep.TWO and Level.LOW == 2.0 and Deep.REAL == 1 and Level.LOW in (2,) else 3)",
    "return x * ((2 if Empty() else 3) * (5 if Off() else 7) * (11 if not Off() else 13) * (17 if Other() else 19))",
    "a, b = Own(4), Made(4)\nreturn x * (a.a + a.b + b.b)",
    "return x * dataclasses.astuple(Outer(Base(3)))[0][0] * dataclasses.asdict(Outer(Base(3)))['inner']['b']",
    "a, o = Base(1), Other()\nreturn x * (2 if a == a and a in [None, a] and a != None and o not in [Other()] else 3)",
    "import copy\na = [[1], {'k': [2]}]\nb, c = copy.deepcopy(a), copy.copy(a)\na[0].append(2)\na[1]['k'].append(3)\n"
    "return x * (len(b[0]) + 3 * len(b[1]['k']) + 9 * len(c[0]) + copy.copy(Pair(3)).left)",
    "f = [lambda: i * j for i in range(3) for j in (5, 7)]\nj = 11\nreturn x * sum(g() for g in f) * j",
    "f = {i: (lambda: i) for i in range(4)}\nreturn x * f[0]() * len(str([1, (2, 'a'), {'k': None}]))",
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_what_classes_say_is_what_python_says(model: Path, tmp_path: Path, body: str) -> None:
    graph = _load(model, tmp_path, body, TOP + MORE)
    assert not problems(graph), problems(graph)
    names: dict[str, Any] = {}
    text = IMPORTS + TOP.replace("frozen=True", "") + MORE + "\ndef f(x):\n" + textwrap.indent(body, "    ")
    exec(compile(text, "classes", "exec", dont_inherit=True), names)
    np.testing.assert_array_equal(Interpreter(graph).run([A])[0], names["f"](A))


def test_names_of_a_text_enumeration_are_small_letters(model: Path, tmp_path: Path) -> None:
    """``auto()`` of ``enum.StrEnum``, which Python has from 3.11 on."""
    top = "class Kind(enum.StrEnum):\n    SUM = enum.auto()\n    Mean = enum.auto()\n"
    body = "return x * (2 if Kind.Mean == 'mean' and Kind.SUM.value == 'sum' and Kind.Mean != 2 else 3)"
    graph = _load(model, tmp_path, body, top)
    assert not problems(graph), problems(graph)
    np.testing.assert_array_equal(Interpreter(graph).run([A])[0], A * 2)


EQUAL = "class Kind:\n    def __eq__(self, other): return other == 'q'\n"
DATA = "@dataclass\nclass Kind:\n    a: int = 1\n"
REFUSED = {
    "a member that is no str": ("class Kind(str, enum.Enum):\n    A = enum.auto()\n", "Kind"),
    "a member that is no int": ("class Kind(enum.IntEnum):\n    A = '1'\n", "Kind"),
    "with more bases than Enum, int and str": ("class Kind(float, enum.Enum):\n    A = 0.5\n", "Kind"),
    "makes an enumeration with more bases": ("class M:\n    pass\nclass Kind(M, enum.Enum):\n    A = 5\n", "Kind"),
    "objects of Kind, which says itself": (EQUAL, "Kind() == 'q'"),
    "compares objects of Kind, which says": (EQUAL, "'q' in [Kind()]"),
    "objects of Kind, which says itself what is equal": (DATA, "Kind() == Kind()"),
    "compares objects of Kind, which": (DATA, "Kind() in [Kind()]"),
    "fails: compares objects of Kind": (DATA, "[Kind()].count(Kind())"),
    "compares objects of Kind": (DATA, "(Kind(),) == (Kind(),)"),
    "defines __setattr__": ("class Kind:\n    def __setattr__(self, n, v): pass\n", "Kind"),
    "defines __init_subclass__": ("class Kind:\n    def __init_subclass__(cls): pass\n", "Kind"),
    "defines __new__": ("class Kind:\n    def __new__(cls): return 3\n", "Kind"),
    "a metaclass or other keywords": ("class M(type):\n    pass\nclass Kind(metaclass=M):\n    pass\n", "Kind"),
    "which has __getattr__, whether": ("class Kind:\n    def __getattr__(self, n): return 3\n", "hasattr(Kind(), 'b')"),
    "formats an object that holds more": ("Kind = namedtuple('Kind', 'a')\n", "str(Kind(1))"),
    "formats a list that holds more": ("class Kind(enum.Enum):\n    A = 1\n", "f'{[Kind.A]}'"),
    "copies a list": ("class Kind:\n    pass\nimport copy\n", "copy.deepcopy([Kind()])"),
    "calls tensorflow.case": ("import tensorflow as tf\n", "tf.case([(True, lambda: x)], lambda: x * 2)"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_classes_say_is_refused_where_it_is_not_followed(model: Path, tmp_path: Path, why: str) -> None:
    top, expression = REFUSED[why]
    (found,) = problems(_load(model, tmp_path, f"y = {expression}\nreturn x", top))
    assert why in found.why and "mine.py:" in found.why
