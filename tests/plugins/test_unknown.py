"""``convcore custom MODEL`` lists what nothing maps, with rules to fill in; ``--stub`` writes a plugin whose tests run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_folders import installed, run

import convcore
from convcore.cli import main

onnx = pytest.importorskip("onnx")


def _onnx_model(path: Path) -> Path:
    from onnx import TensorProto as T
    from onnx import helper as h

    nodes = [
        h.make_node("Bend", ["x", "w"], ["y"], domain="my.domain", alpha=0.25, modes=["a", "b"], name="bend1"),
        h.make_node("Bend", ["y", "w"], ["z"], domain="my.domain", alpha=0.5, modes=["c"], name="bend2"),
        h.make_node("Relu", ["z"], ["r"]),
    ]
    w = onnx.numpy_helper.from_array(np.linspace(1, 2, 5, dtype="f4"), "w")
    shape = ["n", 5]
    x, r = (h.make_tensor_value_info(n, T.FLOAT, shape) for n in "xr")
    graph = h.make_graph(nodes, "g", [x], [r], [w])
    opsets = [h.make_opsetid("", 18), h.make_opsetid("my.domain", 1)]
    onnx.save(h.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def _torch_model(path: Path) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("convcore_pytorch")
    if not hasattr(torch.ops.convcore_tests, "bend_by"):
        name = "convcore_tests::bend_by"
        torch.library.define(name, "(Tensor x, Tensor w, float alpha, int steps=2) -> Tensor")
        torch.library.register_fake(name, lambda x, w, alpha, steps=2: torch.empty_like(x))

    class Squared(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.linspace(1, 2, 5))

        def forward(self, x: Any) -> Any:
            return torch.ops.convcore_tests.bend_by(Squared.apply(x) - 1, self.w, 0.25)

    torch.export.save(torch.export.export(Net().eval(), (torch.ones(3, 5),)), path)
    return path


def _keras_model(path: Path) -> Path:
    keras = pytest.importorskip("keras")
    pytest.importorskip("convcore_keras")

    @keras.saving.register_keras_serializable(package="stubs")
    class BendByWeight(keras.layers.Layer):
        def __init__(self, alpha: float = 0.25, **kw: Any) -> None:
            super().__init__(**kw)
            self.alpha = alpha

        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1],), name="w", initializer="ones")

        def call(self, x: Any) -> Any:
            return keras.ops.where(x > 0, x, x * self.alpha) * self.w

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "alpha": self.alpha}

    x = keras.Input((5,), name="x")
    keras.Model(x, BendByWeight(name="bent")(x)).save(path)
    return path


MODELS = {"m.onnx": _onnx_model, "m.pt2": _torch_model, "m.keras": _keras_model}
TYPES = {"m.onnx": "my.domain.Bend", "m.pt2": "convcore_tests.bend_by", "m.keras": "stubs>BendByWeight"}
WRITTEN = "    return g.b.mul(g.b.where(g.b.greater(x, g.b.like(x, 0.0)), x, g.b.mul(x, g.b.like(x, alpha))), w0)"


@pytest.mark.parametrize("name", MODELS)
def test_what_is_unknown_is_listed_with_what_to_write(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = MODELS[name](tmp_path / name)
    assert main(["custom", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["type"] == TYPES[name]
    assert found["attributes"]["alpha"] == 0.25 and [w["shape"] for w in found["weights"]] == [[5]]
    assert [x["shape"][-1] for x in found["inputs"] if x] == [5]
    assert len(found["layers"]) == (2 if name == "m.onnx" else 1)
    assert main(["custom", str(path)]) == 0
    said = capsys.readouterr().out
    assert (
        f"--override {shlex.quote(TYPES[name])}=FILE.py:" in said
        and "convcore.convert" not in said
        and "alpha = node.attr('alpha')  # 0.25" in said
    )
    space: dict[str, Any] = {"Any": Any, "ForeignNode": Any}
    rest = "" if name != "m.onnx" else "    modes = node.attr('modes')\n"
    exec(found["rule"].split("    return")[0] + rest + WRITTEN, space)  # what is printed, with the formula, is the override
    rule = space[next(k for k in space if k.startswith("bend"))]
    target = "onnx" if name != "m.onnx" else "pytorch"
    out = tmp_path / ("out.onnx" if target == "onnx" else "out.py")
    assert convcore.convert(path, target, out, overrides={TYPES[name]: rule}).report.ok


def test_a_function_of_the_model_with_an_unknown_operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator is listed by its name; a rule for it, or for the whole function, is the same flow; ONNX hands it on."""
    from onnx import TensorProto as T
    from onnx import helper as h

    opsets = [h.make_opsetid("", 17), h.make_opsetid("local", 1), h.make_opsetid("my.domain", 1)]
    body = [h.make_node("Add", ["a", "a"], ["t"]), h.make_node("Secret", ["t"], ["b"], domain="my.domain", depth=3)]
    function = h.make_function("local", "Twice", ["a"], ["b"], body, opsets)
    x, z = (h.make_tensor_value_info(n, T.FLOAT, ["n", 5]) for n in "xz")
    graph = h.make_graph([h.make_node("Twice", ["x"], ["z"], domain="local")], "g", [x], [z])
    path = tmp_path / "m.onnx"
    onnx.save(h.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9), path)
    assert main(["custom", str(path)]) == 0
    said = capsys.readouterr().out
    assert "my.domain.Secret (onnx), 1 layer: z/b" in said and "--override my.domain.Secret=FILE.py:secret" in said
    assert "depth = node.attr('depth')  # 3" in said
    (problem,) = convcore.check(str(path), "pytorch")
    assert (problem.type, problem.code) == ("my.domain.Secret", "unsupported_layer")
    array = np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5)

    def secret(g: Any, node: Any) -> Any:
        assert node.attr("depth") == 3
        return g.b.tanh(node.input(0))

    for type, rule, want in (
        ("my.domain.Secret", secret, np.tanh(array * 2)),
        ("local.Twice", lambda g, node: g.b.abs(node.input(0)), np.abs(array)),
    ):
        model = convcore.load(path, overrides={type: rule})
        np.testing.assert_allclose(model(array), want, rtol=1e-6)
    back = tmp_path / "back.onnx"
    convcore.convert(path, "onnx", back)
    assert {n.op_type for n in onnx.load(back).graph.node} >= {"Add", "Secret"}


@pytest.mark.parametrize("name", ["m.keras", *(pytest.param(n, marks=pytest.mark.slow) for n in ("m.onnx", "m.pt2"))])
def test_the_stub_is_a_plugin_whose_tests_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = MODELS[name](tmp_path / name)
    folder = tmp_path / "convcore-bends"
    assert main(["custom", str(path), "--stub", "-o", str(folder)]) == 0
    files = [p for p in folder.rglob("*") if p.is_file()]
    said = capsys.readouterr().out
    assert all(str(p) in said for p in files) and not any("@" in p.name for p in files)
    env = {**installed(tmp_path / "site", folder), "KERAS_BACKEND": "torch"}
    command = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    out = run(env, folder, *command).stdout
    assert "1 passed, 1 skipped" in out and "is not written yet" in out
    rules = folder / "src" / "convcore_bends" / "rules.py"
    text = rules.read_text()
    rules.write_text(text[: text.index("    raise node.refuse")] + WRITTEN + "\n")
    assert "2 passed" in run(env, folder, *command).stdout
    script = f"import convcore; print(convcore.convert({str(path)!r}, 'onnx', 'o.onnx').report.ok)"
    assert "True" in run(env, tmp_path, "-c", script).stdout
    assert main(["custom", str(path), "--stub", "-o", str(folder)]) != 0
    assert "is there already" in capsys.readouterr().err


def test_what_there_is_no_stub_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import TensorProto as T
    from onnx import helper as h

    x, y = (h.make_tensor_value_info(n, T.FLOAT, [2]) for n in "xy")
    path = tmp_path / "m.onnx"
    opsets = [h.make_opsetid("", 18)]
    onnx.save(
        h.make_model(h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g", [x], [y]), opset_imports=opsets, ir_version=9), path
    )
    assert main(["custom", str(path)]) == 0
    assert "every layer is mapped" in capsys.readouterr().out
    assert main(["custom", str(path), "--stub"]) == 2
    assert "nothing that has no rule" in capsys.readouterr().err
    (tmp_path / "a.py").write_text("x = 1\n")
    assert main(["custom", str(path), str(tmp_path / "a.py")]) == 2
    assert main(["custom", str(tmp_path / "a.py"), "--stub"]) == 2
    assert "one model file, or files and folders" in capsys.readouterr().err
