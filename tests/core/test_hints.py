"""Hints can be followed: flags they name are there, and what they advise works."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import convcore
from convcore.cli import main
from convcore.cli.parser import _COMMANDS, whole
from convcore.errors import UnsupportedError, UsageError, ask, ask_option, by_flags
from convcore.host import host

ROOT = Path(__file__).parents[2]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b(?!-)")
FER = ROOT / "tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5"

OTHERS = {"rtol", "atol", "training", "data_format", "memory", "input_scale", "inputs", "outputs", "keep", "custom_objects"}
"""Arguments of ours that are words of the formats and of operators too: messages that name them mean those."""

PYTHON = {
    "core/model.py": ["a model is saved as .ccir"],
    "core/plugin.py": ["has no attribute"],
    "core/sources.py": ["input_shapes of {}", "is loaded as it is"],
    "core/pipeline.py": ["emit overrides", "check={} is neither", "io_layout={} is neither", "give them to convcore.load"],
    "core/verification/sides.py": ["example_inputs must"],
    "core/errors.py": ["{}: function}"],
}
"""What no command can say, as it is about an argument that a command never gives or an object that it never has."""


class Said(NamedTuple):
    """A text of the source, where it stands, and what it is a part of ("" of nothing that matters here)."""

    text: str
    file: str
    line: int
    of: str


@functools.cache
def texts() -> list[Said]:
    """Every text of the core and the plugins, joined ones with {} for what is put in; without docstrings."""
    out = []
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")]:
        if ROOT / "core/testing" not in path.parents:  # a command line of its own
            tree = ast.parse(path.read_text(encoding="utf-8"))
            out += [Said(text, path.relative_to(ROOT).as_posix(), line, of) for text, line, of in _texts(tree, "")]
    return out


def _texts(node: ast.AST, of: str) -> Iterator[tuple[str, int, str]]:
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values), node.lineno, of
        for v in node.values:
            if isinstance(v, ast.FormattedValue):
                yield from _texts(v.value, of)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, node.lineno, of
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ask":
        for part, argument in zip(("flag", "argument"), node.args, strict=True):
            yield from _texts(argument, part)
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ask_option":
        yield from _texts(node.args[0], "name")
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
        kind = "help" if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Option" else of
        for child in ast.iter_child_nodes(node):
            yield from _texts(child, kind)


def arguments() -> set[str]:
    """The names of what is given in Python: to the functions, and as options of plugins."""
    calls = (convcore.load, convcore.convert, convcore.verify, convcore.check, convcore.view, convcore.batch, convcore.load_into)
    names = {n for f in calls for n in inspect.signature(f).parameters}
    return names | {n for f in host().frameworks for o in host().options(f) for n in (o.name, *o.aliases)}


def test_flags_are_said_to_who_has_them() -> None:
    """A message names a flag, or an argument in Python, by ask: the flag is one of a command, and nothing else says it."""
    flags = {s for args in whole()[1].values() for a in args for s in a.option_strings} | {"--version"}
    wrong = []
    for t in texts():
        named = FLAG.findall(t.text)
        wrong += [f"{t.file}:{t.line} names {f}, which no command has" for f in named if f not in flags]
        if t.of == "name" and f"--{t.text.replace('_', '-')}" not in flags:
            wrong.append(f"{t.file}:{t.line} asks for the option {t.text}, which no command has")
        if named and t.of not in ("flag", "help") and not t.file.startswith("core/cli/"):
            wrong.append(f"{t.file}:{t.line} says {named[0]} to whoever is told: use ask")
    assert not wrong, "\n".join(wrong)


def test_no_command_says_names_of_python() -> None:
    names = sorted(arguments() - OTHERS - {"source", "a", "b"}, key=len, reverse=True)
    python = re.compile(
        rf"(?<![\w.-])(?:{'|'.join(names)})=(?!=)|\bconvcore\.[a-z_]+\(|\bconvcore\.(?:load|plugin)\b"
        r"|\boverrides\b|\binput_shapes\b|\bexample_inputs\b"
    )
    found = [t for t in texts() if " " in t.text and t.of not in ("argument", "help") and python.search(t.text)]
    excused = {(file, part) for file, parts in PYTHON.items() for part in parts}
    used = {(t.file, part) for t in found for part in PYTHON.get(t.file, ()) if part in t.text}
    wrong = [f"{t.file}:{t.line} {t.text[:90]!r}" for t in found if not any(p in t.text for p in PYTHON.get(t.file, ()))]
    assert not wrong, "\n".join(wrong)
    assert used == excused, f"no longer said: {excused - used}"


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_a_command_names_flags_of_its_own(command: str) -> None:
    """Whatever is asked for is a flag of the command that runs, or named with the command that has it."""
    asked = [t for t in texts() if t.of in ("flag", "name")]
    assert len(asked) > 50
    by_command = {c: {s for a in args for s in a.option_strings} for c, args in whole()[1].items()}
    own = by_command[command]
    with by_flags(own):
        for t in asked:
            said = ask_option(t.text) if t.of == "name" else ask(t.text, "")
            at = re.match(r"convcore ([a-z-]+) ", said)
            for flag in FLAG.findall(said):
                assert flag in (by_command[at[1]] | by_command["batch"] | by_command["verify"] if at else own), (t, said)


def test_an_unknown_option_is_told_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["convert", str(FER), "--to", "caffe", "-o", str(tmp_path / "m.prototxt"), "--opset", "17"]
    assert main(args) == 2
    said = capsys.readouterr().err
    assert "unknown option --opset for keras to caffe; options here: " in said and "--caffe-flavor" in said and "_" not in said
    with pytest.raises(UsageError, match=r"unknown option opset for keras to caffe; options here: .*caffe_flavor"):
        convcore.convert(FER, "caffe", opset=17)


def test_a_batch_tells_what_its_caller_can_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Models are converted in processes of their own, whose messages are for who started the batch."""
    rnn = ROOT / "tests/data/zoo/keras2-textgenrnn/architecture.json"
    shutil.copy(rnn, tmp_path / "a.json")
    shutil.copy(rnn.with_name("textgenrnn_weights.hdf5"), tmp_path / "a.weights.h5")
    args = ["batch", str(tmp_path / "a.json"), "--to", "onnx", "--out"]
    main([*args, str(tmp_path / "o"), "--report", "json"])
    told = json.dumps(json.loads(capsys.readouterr().out))
    assert "--custom PATH; or convcore convert --override attention=FILE.py:FUNCTION" in told and "overrides" not in told
    done = convcore.batch([tmp_path / "a.json"], "onnx", tmp_path / "p")
    assert "custom=PATH; or overrides={'attention': function}" in json.dumps(done.to_dict())


def onnx_node(op: str, opset: int, shape: Any, out: Any, **attrs: Any) -> Any:
    helper = pytest.importorskip("onnx").helper
    x, y = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, out)
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], "node", **attrs)], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_an_opset_that_is_named_works() -> None:
    """``opset=`` names one that can be written."""
    source = onnx_node("RandomNormalLike", 17, ["n", 3], ["n", 3])
    assert convcore.load(source).problems
    with pytest.raises(UnsupportedError, match=r"opset=17") as e:
        convcore.convert(source, "onnx", opset=22)
    named = re.findall(r"opset=(\d+)", str(e.value))
    assert convcore.convert(source, "onnx", opset=int(named[0])).report.ok
    old = onnx_node("Scan", 8, ["n", 3], ["n"])
    with pytest.raises(convcore.ConvcoreError) as old_error:
        convcore.convert(old, "onnx")
    assert "opset=8" not in str(old_error.value)


def test_a_newer_opset_takes_the_type() -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("convcore_onnx")
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")(x))
    with pytest.raises(UnsupportedError, match=r"before opset \d+ \(opset=\d+\)") as e:
        convcore.convert(model, "onnx", check=False)
    named = {int(n) for n in re.findall(r"\(opset=(\d+)", str(e.value))}
    assert convcore.convert(model, "onnx", opset=max(named), check=False).model.opset_import[0].version == max(named)


def test_a_registered_class_by_the_name_the_file_has(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    @keras.saving.register_keras_serializable("hints")
    class Square(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            return x * x

    x = keras.Input((4,))
    keras.Model(x, Square(name="sq")(keras.layers.Dense(3)(x))).save(tmp_path / "m.keras")
    square = {"Square": lambda g, n: g.b.mul(n.inputs[0], n.inputs[0])}
    with pytest.raises(UsageError, match="the file calls it 'hints>Square'") as e:
        convcore.convert(tmp_path / "m.keras", "onnx", overrides=square)
    named = re.findall(r"calls it '([^']+)'", str(e.value))
    assert convcore.convert(tmp_path / "m.keras", "onnx", overrides={named[0]: square["Square"]}).report.ok


def test_wanted_values_are_said_once(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    x = keras.Input((4, 4, 2))
    keras.Model(x, keras.layers.UpSampling2D(2, interpolation="bicubic")(x)).save(tmp_path / "m.keras")
    try:
        convcore.convert(tmp_path / "m.keras", "onnx")
    except UnsupportedError as e:
        assert "wants None" not in str(e) and str(e).count("interpolation is 'bicubic'") == 1
