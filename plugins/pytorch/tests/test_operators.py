"""ATen operators beside torch itself: each rule family on its edges, what is taken apart, what is refused by name."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore import Model, UnsupportedError, convert, load
from convcore.plugin import Builder, DType, Graph

torch = pytest.importorskip("torch")


def exported(fn: Callable[..., Any], *inputs: Any) -> Any:
    class Function(torch.nn.Module):
        def forward(self, *tensors: Any) -> Any:
            return fn(*tensors)

    return torch.export.export(Function().eval(), inputs, strict=False)


def run(fn: Callable[..., Any], *inputs: Any) -> list[Any]:
    from convcore.testing.torch_suites import run_program

    return run_program(exported(fn, *inputs), inputs, "interpreter")


def agrees(fn: Callable[..., Any], *inputs: Any) -> None:
    want = fn(*inputs)
    want = want if isinstance(want, (tuple, list)) else [want]
    for a, b in zip(run(fn, *inputs), want, strict=True):
        np.testing.assert_allclose(a, b.detach().resolve_conj().numpy(), rtol=2e-5, atol=1e-6)


X = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(3))
NAN = torch.where(torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(4)) < 0.1, float("nan"), X)
TIES = torch.tensor([[3, 1, 3, 2, 1], [0, 0, 2, 2, 2]])
I = torch.tensor([[0, 2, 1, 0, 2]])


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: torch.diagonal(x, 1, 0, 2), lambda x: torch.diagonal(x, -2, 2, 1), lambda x: torch.diag_embed(x, -1, 0, 2),
        lambda x: torch.diagonal_scatter(x, torch.ones(3, 5), 1, 1, 2), lambda x: x[0].trace(),
        lambda x: x.unfold(2, 3, 2), lambda x: x.unfold(0, 2, 1), lambda x: torch.logcumsumexp(x, 1),
        lambda x: torch.cummax(x, 2), lambda x: torch.cummin(x, 0), lambda x: torch.kthvalue(x, 2, 1),
        lambda x: torch.median(x, 1), lambda x: torch.nanmedian(x), lambda x: torch.quantile(x, 0.3, dim=1, keepdim=True),
        lambda x: torch.cdist(x, x[:, :3], 3.0), lambda x: torch.pdist(x[0], 1.0), lambda x: torch.round(x, decimals=2),
        lambda x: torch.signbit(x * 0), lambda x: torch.copysign(x, -x * 0),
        lambda x: torch.var(x, dim=1, correction=1.3), lambda x: torch.einsum("...ij,...kj->...ik", x, x),
        lambda x: torch.einsum("aij,ajj->i", x[:, :, :5], x[:, :, :5]),
        lambda x: torch.nn.functional.adaptive_max_pool2d(x, (2, 3), return_indices=True),
        lambda x: torch.nn.functional.avg_pool2d(x, 2, divisor_override=3), lambda x: torch.aminmax(x),
        lambda x: torch.renorm(x, 2.0, 0, 1.0), lambda x: torch.searchsorted(x.sort(-1).values, x, right=True),
        lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 0.5])), lambda x: torch.isin(x, x[0, :2]),
        lambda x: torch.lgamma(x * 5), lambda x: torch.digamma(x.abs() + 0.1), lambda x: torch.erfinv(torch.tanh(x)),
        lambda x: torch.polygamma(2, x.abs() + 0.1), lambda x: torch.special.i1e(x * 9),
        lambda x: torch.special.bessel_y0(x.abs() + 0.1), lambda x: torch.special.modified_bessel_k1(x.abs() + 0.1),
        lambda x: torch.special.ndtr(x), lambda x: torch.special.log_ndtr(x * 9),
        lambda x: torch.special.spherical_bessel_j0(x / torch.where(x > 0.5, 0.0, 1.0)),  # infinities among them
        lambda x: torch.einsum("aB,Bc", x[0, :, :3], x[:, :, 0]),  # capital letters of an implicit output: by its parts
        lambda x: torch.special.hermite_polynomial_h(x, torch.tensor(4.0)),
        lambda x: torch.nn.functional.fold(x[:, :4, :6], (3, 4), 2),
        lambda x: torch.nn.functional.fold(x, (7, 4), (1, 5), padding=(0, 1), stride=(1, 2)),
        lambda x: torch.nn.functional.fold(x[0, :4, :6], (5, 5), 2, dilation=(3, 2), padding=(1, 0), stride=(2, 1)),
    ],
)  # fmt: skip
def test_floats(fn):
    agrees(fn, X)


@pytest.mark.parametrize(
    "fn", [lambda x: torch.median(x, 1).values, lambda x: torch.nanmedian(x, 2).values, lambda x: torch.cummax(x, 1)]
)
def test_nan(fn):
    agrees(fn, NAN)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: torch.mode(x, 1).values, lambda x: torch.cummax(x, 1), lambda x: torch.kthvalue(x, 3, 1).values,
        lambda x: torch.isin(x, torch.tensor([2, 3]), invert=True), lambda x: torch.put(x, torch.tensor([-1, 2]), x[0, :2]),
        lambda x: x.masked_scatter(x > 1, torch.arange(10)), lambda x: torch.median(x),
    ],
)  # fmt: skip
def test_integers(fn):
    agrees(fn, TIES)


@pytest.mark.parametrize("kind", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("own", [True, False])
def test_scatter_reduce(kind, own):
    agrees(lambda x, s: x.scatter_reduce(0, I, s, kind, include_self=own), X[:, :, 0], X[:1, :, 1])
    agrees(lambda x, s: x.index_reduce(1, I[0], s, {"sum": "prod"}.get(kind, kind), include_self=own), X[:, :, 0], X[:, :, 1])


def test_an_operator_without_a_rule_is_its_parts():
    """Only that call: the convolution and the dropout beside it stay what they are."""
    w = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(5))

    def fn(x: Any) -> Any:
        y = torch.nn.functional.dropout(torch.nn.functional.conv1d(x, w), 0.5, False)
        return torch.nn.functional.poisson_nll_loss(y, y * 2)

    agrees(fn, X)
    ops = [n.op for n in load(exported(fn, X)).graph]
    assert "conv" in ops and "dropout" in ops and "opaque" not in ops


def test_in_place_changes_of_shape():
    def fn(x: Any) -> Any:
        y = x.clone()
        z = y.unsqueeze_(0)
        y.transpose_(1, 2)
        z.add_(1)
        return y.squeeze_(0)

    agrees(fn, X)


def test_complex_numbers():
    """Division keeps the imaginary part; products with the conjugate."""
    z = torch.complex(X[0], X[1])
    agrees(lambda x: x / (x + 1) + x / 2j, z)
    agrees(lambda x: (torch.vdot(x[0], x[1]), x.adjoint() * 1, torch.dot(x[0], x[1])), z)


def test_numbers_that_half_precision_does_not_hold():
    """0 times a large number is 0, not nan: masks of half precision."""
    h = torch.tensor([0.0, 1.0, -2.0]).half()
    agrees(lambda x: ((1 - x) * -1e9, x / 1e9, x * torch.tensor(-1e9)), h)
    agrees(lambda x: (x.bfloat16() / 3.39e38).float(), torch.tensor([0.0, 1.0, float("inf")]))


def test_threshold_of_nan():
    agrees(lambda x: torch.nn.functional.threshold(x, 0.1, 0.2), NAN)


def test_clamp_between_bounds_that_cross():
    agrees(lambda x: torch.where(x > 1, torch.nan, x).clamp(3, 1), X)


@pytest.mark.parametrize(
    "fn, why",
    [
        (lambda x: torch.linalg.svdvals(x), r"of its parts: aten\._linalg_svd"),
        (lambda x: torch.rand_like(x), "random numbers"),
        (lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.1), "drops at random"),
        (lambda x: torch.argsort(x > 0), "which of equal ones comes first"),
        (lambda x: torch.mode(x, 1), "counts floating numbers"),
        (lambda x: torch.special.ndtri(torch.sigmoid(x)), "special_ndtri"),
        (lambda x: torch.cummax(x.reshape(-1).repeat(30), 0), "2048"),
        (lambda x: torch.polygamma(40, x), "order 40"),
        (lambda x: x[0, 0, 0].scatter(0, torch.tensor(0), 2.0), "scatters into a number"),
    ],
)
def test_refused_by_name(fn, why):
    with pytest.raises(Exception, match=why):
        run(fn, X)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: torch.ops.aten._safe_softmax(torch.where(x[:, :1] > 0, x, -torch.inf), -1),
        lambda x: x[0, 0, 0].clone().index_fill(0, torch.tensor([0]), 2.0),
        lambda x: torch.tensor_split(x, (4, 1), 2),
        lambda x: torch.nn.functional.pixel_shuffle(x.reshape(1, 1, 1, 3, 35).expand(1, 1, 4, 3, 35), 2),
        lambda x: torch.nn.functional.pixel_unshuffle(x[:, :4, :6], 2),
        lambda x: torch.nn.functional.unfold(x, (2, 2)),
        lambda x: torch.nn.functional.pad(x, (-1, 2), mode="reflect"),
    ],
)
def test_what_a_rule_does_not_take_is_its_parts(fn):
    agrees(fn, X)


def test_memory_that_nobody_wrote_is_no_result():
    from convcore.errors import UnsupportedError

    with pytest.raises(UnsupportedError, match="nobody has written"):
        load(exported(lambda x: torch.empty_like(x[0, 0, 0]), X))


def test_the_suites_find_what_is_wrong(monkeypatch):
    """A wrong rule is told as wrong, a refused one with its reason, random functions are outside."""
    from convcore.testing import torch_suites as suites

    def case(fn: Callable[..., Any]) -> suites.Case:
        class Function(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                return fn(x)

        return suites.Case("op", "0", lambda: (Function().eval(), (X,)))

    def outcome(fn: Callable[..., Any]) -> Any:
        return suites.run_suite("opinfo", "interpreter", [case(fn)]).found[0]

    assert outcome(torch.sin).what == "agree"
    assert outcome(torch.rand_like).what == "outside"
    refused = outcome(torch.linalg.svdvals)
    assert refused.what == "refused" and "svd" in refused.why
    real = suites.run_program
    monkeypatch.setattr(suites, "run_program", lambda *a: [r + 1e-2 for r in real(*a)])
    assert outcome(torch.sin).what == "wrong"


def test_a_sample_of_opinfo():
    """The whole is `python -m convcore.testing opinfo`; torch's table needs expecttest."""
    pytest.importorskip("expecttest")
    from convcore.testing import torch_suites as suites

    suite = suites.run_suite("opinfo", "interpreter", suites.sampled(suites.opinfo_cases((), 3), 60, 11))
    assert not suite.counts["wrong"] and not suite.counts["failed"], str(suite)
    assert suite.counts["agree"] > suite.counts["refused"]


def test_faults_of_ours_are_not_taken_for_missing_parts(monkeypatch):
    """What torch's decomposition raises leaves the operator whole; what our own code raises is a bug and says so."""
    from convcore.errors import PluginBugError, UnsupportedError
    from convcore_pytorch import decompose

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("torch's own")

    def wrong(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("ours")

    def torchs(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("torch's own")

    def given_to_torch(*args: Any, **kwargs: Any) -> Any:
        return wrong()

    torchs = types.FunctionType(torchs.__code__, {**globals(), "__name__": "torch._decomp"})
    held = types.FunctionType(given_to_torch.__code__, {"__name__": "torch._decomp"}, closure=given_to_torch.__closure__)
    wrong = types.FunctionType(wrong.__code__, {"__name__": "convcore_pytorch.hook"})
    program = exported(lambda x: torch.nn.functional.poisson_nll_loss(x, x * 2), X)
    for fn in (broken, torchs):
        monkeypatch.setattr(decompose, "_table", lambda fn=fn: {torch.ops.aten.poisson_nll_loss.default: fn})
        with pytest.raises(UnsupportedError, match="poisson_nll_loss"):
            run_exported(program)
    for fn, why in ((wrong, "ours"), (held, "ours"), (lambda: 0, "arguments")):
        monkeypatch.setattr(decompose, "_table", lambda fn=fn: {torch.ops.aten.poisson_nll_loss.default: fn})
        with pytest.raises(PluginBugError, match=why):
            run_exported(program)
    monkeypatch.undo()

    def mapped(*args: Any) -> Any:
        raise KeyError("ours")

    monkeypatch.setattr(torch.fx.node, "map_arg", mapped)
    with pytest.raises(PluginBugError, match="ours"):
        run_exported(program)


def run_exported(program: Any) -> Any:
    return load(program).run({"tensors_0": X.numpy()})


def test_parts_that_fix_a_free_size(monkeypatch):
    """A kernel that takes the batch for the number it was traced with: the operator stays whole, and the batch free."""
    from convcore_pytorch import decompose

    class Loss(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.poisson_nll_loss(x, x * 2, reduction="none")

    def baked(x: Any, y: Any, *args: Any) -> Any:
        return (x - y) / int(x.shape[0])

    monkeypatch.setattr(decompose, "_table", lambda: {torch.ops.aten.poisson_nll_loss.default: baked})
    model = load(Loss().eval(), example_inputs=X)
    assert [p.type for p in model.problems] == ["aten.poisson_nll_loss"]
    assert str(model.graph.inputs[0].shape[0]) == "batch"
    monkeypatch.undo()
    assert not load(Loss().eval(), example_inputs=X).problems


def test_the_record_of_a_table(monkeypatch, tmp_path, capsys):
    """Runs of other ops and targets stay in it; what draws random numbers is outside, though its results are the same twice."""
    import json

    from convcore.testing import torch_suites as suites

    def cases(**fns: Callable[..., Any]) -> Callable[..., Any]:
        def made(only: Any, each: int) -> Any:
            out = []
            for name, fn in fns.items():

                class Function(torch.nn.Module):
                    def __init__(self, fn: Any = fn) -> None:
                        super().__init__()
                        self.fn = fn

                    def forward(self, x: Any) -> Any:
                        return self.fn(x)

                out.append(suites.Case(name, "0", lambda m=Function: (m().eval(), (X,))))
            return out

        return made

    path = tmp_path / "opinfo.json"
    monkeypatch.setitem(suites.TABLES, "opinfo", cases(sin=torch.sin, svdvals=torch.linalg.svdvals))
    assert suites.command("opinfo", ["--table", str(path)]) == 0
    monkeypatch.setitem(suites.TABLES, "opinfo", cases(noise=lambda x: torch.rand_like(x) * 0 + x))
    assert suites.command("opinfo", ["--table", str(path)]) == 0
    assert "1 random or not exported" in capsys.readouterr().out
    held = json.loads(path.read_text())["interpreter"]
    assert held["sin"] == {"agree": 1, "why": {}} and held["svdvals"]["refused"] == 1
    assert held["noise"]["outside"] == 1 and "draws random numbers" in held["noise"]["why"]["outside"][0]


def test_what_the_record_says():
    """Of the ops that count at least 88 % agree in the interpreter, 80 % in ONNX, and none is wrong (issue 7)."""
    import json
    from pathlib import Path

    held = json.loads(Path(__file__).with_name("opinfo.json").read_text())
    for target, least in (("interpreter", 0.88), ("onnx", 0.8)):
        entries = [e for e in held[target].values() if e.keys() - {"outside", "why"}]
        assert not any(e.get("wrong") or e.get("failed") for e in entries)
        assert sum("refused" not in e for e in entries) / len(entries) >= least and len(entries) > 640


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("scale", [0.3, 0.7, 1.1, 1.6, None])
def test_nearest_takes_the_elements_that_torch_takes(scale: float | None, mode: str, tmp_path: Path) -> None:
    """torch multiplies by a float32 factor: at some sizes that is another element than division gives (n=41 by 0.3)."""
    import torch

    class Sized(torch.nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.size = size

        def forward(self, x: Any) -> Any:
            if scale is None:
                return torch.nn.functional.interpolate(x, size=self.size, mode=mode)
            return torch.nn.functional.interpolate(x, scale_factor=scale, mode=mode)

    for n in (11, 14, 20, 27, 40, 41, 50):
        for size in (7, 16, 22) if scale is None else (0,):
            module, x = Sized(size), torch.arange(n, dtype=torch.float32).reshape(1, 1, n)
            model = load(torch.export.export(module, (x,)))
            np.testing.assert_array_equal(model(x.numpy()), module(x).numpy(), err_msg=f"{n} {size}")
            if n in (14, 41):
                assert convert(model, "pytorch", tmp_path / f"m{n}_{size}.py").report.ok


def test_nearest_of_float64_is_refused_where_memory_decides(tmp_path: Path) -> None:
    """Kernels of torch differ in the type of the factor: of 1335 elements for 300 they take other ones."""
    import torch

    module = torch.nn.Upsample(size=300, mode="nearest")
    narrow, wide = (torch.arange(1335, dtype=t).reshape(1, 1, -1) for t in (torch.float32, torch.float64))
    assert not torch.equal(module(narrow).double(), module(wide))
    np.testing.assert_array_equal(load(torch.export.export(module, (narrow,)))(narrow.numpy()), module(narrow).numpy())
    with pytest.raises(UnsupportedError, match="300 of 1335 elements of float64: which ones depends on"):
        convert(torch.export.export(module, (wide,)), "onnx", tmp_path / "m.onnx")
    few = wide[:, :, :41]
    np.testing.assert_array_equal(load(torch.export.export(module, (few,)))(few.numpy()), module(few).numpy())
    graph = Graph("m")
    b = Builder(graph)
    x = b.input("x", DType.FLOAT64, (1, 1, 1335))
    graph.outputs.append(b.resize(x, sizes=[300], mode="nearest", coordinates="asymmetric", nearest="floor"))
    assert convert(Model(graph), "pytorch", tmp_path / "m.py").report.ok  # picked by number
    assert "index_select" in (tmp_path / "m.py").read_text()


def test_samples_that_onnxruntime_alone_gets_wrong_are_disputed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right by onnx.reference, and counted as no agreement; where that is off as well, or does not run, it stays wrong."""
    from convcore.testing import torch_suites as suites

    case = suites.Case("neg", "0", lambda: (torch.nn.Softsign().eval(), (torch.randn(3, 5),)))
    monkeypatch.setattr(suites, "run_program", lambda program, inputs, target: [np.full((3, 5), 7, np.float32)])
    suite = suites.run_suite("opinfo", "onnx", [case])
    assert [f.what for f in suite.found] == ["disputed"] and suite.share == 0 and not suite.verdicts()["wrong"]
    for other in ([], [np.zeros((3, 5), np.float32)]):
        monkeypatch.setattr(suites, "by_reference", lambda program, inputs, found=other: found)
        assert [f.what for f in suites.run_suite("opinfo", "onnx", [case]).found] == ["wrong"]


@pytest.mark.parametrize("kind", ["-inf given", "chosen", "of a wider type", "finite"])
@pytest.mark.parametrize("fuse", [True, False])
def test_a_query_all_of_whose_keys_are_added_minus_infinity_gets_zero(kind: str, fuse: bool) -> None:
    """torch's _safe_softmax; NaN came of it. What is NaN in torch stays NaN."""

    class Attends(torch.nn.Module):
        def forward(self, q: Any, m: Any) -> Any:
            if kind == "chosen":
                m = torch.where(m == 0, 0.0, -torch.inf)
            elif kind == "of a wider type":
                m = torch.where(m == 0, torch.tensor(0.0, dtype=torch.float64), torch.tensor(-1e300, dtype=torch.float64)).float()
            return torch.nn.functional.scaled_dot_product_attention(q, q + 1, q - 1, attn_mask=m)

    low = torch.finfo(torch.float32).min if kind == "finite" else -torch.inf
    mask = torch.zeros(3, 1, 5, 5)
    mask[0, 0, 1], mask[1, 0, 2, 3:], mask[2, 0, :, 0] = low, low, low
    q = torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(3))
    spoiled = q.clone()
    spoiled[0, 0, 3, 0] = torch.nan
    module = Attends().eval()
    model = load(torch.export.export(module, (q, mask)), fuse=fuse)
    for x in (q, spoiled):
        got = model.run([x.numpy(), mask.numpy()])
        got = next(iter(got.values())) if isinstance(got, dict) else got[0]
        np.testing.assert_allclose(got, module(x, mask).numpy(), rtol=1e-4, atol=1e-5)
