"""ATen operators whose results are as long as the data have it, counts, and sums over windows, beside torch."""

from __future__ import annotations

import pytest

from .test_operators import NAN, TIES, X, agrees, run

torch = pytest.importorskip("torch")
F = torch.nn.functional
WHOLE = torch.randint(-9, 9, (2, 4, 7, 11), generator=torch.Generator().manual_seed(6))
HUGE = WHOLE + 2**61  # beyond what float64 holds, and wrapping around


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x[x > 0], lambda x: x.masked_select(x[0] > 0), lambda x: x.nonzero(), lambda x: torch.argwhere(x[0, 0, 0] > -9),
        lambda x: x[(x.sum((1, 2)) > 0)], lambda x: torch.nonzero(x > 0, as_tuple=True),
        lambda x: torch.unique_consecutive(x > 0),
        lambda x: torch.nonzero_static(x > 0, size=7), lambda x: torch.nonzero_static(x > 0, size=200, fill_value=-3),
        lambda x: torch.unique(x, return_inverse=True, return_counts=True), lambda x: torch.histc(x, 7, -1, 1),
        lambda x: torch.histc(x, 5), lambda x: torch.histc(x * 0, 3), lambda x: torch.histogram(x, 5),
        lambda x: torch.histogram(x * 0, 3),
        lambda x: torch.histogram(x, torch.tensor([-1.0, 0.0, 0.7]), weight=x.abs(), density=True),
        lambda x: torch.index_put(x, (x[:, 0, 0] > 0,), torch.tensor(3.0)),
        lambda x: torch.frexp(x * 100),
        lambda x: torch.ldexp(x, torch.tensor(3)), lambda x: torch.dist(x, x * 2, 3),
        lambda x: torch.as_strided(x, (2, 3), (4, 1), 5),
        lambda x: torch.as_strided_scatter(x, x[0, :2, :3], (2, 3), (4, 1), 5),
        lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, divisor_override=2), lambda x: F.hardtanh(x, 0.0, 0.0),
        lambda x: F.dropout(x, 0.0, True), lambda x: F.dropout(x, 1.0, True),
        lambda x: F.batch_norm(x, None, None, x[0, :, 0], x[1, :, 0], True, 0.1, 0.3),
        lambda x: torch.native_layer_norm(x, [5, 7], None, x[0], 0.1), lambda x: torch.clamp_max(x > 0, x > 1),
    ],
)  # fmt: skip
def test_floats(fn):
    agrees(fn, X)


def test_every_nan_is_distinct():
    agrees(lambda x: torch.unique(x, return_counts=True), NAN)  # which of them comes first is nobody's promise
    agrees(lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True), NAN)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: torch.unique(x, dim=1, return_inverse=True, return_counts=True), lambda x: torch.bincount(x[0], minlength=9),
        lambda x: torch.bincount(x[0], x[1].float()), lambda x: torch.gcd(x * 6, x + 4), lambda x: torch.lcm(x * 6, x - 1),
        lambda x: torch.pow(x - 2, x - 3), lambda x: torch.unique_consecutive(x, dim=0), lambda x: F.hardtanh(x, -0.5, 2.5),
        lambda x: torch.put(x > 1, torch.tensor([0, 3, 3]), torch.tensor([True, False, True]), accumulate=True),
    ],
)  # fmt: skip
def test_integers(fn):
    agrees(fn, TIES)


@pytest.mark.parametrize("x", [WHOLE, HUGE], ids=["small", "huge"])
def test_windows_of_whole_numbers(x):
    """Exact to the last bit, whatever a float would hold."""
    w, t = WHOLE[:, :2, :3, :2].repeat(3, 1, 1, 1), WHOLE[0, :, :6, :6].reshape(4, 3, 3, 4)
    cases = (
        lambda v: F.conv2d(v, w, None, (2, 1), (1, 3), (1, 2), 2),
        lambda v: F.conv2d(v, w, WHOLE[0, 0, 0, :6], padding="same", groups=2),
        lambda v: F.conv_transpose2d(v, t, None, (2, 3), (1, 0), (1, 2), 2, (1, 2)),
        lambda v: F.conv1d(v[:, :, 0], w[:, :, 0], groups=2),
    )  # fmt: skip
    for fn in cases:
        (got,) = run(fn, x)
        assert torch.equal(torch.from_numpy(got), fn(x))
    for fn in (
        lambda v: F.avg_pool2d(v, 3, 2, 1, ceil_mode=True), lambda v: F.avg_pool2d(v, 2, 1, 1, count_include_pad=False),
        lambda v: F.avg_pool3d(v, 2, divisor_override=3), lambda v: F.avg_pool1d(v[0], 3),
    ):  # fmt: skip
        (got,) = run(fn, WHOLE)
        assert torch.equal(torch.from_numpy(got), fn(WHOLE))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [True, False])
def test_bags(mode, last):
    table, ids = X.reshape(15, 7), torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    offsets = torch.tensor([0, 2, 2, 7, 8] if last else [0, 2, 2, 7])
    given = X[0, 0, :7].repeat(2)[:8] if mode == "sum" else None
    agrees(
        lambda t: F.embedding_bag(ids, t, offsets, mode=mode, include_last_offset=last, padding_idx=4, per_sample_weights=given),
        table,
    )
    agrees(lambda t: F.embedding_bag(ids.reshape(2, 4), t, mode=mode), table)


@pytest.mark.parametrize("how", ["none", "mean", "sum"])
def test_labels_end_at_minus_one(how):
    """What stands behind the -1 does not count, which torch's own decomposition gets wrong."""
    labels = torch.tensor([[1, 3, -1, 0, 2, 5, 6], [-1, 0, 0, 0, 0, 0, 0], [6, 5, 4, 3, 2, 1, 0], [2, -1, 2, 4, -1, 0, 0]])
    x = X.reshape(15, 7)[:4]
    agrees(lambda v: F.multilabel_margin_loss(v, labels, reduction=how), x)
    if how != "none":
        agrees(lambda v: F.multilabel_margin_loss(v[0], labels[0], reduction=how), x)


def test_batch_norm_without_running_statistics():
    net = torch.nn.BatchNorm2d(4, track_running_stats=False)
    torch.nn.init.uniform_(net.weight), torch.nn.init.uniform_(net.bias)
    agrees(net.eval(), WHOLE.float())


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (lambda x: torch.unique(x, dim=0), "every nan is distinct"),
        (lambda x: F.batch_norm(x, x[0, :, 0], x[1, :, 0].abs(), training=True), "training|writes into"),
        (lambda x: torch.frexp(x.half()), "of float16"), (lambda x: torch.nextafter(x, x), "nextafter"),
        (lambda x: F.multilabel_margin_loss(x[0, 0], torch.tensor([1, 3, -1, 0, 0, 0, 0]), reduction="none"), "a vector of one"),
    ],
)  # fmt: skip
def test_refused_by_name(fn, why):
    with pytest.raises(Exception, match=why):
        run(fn, X)
