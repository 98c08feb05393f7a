"""The two plugins of examples/plugins: a source and a target of under 120 lines each, through the front door only."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_folders import installed, run

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
MLP, C = PLUGINS / "json_mlp", PLUGINS / "c_header"


def _mlp(path: Path, **first: Any) -> tuple[np.ndarray, np.ndarray]:
    """A model file, an input, and the result by hand."""
    rng = np.random.default_rng(3)
    k1, b1, k2 = (rng.standard_normal(s).astype("f4") for s in ((3, 7), (7,), (7, 5)))
    layers = [{"kernel": k1.tolist(), "bias": b1.tolist(), "activation": "relu", **first}, {"name": "out", "kernel": k2.tolist()}]
    path.write_text(json.dumps({"mlp": {"inputs": 3, "layers": layers}}))
    x = rng.standard_normal((2, 3)).astype("f4")
    return x, np.maximum(x @ k1 + b1, 0) @ k2


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return installed(tmp_path / "site", MLP, C)


@pytest.mark.parametrize("folder", [MLP, C], ids=lambda f: f.name)
def test_size_and_imports(folder: Path) -> None:
    lines = 0
    for path in folder.rglob("*.py"):
        lines += len(path.read_text().splitlines())
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert all(n == "convcore.plugin" for n in names if n.startswith("convcore")), names
    assert 0 < lines < 120


def test_check_plugin(env: dict[str, str], tmp_path: Path) -> None:
    _mlp(tmp_path / "net.mlp.json")
    code = "from convcore.testing import check_plugin\nprint(check_plugin('json_mlp', sources=['net.mlp.json']))"
    assert "1 sources read" in run(env, tmp_path, "-c", code).stdout
    code = "from convcore.testing import check_plugin\nprint(check_plugin('c_header'))"
    out = run(env, tmp_path, "-c", code).stdout
    found = re.search(r"c_header: (\d+) of (\d+) sample models written, 0 read back, (\d+) not verified", out)
    assert found is not None and 8 <= int(found[1]) == int(found[3])
    assert "C adds arrays of one shape" in out  # broadcasting is refused, not written wrong


def test_the_source_loads(env: dict[str, str], tmp_path: Path) -> None:
    x, want = _mlp(tmp_path / "net.mlp.json")
    np.save(tmp_path / "x.npy", x)
    run(env, tmp_path, "-m", "convcore", "run", "net.mlp.json", "--input", "x.npy", "-o", "y.npy")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"activation": "swoosh"}, 4, "'dense_0' (dense): the activation 'swoosh' is not known"),
        ({"rate": 0.5}, 4, "attribute with unknown meaning: rate=0.5"),
        ({"kernel": [1.0, 2.0]}, 3, "the kernel of layer 0 has 1 axes"),
    ],
)
def test_the_source_refuses(env: dict[str, str], tmp_path: Path, change: Any, code: int, said: str) -> None:
    _mlp(tmp_path / "net.mlp.json", **change)
    done = run(env, tmp_path, "-m", "convcore", "convert", "net.mlp.json", "-o", "net.h", "--input-shape", "x:2,3", code=code)
    assert said in done.stderr and not (tmp_path / "net.h").exists()


def test_a_target_without_runtime_is_not_verified(env: dict[str, str], tmp_path: Path) -> None:
    """Written, with the verdict and why; a compiler is the judge of what was written."""
    x, want = _mlp(tmp_path / "net.mlp.json")
    args = ("-m", "convcore", "convert", "net.mlp.json", "-o", "net.h")
    done = run(env, tmp_path, *args, "--input-shape", "x:2,3", code=6)
    assert "NOT VERIFIED" in done.stdout and "c_header cannot be read back" in done.stdout
    done = run(env, tmp_path, *args, "-o", "other.h", code=4)
    assert "C arrays have fixed sizes" in done.stderr and "--input-shape" in done.stderr
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    numbers = ", ".join(f"{v.hex()}f" for v in x.ravel().tolist())
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "net.h"\nint main(void) {{ float x[] = {{{numbers}}}, y[10]; model(x, y);\n'
        'for (int i = 0; i < 10; i++) printf("%.9g\\n", y[i]);\nreturn 0; }\n'
    )
    subprocess.run([compiler, "-Werror", "-Wall", "-Wno-unused", "main.c", "-lm", "-o", "main"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(np.array(out.split(), "f4").reshape(2, 5), want, rtol=1e-5, atol=1e-6)
