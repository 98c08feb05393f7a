"""One op, declared by its body alone."""

from convcore.plugin import Attr, Axis, OpSet, Sample

OPS = OpSet("template", distribution="convcore-template")


def _body(b, x, w, *, scale, axis):
    shape = tuple(d if i == axis else 1 for i, d in enumerate(x.shape))
    return b.mul(b.tanh(b.mul(x, b.reshape(w, shape=shape))), b.like(x, scale))


OPS.op(
    "scaled_tanh",
    "x:float, w:float",
    "scale * tanh(x * w), with one w per element of an axis.",
    attrs={"scale": Attr("float", 1.0), "axis": Attr("axis", -1)},
    body=_body,
    axes=Axis("axis", fixed=("w",)),
    samples=[Sample((2, 3, 5), (3,), scale=1.7, axis=1), Sample((2, 3, 5), (5,))],
)
