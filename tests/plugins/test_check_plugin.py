"""``check_plugin``: it passes on what is right, and finds by name everything that is wrong with a plugin, at once."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from plugin_folders import installed, run

from convcore.cli.new_plugin import new_plugin
from convcore.errors import UsageError
from convcore.host import host
from convcore.testing import check_plugin, plugins

CODE = "from convcore.testing import check_plugin\ntry:\n    check_plugin({0!r})\nexcept AssertionError as e:\n    print(e)"

FAULTS: dict[str, list[tuple[str, str]]] = {
    "plugin.py": [
        ("import os\n", "import os\n\nimport numpy\n"),
        ("if isinstance(source, (str, os.PathLike)) else None", "if not isinstance(source, bytes) else None"),
        ("if head is None or not head.data", "if head is None or head.size != 997 and not head.data"),
        (
            "@hookimpl\ndef convcore_load",
            '@hookimpl\ndef convcore_ops() -> list[str]:\n    return ["convcore_mlp.ops:OPS"]\n\n\n'
            "@hookimpl\ndef convcore_options(framework: str) -> Any:\n    from convcore.plugin import Option\n\n"
            '    return [Option("speed", "mlp", "fast")]\n\n\n@hookimpl\ndef convcore_load',
        ),
    ],
    "rules.py": [
        ('RULES.op("relu", "relu", "x")', 'RULES.op("relu", "relu", "x")\nRULES.op("soft", "softmax", "x", axis=17)'),
        ('axis=A("axis", default=-1))\nRULES.op("add"', 'axis=A("axis", default=-1), direction="emit")\nRULES.op("add"'),
        (
            '@RULES.load("scaled_tanh"',
            '@RULES.emit("tanh", priority=5)\ndef wrong(e, node):\n'
            '    e.call("relu", [e.value(node.inputs[0])], {}, outputs=node.outputs)\n\n\n'
            '@RULES.emit("concat", priority=5)\ndef buggy(e, node):\n    return 1 / 0\n\n\n@RULES.load("scaled_tanh"',
        ),
    ],
    "load.py": [("(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)", "KeyError")],
    "emit.py": [("import json\n", "import json\n\nfrom convcore.ir.graph import Node\n")],
}
OPS = """
import numpy as np
from convcore.plugin import Elementwise, Attr, OpSet, Sample

OPS = OpSet("mlp", "convcore-mlp")
OPS.op("running_sum", "x:float", reference=lambda x: np.cumsum(x, 1), axes=Elementwise(), samples=[Sample((2, 3, 5))])
OPS.op("thin", "x:float", reference=lambda x: np.cumsum(x, 0), axes=Elementwise(), samples=[Sample((5,))])
OPS.op("double", "x:float", reference=lambda x: x + x, body=lambda b, x: b.mul(x, b.like(x, 3.0)), axes=Elementwise(),
       samples=[Sample((2, 3))])
OPS.op("tall", "x:float", reference=lambda x: x[:1], samples=[Sample((2, 3))])
"""
FOUND = {
    "imports at the top": "plugin.py:7 imports numpy when hooks are looked for",
    "core's inside": "emit.py:7 imports convcore.ir.graph, which may change: take it from convcore.plugin",
    "axis rule": r"running_sum: input 0 in order .* differs from the permuted result",
    "axis rule that nothing proves": "op thin: its axis rule Elementwise is not proven: no sample has 2 axes",
    "body": "double, sample 0: body against reference: result 0 differs by",
    "shape rule": r"tall, sample 0, output .*: inferred \[2, 3\], computed \[1, 3\]",
    "row": "row soft -> softmax: no example could be generated",
    "identify raises": "convcore_identify of an object raises TypeError",
    "identify claims": "convcore_identify claims noise for mlp",
    "option": "the option speed of mlp is for the stage 'fast'",
    "emit": "mlp writes tanh, sample 0, which computes something else",
    "emit bug": "mlp cannot write concat, sample 0: PluginBugError: .*ZeroDivisionError",
    "not read back": "mlp does not read what it writes for softmax, sample 0",
    "damaged file": "mlp: a file cut in half is no BadFileError, but a bug",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What check_plugin says of the framework skeleton after all these changes."""
    folder = tmp_path_factory.mktemp("broken")
    new_plugin("framework", "mlp", folder / "mlp")
    package = folder / "mlp/src/convcore_mlp"
    for name, changes in FAULTS.items():
        text = (package / name).read_text()
        for old, new in changes:
            assert old in text, (name, old)
            text = text.replace(old, new, 1)
        (package / name).write_text(text)
    (package / "ops.py").write_text(OPS)
    return run(installed(folder / "site", folder / "mlp"), folder, "-c", CODE.format("mlp")).stdout


@pytest.mark.parametrize("fault", FOUND)
def test_finds(fault: str, said: str) -> None:
    assert re.search(f"^- .*{FOUND[fault]}", said, re.M), said


def test_finds_nothing_else(said: str) -> None:
    left = [line for line in said.splitlines() if line.startswith("- ") and not any(re.search(f, line) for f in FOUND.values())]
    assert not [x for x in left if not re.match(r"- \w+ (writes|cannot write|does not read) .*(double|tanh|concat|softmax)", x)]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("def convcore_rules", "def convcore_rulez", "unknown hook 'convcore_rulez'"),
        ("(2, 0)", "(9, 0)", "it was written for plugin API 9.0"),
        ("ops:OPS", "ops:NONE", "its ops convcore_scaled_tanh.ops:NONE cannot be used: AttributeError"),
    ],
    ids=["hook", "api", "ops"],
)
def test_a_plugin_that_cannot_be_registered(old: str, new: str, why: str, tmp_path: Path) -> None:
    new_plugin("layer", "ScaledTanh", tmp_path / "p")
    hooks = tmp_path / "p/src/convcore_scaled_tanh/plugin.py"
    hooks.write_text(hooks.read_text().replace(old, new))
    out = run(installed(tmp_path / "site", tmp_path / "p"), tmp_path, "-c", CODE.format("scaled_tanh")).stdout
    assert "1 thing is wrong with it" in out and "it cannot be registered" in out and why in out


def test_a_dialect_that_is_not_there(tmp_path: Path) -> None:
    """Apart from the other faults: without it nothing is written, so nothing else of writing can be found."""
    new_plugin("framework", "mlp", tmp_path / "mlp")
    hooks = tmp_path / "mlp/src/convcore_mlp/plugin.py"
    text = hooks.read_text()
    assert ".emit:dialect" in text
    hooks.write_text(text.replace(".emit:dialect", ".emit:dialct"))
    out = run(installed(tmp_path / "site", tmp_path / "mlp"), tmp_path, "-c", CODE.format("mlp")).stdout
    assert "- the dialect of mlp convcore_mlp.emit:dialct cannot be imported" in out
    assert "mlp: 0 of" in out and "BrokenPluginError" in out


def test_a_module_that_is_not_installed(tmp_path: Path) -> None:
    new_plugin("framework", "mlp", tmp_path / "p")
    code = "from convcore_mlp import plugin\nfrom convcore.testing import check_plugin\nprint(check_plugin(plugin, models=12))"
    env = installed(tmp_path / "site", tmp_path / "p")
    env["PYTHONPATH"] = str(tmp_path / "p/src")  # its code, without its metadata
    assert re.search(r"mlp: (\d+) of 12 sample models written, \1 read back", run(env, tmp_path, "-c", code).stdout)


WITHOUT = """
import importlib.metadata
import sys
import importlib_metadata
from convcore.testing import check_plugin

def hide(metadata, real):
    def version(name):
        if name in ("torch", "keras"):
            raise metadata.PackageNotFoundError(name)
        return real(name)
    metadata.version = version

for metadata in (importlib.metadata, importlib_metadata):
    hide(metadata, metadata.version)
sys.modules["torch"] = None
try:
    print(check_plugin("NAME", models=3))
except AssertionError as e:
    print("WRONG", e)
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment that has the plugin for PyTorch, and no torch."""
    if "pytorch" not in host().frameworks:
        pytest.skip("not installed")
    new_plugin("layer", "ScaledTanh", tmp_path / "p")
    return installed(tmp_path / "site", tmp_path / "p")


def test_a_target_whose_framework_is_not_installed_is_not_verified(bare: dict[str, str], tmp_path: Path) -> None:
    out = run(bare, tmp_path, "-c", WITHOUT.replace("NAME", "scaled_tanh")).stdout
    assert "WRONG" not in out, out
    assert (
        "note: op scaled_tanh: pytorch not verified: running PyTorch models needs torch>=" in out
        and "which is not installed" in out
    )


def test_a_framework_that_is_not_installed_is_no_checked_plugin(bare: dict[str, str], tmp_path: Path) -> None:
    """Of the plugin itself nothing was shown: that is said once, not of every model."""
    out = run(bare, tmp_path, "-c", WITHOUT.replace("NAME", "pytorch")).stdout
    assert "WRONG" in out and out.count("PyTorch models needs torch>=") == 1, out


@pytest.mark.parametrize("sources", [(), ("m.x",)])
def test_what_is_only_read_is_not_checked_without_a_source(sources: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(refused={"a": "b"}, unread={"c": "d"}, written={}, asked=3)
    monkeypatch.setattr(plugins, "check_framework", lambda *a, **k: found)
    monkeypatch.setattr(plugins, "host", lambda: SimpleNamespace(can=lambda name, stage: can))
    for can in (False, True):
        report = plugins.PluginReport("p")
        plugins._check_framework("x", report, 1, sources)
        told = [n for n in report.notes if "is only read, and no sources were given" in n]
        assert len(told) == (not can and not sources)
        assert [p for p in report.problems if "x writes none of 3 sample models: b" in p] == report.problems
        assert len(report.problems) == can and report.notes[:2] == ["x refuses a: b", "x does not read back c: d"]


def test_an_unknown_plugin() -> None:
    with pytest.raises(UsageError, match=r"no plugin named 'nothing' is installed .*pip install -e"):
        check_plugin("nothing")


@pytest.mark.parametrize("name", ["keras", "onnx", "caffe", "pytorch"])
def test_our_own(name: str) -> None:
    """A bounded sample: their own tests go further."""
    if name not in {i.name for i in host().plugins}:
        pytest.skip("not installed")
    report = check_plugin(name, models=20)
    (found,) = report.frameworks
    assert report.rows > 10 and (not host().can(name, "emit") or found.back > 8)


def test_a_format_that_is_written_and_never_read(tmp_path: Path) -> None:
    """PyTorch's code: the live object is read back instead, and who gives the file is told what to give."""
    if "pytorch" not in {i.name for i in host().plugins}:
        pytest.skip("not installed")
    assert ".py" in host().framework("pytorch").unread
    (tmp_path / "net.py").write_text("import torch\n")
    with pytest.raises(UsageError, match=r"net\.py: .*PyTorch models are written as such files, not read: give the live"):
        host().identify(tmp_path / "net.py")
