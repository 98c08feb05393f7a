"""Loading, emitting and running as hooks: the owner is called, inside everybody's wrappers; a broken plugin taints no other."""

from __future__ import annotations

import gzip
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import importlib_metadata
import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import BadFileError, BrokenPluginError, PluginNotInstalledError, UnknownFrameworkError, UsageError
from convcore.hookspecs import CONVCORE_API, EmitRequest, Emitted, Framework, Identified, LoadRequest, Option, Runtime, hookimpl
from convcore.host import EVERY, Host, host, set_host
from convcore.ir.graph import Graph


def _point(name: str) -> SimpleNamespace:
    dist = SimpleNamespace(metadata={"Name": f"dist-{name}"}, version="1.5")
    return SimpleNamespace(name=name, value=f"fake_{name}", dist=dist)


def _plugin(name: str, *implementations: Any) -> SimpleNamespace:
    """A module of hooks with its entry point."""
    m = types.ModuleType(f"fake_{name}")
    m.CONVCORE_API = CONVCORE_API  # type: ignore[attr-defined]
    for f in implementations:
        setattr(m, f.__name__, f if hasattr(f, "convcore_impl") else hookimpl(f))
    sys.modules[m.__name__] = m
    return _point(name)


def _brings(*names: str, **kw: Any) -> Any:
    def convcore_frameworks() -> list[Framework]:
        return [Framework(n, title=n.upper(), distribution=f"dist-{n}", suffixes=(f".{n}",), **kw) for n in names]

    return convcore_frameworks


def _graph(name: str) -> Graph:
    graph = Graph(name)
    b = Builder(graph)
    graph.outputs = [b.relu(b.input("x", "float32", (7, 3)))]
    return graph


def convcore_load(framework: str, request: LoadRequest) -> Graph:
    return _graph(f"{framework} {request.source}")


def convcore_emit(framework: str, request: EmitRequest) -> Emitted:
    return Emitted(notes=(framework,))


@pytest.fixture(autouse=True)
def _clean():
    yield
    for name in [n for n in sys.modules if n.startswith("fake_")]:
        del sys.modules[name]


def test_only_the_owner_is_called_inside_all_wrappers():
    calls: list[str] = []

    def convcore_load_other(framework: str, request: LoadRequest) -> Graph:
        raise AssertionError("the hook of another framework's plugin")

    convcore_load_other.__name__ = "convcore_load"

    def wrapper(name: str) -> Any:
        @hookimpl(wrapper=True)
        def convcore_load(framework: str, request: LoadRequest) -> Iterator[None]:
            calls.append(f"{name} {framework}")
            graph = yield
            calls.append(f"{name} after")
            return graph

        return convcore_load

    points = [
        _plugin("a", _brings("a"), convcore_load),
        _plugin("b", _brings("b"), convcore_load_other),
        _plugin("log", wrapper("log")),
        _plugin("count", wrapper("count")),
    ]
    h = Host(entry_points=points)
    assert h.load("a", LoadRequest("s")).name == "a s"
    assert sorted(calls[:2]) == ["count a", "log a"] and sorted(calls[2:]) == ["count after", "log after"]


def test_what_a_framework_can_is_what_its_plugin_has():
    def convcore_runtime(framework: str, source: Any, weights: Any) -> Runtime | None:
        return None if source is None else Runtime("r", lambda arrays: arrays)

    def more() -> list[Framework]:
        return [Framework("a", "A", "dist-a"), Framework("a2", "A2", "dist-a", lacks=("emit", "runtime"))]

    more.__name__ = "convcore_frameworks"
    h = Host(
        entry_points=[
            _plugin("a", more, convcore_load, convcore_emit, convcore_runtime),
            _plugin("b", _brings("b"), convcore_emit),
        ]
    )
    able = {name: [stage for stage in ("load", "emit", "runtime") if h.can(name, stage)] for name in h.frameworks}
    assert able == {"a": ["load", "emit", "runtime"], "a2": ["load"], "b": ["emit"]}
    graph = _graph("g")
    assert h.emit("b", EmitRequest(graph)).notes == ("b",)
    with pytest.raises(UsageError, match="dist-a cannot write A2 models"):
        h.emit("a2", EmitRequest(graph))
    with pytest.raises(UsageError, match="dist-b cannot read B models"):
        h.load("b", LoadRequest("s"))
    assert h.runtime("b", "s", None) is None and h.runtime("a", None, None) is None
    assert h.runtime("a", "s", None).name == "r"  # type: ignore[union-attr]


def test_a_hook_that_returns_something_else_is_named():
    def convcore_load(framework: str, request: LoadRequest) -> Any:
        return None

    h = Host(entry_points=[_plugin("a", _brings("a"), convcore_load)])
    with pytest.raises(BrokenPluginError, match=r"'a' of dist-a 1.5: convcore_load .*returned NoneType.*lacks=\('load',\)"):
        h.load("a", LoadRequest("s"))


def test_an_import_that_fails_inside_a_hook_names_the_plugin():
    def convcore_load(framework: str, request: LoadRequest) -> Graph:
        import no_such_module_here  # type: ignore[import-not-found]

        return no_such_module_here.load(request)  # type: ignore[no-any-return]

    h = Host(entry_points=[_plugin("a", _brings("a"), convcore_load)])
    with pytest.raises(BrokenPluginError, match=r"'a' of dist-a 1.5 cannot import .*no_such_module_here"):
        h.load("a", LoadRequest("s"))


def test_an_implementation_that_would_never_be_called_is_refused():
    h = Host(entry_points=[_plugin("a", _brings("a"), convcore_load), _plugin("forgot", convcore_load)])
    assert list(h.frameworks) == ["a"]
    assert "never be called" in h.plugins[1].error and "wrapper=True" in h.plugins[1].error


def test_an_implementation_and_a_wrapper_in_one_module_are_refused():
    @hookimpl(wrapper=True, specname="convcore_load")
    def around(framework: str, request: LoadRequest) -> Iterator[None]:
        return (yield)

    h = Host(entry_points=[_plugin("a", _brings("a"), convcore_load, around), _plugin("b", _brings("b"), convcore_load)])
    assert list(h.frameworks) == ["b"]
    assert "entry point of its own" in h.plugins[0].error


# ---------------------------------------------------------------- broken plugins
def convcore_wrong_hook() -> None: ...


def _raises(hook: str) -> Any:
    def broken(**_: Any) -> Any:
        raise RuntimeError("out of order")

    arguments = {
        "convcore_frameworks": "", "convcore_options": "framework", "convcore_ops": "", "convcore_rules": "framework",
        "convcore_passes": "stage, target", "convcore_identify": "source", "convcore_report": "report",
    }[hook]  # fmt: skip
    space: dict[str, Any] = {"broken": broken}
    exec(f"def {hook}({arguments}): return broken()", space)
    return space[hook]


@pytest.mark.parametrize("bad", ["import", "wrong hook", "convcore_frameworks"])
def test_a_broken_plugin_taints_no_other(bad: str):
    broken = {
        "import": lambda: _point("b"),
        "wrong hook": lambda: _plugin("b", _brings("b"), convcore_wrong_hook),
        "convcore_frameworks": lambda: _plugin("b", _raises("convcore_frameworks")),
    }[bad]()

    def convcore_identify(source: Any) -> Identified | None:
        return Identified("z", 90) if str(source).endswith(".z") else None

    h = Host(entry_points=[_plugin("a", _brings("a"), convcore_load), broken, _plugin("z", _brings("z"), convcore_identify)])
    assert list(h.frameworks) == ["a", "z"]
    assert [bool(i.error) for i in h.plugins] == [False, True, False]
    assert h.identify("m.z") == "z" and h.load("a", LoadRequest("s")).name == "a s"
    with pytest.raises(BrokenPluginError, match=r"'b' of dist-b 1.5 cannot be used"):
        h.framework("b")
    with pytest.raises(BrokenPluginError, match=r"model\.b needs the plugin 'b' of dist-b 1\.5, which cannot be used"):
        h.identify("model.b")
    with pytest.raises(UnknownFrameworkError, match=r"did you mean .*'b' of dist-b 1.5 may bring it, but cannot be used"):
        h.framework("zz")
    with pytest.raises(UsageError, match=r"cannot tell .*'b' of dist-b 1.5 may bring it"):
        h.identify("model.xyz")


@pytest.mark.parametrize("hook", ["convcore_options", "convcore_ops", "convcore_rules", "convcore_identify", "convcore_report"])
def test_a_description_that_fails_taints_no_other(hook: str):
    def convcore_identify(source: Any) -> Identified | None:
        return Identified("z", 90) if str(source).endswith(".z") else None

    def convcore_options(framework: str) -> list[Option]:
        return [Option("speed", "z", "load", int, 3)]

    z = _brings("z", rules="convcore_onnx.rules:RULES")
    h = Host(entry_points=[_plugin("b", _raises(hook)), _plugin("z", z, convcore_load, convcore_identify, convcore_options)])
    assert h.identify("m.z") == "z"
    assert [o.name for o in h.options("z")] == ["speed", *EVERY]
    assert h.rules("z").load_rules
    lines = h.report_lines(None)  # type: ignore[arg-type]
    assert ("out of order" in "".join(lines)) == (hook == "convcore_report")
    if hook == "convcore_identify":
        with pytest.raises(UsageError, match=r"'b' of dist-b 1.5 failed: convcore_identify raises RuntimeError: out of order"):
            h.identify("m.y")
    elif hook != "convcore_report":
        assert "out of order" in h.plugins[0].error


@pytest.mark.parametrize("hook", ["convcore_ops", "convcore_rules"])
def test_a_string_that_leads_nowhere_taints_no_other(hook: str):
    def convcore_ops() -> list[str]:
        return ["no_such_module_here:OPS"]

    def convcore_rules(framework: str) -> list[str]:
        return ["no_such_module_here:RULES"]

    broken = {"convcore_ops": convcore_ops, "convcore_rules": convcore_rules}[hook]
    h = Host(entry_points=[_plugin("b", broken), _plugin("z", _brings("z", rules="convcore_onnx.rules:RULES"))])
    assert h.rules("z").load_rules
    assert "no_such_module_here" in h.plugins[0].error


def test_passes_that_fail_are_not_left_out_silently():
    h = Host(entry_points=[_plugin("b", _raises("convcore_passes")), _plugin("z", _brings("z"))])
    with pytest.raises(BrokenPluginError, match=r"'b' of dist-b 1.5 cannot be used: convcore_passes raises"):
        h.passes("loaded")


def test_a_broken_plugin_of_ours_is_quoted_for_its_suffix_and_a_missing_one_named(tmp_path: Path):
    dist = SimpleNamespace(metadata={"Name": "convcore-onnx"}, version="1.0")
    h = Host(entry_points=[SimpleNamespace(name="onnx", value="fake_nowhere", dist=dist)])
    for name in ("m.onnx", "M.ONNX"):
        with pytest.raises(BrokenPluginError, match=r"needs the plugin 'onnx' of convcore-onnx 1.0.*fake_nowhere"):
            h.identify(tmp_path / name)
    with pytest.raises(PluginNotInstalledError, match="pip install convcore-keras"):
        h.identify(tmp_path / "m.keras")
    before = host()
    set_host(h)
    try:
        with pytest.raises(BrokenPluginError, match="needs the plugin 'onnx'"):
            convcore.convert(_model(), out=tmp_path / "m.onnx")
        with pytest.raises(PluginNotInstalledError, match="pip install convcore-caffe"):
            convcore.convert(_model(), out=tmp_path / "m.prototxt")
    finally:
        set_host(before)


def _model() -> convcore.Model:
    return convcore.Model(_graph("g"), "", None, None)


# ---------------------------------------------------------------- a wrapper of a third party, as the documentation shows it
def test_the_gunzip_plugin_of_the_documentation(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    page = (Path(__file__).parents[2] / "docs/framework-plugin.md").read_text()
    (code,) = re.findall(r"```python\n(# gunzip.py\n.*?)```", page, re.S)
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 15
    plugin = types.ModuleType("fake_gunzip")
    exec(compile(code, "gunzip.py", "exec"), plugin.__dict__)
    sys.modules["fake_gunzip"] = plugin

    convcore.convert(_model(), out=tmp_path / "m.onnx", check=False)
    (tmp_path / "m.onnx.gz").write_bytes(gzip.compress((tmp_path / "m.onnx").read_bytes()))
    (tmp_path / "torn.onnx.gz").write_bytes(gzip.compress((tmp_path / "m.onnx").read_bytes())[:-9])
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    before = host()
    set_host(Host(entry_points=[*importlib_metadata.entry_points(group="convcore"), _point("gunzip")]))
    try:
        assert [p.error for p in host().plugins if p.name == "gunzip"] == [""]
        model = convcore.load(tmp_path / "m.onnx.gz")
        assert model.framework == "onnx"
        np.testing.assert_array_equal(model(x), np.maximum(x, 0))
        result = convcore.convert(tmp_path / "m.onnx.gz", out=tmp_path / "n.onnx", check=True)
        assert result.report.ok and onnx.load(tmp_path / "n.onnx").graph.node[0].op_type == "Relu"
        with pytest.raises(BadFileError, match=r"torn.onnx.gz"):
            convcore.load(tmp_path / "torn.onnx.gz")
    finally:
        set_host(before)
