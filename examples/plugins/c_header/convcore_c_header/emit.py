"""The emitter: an array for every weight and value, and one function that calls the layers in order."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import (
    Dialect,
    DType,
    EmitRequest,
    Emitted,
    FlatLayer,
    NotExpressible,
    RuleSet,
    Size,
    Value,
    W,
    flatten,
    plan,
    writing,
)

RULES: RuleSet = RuleSet("c_header", "convcore-c-header")
RULES.op("dense", "linear", "x", w=W("kernel"), b=W("bias", optional=True), units=Size("w", 0), width=Size("w", 1))
for name in ("relu", "tanh", "sigmoid"):
    RULES.op(name, name, "x")
RULES.op("add", "add", "x, y")

LIBRARY = """#include <math.h>
/* y[rows][n] = x[rows][m] * w[n][m] + b[n] */
static void f_dense(const float *x, float *y, int size, int n, int m, const float *w, const float *b) {
    for (int i = 0; i < size; i++) {
        float sum = b ? b[i % n] : 0.0f;
        for (int k = 0; k < m; k++) sum += x[i / n * m + k] * w[i % n * m + k];
        y[i] = sum; } }
static void f_relu(const float *x, float *y, int size) { for (int i = 0; i < size; i++) y[i] = x[i] < 0 ? 0 : x[i]; }
static void f_tanh(const float *x, float *y, int size) { for (int i = 0; i < size; i++) y[i] = tanhf(x[i]); }
static void f_sigmoid(const float *x, float *y, int size) { for (int i = 0; i < size; i++) y[i] = 1 / (1 + expf(-x[i])); }
static void f_copy(const float *x, float *y, int size) { for (int i = 0; i < size; i++) y[i] = x[i]; }
static void f_add(const float *a, const float *b, float *y, int size) { for (int i = 0; i < size; i++) y[i] = a[i] + b[i]; }
"""


class CDialect(Dialect):
    """Everything is float32 of fixed size, and nothing broadcasts. Names are identifiers by default, as C wants them."""

    title = "C header"
    dtypes = frozenset({DType.FLOAT32})

    def shape_of(self, v: Value) -> tuple[Any, ...] | None:
        if v.shape is None or not all(isinstance(n, int) for n in v.shape):
            raise NotExpressible(f"C arrays have fixed sizes, {v.name!r} has not: give --input-shape")
        return v.shape

    def check(self, s: Any, type: str, args: Any, config: Any) -> tuple[DType, ...]:
        if type == "add" and args[0].shape != args[1].shape:
            raise NotExpressible("C adds arrays of one shape")
        return ()


def dialect(request: EmitRequest) -> CDialect:
    return CDialect()


def emit(request: EmitRequest) -> Emitted:
    """Write the header; UnsupportedError from ``plan`` lists everything that it cannot hold."""
    made = plan(request.graph, request.rules or RULES, None, dialect(request), request.overrides)
    flat = flatten(made)
    size = {name: math.prod(int(n) for n in v.shape or () if isinstance(n, int)) for name, v in flat.values.items()}
    lines = [LIBRARY, *(array(f"v_{name}", t) for name, t in flat.constants.items())]
    lines += [array(f"w_{d.name}_{k}", t) for d in flat.layers for k, t in d.weights.items()]
    lines += [
        f"static float v_{n}[{max(size[n], 1)}];" for n in size if n not in {*flat.constants, *(i.name for i in flat.inputs)}
    ]
    takes = [f"const float *v_{i.name}" for i in flat.inputs] + [f"float *out{i}" for i in range(len(flat.outputs))]
    copies = [f"f_copy(v_{n}, out{i}, {size[n]});" for i, n in enumerate(flat.outputs)]
    body = [*(call(d, size[d.outputs[0]]) for d in flat.layers), *copies]
    lines += ["", f"static void model({', '.join(takes)}) {{", *(f"    {line}" for line in body), "}"]
    text = "\n".join(lines) + "\n"
    if request.out is None:
        return Emitted(model=lambda: text)
    with writing(request.out) as (path,):
        path.write_text(text, encoding="utf-8")
    return Emitted((str(request.out),))


def array(name: str, tensor: Any) -> str:
    special = {math.inf: "INFINITY", -math.inf: "-INFINITY"}
    numbers = [special.get(x, "NAN" if x != x else f"{x.hex()}f") for x in tensor.numpy().ravel().tolist()]
    return f"static const float {name}[{max(len(numbers), 1)}] = {{{', '.join(numbers) or '0'}}};"


def call(d: FlatLayer, size: int) -> str:
    args = [*(f"v_{n}" for n in d.inputs), f"v_{d.outputs[0]}", str(size)]
    if d.type == "dense":
        held = [f"w_{d.name}_{k}" if k in d.weights else "0" for k in ("kernel", "bias")]
        args += [str(d.config["units"]), str(d.config["width"]), *held]
    return f"f_{d.type}({', '.join(args)});"
