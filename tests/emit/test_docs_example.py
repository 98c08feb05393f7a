"""The target of docs/framework-plugin.md works as it is printed there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from convcore.build.builder import Builder
from convcore.interpreter import run
from convcore.ir.graph import Graph
from convcore.plugin import EmitRequest

PAGE = Path(__file__).parents[2] / "docs" / "framework-plugin.md"


def test_the_target_of_the_page(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(# convcore_lines/emit\.py\n.*?)```", PAGE.read_text(), re.S)
    space: dict[str, Any] = {"__name__": "convcore_lines.emit"}
    exec(code, space)
    g = Graph("net")
    b = Builder(g)
    rng = np.random.default_rng(5)
    x = b.input("x", "float32", (2, 3))
    w, bias = (b.weight(rng.standard_normal(s).astype("f4")) for s in ((5, 3), (5,)))
    g.outputs = [b.relu(b.linear(x, w, bias))]
    data = rng.standard_normal((2, 3)).astype("f4")
    (want,) = run(g, data)
    made = space["emit"](EmitRequest(g, tmp_path / "net.lines", rules=space["RULES"]))
    assert [Path(p).name for p in made.paths] == ["net.lines", "net.npz"]
    values: dict[str, Any] = {"in0": data, **np.load(tmp_path / "net.npz")}
    functions = {"dense": lambda x, k, c: x @ k + c, "relu": lambda x: np.maximum(x, 0)}
    for line in (tmp_path / "net.lines").read_text().splitlines():
        if line.startswith("return "):
            np.testing.assert_allclose(values[line.split()[1]], want, rtol=1e-6)
            return
        name, _, rest = line.partition(" = ")
        function, *args = rest.split()
        values[name] = functions[function](*(values[a] for a in args))
    raise AssertionError("no result")
