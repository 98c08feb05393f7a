"""Import layers, the front door, and the builder's types, as third parties meet them."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import convcore.plugin

ROOT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


# ---- import layers
def lint_imports(*path: Path) -> subprocess.CompletedProcess[str]:
    paths = [*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"}
    command = [sys.executable, "-c", LINT, "--no-cache"]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_run_downwards():
    done = lint_imports()
    assert done.returncode == 0 and "3 kept, 0 broken" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "package, module, line, why",
    [
        ("convcore", "ir/dims.py", "from ..opset import op", "convcore.ir is not allowed to import convcore.opset"),
        (
            "convcore",
            "ops/norm.py",
            "def late():\n    from ..layout import assign_layouts",
            "convcore.ops is not allowed to import",
        ),
        ("convcore_onnx", "dtypes.py", "import convcore_caffe", "convcore_onnx is not allowed to import convcore_caffe"),
        ("convcore_caffe", "fuse.py", "from convcore.ir.graph import Node", "is not allowed to import convcore.ir"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, package: str, module: str, line: str, why: str):
    source = ROOT / "core" if package == "convcore" else next(ROOT.glob(f"plugins/*/src/{package}"))
    shutil.copytree(source, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / package / module).open("a", encoding="utf-8") as f:
        f.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0 and why in done.stdout, done.stdout


def test_every_folder_is_a_package():
    """One without __init__.py is invisible to the tools that hold the layers."""
    folders = [
        p for top in (ROOT / "core", *ROOT.glob("plugins/*/src/*/")) for p in (top, *top.rglob("*/")) if any(p.glob("*.py"))
    ]
    assert not [str(p) for p in folders if not (p / "__init__.py").exists()]


# ---- the front door
def test_the_front_door_is_of_one_piece():
    """What type checkers see, what is imported on demand and what is listed are the same names from the same modules."""
    tree = ast.parse((ROOT / "core/plugin.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {n.module: {a.name for a in n.names} for n in block.body if isinstance(n, ast.ImportFrom)}
    lazy = {module: set(names) for module, names in convcore.plugin._FROM.items()}
    assert seen == lazy
    listed = convcore.plugin.__all__
    assert sorted(n for names in lazy.values() for n in names) == sorted(listed)
    assert len(set(listed)) == len(listed)
    assert all(getattr(convcore.plugin, n) is not None for n in listed)


def test_the_door_is_light():
    """Hooks need only hookimpl and Framework: importing them loads no op, no rule, no numpy-heavy module."""
    code = "import sys; from convcore.plugin import Framework, hookimpl; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"convcore.ops", "convcore.rules.ruleset", "convcore.layout"} & set(done.stdout.split())


# ---- types
SNIPPET = """
from collections.abc import Sequence
from convcore.plugin import Builder, ForeignNode, LoadContext, RuleSet, Value

class Context(LoadContext):
    depth: int = 0

RULES: RuleSet[Context, ForeignNode] = RuleSet("toy", "convcore-toy")

@RULES.load("Relu")
def relu(g: Context, node: ForeignNode) -> Value:
    g.depth += 1
    return g.b.relu(node.inputs[0])

@RULES.load("Wrong")
def wrong(g: Context, node: int) -> Value:
    raise NotImplementedError

def body(b: Builder, x: Value) -> tuple[Value, Value]:
    y: int = b.softmax(x, axis=1)
    b.sofmax(x)
    b.softmax(x, axes=1)
    b.conv(x)
    b.gelu(x, approximate="erf")
    parts: Sequence[Value] = b.split(x, axis=1, sizes=(2, 3))
    b.and_(x, parts[0])
    return b.topk(x, k=3)
"""


def test_types_reach_third_parties(tmp_path: Path):
    """What mypy --strict says of a plugin's file: op names, inputs, attributes and results are checked, rules too."""
    (tmp_path / "toy.py").write_text(SNIPPET)
    cache = ["--cache-dir", str(ROOT / ".mypy_cache/third_party")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, *cache, "toy.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT / ".dev")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = {int(line.split(":")[1]): line for line in done.stdout.splitlines() if ": error:" in line}
    lines = SNIPPET.splitlines()
    at = {n: line.strip() for n, line in enumerate(lines, 1)}
    expected = {
        "return g.b.relu(node.inputs[0])": '"relu" of "OpMethods" has incompatible type "Value | None"',
        '@RULES.load("Wrong")': "incompatible type",
        "y: int = b.softmax(x, axis=1)": "Incompatible types in assignment",
        "b.sofmax(x)": 'has no attribute "sofmax"',
        "b.softmax(x, axes=1)": 'Unexpected keyword argument "axes"',
        "b.conv(x)": "Too few arguments",
        'b.gelu(x, approximate="erf")': "incompatible type",
        "b.and_(x, parts[0])": "",
        "return b.topk(x, k=3)": "",
    }
    found = {at[n]: text for n, text in errors.items()}
    for line, why in expected.items():
        assert (why in found.get(line, "")) if why else line not in found, f"{line}: {found.get(line)}\n{done.stdout}"
    assert set(found) == {line for line, why in expected.items() if why}, done.stdout
