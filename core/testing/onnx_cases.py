"""The test cases that the installed onnx package brings: the node cases, made in process, and those stored in it."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..records import dataclass

__all__ = ["Case", "all_cases", "node_cases", "sample", "stored_cases"]


@dataclass(frozen=True)
class Case:
    """One test: its model (a ModelProto), inputs and expected outputs, and how close they must be."""

    name: str
    model: Any
    sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float = 1e-3
    atol: float = 1e-7
    kind: str = "node"

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs that are fed."""
        held = {t.name for t in self.model.graph.initializer} if self.kind != "node" else frozenset()
        return [v.name for v in self.model.graph.input if v.name not in held]

    @property
    def op(self) -> str:
        """The operator; of a function body the operator it spells out."""
        name = self.name.removeprefix("test_")
        nodes = self.model.graph.node
        if self.kind != "node":
            return f"({self.kind})"
        return nodes[0].op_type if len(nodes) == 1 else f"{name.split('_')[0]} (body)" if "_expanded" in name else "several"


def node_cases() -> list[Case]:
    """The cases of the installed onnx, made in process."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = collect_testcases(None)
    return [
        Case(c.name, c.model, [(list(map(_plain, i)), list(map(_plain, o))) for i, o in c.data_sets or ()], c.rtol, c.atol)
        for c in made
    ]


def _plain(x: Any) -> Any:
    """A value of a case as arrays: cases hold the types that numpy lacks as TensorProtos."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else x


def stored_cases() -> list[Case]:
    """The cases whose models and data the installed onnx package holds."""
    import onnx
    from onnx.backend.test.loader import load_model_tests

    root = Path(onnx.__file__).parent.parent
    found = []
    for kind in ("simple", "pytorch-operator", "pytorch-converted", "real"):
        for c in load_model_tests(kind=kind):
            if kind == "real":
                path = root / str(c.url)
                model = onnx.load(path)
                sets = [(_ramps(model), _stored(model.graph.output, path.with_name(f"{path.stem}_output_")))]
            else:
                path = Path(str(c.model_dir)) / "model.onnx"
                model = onnx.load(path)
                sets = [
                    (_stored(model.graph.input, folder / "input_"), _stored(model.graph.output, folder / "output_"))
                    for folder in sorted(path.parent.glob("test_data_set*"))
                ]
            found.append(Case(c.name, model, sets, c.rtol, c.atol, kind))
    return found


def all_cases() -> list[Case]:
    """Every case of the installed onnx."""
    return [*node_cases(), *stored_cases()]


def _stored(infos: Sequence[Any], start: Path) -> list[Any]:
    """The values in the files ``<start>0.pb``, ``<start>1.pb``, ... of the types that a model declares."""
    import onnx

    readers: dict[str, tuple[Any, Any]] = {
        "tensor_type": (onnx.TensorProto, onnx.numpy_helper.to_array),
        "sequence_type": (onnx.SequenceProto, onnx.numpy_helper.to_list),
        "optional_type": (onnx.OptionalProto, onnx.numpy_helper.to_optional),
    }
    found: list[Any] = []
    for i, info in enumerate(infos):
        path = start.with_name(f"{start.name}{i}.pb")
        if not path.exists():  # an input that has an initializer
            break
        proto, read = readers[info.type.WhichOneof("value")]
        found.append(read(proto.FromString(path.read_bytes())))
    return found


def _ramps(model: Any) -> list[Any]:
    """What the standard feeds its light models: the numbers from 0 to 1 in order."""
    held = {t.name for t in model.graph.initializer}
    shapes = [[d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in model.graph.input if v.name not in held]
    return [(np.arange(n := math.prod(s)).reshape(s) / n).astype(np.float32) for s in shapes]


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """A seeded sample that has every operator before any has two."""
    by_op: dict[str, list[Case]] = {}
    rng = random.Random(seed)
    for c in rng.sample(list(cases), len(cases)):
        by_op.setdefault(c.op, []).append(c)
    rounds: Iterator[list[Case]] = ([g.pop() for g in by_op.values() if g] for _ in range(len(cases)))
    out: list[Case] = []
    for part in rounds:
        out += part
        if len(out) >= count or not part:
            break
    return out[:count]
