"""One-token changes to the source, and whether the tests notice: ``make mutants`` or

    python tests/support/mutants.py --seed 7 --count 200 [core/passes core/layout ...]

A sample by seed of all changes there are (a refusal deleted, a comparison turned, a number moved, and/or and True/False
exchanged, ``not`` dropped), each run in a copy of the tree against the tests that should notice, listed in TESTS. Printed are the
changes that nobody noticed, then how many were noticed of how many; a change that means the same is counted as not noticed.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS: dict[str, tuple[str, ...]] = {
    "core/passes": ("tests/passes", "tests/ir"),
    "core/layout": ("tests/layout",),
    "core/ops/shape.py": ("tests/ops/test_shape.py", "tests/ops/test_ops_selfcheck.py", "tests/ops/test_refusals.py"),
    "core/ops/joining.py": ("tests/ops/test_shape.py", "tests/ops/test_ops_selfcheck.py", "tests/ops/test_refusals.py"),
    "core/ops/norm.py": ("tests/ops/test_norm.py", "tests/ops/test_ops_selfcheck.py", "tests/ops/test_refusals.py"),
    "core/ops/lrn.py": ("tests/ops/test_norm.py", "tests/ops/test_ops_selfcheck.py", "tests/ops/test_refusals.py"),
    "core/ops/indexing.py": ("tests/ops/test_indexing.py", "tests/ops/test_ops_selfcheck.py", "tests/ops/test_refusals.py"),
    "core/ops/pool.py": ("tests/ops/test_pool.py", "tests/ops/test_ops_selfcheck.py", "tests/ops/test_refusals.py"),
    "core/ops": ("tests/ops",),
    "core/opset": ("tests/ops",),
    "core/samples.py": ("tests/core/test_refusals.py", "tests/core/test_check.py"),
    "core/pipeline.py": ("tests/core/test_refusals.py", "tests/core/test_convert.py"),
    "core/sources.py": ("tests/core/test_refusals.py", "tests/core/test_convert.py", "tests/core/test_robust.py"),
    "core/model.py": ("tests/core/test_refusals.py", "tests/core/test_model.py"),
    "core/budget.py": ("tests/core/test_refusals.py", "tests/core/test_hostile.py"),
    "core/output.py": ("tests/core/test_refusals.py", "tests/core/test_robust.py", "tests/core/test_convert.py"),
    "core/files.py": ("tests/core/test_files.py",),
    "core/report/compare.py": ("tests/core/test_power.py",),
    "core/interpreter": (
        "tests/core/test_refusals.py",
        "tests/core/test_power.py",
        "tests/ops/test_control.py",
        "tests/core/test_model.py",
    ),
    "core/verification": (
        "tests/core/test_refusals.py",
        "tests/core/test_power.py",
        "tests/core/test_check.py",
        "tests/core/test_convert.py",
        "tests/core/test_robust.py",
        "tests/core/test_spoiled_nets.py",
    ),
    "core/loading": ("tests/load", "plugins/onnx/tests/test_load.py"),
    "core/rules": ("tests/rules", "tests/load"),
    "core/emit": ("tests/emit",),
    "core/ir": ("tests/ir", "tests/load", "tests/passes"),
    "plugins/onnx/src/convcore_onnx/rules/norm.py": ("plugins/onnx/tests/rules",),
    "plugins/onnx/src/convcore_onnx/rules/shape.py": ("plugins/onnx/tests/rules",),
}
"""What should notice a change to a file: the longest path that leads to it."""

TURNED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is",
    ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
WORDS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is", ast.IsNot: "is not",
    ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """The source of a file between two offsets replaced."""

    path: str
    line: int
    start: int
    end: int
    new: str
    kind: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.kind}"


def mutants_of(path: str, text: str) -> Iterator[Mutant]:
    """Every change to one file."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    if not text.isascii():  # ast counts bytes
        return

    def at(node: ast.AST) -> tuple[int, int, int]:
        lineno, end = getattr(node, "lineno"), getattr(node, "end_lineno")  # noqa: B009
        return lineno, starts[lineno - 1] + getattr(node, "col_offset"), starts[end - 1] + getattr(node, "end_col_offset")  # noqa: B009

    def between(left: ast.AST, right: ast.AST, old: str, new: str, kind: str) -> Iterator[Mutant]:
        _, _, start = at(left)
        line, end, _ = at(right)
        where = text.find(old, start, end)
        if where >= 0:
            yield Mutant(path, line, where, where + len(old), new, kind)

    def visit(node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.Raise) or _refuses(node):
            line, start, end = at(node)
            yield Mutant(path, line, start, end, "pass", f"refusal deleted: {' '.join(text[start:end].split())[:70]}")
        elif isinstance(node, ast.Compare):
            for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators):
                old, new = WORDS[type(op)], TURNED[type(op)]
                yield from between(left, right, old, new, f"{old} -> {new}")
        elif isinstance(node, ast.BoolOp):
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:]):
                yield from between(left, right, f" {old} ", f" {new} ", f"{old} -> {new}")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            line, start, _ = at(node)
            operand = text[slice(*at(node.operand)[1:])]
            yield Mutant(
                path, line, start, at(node)[2], f"({operand})" if text[at(node)[2] - 1] == ")" else operand, "not dropped"
            )
        elif isinstance(node, ast.Constant) and (isinstance(node.value, bool) or type(node.value) in (int, float)):
            line, start, end = at(node)
            new = repr(_other(node.value))
            yield Mutant(path, line, start, end, new, f"{text[start:end]} -> {new}")
        if isinstance(node, (ast.JoinedStr, ast.Raise)) or (
            isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Sample"
        ):
            return  # words of a message, a test's own numbers
        for name, child in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            for c in child if isinstance(child, list) else [child]:
                if isinstance(c, ast.AST):
                    yield from visit(c)

    yield from visit(ast.parse(text))


def _refuses(node: ast.AST) -> bool:
    """``c.fail(...)`` and ``b.require(...)`` of op declarations."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("fail", "require")


def _other(value: bool | int | float) -> bool | int | float:
    """Another constant of the same type."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 1.5 + 0.1


def tests_for(path: str) -> tuple[str, ...]:
    """The tests that should notice a change to a file."""
    found = max((k for k in TESTS if path == k or path.startswith(f"{k}/")), key=len, default="")
    return TESTS.get(found, ())


def sources(folders: list[str]) -> list[str]:
    """The files of the named folders that have tests listed; all of TESTS where none is named."""
    out: set[str] = set()
    for folder in folders or list(TESTS):
        top = ROOT / folder
        out.update(str(p.relative_to(ROOT)) for p in ([top] if top.is_file() else top.rglob("*.py")))
    return sorted(p for p in out if tests_for(p))


def copy_tree(to: Path) -> dict[str, str]:
    """The tree without what is not source, and the environment that imports it."""
    for name in ("core", "plugins", "tests", "docs", "examples", "pyproject.toml", ".dev"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "zoo", "*.egg-info"))
        elif source.exists():
            shutil.copy2(source, to / name)
    zoo = ROOT / "tests/data/zoo"
    if zoo.exists():
        (to / "tests/data/zoo").symlink_to(zoo)
    paths = [to / ".dev", *sorted((to / "plugins").glob("*/src"))]
    return {
        **os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def run(tests: tuple[str, ...], folder: Path, env: dict[str, str], limit: float) -> int:
    """The exit code of the tests; 124 where they take longer than ``limit`` seconds."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    try:
        return subprocess.run(command, cwd=folder, env=env, timeout=limit, capture_output=True).returncode
    except subprocess.TimeoutExpired:
        return 124


def main() -> int:
    p = argparse.ArgumentParser(description="Whether the tests notice one-token changes to the source.")
    p.add_argument("sources", nargs="*", help="files and folders (default: all that have tests listed)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--kind", default="", help="only changes of which the text contains this, e.g. 'refusal'")
    p.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    args = p.parse_args()
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in sources(args.sources)}
    every = [m for path, text in texts.items() for m in mutants_of(path, text) if args.kind in m.kind]
    chosen = random.Random(args.seed).sample(every, min(args.count, len(every)))
    noticed: list[Mutant] = []
    missed: list[Mutant] = []
    begin, baseline = time.monotonic(), dict[tuple[str, ...], float]()
    with tempfile.TemporaryDirectory(prefix="convcore-mutants-") as folder:
        top = Path(folder)
        env = copy_tree(top)
        for m in sorted(chosen, key=lambda m: m.path) if args.minutes > 1e8 else chosen:
            if time.monotonic() - begin > args.minutes * 60:
                break
            tests = tests_for(m.path)
            if tests not in baseline:
                start = time.monotonic()
                if code := run(tests, top, env, 1800):
                    print(f"{' '.join(tests)} fail as they are (exit {code})", file=sys.stderr)
                    return 2
                baseline[tests] = time.monotonic() - start
            (top / m.path).write_text(m.apply(texts[m.path]), encoding="utf-8")
            code = run(tests, top, env, 4 * baseline[tests] + 30)
            (top / m.path).write_text(texts[m.path], encoding="utf-8")
            (noticed if code else missed).append(m)
            if not code:
                print(f"not noticed: {m}", flush=True)
    total = len(noticed) + len(missed)
    share = 100 * len(noticed) / max(total, 1)
    print(f"noticed {len(noticed)} of {total} ({share:.0f} %), seed {args.seed}, {len(every)} changes to choose from")
    return 0


if __name__ == "__main__":
    sys.exit(main())
