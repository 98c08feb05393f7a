"""Products of vectors and matrices (``keras.src.ops.numpy``, ``.math``, ``.linalg``; Keras 3.15.1)."""

from __future__ import annotations

from convcore.plugin import DType, ForeignNode, Value, known_shape, product

from ..load_context import KerasContext
from ..ruleset import RULES
from .spec import operation, operations

__all__: list[str] = []

RULES.op(operation("Matmul", "x1, x2", "join"), "matmul", "x1=a, x2=b", alike=("dtype",), types={"a": "float"}, direction="load")
operations("Dot Inner Outer Vdot Tensordot Kron Cross", "x1, x2", "join")
operation("Correlate", "x1, x2", "float")
operation("CDist", "x, y", "float")
operation("Einsum", "operands", "join", tensors="*operands", joined="operands")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _numbers(g: KerasContext, node: ForeignNode) -> tuple[list[Value], DType | None]:
    """The operands, booleans as int32, and the type of the result where that is another one."""
    xs = node.needed()
    if xs[0].dtype is DType.BOOL:
        return [g.b.cast(x, to="int32") for x in xs], DType.BOOL
    return xs, None


def _back(g: KerasContext, y: Value, to: DType | None) -> Value:
    return y if to is None else g.b.cast(y, to=to)


@RULES.load("ops.Matmul", "ops.Dot", "ops.Inner", "ops.Outer", "ops.Vdot", "ops.Tensordot")
def products(g: KerasContext, node: ForeignNode) -> Value:
    """Sums of products over axes: matrix product; ``dot`` over the last of x1 and the last but one of x2; ``inner`` over both
    last ones; none for ``outer``; all of them in one line for ``vdot``; those named for ``tensordot``."""
    (x, y), to = _numbers(g, node)
    kind, b = node.type.removeprefix("ops."), g.b
    if kind == "Matmul":
        return _back(g, b.matmul(x, y), to)
    n, m = len(known_shape(x)), len(known_shape(y))
    if kind in ("Outer", "Vdot"):
        x, y = (b.reshape(v, shape=(product(known_shape(v, sizes=True)),)) for v in (x, y))
        return _back(g, b.einsum(x, y, equation="a,b->ab" if kind == "Outer" else "a,a->"), to)
    if kind in ("Dot", "Inner") and (not n or not m):
        return _back(g, b.mul(x, y), to)
    if kind == "Dot":
        pairs = [(n - 1, m - 1 if m == 1 else m - 2)]
    elif kind == "Inner":
        pairs = [(n - 1, m - 1)]
    else:
        axes = node.attr("axes", 2)
        if isinstance(axes, int):
            pairs = [(n - axes + i, i) for i in range(axes)]
        else:
            first, second = ([a] if isinstance(a, int) else list(a) for a in axes)
            pairs = [(i % n, j % m) for i, j in zip(first, second, strict=True)]
    left, right = list(_LETTERS[:n]), list(_LETTERS[n : n + m])
    for i, j in pairs:
        right[j] = left[i]
    gone = {left[i] for i, _ in pairs}
    out = "".join(c for c in (*left, *right) if c not in gone)
    return _back(g, b.einsum(x, y, equation=f"{''.join(left)},{''.join(right)}->{out}"), to)


@RULES.load("ops.Einsum")
def einsum(g: KerasContext, node: ForeignNode) -> Value:
    """Einstein summation."""
    xs, to = _numbers(g, node)
    return _back(g, g.b.einsum(*xs, equation=str(node.attr("subscripts"))), to)


@RULES.load("ops.Kron")
def kron(g: KerasContext, node: ForeignNode) -> Value:
    """Every element of x1 times the whole of x2, as blocks."""
    (x, y), to = _numbers(g, node)
    b = g.b
    rank = max(len(known_shape(x)), len(known_shape(y)))
    x, y = (b.unsqueeze(v, axes=tuple(range(rank - len(known_shape(v))))) if len(known_shape(v)) < rank else v for v in (x, y))
    mine, theirs = known_shape(x, sizes=True), known_shape(y, sizes=True)
    wide = b.mul(
        b.reshape(x, shape=tuple(n for s in mine for n in (s, 1))), b.reshape(y, shape=tuple(n for s in theirs for n in (1, s)))
    )
    return _back(g, b.reshape(wide, shape=tuple(p * q for p, q in zip(mine, theirs, strict=True))), to)


@RULES.load("ops.Cross")
def cross(g: KerasContext, node: ForeignNode) -> Value:
    """The cross product of vectors of 3 along an axis."""
    x, y = node.needed()
    b = g.b
    axis = node.attr("axis", None)
    places = {k: node.attr(k, -1) for k in ("axisa", "axisb", "axisc")}
    if axis is None and len(set(places.values())) > 1:
        raise node.refuse("its vectors are along different axes")
    at = int(places["axisa"] if axis is None else axis)
    if any(known_shape(v)[at] != 3 for v in (x, y)):
        raise node.refuse("its vectors are not of 3 elements")

    def turned(v: Value, by: int) -> Value:
        return b.gather(v, b.const([(i + by) % 3 for i in range(3)], "int64"), axis=at)

    return b.sub(b.mul(turned(x, 1), turned(y, 2)), b.mul(turned(x, 2), turned(y, 1)))


@RULES.load("ops.CDist")
def cdist(g: KerasContext, node: ForeignNode) -> Value:
    """Distances of all rows of x to all rows of y."""
    x, y = node.needed()
    b = g.b
    apart = b.sub(b.unsqueeze(x, axes=(len(known_shape(x)) - 1,)), b.unsqueeze(y, axes=(len(known_shape(y)) - 2,)))
    return b.sqrt(b.sum(b.square(apart), axes=(-1,), keepdims=False))


@RULES.load("ops.Correlate")
def correlate(g: KerasContext, node: ForeignNode) -> Value:
    """Cross-correlation of two vectors; of the full one, the middle: as long as the longer one ("same": as x1), or what needs no
    padding (``backend/torch/numpy.py``)."""
    x, y = node.needed()
    b, mode = g.b, node.attr("mode", "valid")
    (n,), (m,) = ((known_shape(v, sizes=True) if len(known_shape(v)) == 1 else (None,)) for v in (x, y))
    if not isinstance(n, int) or not isinstance(m, int):
        raise node.refuse("is of tensors that are no vectors of known size")
    if n < m:
        raise node.refuse("its second vector is the longer one, which backends treat differently")
    full = b.conv(b.reshape(x, shape=(1, 1, n)), b.reshape(y, shape=(1, 1, m)), pads=((m - 1, m - 1),))
    line = b.reshape(full, shape=(n + m - 1,))
    want = {"full": n + m - 1, "valid": n - m + 1, "same": n}.get(mode)
    if want is None:
        raise node.refuse(f"mode={mode!r}")
    start = (n + m - 1 - want) // 2
    return b.slice(line, starts=(start,), stops=(start + want,), steps=(1,))


_DECOMPOSITIONS = (
    "Cholesky CholeskyInverse Det Eig Eigh Inv JVP Lstsq LuFactor MatrixRank Pinv Qr SVD Solve SolveTriangular Slogdet Logdet"
)


@RULES.load(*(f"ops.{name}" for name in _DECOMPOSITIONS.split()))
def decomposition(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: targets have no such operation."""
    raise node.refuse("is linear algebra that no target has (factors, inverses, determinants of matrices)")


@RULES.load(
    "ops.Map", "ops.Scan", "ops.Cond", "ops.WhileLoop", "ops.ForiLoop", "ops.Switch", "ops.AssociativeScan", "ops.VectorizedMap"
)
def control(g: KerasContext, node: ForeignNode) -> Value:
    """Refused: their bodies are Python functions, which a file stores as bytecode or not at all."""
    raise node.refuse("runs a Python function, which is never executed", code="code_in_model")
