"""Custom layers from their source: recorded layers of TensorFlow, layers of Keras 3 beside Keras itself, and what is refused.

The whole sets: ``python -m sweeps recorded --onnx --pytorch`` and ``python -m sweeps custom`` in this folder.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import load_graph, problems, randomise
from sweeps import recorded
from sweeps.custom_cases import cases
from sweeps.judge import judge

import convcore
from convcore.interpreter.execute import Interpreter
from convcore_keras.code.source.library import library

HERE = Path(__file__).parent
REFUSED = {"DataDependentLoop": "branches on the value of a tensor", "RandomFeatures": "draws random numbers"}


@pytest.mark.parametrize("label", recorded.labels())
def test_what_tensorflow_computed(label: str) -> None:
    verdict = recorded.recorded(label)
    if label in REFUSED:
        assert verdict.what == "refused"
        assert REFUSED[label] in verdict.why
        assert ".py:" in verdict.why
        return
    assert verdict.what == "agree", verdict.why


SAMPLE = {
    "MultiHead 2", "PoolingByAttention", "EncoderStack", "MaskedMeanAttention", "CBAM", "Involution", "ResidualUnit", "BlurPool",
    "PositionalEncoding", "MultiGateMixture", "GatedResidualNetwork 2", "FromConfig", "MinimalCell", "PeepholeCell",
    "ScaledInheritance",
}  # fmt: skip


@pytest.mark.parametrize("case", [c for c in cases() if c.name in SAMPLE], ids=lambda c: c.name)
def test_beside_keras(case: Any) -> None:
    verdict = judge(case, ("onnx", "pytorch", "keras") if case.name in ("PeepholeCell", "CBAM") else ())
    assert verdict.what == "agree", verdict.why


@pytest.mark.parametrize("target", ["onnx", "pytorch"])
def test_targets_keep_the_layer(target: str) -> None:
    assert recorded.recorded("EncoderLayer", [target]).what == "agree"


def test_pytorch_has_a_class_of_the_layer(tmp_path: Path) -> None:
    out = tmp_path / "m.py"
    convcore.convert(str(recorded.DATA / "EncoderLayer.keras"), "pytorch", str(out), custom=str(recorded.SOURCE))
    text = out.read_text()
    assert "class EncoderLayer(nn.Module):" in text
    assert "class TransformerAttention(nn.Module):" in text


# ---- refusals, each with file, line and construct
HEAD = "import keras\nfrom keras import layers, ops\nimport tensorflow as tf\nimport numpy as np\n"
BODIES = {
    "raises ValueError": "raise ValueError('no')",
    "tries to import": "try:\n    import numpy as np\nexcept ImportError:\n    pass\nreturn x",
    "raises ValueError for": "try:\n    raise ValueError('no')\nexcept KeyError:\n    pass\nreturn x",
    "handles exceptions that are not Python's": "try:\n    raise ValueError()\nexcept tf.errors.OpError:\n    pass\nreturn x",
    "calls keras.ops.frobnicate_too": "try:\n    y = ops.frobnicate_too(x)\nexcept Exception:\n    y = x\nreturn y",
    "sets a global variable": "global z\nz = 1\nreturn x",
    "uses a with block": "with open('f') as f:\n    return x",
    "yields inside an expression": "def f():\n    y = yield x\n    return y\nreturn list(f())[0]",
    "branches on the value of a tensor": "if ops.max(x) > 1:\n    return x\nreturn x * 2",
    "calls keras.ops.frobnicate": "return ops.frobnicate(x)",
    "calls the unknown name 'frobnicate'": "return frobnicate(x)",
    "calls .other.helper, which is not among the files": "from .other import helper\nreturn helper(x)",
    "sets items of a tensor": "x[0] = 1\nreturn x",
    "iterates over a set": "for k in {'a', 'b'}:\n    x = x + 1\nreturn x",
    "reads 'y' before it has a value": "x = x + y\ny = 1\nreturn x",
    "takes more than": "while True:\n    pass",
    "repeats a sequence too often": "y = [0] * 10**9\nreturn x",
    "makes an array of more than": "y = np.zeros((10**5, 10**5))\nreturn x",
    "calls functions more than": "def f(n):\n    return f(n + 1)\nreturn f(0)",
    "calls os.system": "import os\nos.system('true')\nreturn x",
    "calls the unknown name 'eval'": "return eval('x')",
    "calls the unknown name 'open'": "open('f')\nreturn x",
    "reads the attribute '__globals__'": "return self.call.__globals__",
    "draws random numbers": "return x + keras.random.normal((1,))",
    "asserts something that does not hold": "assert x.shape[-1] == 999\nreturn x",
    "returns something else than tensors": "return 'text'",
    "changes a list, dict or array that a module": "TABLE.append(1)\nreturn x",
    "uses 'CHANGED', which the module changes": "return x * CHANGED['a']",
    "makes the weight 'late', which the file does not hold": "w = self.add_weight(shape=(4,), name='late')\nreturn x * w",
    "has the layer 'Dense', whose weights do not fit": "self.d = layers.Dense(3)\nreturn self.d(x)",
    "array of float64; cast the array": "return x + np.arange(4) / 3",
    "formats text with a wide field": "name = '%1000000000d' % 3\nreturn x",
}  # fmt: skip


def _model(tmp_path: Path) -> Path:
    """A model whose file says that its layer is ``mine>Mine``; the source comes later."""
    path = tmp_path / "m.keras"
    if not path.exists():
        keras.saving.get_custom_objects().pop("mine>Mine", None)

        @keras.saving.register_keras_serializable(package="mine")
        class Mine(keras.layers.Layer):
            def build(self, shape: Any) -> None:
                self.w = self.add_weight(shape=(shape[-1],), name="w")

            def call(self, x: Any) -> Any:
                return x * self.w

        x = keras.Input((4,), name="x")
        model = keras.Model(x, Mine()(x))
        randomise(model)
        model.save(path)
    return path


def _why(tmp_path: Path, source: str) -> str:
    (tmp_path / "mine.py").write_text(source)
    graph = load_graph(_model(tmp_path), options={"custom": [str(tmp_path / "mine.py")]})
    found = problems(graph)
    assert len(found) == 1, found
    return found[0].why


@pytest.mark.parametrize("wanted", BODIES)
def test_a_construct_is_refused_where_it_is(tmp_path: Path, wanted: str) -> None:
    source = HEAD + "TABLE = []\nCHANGED = {}\nCHANGED['a'] = 2\nclass Mine(layers.Layer):\n"
    source += "    def build(self, shape):\n        self.w = self.add_weight(shape=(4,), name='w')\n    def call(self, x):\n"
    source += "        self.w\n" + textwrap.indent(BODIES[wanted], " " * 8) + "\n"
    why = _why(tmp_path, source)
    assert wanted in why
    if not wanted.startswith(("returns", "makes the weight")):
        assert f"{tmp_path / 'mine.py'}:" in why
        assert "in Mine.call" in why or ", in f" in why or wanted.startswith("uses 'CHANGED'")


SOURCES = {
    "is no Python that this version reads": "class Mine(layers.Layer):\n  def call(self x): pass\n",
    "is no layer: Mine does not extend": HEAD + "class Mine:\n    def __init__(self, **kw): pass\n",
    "does not call Layer.__init__": HEAD + "class Mine(layers.Layer):\n    def __init__(self, **kw): self.a = 1\n",
    "gives the unknown argument 'name'": HEAD + "class Mine(layers.Layer):\n    def __init__(self): super().__init__()\n",
    "which inherits from unknown.Base": "from unknown import Base\nclass Mine(Base): pass\n",
    "has no call": HEAD + "class Mine(layers.Layer): pass\n",
    "makes a layer of something that is no class": HEAD + "import enum\nclass E(enum.Enum): A = 1\nclass Mine(layers.Layer):\n"
    "    def call(self, x): return layers.deserialize({'class_name': 'E', 'config': {}})(x)\n",
    "makes a weight of the shape (None,), which is not known": HEAD + "class Mine(layers.Layer):\n"
    "    def build(self, s): self.w = self.add_weight(shape=s[:1], name='w')\n    def call(self, x): return x * self.w\n",
    "uses the layer 'Dense', which is no attribute of another": HEAD + "class Mine(layers.Layer):\n"
    "    def build(self, s): self.w = self.add_weight(shape=(4,), name='w')\n"
    "    def call(self, x): return layers.Dense(3)(x * self.w)\n",
    "uses 'K' while it is being defined": HEAD + "K = K + 1\nclass Mine(layers.Layer):\n    def call(self, x): return x * K\n",
    "makes no weight of 1 arrays of the file": HEAD + "class Mine(layers.Layer):\n    def call(self, x): return x\n",
    "of shape (5,), the file's is (4,)": HEAD + "class Mine(layers.Layer):\n"
    "    def build(self, s): self.w = self.add_weight(shape=(5,), name='w')\n"
    "    def call(self, x): return x * self.w\n",
    "has the statement For in the body of a class": HEAD + "class Mine(layers.Layer):\n    for i in range(3): pass\n",
    "is defined as something else than a class": "def Mine(): pass\n",
    "calls the layer 'Dense' while it is being built": HEAD + "class Mine(layers.Layer):\n    def build(self, shape):\n"
    "        self.d = layers.Dense(2)\n        self.d(shape)\n    def call(self, x): return x\n",
    "builds by 'other_shape', which is no argument": HEAD + "class Mine(layers.Layer):\n"
    "    def build(self, x_shape, other_shape): pass\n"
    "    def call(self, x): return x\n",
}  # fmt: skip


@pytest.mark.parametrize("wanted", SOURCES)
def test_a_source_that_does_not_fit(tmp_path: Path, wanted: str) -> None:
    assert wanted in _why(tmp_path, SOURCES[wanted])


GOOD = HEAD + "class Mine(layers.Layer):\n    def build(self, s): self.w = self.add_weight(shape=s[-1:], name='w')\n"
GOOD += "    def call(self, x): return x * self.w\n"


def test_without_source_it_is_refused_and_with_it_converted(tmp_path: Path) -> None:
    path = _model(tmp_path)
    assert "custom layer" in problems(load_graph(path))[0].why
    (tmp_path / "mine.py").write_text(GOOD)
    graph = load_graph(path, options={"custom": [str(tmp_path)]})
    weight = next(v for v in graph.weights.values() if v.tensor is not None)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(Interpreter(graph).run([x])[0], x * weight.tensor.numpy())


def test_two_files_with_the_class_are_refused(tmp_path: Path) -> None:
    _model(tmp_path)
    (tmp_path / "other.py").write_text(GOOD)
    (tmp_path / "mine.py").write_text(GOOD)
    graph = load_graph(tmp_path / "m.keras", options={"custom": [str(tmp_path)]})
    assert "is defined in several files" in problems(graph)[0].why


@pytest.mark.parametrize("what", ["missing.py", "empty"])
def test_a_path_without_source_is_an_error(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(convcore.UsageError, match="custom="):
        library([tmp_path / what])


def test_the_command_line_takes_several_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from convcore.cli import main

    _model(tmp_path)
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "else.py").write_text("x = 1\n")
    args = ["convert", str(tmp_path / "m.keras"), "-o", str(tmp_path / "m.onnx"), "--custom", str(tmp_path / "else.py")]
    assert main(args) == 4
    assert main([*args, "--custom", str(tmp_path / "mine.py")]) == 0
    capsys.readouterr()


# ---- nothing runs, little is read
AUDIT = """
import sys, os, contextlib, io, tempfile
sys.path.insert(0, {tests!r})
import convcore
from convcore.cli import main
from keras_helpers import load_graph, problems
custom, model, h5, lambdas, out = {custom!r}, {model!r}, {h5!r}, {lambdas!r}, {out!r}


def quietly(*args):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(list(args)) == 0


def work(n):
    {work}


work(0)  # what is lazy is loaded
seen = []
skeletons = os.path.join(os.path.dirname(convcore.__file__), "cli", "skeletons")
allowed = (custom, model, h5, lambdas, out, skeletons, tempfile.gettempdir())
RUNS = ("exec", "import", "marshal.loads", "marshal.load", "pickle.find_class", "subprocess.Popen", "os.system", "os.exec",
        "os.posix_spawn", "os.fork", "ctypes.dlopen", "socket.connect")
def hook(event, args):
    if event in RUNS:
        seen.append((event, str(args)[:200]))
    if event == "open" and isinstance(args[0], (str, bytes)) and not str(args[0]).startswith(allowed):
        seen.append((event, args[0]))
sys.addaudithook(hook)
work(1)
print("SEEN", [s for s in seen if "linecache" not in s[1]])
"""
WORK = {
    "custom": "assert not problems(load_graph(model, options={'custom': [custom]}))",
    "custom hdf5": "assert not problems(load_graph(h5, options={'custom': [custom]}))",
    "lambda bytecode": "assert not problems(load_graph(lambdas))",
    "lambda text": "assert not problems(load_graph(lambdas, options={'lambdas': [NAME + '=x * 2 + tf.reduce_sum(x)']}))",
    "no source": "assert problems(load_graph(model))",
    "convcore custom": "quietly('custom', custom)",
    "convcore custom MODEL": "quietly('custom', model)",
    "stub": "quietly('custom', model, '--stub', '-o', out + f'/stub{n}')",
    "convert": "quietly('convert', model, '-o', out + f'/m{n}.onnx', '--custom', custom, '--no-check')",
}


@pytest.mark.parametrize("what", WORK)
def test_nothing_is_run_imported_or_opened_elsewhere(what: str, tmp_path: Path) -> None:
    """Each path of code in and beside models, under an audit hook: no exec, import, unmarshalling, process or foreign file."""
    eras = HERE.parents[2] / "tests" / "data" / "keras_eras" / "tf24" / "lambda.h5"
    name = next("/".join(layer.path) for layer in load_graph(eras).layers if layer.type == "Lambda")
    script = AUDIT.format(
        tests=str(HERE), custom=str(recorded.SOURCE), model=str(recorded.DATA / "EncoderLayer.keras"),
        h5=str(recorded.DATA / "EncoderLayer.h5"), lambdas=str(eras), out=str(tmp_path),
        work=WORK[what].replace("NAME", repr(name)),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "SEEN []" in done.stdout, done.stdout + done.stderr[-2000:]


def test_five_thousand_files_and_only_what_is_named_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ast

    path = _model(tmp_path)
    filler = "import os\n\n\nclass Other{n}:\n    def call(self, x):\n        return x\n" + "# text\n" * 200
    for n in range(5000):
        folder = tmp_path / "site" / f"p{n % 50}"
        if n < 50:
            folder.mkdir(parents=True)
        (folder / f"m{n}.py").write_text(filler.format(n=n))
    (tmp_path / "site" / "p7" / "mine.py").write_text("from .m7 import Other7\n" + GOOD)
    parsed: list[str] = []
    real = ast.parse
    monkeypatch.setattr(ast, "parse", lambda *a, **k: (parsed.append(k.get("filename", "")), real(*a, **k))[1])
    start = time.process_time()
    graph = load_graph(path, options={"custom": [str(tmp_path / "site")]})
    assert time.process_time() - start < 5
    assert not problems(graph)
    assert len(parsed) == 1


@pytest.mark.parametrize("weights", ["textgenrnn_weights.hdf5"])
def test_textgenrnn_of_the_zoo(weights: str) -> None:
    folder = HERE.parents[2] / "tests" / "data" / "zoo" / "keras2-textgenrnn"
    source = str(HERE / "custom_layers" / "textgenrnn.py")
    graph = load_graph(folder / "architecture.json", folder / weights, options={"custom": [source]})
    assert not problems(graph)
    inputs, wanted = np.load(folder / "inputs.npz"), np.load(folder / "ref.npz")
    got = Interpreter(graph).run([inputs[k] for k in sorted(inputs.files)])
    for name, y in zip(sorted(wanted.files), got, strict=True):
        assert np.abs(y - wanted[name]).max() < 1e-4 * np.ptp(wanted[name])
    assert not convcore.check(str(folder / "architecture.json"), "onnx", weights=str(folder / weights), custom=source)


@pytest.mark.parametrize(("era", "text"), [("tf213", "tf.abs(x)"), ("tf213", "tf.abs"), ("tf28", "tf.abs")])
def test_a_function_whose_name_the_file_lost_is_said_by_hand(era: str, text: str) -> None:
    """``Lambda(tf.abs)`` of TensorFlow 2.5 and newer; the refusal says how."""
    folder = HERE.parents[2] / "tests" / "data" / "keras_eras" / era
    (problem,) = problems(load_graph(folder / "lambda.h5"))
    assert "whose name the file does not hold" in problem.why and f"lambdas={{'{problem.layer}': " in problem.hint
    graph = load_graph(folder / "lambda.h5", options={"lambdas": [f"{problem.layer}={text}"]})
    assert not problems(graph)
    io = np.load(folder / "lambda.io.npz")
    for i, y in enumerate(Interpreter(graph).run([io[k] for k in sorted(io.files) if k.startswith("in")])):
        np.testing.assert_allclose(y, io[f"out{i}"], rtol=1e-5, atol=1e-6)


# ---- by hand, and functions that a Lambda names
def _lambda_model(tmp_path: Path) -> Path:
    @keras.saving.register_keras_serializable(package="mine")
    def halved(x: Any) -> Any:
        return x / 2

    x = keras.Input((4,), name="x")
    path = tmp_path / "l.keras"
    keras.Model(x, keras.layers.Lambda(halved, output_shape=(4,), name="scale")(x)).save(path)
    return path


A = np.arange(8, dtype=np.float32).reshape(2, 4)
TEXTS = {
    "x / 127.5 - 1": A / 127.5 - 1,
    "tf.reduce_sum(x, axis=-1, keepdims=True) + x": A.sum(-1, keepdims=True) + A,
    "lambda a: K.concatenate([a, a * 2])": np.concatenate([A, A * 2], -1),
    "ops.stack([x[:, i] for i in range(2)], axis=-1)": A[:, :2],
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_layer_computes_as_text(tmp_path: Path, text: str) -> None:
    graph = load_graph(_lambda_model(tmp_path), options={"lambdas": [f"scale={text}"]})
    assert np.allclose(Interpreter(graph).run([A])[0], TEXTS[text])


def test_text_from_python_and_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from convcore.cli import main

    path = _lambda_model(tmp_path)
    assert convcore.check(str(path), "onnx")
    assert not convcore.check(str(path), "onnx", lambdas={"scale": "x * 3"})
    assert main(["convert", str(path), "-o", str(tmp_path / "l.onnx"), "--lambda", "scale=x * 3"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "why"),
    [("scale", "NAME=EXPRESSION"), ("scale=x +", "no expression"), ("other=x", "no layer of that name"), ("scale=y", "")],
)
def test_text_that_cannot_be_right(tmp_path: Path, given: str, why: str) -> None:
    path = _lambda_model(tmp_path)
    if not why:
        assert "calls the unknown name 'y'" in problems(load_graph(path, options={"lambdas": [given]}))[0].why
        return
    with pytest.raises(convcore.UsageError, match=why):
        load_graph(path, options={"lambdas": [given]})
    with pytest.raises(convcore.UsageError, match="given twice"):
        load_graph(path, options={"lambdas": ["scale=x", "scale=x"]})


def test_a_function_that_a_lambda_names(tmp_path: Path) -> None:
    path = _lambda_model(tmp_path)
    (tmp_path / "f.py").write_text("def other(x): return x\n")
    assert "'mine>halved'" in problems(load_graph(path, options={"custom": [str(tmp_path / "f.py")]}))[0].why
    (tmp_path / "f.py").write_text("def halved(x, scale=2):\n    return x / scale\n")
    graph = load_graph(path, options={"custom": [str(tmp_path / "f.py")]})
    assert np.array_equal(Interpreter(graph).run([A])[0], A / 2)


def test_the_catalogue_of_a_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import json

    from convcore.cli import main

    assert main(["custom", str(HERE / "custom_layers" / "keras3"), "--json"]) == 0
    found = {e["name"]: e for e in json.loads(capsys.readouterr().out)}
    assert {c.name.split(" ")[0] for c in cases() if c.name.split(" ")[0].isidentifier()} - {"Sequential"} <= set(found)
    excite = found["SqueezeExcite"]
    assert excite["registered"] == "vision>SqueezeExcite" and excite["bases"] == ["layers.Layer"]
    assert excite["arguments"] == {"ratio": "4", "activation": "'relu'"} and excite["config"] == ["ratio", "activation"]
    assert [s["name"] for s in excite["sublayers"]] == ["pool", "reduce", "expand"]
    assert found["ScaledInheritance"]["bases"] == ["Highway"]
    assert found["NetVLAD"]["weights"][0] == {"name": "assign", "shape": "(1, 1, self.D, self.K)", "trainable": "True"}
    (tmp_path / "bad.py").write_text("class A(Layer):\n  x = = 1\n")
    assert main(["custom", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no Python that this version reads" in out and "0 custom layers" in out
    assert main(["custom", str(tmp_path / "none")]) == 2


# ---- classes with the names of Keras's own
SHADOW = """
import keras
from keras import ops


class AdditiveAttention(keras.layers.Layer):
    def build(self, shapes):
        self.w = self.add_weight(shape=(shapes[0][-1],), name="scale")

    def call(self, xs):
        return ops.softmax(xs[0] * self.w, axis=-1) - xs[1]

    def get_config(self):
        return {"name": self.name, "trainable": self.trainable, "dtype": "float32"}


class Negative(keras.layers.Layer):
    def call(self, x):
        return 3 * ops.abs(x)

    def get_config(self):
        return {"name": self.name}


def Dense(units):
    return keras.layers.Dense(units)
"""


def _shadowed(tmp_path: Path, own: bool) -> tuple[Path, Path, Any]:
    """Source, a folder for files, and a model of its classes or of Keras's."""
    source = tmp_path / "mine.py"
    source.write_text(SHADOW)
    names: dict[str, Any] = {"__name__": "mine"}
    exec(SHADOW, names)
    a, b = keras.Input((5, 7), name="a"), keras.Input((5, 7), name="b")
    y = (names["AdditiveAttention"] if own else keras.layers.AdditiveAttention)(name="attention")([a, b])
    y = keras.layers.Dense(3, name="d")(y)
    y = names["Negative"](name="negative")(y) if own else y
    model = keras.Model([a, b], y)
    randomise(model)
    return source, tmp_path, model


def test_the_users_class_comes_before_keras_of_the_same_name(tmp_path: Path) -> None:
    """HDF5 names no module; ``custom_objects`` of Keras win there, and so does the source, which is said."""
    source, folder, model = _shadowed(tmp_path, own=True)
    model.save(folder / "m.h5")
    graph = load_graph(folder / "m.h5", options={"custom": [str(source)]})
    assert not problems(graph), problems(graph)
    x = [np.random.default_rng(s).normal(size=(2, 5, 7)).astype("f4") for s in (1, 2)]
    want = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(Interpreter(graph).run(x)[0], want, rtol=1e-5, atol=1e-5)
    notes = [n for n in graph.metadata["notes"] if "not Keras's" in n]
    assert len(notes) == 2
    assert all(
        any(f"'{name}' is the class of {source} (custom=)" in n for n in notes) for name in ("AdditiveAttention", "Negative")
    )
    assert not any("Dense" in n for n in notes)  # a function of that name is no class


def test_a_module_of_keras_is_keras(tmp_path: Path) -> None:
    """Where the file says whose class it is, source of the same name changes nothing."""
    source, folder, model = _shadowed(tmp_path, own=False)
    model.save(folder / "m.keras")
    graph = load_graph(folder / "m.keras", options={"custom": [str(source)]})
    assert not problems(graph), problems(graph)
    x = [np.random.default_rng(s).normal(size=(2, 5, 7)).astype("f4") for s in (1, 2)]
    want = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(Interpreter(graph).run(x)[0], want, rtol=1e-5, atol=1e-5)
    assert not any("not Keras's" in n for n in graph.metadata["notes"])


def test_a_class_of_that_name_that_is_no_layer_is_refused(tmp_path: Path) -> None:
    """Which of the two the file means is not guessed."""
    source, folder, model = _shadowed(tmp_path, own=False)
    source.write_text("class AdditiveAttention:\n    def __init__(self, **kw): pass\n")
    model.save(folder / "m.h5")
    (found,) = problems(load_graph(folder / "m.h5", options={"custom": [str(source)]}))
    assert found.layer == "attention" and "is no layer: AdditiveAttention does not extend" in found.why
    assert not problems(load_graph(folder / "m.h5"))


TRIED = {
    "try:\n    y = {'a': 2}['b']\nexcept (KeyError, IndexError):\n    y = 3\nreturn x * y": 3,
    "class P:\n    pass\ntry:\n    y = P().q\nexcept AttributeError as e:\n    y = 4\nreturn x * y": 4,
    "y = 1\ntry:\n    y = 5\nexcept Exception:\n    y = 6\nelse:\n    y += 2\nfinally:\n    y += 10\nreturn x * y": 17,
    "for i in (0, 5):\n    try:\n        y = (1, 2)[i]\n    except IndexError:\n        y = 8\n        break\nreturn x * y": 8,
    "def f():\n    try:\n        return 2\n    finally:\n        pass\nreturn x * f()": 2,
    "def f():\n    raise NotImplementedError('no')\ntry:\n    y = f()\nexcept RuntimeError:\n    y = 9\nreturn x * y": 9,
}


@pytest.mark.parametrize("body", TRIED)
def test_exceptions_that_python_certainly_raises_are_handled(tmp_path: Path, body: str) -> None:
    source = GOOD.replace("return x * self.w", "return self.tried(x * self.w)") + textwrap.indent(
        f"def tried(self, x):\n{textwrap.indent(body, '    ')}\n", "    "
    )
    (tmp_path / "mine.py").write_text(source)
    graph = load_graph(_model(tmp_path), options={"custom": [str(tmp_path / "mine.py")]})
    assert not problems(graph), problems(graph)
    weight = next(v for v in graph.weights.values() if v.tensor is not None and v.shape == (4,))
    want = A * weight.tensor.numpy() * TRIED[body]
    np.testing.assert_allclose(Interpreter(graph).run([A])[0], want, rtol=1e-6)
