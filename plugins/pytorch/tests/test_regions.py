"""torch's higher-order operators that go over an axis, custom operators, functions with a gradient of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.plugin import UnsupportedError

torch = pytest.importorskip("torch")
hops = pytest.importorskip("torch._higher_order_ops")


class Scan(torch.nn.Module):
    """A recurrence with weights of its own, two states and two stacked results."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)

    def forward(self, x: Any, y: Any) -> Any:
        def step(carry: Any, part: Any) -> Any:
            (h, c), (a, b) = carry, part
            h = torch.tanh(self.fc(a) + h * b)
            return [h, c + 1], [h * 2, a - c.unsqueeze(1)]

        return hops.scan(step, [x[0] * 0, x[0, :, 0] * 0], [x, y])


class Map(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))

    def forward(self, x: Any, y: Any) -> Any:
        return hops.map(lambda v, w: (v.sin() + w.sum(0) * self.scale, v.sum()), x, y)


class Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.sin() * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 0


def flat(made: Any) -> list[Any]:
    return [v for m in made for v in (flat(m) if isinstance(m, (list, tuple)) else [m])]


@pytest.mark.parametrize("kind", [Scan, Map])
def test_steps_over_an_axis(kind: Any, tmp_path: Path) -> None:
    model = kind().eval()
    inputs = (torch.randn(5, 2, 3), torch.randn(5, 2, 3))
    with torch.no_grad():
        program = torch.export.export(model, inputs, strict=False)
        want = flat(model(*inputs))
    torch.export.save(program, tmp_path / "a.pt2")
    for source in (program, tmp_path / "a.pt2"):
        mine = convcore.load(source)
        assert not mine.problems and [n.op for n in mine.graph].count("scan") == 1
        for got, w in zip(mine(*(t.numpy() for t in inputs)), want, strict=True):
            np.testing.assert_allclose(got, w.numpy(), rtol=1e-5, atol=1e-6)


def test_they_go_to_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    inputs = (torch.randn(5, 2, 3), torch.randn(5, 2, 3))
    with torch.no_grad():
        program = torch.export.export(Scan().eval(), inputs, strict=False)
    made = convcore.convert(program, to="onnx", out=tmp_path / "a.onnx")
    assert made.report.verdict == "ok", str(made.report)


def test_a_custom_operator_is_named_with_what_to_write() -> None:
    @torch.library.custom_op("convcore_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @twice.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    class Custom(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return twice(x) + 1

    program = torch.export.export(Custom().eval(), (torch.ones(3),), strict=False)
    (problem,) = convcore.load(program).problems
    assert problem.type == "convcore_tests.twice" and "a rule for 'convcore_tests.twice'" in problem.hint
    with pytest.raises(UnsupportedError, match=r"torch\.library"):
        convcore.convert(program, to="onnx")

    def rule(g: Any, n: Any) -> Any:
        return g.b.mul(n.inputs[0], g.b.like(n.inputs[0], 2))

    def used(g: Any, n: Any) -> Any:
        n.ignore("args", "kwargs")
        return rule(g, n)

    model = convcore.load(program, overrides={"convcore_tests.twice": used})
    np.testing.assert_array_equal(model(np.ones(3, np.float32)), np.full(3, 3, np.float32))


def test_a_function_with_its_own_gradient_is_its_forward() -> None:
    class Module(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return Plain.apply(x) + 1

    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    model = convcore.load(Module().eval(), example_inputs=x)
    assert not model.problems
    np.testing.assert_allclose(model(x.numpy()), (x.sin() * 2 + 1).numpy(), rtol=1e-6)
