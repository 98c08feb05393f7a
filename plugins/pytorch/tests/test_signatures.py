"""The table of ATen's signatures against the installed torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from convcore_pytorch.rules import RULES
from convcore_pytorch.signatures import REQUIRED, overloads, signature

ROOT = Path(__file__).resolve().parents[1]


def test_the_table_is_the_installed_torchs():
    spec = importlib.util.spec_from_file_location("signatures_tool", ROOT / "tools/signatures.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    head, *table = (ROOT / "src/convcore_pytorch/aten.txt").read_text().splitlines()
    made = head.split()[-1]
    if made.partition("+")[0] != torch.__version__.partition("+")[0]:
        pytest.skip(f"the table was written from torch {made}")
    assert table == tool.lines()


def _named(kind: str) -> str:
    """A type of a schema's text as torch names the type it makes of it."""
    if kind.endswith("?"):
        return f"Optional[{_named(kind[:-1])}]"
    if kind.endswith("]"):
        return f"List[{_named(kind[: kind.rindex('[')])}]"
    return {"Scalar": "number", "SymInt": "int", "Storage": "Storage"}.get(kind, kind)


def test_every_signature_parses_as_torch_has_it():
    """Names, types, defaults, what is written into and what may share memory, of every schema that torch has registered."""
    checked = defaults = 0
    for schema in torch._C._jit_get_all_schemas():
        name = schema.name.removeprefix("aten::")
        mine = signature(f"aten.{name}.{schema.overload_name or 'default'}") if schema.name.startswith("aten::") else None
        if mine is None:
            continue
        checked += 1
        theirs = schema.arguments
        assert [(p.name, p.keyword) for p in mine.parameters] == [(a.name, a.kwarg_only) for a in theirs], schema
        for p, a in zip(mine.parameters, theirs, strict=True):
            assert (p.default is not REQUIRED) == a.has_default_value(), schema
            if a.has_default_value():
                defaults += 1
                if str(a.real_type) == "MemoryFormat":
                    assert p.default in ("contiguous_format", a.default_value) and a.default_value == 0, schema
                elif p.type == "int" and isinstance(p.default, str):  # at::Reduction::Mean
                    assert (p.default, a.default_value) == ("Mean", 1), schema
                else:
                    assert type(p.default) is type(a.default_value) or p.type in ("Scalar", "Scalar?"), (schema, p)
                    assert p.default == a.default_value or str(a.default_value) in ("inf", "-inf"), (schema, p)
            assert p.mutated == bool(a.alias_info and a.alias_info.is_write), schema
            if "(" not in p.type:
                assert _named(p.type).partition("[t]")[0] == str(a.real_type).partition("[t]")[0], (schema, p)
        assert len(mine.returns) == len(schema.returns), schema
        assert mine.variadic == ("..." in str(schema)), schema
        if all("Tensor" in k for k in mine.returns):
            shared = any(r.alias_info and not r.alias_info.is_write for r in schema.returns)
            assert mine.views == shared or "(*)" in str(schema), schema
    assert checked > 1500 and defaults > 1400


def test_every_call_of_a_row_is_torchs() -> None:
    """Names, order and defaults of the parameters that rows bind."""
    calls = {row.foreign: row.call for row in RULES.rows() if row.call is not None}
    for kind, call in calls.items():
        mine = signature(kind if kind.count(".") > 1 else f"{kind}.default")
        assert mine is not None, kind
        theirs = {p.name: p for p in mine.parameters}
        first = [p.name for p in call.parameters if not p.by_name_only]
        assert first == [p.name for p in mine.parameters if not p.keyword][: len(first)], kind
        for q in call.parameters:
            p = theirs[q.name]
            assert q.by_name_only is p.keyword and (repr(q.default) == "MISSING") is (p.default is REQUIRED), (kind, q)
            assert p.default is REQUIRED or (q.default == p.default and type(q.default) is type(p.default)), (kind, q)
        left = [p for p in mine.parameters if p.name not in {q.name for q in call.parameters}]
        assert all(p.default is not REQUIRED for p in left), (kind, left)
    assert len(calls) > 180


def test_overloads():
    conv = signature("aten.conv2d.default")
    assert conv is not None and [p.default for p in conv.parameters[3:]] == [[1, 1], [0, 0], [1, 1], 1]
    assert [s.target for s in overloads("conv2d")] == ["aten.conv2d.default", "aten.conv2d.padding"]
    assert signature("aten.nothing.default") is None and signature("prim.If.default") is None
    relu = signature("aten.relu_.default")
    assert relu is not None and relu.parameters[0].mutated and relu.parameters[0].type == "Tensor"


def test_functions_that_are_copied_are_those_of_the_files() -> None:
    """Found without parsing, and formatted as the code is that they are copied into."""
    import ast
    import subprocess
    import sys
    from importlib.resources import files

    from convcore_pytorch.functions import FILES, HELPERS, helpers_of

    said: dict[str, str] = {}
    for name in FILES:
        text = (files("convcore_pytorch") / name).read_text(encoding="utf-8")
        parts = [part for part in ast.parse(text).body if isinstance(part, ast.FunctionDef)]
        assert not any(part.decorator_list for part in parts)
        said |= {part.name: ast.get_source_segment(text, part) or "" for part in parts}
    assert set(said) == HELPERS
    assert all(said[name] in helpers_of(f"{name}(x)") for name in said)
    pytest.importorskip("ruff")
    names = [str(files("convcore_pytorch") / name) for name in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--check", *names], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
