"""The bytecode of Lambda functions: 34 functions as nine Pythons compiled them mean one thing; hostile bytes are refused fast."""

from __future__ import annotations

import base64
import contextlib
import json
import marshal
import random
import struct
import sys
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import load_graph, problems

from convcore.build.builder import Builder
from convcore.interpreter.execute import Interpreter
from convcore.ir.graph import Graph
from convcore_keras.code.bytecode import versions
from convcore_keras.code.domain import CodeRefused, Domain, Method, Misread, Options
from convcore_keras.code.lambdas import StoredFunction, one_meaning, stored_function
from convcore_keras.code.layer import told_apart
from convcore_keras.code.names import MODULES, ROOTS
from convcore_keras.code.tensors import TensorShape

STORED = json.loads((Path(__file__).parent / "data" / "lambdas.json").read_text())
PYTHONS = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
SEVERAL = {"two_inputs": 2, "ctc": 4, "sampling": 2, "unpack": 2, "star": 2}
OPTIONS = Options(ROOTS, MODULES)


class Text:
    """A tensor that is the expression it was made by."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Texts:
    """Operations that write down what is asked of them."""

    def is_tensor(self, x: Any) -> bool:
        return isinstance(x, Text)

    def higher(self, path: str) -> None:
        return None

    def is_size(self, x: Any) -> bool:
        return False

    def binary(self, op: str, x: Any, y: Any) -> Any:
        return Text(f"({x!r} {op} {y!r})")

    def unary(self, op: str, x: Any) -> Any:
        return Text(f"({op}{x!r})")

    def compare(self, op: str, x: Any, y: Any) -> Any:
        return Text(f"({x!r} {op} {y!r})")

    def item(self, x: Any, key: Any) -> Any:
        return Text(f"{x!r}[{key!r}]")

    def unstack(self, x: Any) -> list[Any]:
        raise CodeRefused("iterates over a tensor")

    def attribute(self, x: Any, name: str) -> Any:
        return Method(x, name)

    def method(self, x: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return Text(f"{x!r}.{name}{tuple(args)!r}")

    def call(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if path.endswith("int_shape"):
            return TensorShape((None, 4, 5, 16))
        given = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in sorted(kwargs.items())]
        return Text(f"{path}({', '.join(given)})")


def understood(function: StoredFunction, *args: Any, steps: int = 20_000) -> str:
    return one_meaning(
        function.readings(), lambda reading: repr(reading.invoke(Domain(Texts(), OPTIONS, steps), args, {})), lambda text: text
    )


def argument(name: str) -> Any:
    return [Text(f"x{i}") for i in range(SEVERAL[name])] if name in SEVERAL else Text("x")


def stored(name: str, python: str) -> StoredFunction:
    entry = STORED[name]
    return stored_function([entry["code"][python], entry["defaults"], entry["closure"]])


EXPECTED = {
    "rescale": "((x / 127.5) - 1)",
    "rescale2": "((x - 0.5) * 2.0)",
    "l2norm": "keras.backend.l2_normalize(x, axis=1)",
    "resize": "tensorflow.image.resize(x, (32, 48))",
    "scale": "((x * 0.3) + -1)",
    "slice_const": "x[(slice(None, None, None), slice(None, None, None), slice(None, None, None), slice(0, 16, None))]",
    "slice_closure": "x[(slice(None, None, None), slice(None, None, None), slice(None, None, None), slice(4, 12, None))]",
    "slice_defaults": "x[(slice(None, None, None), slice(None, None, None), slice(None, None, None), slice(0, 16, None))]",
    "squeeze": "keras.backend.squeeze(x, axis=-1)",
    "mean": "keras.ops.mean(x, axis=(1, 2), keepdims=True)",
    "split": "tensorflow.split(x, 2, axis=-1)",
    "idx_last": "x[(slice(None, None, None), -1)]",
    "idx_newaxis": "x[(slice(None, None, None), None, Ellipsis)]",
    "two_inputs": "((x0 * 0.1) + x1)",
    "unpack": "keras.backend.abs((x0 - x1))",
    "ctc": "keras.backend.ctc_batch_cost(x0, x1, x2, x3)",
    "sampling": "(x0 + (keras.backend.exp((0.5 * x1)) * "
    "keras.backend.random_normal(mean=0.0, shape=(keras.backend.shape(x0)[0], 8), stddev=1.0)))",
    "listcomp": "keras.backend.concatenate([x[(slice(None, None, None), slice(0, None, 2))], "
    "x[(slice(None, None, None), slice(1, None, 2))]], axis=1)",
    "cond_expr": "x",
    "kwargs_call": "tensorflow.reduce_sum(x, axis=[1, 2], keepdims=False)",
    "chain": "keras.backend.relu(keras.backend.batch_flatten(x), alpha=0.1, max_value=6.0)",
    "import_tf": "tensorflow.keras.backend.sum(tensorflow.transpose(x, [0, 2, 1]), axis=-1)",
    "dictarg": "tensorflow.nn.softmax(axis=-1, logits=x)",
    "pow": "(keras.backend.pow(x, 2) ** 0.5)",
    "cmp": "keras.backend.cast((x > 0.5), 'float32')",
    "fstr": "tensorflow.cast(x, 'float32')",
    "shape_reshape": "keras.backend.reshape(x, (-1, 20))",
    "dts": "tensorflow.nn.depth_to_space(x, 2)",
    "onehot": "tensorflow.one_hot(tensorflow.cast(x, 'int32'), depth=10)",
    "star": "reads 'version_info' of the unknown name 'sys'",
    "big256": "((x * 1000.0) + 300)",
    "target_layer": "x[(slice(None, None, None), slice(None, None, None), slice(None, None, None), slice(4, 12, None))]",
    "loop_fn": "tensorflow.stack([(x[(Ellipsis, 0)] * 1.0), (x[(Ellipsis, 1)] * 2.0), (x[(Ellipsis, 2)] * 3.0)], axis=-1)",
}


def test_every_function_is_expected() -> None:
    assert set(EXPECTED) == set(STORED)


@pytest.mark.parametrize("name", EXPECTED)
def test_nine_pythons_mean_one_thing(name: str) -> None:
    for python in PYTHONS:
        try:
            found = understood(stored(name, python), argument(name))
        except CodeRefused as e:
            found = str(e)
        assert found == EXPECTED[name], python


def assembled(version: str, listing: Sequence[tuple[str, int]]) -> bytes:
    """Instructions as the bytes of a version, with the caches that follow them."""
    table = next(v for layout in ("3.11",) for v in versions(layout) if str(v) == version)  # type: ignore[arg-type]
    numbers = {n: c for c, n in table.names.items()}
    return b"".join(bytes([numbers[n], a]) + bytes(2 * table.caches.get(n, 0)) for n, a in listing)


def marshalled(code: bytes, consts: bytes, names: Sequence[str], local: str) -> bytes:
    """A code object as 3.11 and newer lay it out, with one argument."""
    text = lambda s: b"z" + bytes([len(s)]) + s.encode()  # noqa: E731
    tup = lambda items: b")" + bytes([len(items)]) + b"".join(items)  # noqa: E731
    head = struct.pack("<5i", 1, 0, 0, 8, 3)
    body = b"s" + struct.pack("<i", len(code)) + code + consts + tup([text(n) for n in names]) + tup([text(local)])
    tail = b"s" + struct.pack("<i", 1) + b"\x26" + text("f.py") + text("<lambda>") * 2 + struct.pack("<i", 1)
    return b"c" + head + body + tail + b"s" + struct.pack("<i", 0) + b"s" + struct.pack("<i", 0)


def test_python_3_14() -> None:
    """No 3.14 is at hand: its instructions put together by its published tables."""
    listing = [
        ("RESUME", 0), ("LOAD_FAST_BORROW", 0), ("LOAD_CONST", 0), ("BINARY_OP", 11), ("LOAD_SMALL_INT", 7), ("BINARY_OP", 10),
        ("LOAD_CONST", 1), ("BINARY_OP", 26), ("RETURN_VALUE", 0),
    ]  # fmt: skip
    consts = b")\x02g" + struct.pack("<d", 127.5) + b":i" + struct.pack("<i", 0) + b"i" + struct.pack("<i", 5) + b"N"
    data = marshalled(assembled("3.14", listing), consts, (), "x")
    assert understood(StoredFunction(data, (), ()), Text("x")) == "((x / 127.5) - 7)[slice(0, 5, None)]"


def test_forms_of_every_keras() -> None:
    """The same function in the forms of Keras 1, Keras 2 and Keras 3."""
    code = STORED["rescale"]["code"]["3.8"]
    raw = base64.b64decode(code).decode("latin-1")
    config = {"code": code, "defaults": None, "closure": None}
    forms: list[Any] = [
        [raw, None, None],
        [code, None, None],
        {"class_name": "__lambda__", "config": config},
        {"class_name": "__lambda__", "config": {"value": [code, None, None]}},
    ]
    for form in forms:
        assert understood(stored_function(form), Text("x")) == "((x / 127.5) - 1)"


@pytest.mark.parametrize("form", ["x", {"config": 3}, [], [3], [{"a": 1}], None, {"config": {"code": 5}}])
def test_unknown_forms_are_refused(form: Any) -> None:
    with pytest.raises(CodeRefused, match="unknown form"):
        stored_function(form)


def test_values_that_a_file_cannot_hold_are_refused() -> None:
    with pytest.raises(CodeRefused, match="captures a value"):
        stored_function([STORED["scale"]["code"]["3.8"], None, [b"x"]])
    with pytest.raises(CodeRefused, match="defaults in an unknown form"):
        stored_function([STORED["scale"]["code"]["3.8"], 5, None])


# ---- hostile code, compiled by the Python that runs the tests
def compiled(text: str) -> StoredFunction:
    module = compile(f"f = {text}", "f.py", "exec")
    (code,) = [c for c in module.co_consts if isinstance(c, types.CodeType)]
    return StoredFunction(marshal.dumps(code), (), ())


def defined(text: str) -> StoredFunction:
    module = compile(text, "f.py", "exec")
    (code,) = [c for c in module.co_consts if isinstance(c, types.CodeType)]
    return StoredFunction(marshal.dumps(code), (), ())


ATTACKS = {
    "lambda x: exec('import os')": "calls the unknown name 'exec'",
    "lambda x: eval('1')": "calls the unknown name 'eval'",
    "lambda x: (open('/etc/passwd'), x)[1]": "calls the unknown name 'open'",
    "lambda x: __import__('os').system('id')": "calls the unknown name '__import__'",
    "lambda x: os.environ.get('A')": "reads 'environ' of the unknown name 'os'",
    "lambda x: x.__class__.__mro__": "reads the attribute '__class__'",
    "lambda x: ().__class__": "reads the attribute '__class__'",
    "lambda x: getattr(x, 'a')": "calls the unknown name 'getattr'",
    "lambda x: 'a' * 10 ** 9": "raises a number to a large power|too often|too large",
    "lambda x: [0] * 1000000": "repeats a sequence too often",
    "lambda x: 9 ** 999999": "large power",
    "lambda x: 1 << 4000": "shifts a number far|too large",
    "lambda x: [y for y in range(10 ** 7)]": "more than 4096 items",
    "lambda x: (lambda f: f(f))(lambda f: f(f))": "calls functions more than|steps",
    "lambda x: x if x > 0 else -x": "branches on the value of a tensor",
    "lambda x: x if x else 0": "branches on the value of a tensor",
    "lambda x: 3": "^$",
    "lambda x: x + None": "computes with a tensor and None",
    "lambda x: x + 'a'": "computes with a tensor and the text 'a'",
    "lambda x: 'a' % x": "computes with a tensor and the text 'a'",
    "lambda x: '%s' % 3": "formats text with %",
    "lambda x: f'{x}'": "formats an object as text",
    "lambda x: x in [1]": "asks whether a tensor is in a sequence",
    "lambda x: x is 3": "compares objects by identity",
    "lambda x: x == None": "compares a tensor with None",
    "lambda x: len": "^$",
    "lambda x: {1, 2}": "makes a set|set",
    "lambda x: (y for y in [x])": "",
    "lambda x: [1, 2][7]": "not there",
    "lambda x: 1 / 0": "fails",
    "lambda x: int('z')": "fails",
    "lambda x: isinstance(x, Foo)": "asks whether something is a",
    "lambda x: foo.bar(x)": "reads 'bar' of the unknown name 'foo'",
    "lambda x: foo(x)": "calls the unknown name 'foo'",
    "lambda x: (lambda a, b: a)(x)": "without its argument 'b'",
    "lambda x: (lambda a: a)(x, 1)": "calls a function of 1 arguments with 2",
    "lambda x: (lambda a: a)(c=x)": "unknown argument 'c'",
    "lambda x: (lambda a: a)(x, a=x)": "gives the argument 'a' twice",
    "lambda x: (lambda *a, **k: k['z'])(x, z=x)": "^$",
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("text", ATTACKS)
def test_what_has_no_meaning_is_refused_by_its_name(text: str) -> None:
    start = time.perf_counter()
    if ATTACKS[text] == "^$":
        understood(compiled(text), Text("x"))
        return
    with pytest.raises(CodeRefused, match=ATTACKS[text]):
        understood(compiled(text), Text("x"))
    assert time.perf_counter() - start < 1.0


STATEMENTS = {
    "def f(x):\n while True:\n  x = x + 1": "steps",
    "def f(x):\n raise ValueError": "raises an exception",
    "def f(x):\n import os\n return os": "imports 'os'",
    "def f(x):\n global g\n g = x": "sets a global variable",
    "def f(x):\n x.a = 3": "sets an attribute",
    "def f(x):\n x[0] = 3": "sets an item",
    "def f(x):\n class A: pass": "defines a class",
    "def f(x):\n yield x": "generator",
    "def f(x):\n with x: pass": "with block|instruction",
    "def f(x):\n a, b = [1]\n return x": "unpacks 1 items into 2 names",
    "def f(x):\n if x is None: y = 1\n return y": "asks|before it has a value|identity",
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_statements_that_are_no_arithmetic_are_refused(text: str) -> None:
    with pytest.raises(CodeRefused, match=STATEMENTS[text]):
        understood(defined(text), Text("x"))


MEANINGS = {
    "def f(x):\n y = x\n for i in range(3):\n  if i % 2: continue\n  y = y + i\n return y": "((x + 0) + 2)",
    "def f(x):\n d = {'a': 2}\n d['b'] = 3 if False else 4\n return x": "sets an item",
    "def f(x):\n d = dict(a=2)\n d.update({'b': 3})\n return x * sum(d.values())": "(x * 5)",
    "def f(x):\n def g(y, *, k=2, **o):\n  return y * k\n return g(x, k=3)": "(x * 3)",
    "def f(x):\n n = 0\n while n < 3: n += 1\n return x + n": "(x + 3)",
    "def f(x):\n g = [lambda y, i=i: y + i for i in range(2)]\n return g[0](g[1](x))": "((x + 1) + 0)",
    "def f(x):\n k = 3\n def g(y): return y * k\n k = 4\n return g(x)": "(x * 4)",
    "def f(x):\n a, (b, c) = 1, (2, 3)\n return x[a:b, ..., None, c]": "x[(slice(1, 2, None), Ellipsis, None, 3)]",
    "def f(x):\n return not 3 > 2 or -x": "(-x)",
    "def f(x):\n return x + (1 if 'a' in ('a', 'b') else 2)": "(x + 1)",
    "def f(x):\n z = list(zip([1, 2], (3, 4)))\n return x * max(p + q for p, q in z) if False else x * z[0][1]": "(x * 3)",
    "def f(x):\n return x + (lambda *a, **k: len(a) + len(k))(*[1, 2], **{'u': 1})": "(x + 3)",
}


@pytest.mark.parametrize("text", MEANINGS)
def test_python_that_models_use(text: str) -> None:
    try:
        assert understood(defined(text), Text("x")) == MEANINGS[text]
    except CodeRefused as e:
        assert str(e) == MEANINGS[text]


BYTES = {
    "empty": b"",
    "no code": b"N",
    "deep": b"(" + b"\x01\x00\x00\x00(" * 60,
    "huge string": b"c" + struct.pack("<6i", 1, 0, 0, 1, 1, 0) + b"s\xff\xff\xff\x7f",
    "huge tuple": b"(\xff\xff\xff\x7f",
    "huge integer": b"l\xff\xff\xff\x7f",
    "itself": b"\xa9\x01r\x00\x00\x00\x00",
    "long": bytes(1 << 19),
    "unknown kind": b"Q",
}


@pytest.mark.parametrize("name", BYTES)
def test_hostile_bytes_are_refused_at_once(name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(CodeRefused, match="bytes that are no function"):
        StoredFunction(BYTES[name], (), ()).readings()
    assert time.perf_counter() - start < 0.5


def test_a_tower_of_references_is_bounded() -> None:
    """Each tuple holds the one before it twice: 2 to the power of 60 items, never unfolded."""
    tower = b"\xa9\x00" + b"".join(b"" for _ in range(0))
    parts = [b"\xa9\x02" + b"r" + struct.pack("<i", i) + b"r" + struct.pack("<i", i) for i in range(60)]
    with pytest.raises(CodeRefused):
        StoredFunction(b"(" + struct.pack("<i", 61) + tower + b"".join(parts), (), ()).readings()


def test_a_version_that_does_not_fit_is_not_believed() -> None:
    """A cache that is not empty: 3.11 and newer write zeros."""
    data = bytearray(base64.b64decode(STORED["rescale"]["code"]["3.11"]))
    at = bytes(data).index(b"\x7a\x0b")  # BINARY_OP 11
    data[at + 2] = 1
    with pytest.raises(CodeRefused):
        understood(StoredFunction(bytes(data), (), ()), Text("x"))


def test_mutated_code_ends_in_an_answer_or_a_refusal() -> None:
    rng = random.Random(sys.version_info[0])
    names = sorted(STORED)
    for _ in range(1500):
        name, python = rng.choice(names), rng.choice(PYTHONS)
        data = bytearray(base64.b64decode(STORED[name]["code"][python]))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        entry = STORED[name]
        function = StoredFunction(bytes(data), tuple(entry["defaults"] or ()), tuple(entry["closure"] or ()))
        with contextlib.suppress(CodeRefused):
            understood(function, argument(name), steps=2000)


def test_readings_that_make_sense_must_agree() -> None:
    """One that is refused for what it does, or means another thing, is not passed over."""
    readings = stored("rescale", "3.8").readings()
    assert len(readings) > 1
    answers = iter(["a", "b"])
    with pytest.raises(CodeRefused, match="another meaning"):
        one_meaning(readings[:2], lambda _: next(answers), lambda text: text)

    def second(reading: Any) -> str:
        if reading is readings[1]:
            raise CodeRefused("calls the unknown name 'exec'")
        return "a"

    with pytest.raises(CodeRefused, match="exec"):
        one_meaning(readings[:2], second, lambda text: text)

    def misread(reading: Any) -> str:
        if reading is readings[1]:
            raise Misread("has an unknown instruction")
        return "a"

    assert one_meaning(readings[:2], misread, lambda text: text) == "a"


def captured(body: str, value: Any) -> str:
    """What ``lambda x: body`` means, where the file holds ``value`` for its free variable ``a``."""
    outer = compile(f"def make():\n a = 0\n return lambda x: {body}", "f.py", "exec").co_consts[0]
    (code,) = [c for c in outer.co_consts if isinstance(c, types.CodeType)]
    return understood(stored_function([base64.b64encode(marshal.dumps(code)).decode(), None, [value]]), Text("x"))


@pytest.mark.parametrize(
    ("body", "value"),
    [("x * (a * 2)", [3.0]), ("x * (2 * a)", [3.0]), ("x * (a[1:] * 2)", [1.0, 3.0]), ("x + (a + a)", [3]),
     ("x + (a + [1.0])", [3.0]), ("x * (2.0 if a == 3 else 1.0)", [3])],
)  # fmt: skip
def test_a_captured_list_may_have_been_an_array(body: str, value: Any) -> None:
    """Keras writes an array as a list; doubled, one is repeated and the other is not."""
    with pytest.raises(CodeRefused, match="a list or an array"):
        captured(body, value)


def test_captured_sequences_that_mean_one_thing() -> None:
    assert captured("K.reshape(x, (-1,) + a)", [4, 5]) == "keras.backend.reshape(x, (-1, 4, 5))"
    assert captured("x * a", [1.0, 2.0]) == "(x * (1.0, 2.0))"
    assert captured("x * a[1]", [1.0, 2.0]) == "(x * 2.0)"


@pytest.mark.parametrize(
    ("body", "times"),
    [("a = []; b = a; b += [x]; b += (x,)", 2), ("a = [1]; b = a; a *= 3", 3), ("a = [1]; b = a; b = b + [2]", 1)],
)
def test_a_list_changed_in_place_is_changed_under_all_its_names(body: str, times: int) -> None:
    name = "a" if "b +=" in body or "b +" in body else "b"
    (code,) = [
        c
        for c in compile(f"def f(x):\n {body}\n return x * len({name})", "f.py", "exec").co_consts
        if isinstance(c, types.CodeType)
    ]
    data = base64.b64encode(marshal.dumps(code)).decode()
    assert understood(stored_function([data, None, None]), Text("x")) == f"(x * {times})"


def _readings(data: bytes) -> None:
    StoredFunction(data, (), ()).readings()


HOSTILE: dict[str, Any] = {
    **{text: lambda text=text: understood(compiled(text), Text("x")) for text, why in ATTACKS.items() if why != "^$"},
    **{text: lambda text=text: understood(defined(text), Text("x")) for text in STATEMENTS},
    **{name: lambda data=data: _readings(data) for name, data in BYTES.items()},
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_hostile_code_is_refused_in_a_tenth_of_a_second_and_a_hundred_megabytes() -> None:
    import tracemalloc

    for name, work in HOSTILE.items():
        with pytest.raises(CodeRefused):  # what is loaded late is loaded
            work()
        start = time.process_time()
        with pytest.raises(CodeRefused):
            work()
        assert time.process_time() - start < 0.1, name
        tracemalloc.start()
        try:
            with pytest.raises(CodeRefused):
                work()
            assert tracemalloc.get_traced_memory()[1] < 100 << 20, name
        finally:
            tracemalloc.stop()


def test_functions_of_functions_in_bytecode_are_loops_of_the_graph(tmp_path: Path) -> None:
    """A Lambda that maps; readings whose loops have other bodies are other meanings."""
    import keras

    x = keras.Input((3, 5), name="x")
    f = eval("lambda x: K.map_fn(lambda r: K.cumsum(r, axis=0) * 2, x)", {"K": keras.backend})
    path = tmp_path / "m.keras"
    keras.Model(x, keras.layers.Lambda(f, output_shape=(3, 5), name="maps")(x)).save(path)
    graph = load_graph(path)
    assert not problems(graph), problems(graph)
    assert [n.op for n in graph if n.op == "scan"]
    a = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
    np.testing.assert_array_equal(Interpreter(graph).run([a])[0], np.cumsum(a, 1) * 2)

    def described(op: str) -> Any:
        made = Graph("g")
        outer = Builder(made)
        v = outer.input("v", "float32", (4,))
        body = Graph("step")
        b = Builder(body)
        body.outputs = [b.op(op, b.input("s", "float32", ()))]
        (y,) = outer.op("scan", v, regions=[body], n_states=0, n_scanned=1)
        return told_apart(made.nodes, [y])

    assert described("abs") != described("neg") and described("abs") == described("abs")
