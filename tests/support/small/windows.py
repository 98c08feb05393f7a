"""Convolutions and pools: each padding, stride, dilation and rounding, sizes that are known and not, edges of each condition."""

from __future__ import annotations

from typing import Any

from tests.support.small import Case, Small, case

__all__ = ["CONVOLUTIONS", "POOLS"]

LAST = {"layout": "channels_last"}

CONVOLUTIONS: dict[str, Case] = {
    "conv valid": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 2), g.w(5))),
    "conv centred": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 5), pads=((1, 1), (2, 2)))),
    "conv centred in one axis": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 5), pads=((1, 1), (2, 1)))),
    "conv centred, even kernel": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 2, 4), pads=((0, 1), (1, 2)))),
    "conv centred the other way": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 2, 4), pads=((1, 0), (2, 1)))),
    "conv centred, dilated": case(
        lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 3), pads=((2, 2), (3, 3)), dilations=(2, 3))
    ),
    "conv centred, strided": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 3), pads=((1, 1), (1, 1)), strides=(1, 2))),
    "conv same upper": case(lambda g: g.conv(g.x("N", 3, "H", 13), g.w(5, 3, 3, 4), pads="same_upper", strides=(2, 3))),
    "conv same lower": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 2, 4), pads="same_lower", strides=(2, 3))),
    "conv same lower, open": case(lambda g: g.conv(g.x("N", 3, "H", "W"), g.w(5, 3, 2, 4), pads="same_lower", dilations=(3, 1))),
    "conv same lower, open and odd": case(lambda g: g.conv(g.x("N", 3, "H", "W"), g.w(5, 3, 3, 5), pads="same_lower")),
    "conv same lower, open and strided": case(
        lambda g: g.conv(g.x("N", 3, "H", 13), g.w(5, 3, 2, 4), pads="same_lower", strides=(2, 1))
    ),
    "conv strided and dilated": case(
        lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 2), pads=((1, 2), (0, 1)), strides=(2, 1), dilations=(2, 3))
    ),
    "conv strided and dilated, same": case(
        lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 2), pads="same_upper", strides=(1, 2), dilations=(3, 1))
    ),
    "conv strided and dilated, same and open": case(
        lambda g: g.conv(g.x("N", 3, "H", 13), g.w(5, 3, 3, 2), pads="same_upper", strides=(1, 2), dilations=(3, 1))
    ),
    "conv strided and dilated, same and open where strided": case(
        lambda g: g.conv(g.x("N", 3, "H", 13), g.w(5, 3, 3, 2), pads="same_upper", strides=(2, 1), dilations=(1, 3))
    ),
    "conv cropped": case(lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 2), pads=((-1, 2), (0, -3)))),
    "conv cropped, open": case(lambda g: g.conv(g.x("N", 3, "H", 13), g.w(5, 3, 3, 2), pads=((-2, -1), (1, 0)))),
    "conv causal": case(lambda g: g.conv(g.x("N", 3, 13), g.w(5, 3, 3), g.w(5), pads=((4, 0),), dilations=(2,))),
    "conv nearly causal": case(lambda g: g.conv(g.x("N", 3, 13), g.w(5, 3, 3), pads=((3, 0),), dilations=(2,))),
    "conv anticausal": case(lambda g: g.conv(g.x("N", 3, 13), g.w(5, 3, 3), pads=((4, 1),), dilations=(2,))),
    "conv of one tap": case(lambda g: g.conv(g.x("N", 3, 13), g.w(5, 3, 1), pads=((0, 0),), strides=(3,))),
    "conv causal by channel": case(lambda g: g.conv(g.x("N", 3, 13), g.w(6, 1, 3), pads=((2, 0),), groups=3)),
    "conv causal, strided": case(lambda g: g.conv(g.x("N", 3, 13), g.w(5, 3, 3), pads=((2, 0),), strides=(2,))),
    "conv of three axes": case(
        lambda g: g.conv(g.x("N", 2, 5, 7, 11), g.w(3, 2, 2, 3, 1), g.w(3), pads=((0, 1), (1, 1), (0, 0)), strides=(1, 2, 3))
    ),
    "conv of four axes": case(lambda g: g.conv(g.x("N", 2, 3, 5, 3, 5), g.w(3, 2, 2, 2, 1, 1))),
    "conv by groups": case(lambda g: g.conv(g.x("N", 6, 7, 5), g.w(4, 3, 3, 2), g.w(4), groups=2)),
    "conv by channel": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.w(6, 1, 3, 2), g.w(6), groups=3, strides=(2, 2))),
    "conv by channel, strides differ": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.w(6, 1, 3, 2), groups=3, strides=(2, 1))),
    "conv by channel, strided and dilated": case(
        lambda g: g.conv(g.x("N", 3, 11, 13), g.w(3, 1, 3, 2), groups=3, strides=(2, 2), dilations=(3, 2), pads=((1, 0), (0, 0)))
    ),
    "conv by channel, strided differently and dilated": case(
        lambda g: g.conv(g.x("N", 3, 11, 13), g.w(3, 1, 3, 2), groups=3, strides=(2, 1), dilations=(3, 2))
    ),
    "conv by channel, three axes": case(lambda g: g.conv(g.x("N", 3, 5, 4, 5), g.w(3, 1, 2, 3, 2), groups=3)),
    "conv of one channel": case(lambda g: g.conv(g.x("N", 1, 7, 5), g.w(3, 1, 3, 2))),
    "conv channels last": case(lambda g: g.conv(g.x("N", 11, 13, 3), g.w(5, 3, 3, 2), pads=((0, 2), (1, 0)), **LAST)),
    "conv frozen bias": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.w(5, 3, 3, 2), g.w(5, trained=False))),
    "conv all frozen": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.w(5, 3, 3, 2, trained=False), g.w(5, trained=False))),
    "conv of constants": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.many(5, 3, 3, 2))),
    "conv float64": case(lambda g: g.conv(g.x("N", 3, 7, 5, kind="float64"), g.w(5, 3, 3, 2, kind="float64"))),
    "conv computed": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.x(5, 3, 3, 2), g.x(5), strides=(1, 2), pads=((0, 1), (0, 0)))),
    "conv computed by groups": case(lambda g: g.conv(g.x("N", 4, 7, 5), g.x(6, 2, 3, 2), groups=2)),
    "conv computed by groups, same": case(
        lambda g: g.conv(g.x("N", 4, 7, 5), g.x(6, 2, 3, 2), groups=2, pads="same_upper", strides=(2, 1))
    ),
    "conv computed by channel": case(lambda g: g.conv(g.x("N", 3, 7, "W"), g.x(3, 1, 3, 2), g.x(3), groups=3, strides=(1, 2))),
    "conv computed of channels in several": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.x(6, 1, 3, 2), groups=3)),
    "conv computed bias": case(lambda g: g.conv(g.x("N", 3, 7, 5), g.w(5, 3, 3, 2), g.x(5))),
    "conv channels first asked for": case(
        lambda g: g.conv(g.x("N", 3, 11, 13), g.w(5, 3, 3, 2), pads=((1, 2), (-1, 1)), strides=(2, 1), dilations=(1, 3)),
        data_format="channels_first",
    ),
    "separable": case(
        lambda g: g.separable_conv(g.x("N", 3, 11, 13), g.w(6, 1, 3, 2), g.w(5, 6, 1, 1), g.w(5), pads=((1, 0), (0, 2)))
    ),
    "separable strided": case(lambda g: g.separable_conv(g.x("N", 3, 11, 13), g.w(3, 1, 3, 2), g.w(5, 3, 1, 1), strides=(2, 2))),
    "separable dilated, same": case(
        lambda g: g.separable_conv(g.x("N", 3, 11), g.w(6, 1, 3), g.w(5, 6, 1), dilations=(2,), pads="same_upper")
    ),
    "separable, strides differ": case(
        lambda g: g.separable_conv(g.x("N", 3, 11, 13), g.w(3, 1, 3, 2), g.w(5, 3, 1, 1), strides=(2, 1))
    ),
    "separable, strided and dilated": case(
        lambda g: g.separable_conv(g.x("N", 3, 11, 13), g.w(3, 1, 3, 2), g.w(5, 3, 1, 1), strides=(2, 2), dilations=(1, 2))
    ),
    "transposed": case(lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 3, 2), g.w(4), strides=(2, 3))),
    "transposed cropped": case(
        lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 3, 5), strides=(2, 1), pads=((1, 0), (0, 3)))
    ),
    "transposed grown": case(
        lambda g: g.conv_transpose(
            g.x("N", 3, 5, 7), g.w(3, 4, 3, 4), strides=(2, 3), pads=((0, 0), (1, 1)), output_padding=(1, 1)
        )
    ),
    "transposed grown beyond the kernel": case(
        lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 3, 4), strides=(2, 3), output_padding=(1, 2))
    ),
    "transposed grown, short kernel": case(
        lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 2, 2), strides=(3, 2), output_padding=(2, 1))
    ),
    "transposed dilated": case(
        lambda g: g.conv_transpose(
            g.x("N", 3, 5, 7), g.w(3, 4, 3, 2), g.w(4), strides=(1, 2), dilations=(2, 3), pads=((1, 2), (0, 0))
        )
    ),
    "transposed by groups": case(
        lambda g: g.conv_transpose(g.x("N", 6, 5, 7), g.w(6, 4, 3, 2), g.w(12), groups=3, strides=(2, 2), pads=((1, 1), (0, 1)))
    ),
    "transposed same upper": case(
        lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 4, 3), strides=(1, 2), pads="same_upper", output_shape=(5, 14))
    ),
    "transposed same lower": case(
        lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 4, 3), strides=(1, 2), pads="same_lower", output_shape=(5, 14))
    ),
    "transposed to a size": case(
        lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 5, 4), strides=(2, 3), pads="same_upper", output_shape=(11, 20))
    ),
    "transposed same, open": case(
        lambda g: g.conv_transpose(g.x("N", 3, "H", 7), g.w(3, 4, 5, 4), strides=(2, 3), pads="same_lower")
    ),
    "transposed of one axis": case(lambda g: g.conv_transpose(g.x("N", 3, "T"), g.w(3, 4, 5), strides=(2,), pads=((2, 1),))),
    "transposed of four axes": case(lambda g: g.conv_transpose(g.x("N", 2, 3, 2, 3, 2), g.w(2, 3, 2, 2, 1, 1))),
    "transposed negative padding": case(lambda g: g.conv_transpose(g.x("N", 3, 5, 7), g.w(3, 4, 3, 2), pads=((-1, 0), (0, 0)))),
    "transposed computed": case(
        lambda g: g.conv_transpose(
            g.x("N", 4, 5, 7), g.x(4, 3, 3, 2), g.x(6), groups=2, strides=(2, 1), pads=((1, 0), (0, 1)), dilations=(1, 2)
        )
    ),
    "transposed computed, open": case(lambda g: g.conv_transpose(g.x("N", 4, "H", 7), g.x(4, 3, 3, 2))),
    "transposed channels first asked for": case(
        lambda g: g.conv_transpose(
            g.x("N", 3, 5, 7), g.w(3, 4, 3, 2), strides=(2, 3), pads=((1, 0), (0, 1)), output_padding=(1, 0)
        ),
        data_format="channels_first",
    ),
}


def _pools() -> dict[str, Case]:
    found = {
        "valid": lambda g, op, **a: op(g.x("N", 3, 11, 13), kernel=(3, 2), strides=(2, 3), **a),
        "padded": lambda g, op, **a: op(g.x("N", 3, 11, 13), kernel=(3, 4), strides=(2, 1), pads=((1, 0), (1, 2)), **a),
        "ceil": lambda g, op, **a: op(g.x("N", 3, 11, 12), kernel=(3, 2), strides=(3, 3), ceil_mode="ceil", **a),
        "ceil padded": lambda g, op, **a: op(
            g.x("N", 3, 11, 13), kernel=(3, 2), strides=(3, 2), pads=((1, 1), (0, 1)), ceil_mode="ceil", **a
        ),
        "ceil past the end": lambda g, op, **a: op(
            g.x("N", 3, 9, 5), kernel=(2, 3), strides=(2, 3), pads=((0, 1), (1, 1)), ceil_mode="ceil", **a
        ),
        "ceil open": lambda g, op, **a: op(g.x("N", 3, "H", "W"), kernel=(3, 4), strides=(2, 3), ceil_mode="ceil", **a),
        "ceil open, edge": lambda g, op, **a: op(
            g.x("N", 3, "H", "W"), kernel=(3, 5), strides=(2, 3), pads=((1, 1), (0, 2)), ceil_mode="ceil", **a
        ),
        "ceil open, may be empty": lambda g, op, **a: op(
            g.x("N", 3, "H", 13), kernel=(2, 2), strides=(3, 3), ceil_mode="ceil", **a
        ),
        "ceil open, padding may be empty": lambda g, op, **a: op(
            g.x("N", 3, "H", 13), kernel=(3, 2), strides=(3, 1), pads=((1, 1), (0, 0)), ceil_mode="ceil", **a
        ),
        "ceil full": lambda g, op, **a: op(g.x("N", 3, 11, 13), kernel=(3, 3), strides=(3, 2), ceil_mode="ceil_full", **a),
        "ceil full, short": lambda g, op, **a: op(g.x("N", 3, 11, 13), kernel=(2, 3), strides=(3, 2), ceil_mode="ceil_full", **a),
        "same upper": lambda g, op, **a: op(g.x("N", 3, 11, 13), kernel=(3, 2), strides=(2, 3), pads="same_upper", **a),
        "same lower": lambda g, op, **a: op(g.x("N", 3, 11, 13), kernel=(4, 2), strides=(2, 1), pads="same_lower", **a),
        "same upper, open": lambda g, op, **a: op(g.x("N", 3, "H", "W"), kernel=(3, 3), strides=(1, 2), pads="same_upper", **a),
        "same lower, open": lambda g, op, **a: op(g.x("N", 3, "H", "W"), kernel=(3, 4), strides=(1, 1), pads="same_lower", **a),
        "same upper, open at 2": lambda g, op, **a: op(g.x("N", 3, "H"), kernel=(2,), strides=(2,), pads="same_upper", **a),
        "same lower, open at 2": lambda g, op, **a: op(g.x("N", 3, "H"), kernel=(2,), strides=(2,), pads="same_lower", **a),
        "same lower, open, other padding": lambda g, op, **a: op(
            g.x("N", 3, "H"), kernel=(3,), strides=(2,), pads="same_lower", **a
        ),
        "same lower, open, strides wide": lambda g, op, **a: op(
            g.x("N", 3, "H"), kernel=(1,), strides=(2,), pads="same_lower", **a
        ),
        "dilated": lambda g, op, **a: op(g.x("N", 3, 17, "W"), kernel=(5, 3), strides=(2, 1), dilations=(2, 3), **a),
        "dilated, same": lambda g, op, **a: op(
            g.x("N", 3, 11, 13), kernel=(3, 2), strides=(1, 2), dilations=(2, 1), pads="same_upper", **a
        ),
        "of one axis": lambda g, op, **a: op(g.x("N", 3, 11), kernel=(3,), strides=(2,), pads=((1, 1),), **a),
        "of three axes": lambda g, op, **a: op(g.x("N", 2, 5, 4, 7), kernel=(2, 1, 3), strides=(1, 2, 3), **a),
        "of four axes": lambda g, op, **a: op(g.x("N", 2, 3, 4, 3, 4), kernel=(2, 1, 2, 1), **a),
        "of integers": lambda g, op, **a: op(g.x("N", 3, 11, kind="int32"), kernel=(2,), **a),
    }
    kinds = {
        "max_pool": [{}],
        "avg_pool": [{}, {"count_include_pad": True}],
        "lp_pool": [{"p": 2.0}, {"p": 1.0}, {"p": 3.0}],
        "max_pool_with_indices": [{"index_order": "flat_nchw"}, {"index_order": "plane"}],
    }
    few = ("valid", "ceil padded", "of one axis")
    out = {}
    for kind, choices in kinds.items():
        for n, more in enumerate(choices):
            word = "".join(f" {k}={v}" for k, v in more.items())
            for name, build in found.items():
                if name == "of integers" and kind not in ("max_pool", "max_pool_with_indices"):
                    continue
                if n == 0 or name in few or kind == "avg_pool":
                    out[f"{kind}{word} {name}"] = case(lambda g, k=kind, b=build, m=more: b(g, getattr(g, k), **m))
    return out


POOLS = {
    **_pools(),
    "max_pool channels first asked for": case(
        lambda g: g.max_pool(g.x("N", 3, 11, 13), kernel=(3, 2), strides=(2, 3), dilations=(2, 1), pads=((1, 1), (1, 0))),
        data_format="channels_first",
    ),
    "avg_pool channels first asked for": case(
        lambda g: g.avg_pool(g.x("N", 3, 11, 13), kernel=(3, 2), strides=(2, 3), pads=((1, 1), (1, 0)), ceil_mode="ceil"),
        data_format="channels_first",
    ),
    "adaptive average": case(lambda g: g.adaptive_avg_pool(g.x("N", 3, 11, 13), output_size=(4, 5))),
    "adaptive average of one axis": case(lambda g: g.adaptive_avg_pool(g.x("N", 3, 11), output_size=(4,))),
    "adaptive maximum": case(lambda g: g.adaptive_max_pool(g.x("N", 3, 5, 7, 4), output_size=(2, 3, 4))),
    "adaptive of an open size": case(lambda g: g.adaptive_avg_pool(g.x("N", 3, "H", 13), output_size=(4, 5))),
    "adaptive of four axes": case(lambda g: g.adaptive_max_pool(g.x("N", 3, 2, 3, 4, 5), output_size=(2, 3, 2, 2))),
    "unpool": case(lambda g: g.max_unpool(*_indices(g), kernel=(2, 2), strides=(2, 2))),
    "mean of images": case(lambda g: g.mean(g.x("N", 3, 5, 7), axes=(2, 3), keepdims=True)),
}


def _indices(g: Small) -> Any:
    """Maxima and where they lie."""
    return g.max_pool_with_indices(g.x("N", 3, 4, 6), kernel=(2, 2), strides=(2, 2))
