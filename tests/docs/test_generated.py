"""The generated pages are what `make docs` writes now."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from convcore.host import host

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(p.parent.name for p in ROOT.glob("plugins/*/pyproject.toml") if "entry-points.convcore" in p.read_text())


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convcore_docs_generate", ROOT / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, ROOT / "docs/generate.py", "--out", out], check=True)
    return out


def _normal(name: str, text: str) -> str:
    """The help text as argparse of every Python version prints it: spacing and `-o OUT, --output OUT` differ."""
    if not name.endswith("cli.md"):
        return text
    return " ".join(re.sub(r"(-\w) (\S+), (--[\w-]+) \2", r"\1, \3 \2", text).split())


def _needs_all_plugins(name: str) -> None:
    installed = {i.name for i in host().plugins}
    if name in ("docs/cli.md", "docs/ops.md") and installed != set(PLUGINS):
        pytest.skip(f"describes the plugins {PLUGINS}; installed are {sorted(installed)}")
    framework = Path(name).stem
    if name.startswith("docs/support/") and framework in PLUGINS and framework not in host().frameworks:
        pytest.skip(f"convcore-{framework} is not installed")


@pytest.mark.parametrize(
    "name",
    [
        "core/build/methods.pyi",
        "docs/cli.md",
        "docs/ops.md",
        "docs/python.md",
        "docs/surface.txt",
        "tests/data/SOURCE.md",
        "README.md",
        "docs/support/matrix.md",
        "docs/support/keras-written.md",
        "docs/support/onnx-models.md",
        *(f"docs/support/{p}.md" for p in PLUGINS),
    ],
)
def test_up_to_date(made: Path, name: str):
    _needs_all_plugins(name)
    committed, fresh = (ROOT / name).read_text(encoding="utf-8"), (made / name).read_text(encoding="utf-8")
    assert _normal(name, committed) == _normal(name, fresh), f"{name} is out of date: run `make docs`"


def test_a_stale_page_is_noticed():
    page = _generator().cli_page()
    assert _normal("cli.md", page) != _normal("cli.md", page.replace("--no-check", "--dont-check"))
    old, new = "  -o OUT, --output OUT  file", "  -o, --output OUT\n                        file"
    assert _normal("cli.md", old) == _normal("cli.md", new)


def test_every_type_and_op_is_there(made: Path):
    generate = _generator()
    for name in generate.our_frameworks():
        page = (made / f"docs/support/{name}.md").read_text(encoding="utf-8")
        rules = host().rules(name)
        assert all(f"`{t}`" in page for t in rules.load_rules)
    from convcore.opset import all_ops

    page = (made / "docs/ops.md").read_text(encoding="utf-8")
    assert all(f"### {o.name}\n" in page for o in all_ops().values() if o.distribution == "convcore")
