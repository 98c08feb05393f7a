"""The parts of ``check_plugin``, each on what it should find and on what it should leave alone, in this process."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from convcore.errors import PluginConflictError
from convcore.opset.axes import Elementwise, LastAxes, Layout, Opaque
from convcore.opset.declare import Attr, OpSet, Sample
from convcore.opset.registry import _registry, register
from convcore.rules import RuleSet
from convcore.rules.words import A
from convcore.testing import CheckFailed, plugins
from convcore.testing.plugins import PluginReport


class Fake:
    """A host of one plugin p with a framework x."""

    def __init__(self) -> None:
        self.stages, self.options, self.says = {"load"}, list[Any](), dict[str, list[Any]]()
        self.claims: Callable[[Any], list[Any]] = lambda source: []

    def __call__(self) -> Any:
        def says(name: str, what: str, **how: Any) -> list[Any]:
            assert name == "p"
            return self.claims(how["source"]) if what == "identify" else self.says.get(what, [])

        return SimpleNamespace(
            says=says, can=lambda name, stage: stage in self.stages, options=lambda name: self.options, frameworks={"x": None},
            load_ops=lambda: None,
        )  # fmt: skip


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    made = Fake()
    monkeypatch.setattr(plugins, "host", made)
    yield made
    for name in [n for n in sys.modules if n.startswith("fake_parts")]:
        del sys.modules[name]


def module(**names: Any) -> ModuleType:
    made = ModuleType("fake_parts")
    made.__dict__.update(names)
    sys.modules["fake_parts"] = made
    return made


def report() -> PluginReport:
    return PluginReport("p")


# ---- imports
@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import a.b, c", ["a.b", "c"]), ("from a.b import c", ["a.b"]), ("from . import c", ["."]), ("x = 1", []),
        ("from ..a import c", ["..a"]),
    ],
)  # fmt: skip
def test_what_a_statement_imports(code: str, names: list[str]) -> None:
    assert plugins._imported(ast.parse(code).body[0]) == names


def test_imports_of_hooks_and_of_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fake_parts_pkg"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("import numpy\n")
    (package / "plugin.py").write_text(
        "from __future__ import annotations\nimport os, json\nimport convcore.plugin\nfrom convcore import load\n\n"
        "def f():\n    import numpy\n    from convcore.ir import graph\n\nimport numpy.linalg\nfrom . import other\n"
    )
    (package / "inner" / "deep.py").write_text("import numpy\nfrom convcore.testing import check_plugin\nimport convcore.ops\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = ModuleType("fake_parts_pkg.plugin")
    made.__file__, found = None, report()
    plugins._check_imports(made, found)
    assert found.problems == []  # of what has no file nothing is known
    made.__file__ = str(package / "plugin.py")
    plugins._check_imports(made, found)
    assert found.problems == [
        "plugin.py:8 imports convcore.ir, which may change: take it from convcore.plugin",
        "deep.py:3 imports convcore.ops, which may change: take it from convcore.plugin",
        "plugin.py:10 imports numpy.linalg when hooks are looked for: import it inside the hook",
        "plugin.py:11 imports . when hooks are looked for: import it inside the hook",
    ]
    del sys.modules["fake_parts_pkg"]


# ---- what strings name
def test_what_is_named_is_there_and_of_its_kind(fake: Fake) -> None:
    made, found = module(RULES=RuleSet("x"), N=3), report()
    assert plugins._resolved("fake_parts:RULES", RuleSet, "the rule set", found) is made.RULES and not found.problems
    assert plugins._resolved("fake_parts:N", RuleSet, "the rule set", found) is None
    assert plugins._resolved("fake_parts:nothing", RuleSet, "the rule set", found) is None
    assert found.problems[0] == "the rule set fake_parts:N is a int, must be a RuleSet"
    assert found.problems[1].startswith("the rule set fake_parts:nothing cannot be imported: AttributeError: ")
    found.wrong(found.problems[0])
    assert len(found.problems) == 2  # once


def test_a_framework_names_what_is_there(fake: Fake) -> None:
    module(dialect=lambda request: None, N=3)
    for convention, dialect, problems in [
        ("", "", []), ("fake_parts:N", "fake_parts:dialect", []),
        ("", "fake_parts:N", ["the dialect of x, fake_parts:N, must be a function that makes one"]),
        ("fake_parts:no", "", ["the convention of x fake_parts:no cannot be imported: AttributeError"]),
    ]:  # fmt: skip
        found = report()
        plugins._check_named(SimpleNamespace(name="x", convention=convention, dialect=dialect), found)
        assert [p[: len(q)] for p, q in zip(found.problems, problems, strict=True)] == problems
    fake.options = [SimpleNamespace(name=n, stage=s) for n, s in (("a", "load"), ("b", "emit"), ("c", "fast"))]
    fake.stages = set()
    found = report()
    plugins._check_named(SimpleNamespace(name="x", convention="", dialect=""), found)
    assert found.problems == [
        "the framework x can do nothing: no convcore_load, convcore_emit or convcore_runtime",
        "the option c of x is for the stage 'fast', must be load or emit",
    ]
    for stage in ("load", "emit", "runtime"):
        fake.stages, fake.options, found = {stage}, [], report()
        plugins._check_named(SimpleNamespace(name="x", convention="", dialect=""), found)
        assert not found.problems


def test_what_is_claimed(fake: Fake) -> None:
    def claims(source: Any) -> list[Any]:
        if isinstance(source, Path) and source.is_dir():
            raise KeyError("k")
        if isinstance(source, Path) and source.name == "noise.bin":
            assert source.stat().st_size == 997
            return [SimpleNamespace(framework="x", score=5, why="its bytes"), SimpleNamespace(framework="y", score=0, why="none")]
        return []

    found = report()
    fake.claims = claims
    plugins._check_identify("p", found)
    assert found.problems == [
        "convcore_identify of a folder raises KeyError: 'k'",
        "convcore_identify claims noise for x (its bytes)",
    ]


# ---- ops and rules
def spoiled(name: str, **more: Any) -> Any:
    given = {"axes": Elementwise(), "reference": lambda x: x, "samples": [Sample((2, 3, 5))], **more}
    return OpSet("parts", "tests").op(name, "x:float", "y", **given)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, ""), ({"axes": Opaque()}, ""),
        ({"samples": [Sample((5,))]}, "its axis rule Elementwise is not proven: no sample has 2 axes"),
        ({"samples": [Sample((5, 3))], "axes": LastAxes(1)}, "its axis rule LastAxes is not proven: no sample has 3 axes"),
        ({"axes": LastAxes(1)}, ""),
        ({"axes": Layout("layout", forms={"a": {"x": "NC*", "y": "NC*"}, "b": {"x": "NC*", "y": "NC*"}}),
          "attrs": {"layout": Attr("str", "a", ("a", "b"))}, "reference": lambda x, layout: x, "samples": [Sample((5,))]},
         "its axis rule Layout carries no permutation of any sample"),
    ],
    ids=["right", "opaque", "one axis", "two of three", "three", "layout"],
)  # fmt: skip
def test_axis_rules_are_proven(more: dict[str, Any], why: str) -> None:
    register(ops := OpSet("parts", "tests"))
    decl = spoiled("fake_parts_op", **more)
    ops.ops["fake_parts_op"] = _registry.ops["fake_parts_op"] = decl
    try:
        if why:
            with pytest.raises(CheckFailed, match=f"op fake_parts_op: {why}"):
                plugins._prove_axes(decl)
        else:
            plugins._prove_axes(decl)
    finally:
        del _registry.ops["fake_parts_op"]


def test_ops_are_checked_whatever_they_raise(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    ops = OpSet("parts", "tests")
    for name in ("fake_parts_fine", "fake_parts_gone", "fake_parts_bug", "fake_parts_wrong", "fake_parts_named"):
        ops.op(name, "x:float", axes=Elementwise(), reference=lambda x: x, samples=[Sample((2, 3))])
        if name != "fake_parts_gone":
            _registry.ops[name] = ops.ops[name]
    module(OPS=ops)
    fake.says["ops"] = ["fake_parts:OPS", "fake_parts:NONE"]

    def check(decl: Any) -> None:
        if decl.name == "fake_parts_bug":
            raise ZeroDivisionError("of mine")
        if decl.name == "fake_parts_wrong":
            raise CheckFailed("of no name")
        if decl.name == "fake_parts_named":
            raise CheckFailed("fake_parts_named is wrong")

    monkeypatch.setattr(plugins, "check_op", check)
    try:
        found = report()
        plugins._check_ops("p", found)
        assert found.ops == list(ops.ops)
        assert found.problems[:4] == [
            "op fake_parts_gone is not registered: another op has its name", "op fake_parts_bug: ZeroDivisionError: of mine",
            "op fake_parts_wrong: of no name", "fake_parts_named is wrong",
        ]  # fmt: skip
        assert len(found.problems) == 5 and found.problems[4].startswith("the op set fake_parts:NONE cannot be imported")
    finally:
        for name in ops.ops:
            _registry.ops.pop(name, None)


def test_rules_are_checked_whatever_they_raise(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, other = RuleSet[Any, Any]("x"), RuleSet[Any, Any]("z")
    rules.op("Leaky", "leaky_relu", "X=x", alpha=A("alpha"))
    rules.op("Relu", "relu", "X=x")
    module(RULES=rules, OTHER=other)
    fake.says["frameworks"] = [SimpleNamespace(name="x", rules="fake_parts:RULES"), SimpleNamespace(name="y", rules="")]
    fake.says["rules"] = ["fake_parts:OTHER"]
    found = report()
    plugins._check_rules("p", found)
    assert found.rows == 2 and found.problems == ["the rule set fake_parts:OTHER is for 'z', but given for 'x'"]

    def check(row: Any) -> None:
        raise CheckFailed("not this") if row.foreign == "Leaky" else ZeroDivisionError("of mine")

    monkeypatch.setattr(plugins, "check_row", check)
    found = report()
    plugins._check_rules("p", found)
    assert found.problems[:2] == ["not this", "row Relu -> relu: ZeroDivisionError: of mine"] and found.rows == 2


def test_modules_that_are_registered_or_not(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    made, found = module(), report()
    info: Any = SimpleNamespace(error="", module="fake_parts:hooks")
    assert plugins._module(info, found) is made and not found.problems
    info.error = "it was written for another"
    assert plugins._module(info, found) is None and found.problems == ["it cannot be registered: it was written for another"]

    def conflict() -> Any:
        raise PluginConflictError("two of them")

    monkeypatch.setattr(plugins, "host", lambda: SimpleNamespace(frameworks={}, load_ops=conflict))
    found, info.error = report(), ""
    assert plugins._module(info, found) is made and found.problems == ["two of them"]


def test_what_the_report_says() -> None:
    found = PluginReport("p", ["wrong"], ["noted"], ["an_op"], 3)
    assert str(found) == "plugin p: 1 ops, 3 rows\nnote: noted\n- wrong"
