"""Enumerations, dataclasses, named tuples and unknown sizes in the source of layers, and nested custom layers in HDF5."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise
from sweeps.custom_cases import cases
from sweeps.judge import judge

from convcore.interpreter.execute import Interpreter

IMPORTS = """
import collections, dataclasses, enum, string, typing
from collections import namedtuple
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple
"""
TOP = """
class Kind(enum.Enum):
    ADD = "add"
    MUL = "mul"
    TIMES = "mul"

    @property
    def factor(self):
        return 3 if self is Kind.ADD else 5

    def plus(self, n):
        return self.factor + n

class Level(enum.IntEnum):
    LOW = 2
    HIGH = enum.auto()

@dataclass
class Base:
    a: int
    b: int = 2
    shared: ClassVar[int] = 9

@dataclass(frozen=True)
class More(Base):
    c: list = field(default_factory=lambda: [1, 2])
    d: int = field(default=4, init=False)
    e: int = dataclasses.field(kw_only=True, default=6)

    def __post_init__(self):
        self.sum = self.a + self.b + sum(self.c) + self.d + self.e

    @property
    def double(self):
        return self.a * 2

@dataclass(kw_only=True)
class Named:
    n: int
    inner: Base = field(default_factory=lambda: Base(1))

Pair = namedtuple("Pair", ["left", "right"], defaults=[7])
Trio = collections.namedtuple("Trio", "x y, z")

class Typed(NamedTuple):
    one: int
    two: int = 8
"""
BODIES = [
    "return x * (2 if Kind('mul') is Kind.MUL and Kind['ADD'] == Kind.ADD and Kind.TIMES is Kind.MUL else 0)",
    "return x * len(list(Kind)) * sum(k.factor for k in Kind) * Kind.ADD.plus(2)",
    "return x * {Kind.ADD: 3, Kind.MUL: 4}[Kind('add')] * len(Kind.MUL.value + Kind.ADD.name)",
    "return x * (2 if Kind.ADD != 'add' and Level.LOW == 2 and isinstance(Kind.ADD, Kind) and Kind.ADD in (Kind.ADD,) else 0)",
    "return x * (Level.HIGH.value + len(Kind.__members__) * 10)",
    "try:\n    Kind('other')\nexcept ValueError:\n    return x * 5\nreturn x",
    "try:\n    Kind['OTHER']\nexcept KeyError:\n    return x * 5\nreturn x",
    "m = More(1, 3, e=10)\nreturn x * (m.sum * 100 + m.double + m.shared + m.d)",
    "m = More(a=1)\nm2 = More(1)\nm2.c.append(5)\nreturn x * (len(m.c) * 10 + len(m2.c))",
    "return x * sum(dataclasses.asdict(Base(3)).values()) * sum(dataclasses.astuple(Base(1, 5)))",
    "return x * (dataclasses.replace(Base(3), b=7).b * 10 + dataclasses.asdict(Named(n=3))['inner']['b'])",
    "p = Pair(3)\na, b = p\nreturn x * (a * p.right + p[1] + len(p) + sum(p._replace(left=1)) + p._asdict()['left'])",
    "return x * sum(Trio._make([1, 2, 3])) * len(Trio._fields) * (2 if isinstance(Pair(1), Pair) else 1)",
    "t = Typed(2)\nreturn x * (t.one * 10 + t.two) * (3 if isinstance(t, tuple) and not isinstance(t, Pair) else 1)",
    "return x * len(string.ascii_lowercase[2:5] + string.digits)",
]  # fmt: skip
A = np.arange(1, 13, dtype=np.float32).reshape(3, 4) / 8
W = np.array([0.5, -0.25, 2, 1], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    class Mine(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1],), name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

    path = tmp_path_factory.mktemp("records") / "m.keras"
    x = keras.Input((4,), name="x")
    made = keras.Model(x, Mine(name="mine")(x))
    randomise(made)
    made.layers[1].set_weights([W])
    made.save(path)
    return path


def _load(model: Path, folder: Path, body: str, top: str = TOP) -> Any:
    head = f"import keras\nfrom keras import ops\n{IMPORTS}{top}\nclass Mine(keras.layers.Layer):\n    def build(self, shape):\n"
    head += "        self.w = self.add_weight(shape=(shape[-1],), name='w')\n    def call(self, x):\n        self.w\n"
    (folder / "mine.py").write_text(head + textwrap.indent(body, " " * 8) + "\n")
    return load_graph(model, options={"custom": [str(folder / "mine.py")]})


@pytest.mark.parametrize("body", BODIES)
def test_records_give_what_python_gives(model: Path, tmp_path: Path, body: str) -> None:
    graph = _load(model, tmp_path, body)
    assert not problems(graph), problems(graph)
    names: dict[str, Any] = {}
    text = IMPORTS + TOP.replace("frozen=True", "") + "\ndef f(x):\n" + textwrap.indent(body, "    ")
    exec(compile(text, "records", "exec", dont_inherit=True), names)
    np.testing.assert_array_equal(Interpreter(graph).run([A])[0], names["f"](A))


REFUSED = {
    "is no value of Kind": "Kind('x')",
    "is no member of Kind": "Kind['x']",
    "which has no such member": "Kind.NOTHING",
    "calls Kind with other than one value": "Kind('add', 'mul')",
    "calls Kind.ADD": "Kind.ADD()",
    "of Kind.ADD, which has none": "Kind.ADD.other",
    "reads 'other' of Pair, which has no such field": "Pair(1).other",
    "without its argument 'left'": "Pair()",
    "of the named tuple Pair": "Pair.other",
    "a named tuple in a way": "namedtuple('P', 'a', rename=True)",
    "without its argument 'a'": "Base()",
    "gives the unknown argument 'z'": "Base(1, z=3)",
    "a function of 0 arguments with 1": "Named(1)",
    "calls dataclasses.fields, which": "dataclasses.fields(Base(1))",
    "which is no dataclass": "dataclasses.asdict(3)",
    "branches on a size that is not known": "3 if x.shape[0] else 4",
}
TOPS = {
    "a member that is no name": "class Kind(enum.Enum):\n    A = [1]\n",
    "defines '_missing_' in an enumeration": "class Kind(enum.Enum):\n    def _missing_(cls, v): return v\n",
    "the statement For in an enumeration": "class Kind(enum.Enum):\n    for i in (): pass\n",
    "has methods in a named tuple": "class Kind(NamedTuple):\n    a: int\n    def f(self): pass\n",
    "makes a dataclass with match_args": "@dataclass(match_args=False)\nclass Kind:\n    a: int\n",
    "makes a dataclass of": "Kind = dataclass(3)\n",
}


@pytest.mark.parametrize("why", [*REFUSED, *TOPS])
def test_what_is_not_followed_is_refused(model: Path, tmp_path: Path, why: str) -> None:
    body = f"y = {REFUSED[why]}\nreturn x" if why in REFUSED else "y = Kind\nreturn x"
    (found,) = problems(_load(model, tmp_path, body, TOPS.get(why, TOP)))
    assert why in found.why
    assert f"{tmp_path / 'mine.py'}:" in found.why


# ---- sizes that are not known
def test_code_that_asks_whether_a_size_is_none(model: Path, tmp_path: Path) -> None:
    """Both answers are worked through, and mean the same, or are refused; what only one answer makes is refused in Keras 3."""
    same = "n = x.shape[0]\nif n is None:\n    n = ops.shape(x)[0]\nreturn ops.reshape(x, (n, 2, -1)) * 2"
    graph = _load(model, tmp_path, same)
    assert not problems(graph), problems(graph)
    np.testing.assert_array_equal(Interpreter(graph).run([A])[0], A.reshape(3, 2, 2) * 2)
    (found,) = problems(_load(model, tmp_path, "return x * 2 if x.shape[0] is None else x * 3"))
    assert "one thing where a size is None and another where it is not" in found.why and "mine.py:" in found.why
    (found,) = problems(_load(model, tmp_path, "if x.shape[0] is not None:\n    raise ValueError()\nreturn x"))
    assert "raises ValueError" in found.why
    (found,) = problems(_load(model, tmp_path, "return x if x.shape[0] is x.shape[1] else x"))
    assert "asks whether a size that is not known is None" in found.why


# ---- layers of the source in layers of the source, where a file only orders the weights
NESTED = ("TinyDecoder", "FilterResponse", "Beats", "SwinBlock")


@pytest.mark.parametrize("case", [c for c in cases() if c.name in NESTED], ids=lambda c: c.name)
def test_nested_custom_layers(case: Any) -> None:
    """In ``.keras`` and in HDF5, where inner layers make their weights when they are called first."""
    assert case.hdf5
    verdict = judge(case, ())
    assert verdict.what == "agree", verdict.why


DEEP = """
import keras
from keras import layers, ops

class Leaf(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.count = self.add_weight(shape=(), name="count", trainable=False)

    def call(self, x):
        return x * self.scale + self.count

class Branch(layers.Layer):
    def __init__(self, units, **kw):
        super().__init__(**kw)
        self.norm = layers.BatchNormalization()
        self.first, self.second = Leaf(), Leaf()
        self.units = units
        self.dense = layers.Dense(units)

    def build(self, shape):
        self.second.build((*shape[:-1], self.units))

    def call(self, x):
        return self.second(self.dense(self.first(self.norm(x))))

class Tree(layers.Layer):
    def __init__(self, **kw):
        super().__init__(**kw)
        self.branches = [Branch(5), Branch(4)]
        self.last = Leaf()
        self.frozen = Branch(4)
        self.frozen.trainable = False

    def build(self, shape):
        self.gain = self.add_weight(shape=(4,), name="gain")

    def call(self, x):
        y = x * self.gain
        for b in self.branches:
            y = b(y)
        return self.frozen(self.last(y))
"""


@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_three_levels_of_layers_with_weights_of_one_shape(tmp_path: Path, form: str) -> None:
    """Every level has trained and other weights, many of one shape: only the order tells them apart in HDF5."""
    source = tmp_path / "tree.py"
    source.write_text(DEEP)
    names: dict[str, Any] = {"__name__": "tree"}
    exec(DEEP, names)
    kept = keras.saving.get_custom_objects()
    kept.update({k: names[k] for k in ("Tree", "Branch", "Leaf")})
    try:
        x = keras.Input((4,), name="x")
        made = keras.Model(x, names["Tree"](name="tree")(x))
        randomise(made, 5)
        for v in made.weights:
            if v.path.endswith("moving_variance"):
                v.assign(np.abs(np.asarray(v.numpy())) + 0.5)
        made.save(tmp_path / f"m{form}")
        want = keras.ops.convert_to_numpy(made(A, training=False))
    finally:
        for k in ("Tree", "Branch", "Leaf"):
            kept.pop(k)
    graph = load_graph(tmp_path / f"m{form}", options={"custom": [str(source)]})
    assert not problems(graph), problems(graph)
    np.testing.assert_allclose(Interpreter(graph).run([A])[0], want, rtol=1e-4, atol=1e-4)
    source.write_text(DEEP.replace("self.scale = self.add_weight(shape=(shape[-1],)", "self.scale = self.add_weight(shape=()"))
    (found,) = problems(load_graph(tmp_path / f"m{form}", options={"custom": [str(source)]}))
    assert "of shape ()" in found.why
    source.write_text(DEEP.replace('        self.count = self.add_weight(shape=(), name="count", trainable=False)\n', "")
                      .replace(" + self.count", ""))  # fmt: skip
    (found,) = problems(load_graph(tmp_path / f"m{form}", options={"custom": [str(source)]}))
    assert "weights as far as it is built, the file holds" in found.why or "makes no weight of" in found.why


# ---- Python's library, match, and layers of Keras by their weights
LIBRARY = [
    "import operator\nreturn x * operator.mul(3, operator.sub(9, 2))",
    "import logging\nlog = logging.getLogger('a')\nlog.info('x %s', 3)\n"
    "return x * (2 if log and not log.isEnabledFor(10) else 3)",
    "import collections\nd = collections.OrderedDict([('a', 2)], b=3)\nreturn x * sum(d.values())",
    "import math\nreturn x * math.prod(k for k in (2, 3, 4))",
    "import numpy as np\nr = np.random.RandomState(3)\nreturn x * float(r.uniform(0.0, 2.0)) * int(r.randint(1, 9))",
    "import numpy as np\nreturn x * np.random.RandomState(5).randn(4).astype('float32')",
    "def f(v):\n    match v:\n        case 1 | 2:\n            return 10\n        case (a, 5) if a > 3:\n            return a\n"
    "        case (_, b):\n            return b\n        case None:\n            return 7\n        case 'a' as name:\n"
    "            return len(name)\n        case _:\n            return 99\n    return 0\n"
    "return x * (f(1) + 3 * f((4, 5)) + 5 * f((1, 6)) + 7 * f(None) + 11 * f('a') + 13 * f(8))",
    "import functools\nclass C:\n    n = []\n    @functools.cached_property\n    def v(self):\n"
    "        return len(str(self.k)) * 3\nc = C()\nc.k = 12345\na = c.v\nc.k = 1\nreturn x * (a * 100 + c.v)",
]


def test_a_weight_that_a_layer_does_without_is_none(model: Path, tmp_path: Path) -> None:
    body = "d = keras.layers.Dense(3, use_bias=False)\nn = 2 if hasattr(d, 'bias') and d.bias is None else 3\n"
    graph = _load(model, tmp_path, body + "n += 10 if hasattr(d, 'gamma') else 20\nreturn x * n")
    assert not problems(graph), problems(graph)
    np.testing.assert_array_equal(Interpreter(graph).run([A])[0], A * 22)


UNREAD = {
    "draws random numbers without a seed": "import numpy as np\nreturn x * np.random.RandomState().uniform()",
    "calls the method 'shuffle' of a random state": "import numpy as np\nnp.random.RandomState(3).shuffle([1])\nreturn x",
    "of a size that is not known, or more than": "import numpy as np\nreturn x * np.random.RandomState(3).rand(9999, 9999)",
    "draws random numbers, which fails": "import numpy as np\nreturn x * np.random.RandomState(3).randint(5, 2)",
    "matches by the pattern {'a': 1}": "match {'a': 1}:\n    case {'a': 1}:\n        return x\nreturn x",
    "matches by the pattern [_, *_]": "match (1, 2):\n    case [_, *_]:\n        return x\nreturn x",
    "calls operator.xor, which": "import operator\nreturn x * operator.xor(1, 2)",
    "asks whether the layer 'LSTM' has 'cell'": "d = keras.layers.LSTM(3)\nreturn x if hasattr(d, 'cell') else x",
}


@pytest.mark.parametrize("body", LIBRARY)
def test_the_library_gives_what_python_gives(model: Path, tmp_path: Path, body: str) -> None:
    graph = _load(model, tmp_path, body)
    assert not problems(graph), problems(graph)
    names: dict[str, Any] = {}
    exec("def f(x):\n" + textwrap.indent(body, "    "), names)
    np.testing.assert_allclose(Interpreter(graph).run([A])[0], names["f"](A), rtol=1e-6)


@pytest.mark.parametrize("why", UNREAD)
def test_the_library_that_is_not_followed(model: Path, tmp_path: Path, why: str) -> None:
    (found,) = problems(_load(model, tmp_path, UNREAD[why]))
    assert why in found.why and "mine.py:" in found.why


@pytest.mark.parametrize(
    "case", [c for c in cases() if c.name in ("WeightNorm", "Encoder", "Lazy", "ByDict")], ids=lambda c: c.name
)
def test_layers_of_python(case: Any) -> None:
    verdict = judge(case, ())
    assert verdict.what == "agree", verdict.why
