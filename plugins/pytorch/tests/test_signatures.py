"""The table of ATen's signatures against the installed torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

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


def test_every_signature_parses_as_torch_has_it():
    checked = 0
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
            if a.has_default_value() and isinstance(a.default_value, (int, float, bool, str, type(None), list)):
                assert p.default == a.default_value or str(a.default_value) in ("inf", "-inf"), (schema, p)
            assert p.mutated == bool(a.alias_info and a.alias_info.is_write), schema
        assert len(mine.returns) == len(schema.returns), schema
    assert checked > 1500


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
