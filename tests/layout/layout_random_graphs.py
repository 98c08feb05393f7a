"""Random graphs whose layout-bearing ops are mixed with everything a permutation may meet."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Value

N = Dim("N")
MAX = 6000  # elements of one value


class Maker:
    """Grows a graph op by op; every method adds one op to a random value it fits, or nothing."""

    def __init__(self, seed: int, *, layouts: tuple[str, ...] = ("channels_last",), rank: int = 4) -> None:
        self.rng = random.Random(seed)
        self.np = np.random.default_rng(seed)
        self.g = Graph(f"random{seed}")
        self.b = Builder(self.g)
        self.layouts = layouts
        sizes = self.rng.sample([2, 3, 4, 5, 6, 7], rank - 2)
        self.values: list[Value] = [self.b.input("x", "float32", (N, *sizes, self.rng.choice([1, 3, 4])))]
        if self.rng.random() < 0.4:
            self.values.append(self.b.input("v", "float32", (N, self.rng.choice([4, 6]))))

    def w(self, *shape: int) -> Value:
        return self.b.weight(self.np.standard_normal(shape).astype(np.float32) * 0.5)

    def pick(self, *ranks: int) -> Value | None:
        fit = [v for v in self.values if not ranks or len(v.shape or ()) in ranks]
        return self.rng.choice(fit[-6:]) if fit else None

    def keep(self, *vs: Value) -> None:
        for v in vs:
            if math.prod(d if isinstance(d, int) else 2 for d in v.shape or ()) <= MAX:
                self.values.append(v)

    def conv(self) -> None:
        x = self.pick(4, 3, 5)
        if x is None or x.shape is None:
            return
        layout = self.rng.choice(self.layouts)
        c = x.shape[-1] if layout == "channels_last" else x.shape[1]
        if not isinstance(c, int) or c > 24:
            return
        space = len(x.shape) - 2
        if self.rng.random() < 0.3:
            self.keep(self.b.conv(x, self.w(c, 1, *(2,) * space), pads="same_upper", groups=c, layout=layout))
        else:
            o = self.rng.choice([2, 3, 5])
            self.keep(
                self.b.conv(x, self.w(o, c, *(self.rng.choice([1, 3]),) * space), self.w(o), pads="same_lower", layout=layout)
            )

    def pool(self) -> None:
        x = self.pick(4)
        if x is not None:
            op = self.rng.choice([self.b.max_pool, self.b.avg_pool])
            self.keep(op(x, kernel=(2, 2), strides=(2, 1), pads="same_upper", layout=self.rng.choice(self.layouts)))

    def unary(self) -> None:
        x = self.pick()
        assert x is not None
        self.keep(self.b.op(self.rng.choice(["relu", "sigmoid", "abs", "tanh"]), x))

    def binary(self) -> None:
        x = self.pick()
        assert x is not None and x.shape is not None
        op = self.rng.choice(["add", "mul", "maximum"])
        how = self.rng.random()
        if how < 0.4:
            same = [v for v in self.values if v.shape == x.shape]
            self.keep(self.b.op(op, x, self.rng.choice(same)))
        elif how < 0.8:
            k = self.rng.randint(0, len(x.shape))
            shape = [d if isinstance(d, int) and self.rng.random() < 0.7 else 1 for d in x.shape[len(x.shape) - k :]]
            pair = (x, self.w(*shape)) if self.rng.random() < 0.7 else (self.w(*shape), x)
            self.keep(self.b.op(op, *pair))
        else:
            axes = tuple(a for a in range(len(x.shape)) if self.rng.random() < 0.6)
            gate = self.b.mean(x, axes=axes, keepdims=True)
            if self.rng.random() < 0.3 and len(x.shape) > 1:
                gate = self.b.max(x, axes=tuple(range(self.rng.randint(1, len(x.shape)))), keepdims=False)
            self.keep(self.b.op(op, x, gate))

    def norm(self) -> None:
        x = self.pick(2, 3, 4)
        if x is None or x.shape is None:
            return
        axis = self.rng.randrange(1, len(x.shape))
        n = x.shape[axis]
        if not isinstance(n, int):
            return
        var = self.b.weight(self.np.uniform(0.5, 2, n).astype(np.float32))
        self.keep(self.b.batch_norm(x, self.w(n), self.w(n), self.w(n), var, epsilon=1e-3, axis=axis))

    def concat(self) -> None:
        x = self.pick()
        assert x is not None and x.shape is not None
        if len(x.shape) < 2:
            return
        axis = self.rng.randrange(1, len(x.shape))
        rest = (*x.shape[:axis], *x.shape[axis + 1 :])
        fit = [v for v in self.values if v.rank == x.rank and v.shape and (*v.shape[:axis], *v.shape[axis + 1 :]) == rest]
        self.keep(self.b.concat(*[self.rng.choice(fit) for _ in range(self.rng.randint(1, 2))], x, axis=axis))

    def split(self) -> None:
        x = self.pick()
        assert x is not None and x.shape is not None
        for axis in self.rng.sample(range(len(x.shape)), len(x.shape)):
            n = x.shape[axis]
            if isinstance(n, int) and n > 1:
                self.keep(*self.b.split(x, axis=axis, sizes=(1, n - 1)))
                return

    def pad(self) -> None:
        x = self.pick()
        assert x is not None and x.shape is not None
        pads = tuple((self.rng.randint(0, 1), self.rng.randint(0, 1)) if isinstance(d, int) else (0, 0) for d in x.shape)
        self.keep(self.b.pad(x, pads=pads, value=0.25))

    def reduce(self) -> None:
        x = self.pick(3, 4, 5)
        if x is not None and x.shape is not None:
            axes = tuple(self.rng.sample(range(1, len(x.shape)), self.rng.randint(1, 2)))
            self.keep(self.b.op(self.rng.choice(["sum", "max", "mean"]), x, axes=axes, keepdims=self.rng.random() < 0.4))

    def softmax(self) -> None:
        x = self.pick()
        if x is not None and x.rank:
            self.keep(self.b.softmax(x, axis=self.rng.randrange(x.rank)))

    def reshape(self) -> None:
        x = self.pick()
        assert x is not None and x.shape is not None
        shape: list[Any] = list(x.shape)
        for _ in range(self.rng.randint(1, 2)):
            i = self.rng.randrange(len(shape))
            if self.rng.random() < 0.5 and len(shape) > 2:
                i = self.rng.randrange(1, len(shape))
                j = self.rng.randrange(i, len(shape))
                shape[i : j + 1] = [math.prod(shape[i : j + 1])]
            elif isinstance(shape[i], int) and len(shape) < 5:
                n = shape[i]
                f = self.rng.choice([f for f in range(1, n + 1) if n % f == 0])
                shape[i : i + 1] = [f, n // f]
        self.keep(self.b.reshape(x, shape=tuple(shape)))

    def flat(self) -> None:
        x = self.pick(3, 4)
        if x is not None and x.shape is not None:
            self.keep(self.b.reshape(x, shape=(N, math.prod(x.shape[1:]))) if x.shape[0] is N else x)

    def transpose(self) -> None:
        x = self.pick(3, 4)
        if x is not None and x.rank:
            self.keep(self.b.transpose(x, perm=(0, *self.rng.sample(range(1, x.rank), x.rank - 1))))

    def squeeze(self) -> None:
        x = self.pick()
        assert x is not None and x.shape is not None
        ones = [i for i, d in enumerate(x.shape) if d == 1]
        if ones:
            self.keep(self.b.squeeze(x, axes=(self.rng.choice(ones),)))
        elif len(x.shape) < 5:
            self.keep(self.b.unsqueeze(x, axes=(self.rng.randrange(len(x.shape) + 1),)))

    def linear(self) -> None:
        x = self.pick(2, 2, 3, 4)
        if x is not None and x.shape is not None and isinstance(x.shape[-1], int):
            o = self.rng.choice([4, 6, 12])
            self.keep(self.b.linear(x, self.w(o, x.shape[-1]), self.w(o) if self.rng.random() < 0.7 else None))

    def image(self) -> None:
        """linear -> reshape to an image, as a generator does."""
        x = self.pick(2)
        if x is not None and x.shape is not None and isinstance(x.shape[-1], int):
            y = self.b.linear(x, self.w(24, x.shape[-1]), self.w(24))
            if self.rng.random() < 0.5:
                y = self.b.relu(y)
            self.keep(self.b.reshape(y, shape=(x.shape[0], 2, 3, 4)))

    def opaque(self) -> None:
        x = self.pick(3, 4)
        if x is not None:
            self.keep(self.b.trilu(x, upper=True, k=0))

    def recurrent(self) -> None:
        x = self.pick(3)
        if x is None or x.shape is None or not isinstance(x.shape[2], int) or not isinstance(x.shape[1], int):
            return
        h, i = 3, x.shape[2]
        layout = self.rng.choice(["batch_major", "batch_major", "time_major"])
        w, r, b = self.w(1, 3 * h, i), self.w(1, 3 * h, h), self.w(1, 3 * h)
        y, _ = self.b.gru(x, w, r, b, hidden=h, reset_after=False, layout=layout)
        self.keep(y)

    def grow(self, n: int, ops: tuple[str, ...]) -> Graph:
        for _ in range(n):
            getattr(self, self.rng.choice(ops))()
        used = {id(v) for node in self.g for v in node.inputs}
        made = [v for v in self.values if v.producer is not None]
        outs = [v for v in made if id(v) not in used] or made[-1:]
        extra = [v for v in made if id(v) in used and self.rng.random() < 0.05]
        self.g.outputs = [*outs, *extra] or [self.b.identity(self.values[0])]
        return self.g


ALL = (
    "conv", "conv", "conv", "pool", "unary", "unary", "binary", "binary", "norm", "concat", "split", "pad", "reduce", "softmax",
    "reshape", "flat", "transpose", "squeeze", "linear", "image", "opaque", "recurrent",
)  # fmt: skip
