"""README's marked blocks run and print what it shows; its matrix is what is installed; the links of all pages lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import convcore

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/README.md",
    ROOT / "tests/data/SOURCE.md",
    *ROOT.glob("docs/**/*.md"),
]
TITLES = {"Keras": "keras", "ONNX": "onnx", "Caffe": "caffe", "PyTorch": "pytorch"}


@dataclass
class Block:
    language: str
    code: str
    exit: int
    output: str | None


BLOCK = re.compile(r"<!-- run(?:: exit (\d+))? -->\n```(sh|python)\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)
BLOCKS = [Block(m[2], m[3], int(m[1] or 0), m[4]) for m in BLOCK.finditer(README)]


def _masked(text: str) -> list[str]:
    """Lines without numbers and spacing: errors and sizes differ a little from machine to machine."""
    return [" ".join(re.sub(r"\d[\d,]*(\.\d*)*(e[-+]?\d+)?", "#", line).split()) for line in text.strip().splitlines()]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: f"{b.language}-{b.code.split(chr(10))[0][:40]}")
def test_block(block: Block, tmp_path: Path):
    missing = {"keras", "onnx"} - set(convcore.formats())
    if missing:
        pytest.skip(f"plugins not installed: {', '.join(sorted(missing))}")
    pytest.importorskip("onnxruntime")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-c", block.code] if block.language == "python" else ["sh", "-ec", block.code]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == block.exit, done.stderr
    if block.output is not None:
        assert _masked(done.stdout) == _masked(block.output)


def test_blocks_are_found():
    assert [b.language for b in BLOCKS] == ["sh", "sh", "python"]
    assert README.count("<!-- run") == len(BLOCKS)


def test_the_matrix_is_what_is_installed():
    formats = convcore.formats()
    projects = [p for p in ROOT.glob("plugins/*/pyproject.toml") if "entry-points.convcore" in p.read_text()]
    missing = {p.parent.name for p in projects} - set(formats)
    if missing:
        pytest.skip(f"plugins not installed: {', '.join(sorted(missing))}")
    head, _, *rows = re.findall(r"^\|.*\|$", README[README.index("| from \\ to") :], re.MULTILINE)[:6]
    targets = [TITLES[c.strip()] for c in head.strip("|").split("|")[1:]]
    can = {(f, t) for f, a in formats.items() if a["load"] for t, b in formats.items() if b["emit"]}
    shown = set()
    for row in rows:
        name, *cells = (c.strip() for c in row.strip("|").split("|"))
        assert all(re.fullmatch(r"not yet|yes: \d+ of \d+, \d+ of \d+", c) for c in cells), cells  # nothing wrong in any
        shown |= {(TITLES[name.strip("*")], t) for t, c in zip(targets, cells, strict=True) if c.startswith("yes")}
    assert shown == can


def test_the_two_commands_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([\w-]+)", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    model = re.search(r"^MODEL\s*:=\s*(\S+)", makefile, re.MULTILINE)
    assert model is not None and model[1] in README  # the demo is the tour's first command
    demo = re.search(r"^demo:.*\n(?:\t.*\n)+", makefile, re.MULTILINE)
    assert demo is not None and "--report out/emotion.html" in demo[0]  # a page, and the line that says where it is


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links(page: Path):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_what_a_project_says_of_itself():
    """How something is deprecated, whom to tell of a security fault, and what is new in the version that is built."""
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None and version[1] == convcore.__version__
    assert f"({version[1]})" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("## ")[1]
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "**Reporting.**" in security and "**Supported versions.**" in security
    policy = (ROOT / "docs/stability.md").read_text(encoding="utf-8")
    assert "## How something goes" in policy and "DeprecationWarning" in policy
