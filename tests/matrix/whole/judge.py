"""A source through convcore into a target, and the result run by its own framework against what the source's computed."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matrix_kit import LIMIT, error_of_range, ort_session, permuted, run_ort

import convcore
from convcore.errors import ConvcoreError

from .sources import Source

__all__ = ["SUFFIX", "Row", "Written", "classes", "judged", "moved"]

SUFFIX = {"keras": ".keras", "onnx": ".onnx", "caffe": ".prototxt", "pytorch": ".py"}
Row = dict[str, Any]


class Written:
    """What a conversion wrote, and the source it is for the next one."""

    def __init__(self, target: str, made: Any, source: Source) -> None:
        self.target, self.made = target, made
        self.ins, self.outs = orders(made.report)
        self.inputs = None if source.inputs is None else permuted(source.inputs, self.ins or [None] * len(source.inputs))
        self.outputs = None if source.outputs is None else permuted(source.outputs, self.outs or [None] * len(source.outputs))
        if target == "caffe" and self.outputs is not None and len(self.outputs) > 1:
            # a net has its outputs by name: their order is that of its layers
            names = [
                x["name"] for s in made.report.sections if s.title == "layout" for x in s.data["io"] if x["kind"] == "output"
            ]
            self.outputs = [self.outputs[names.index(v.name)] for v in convcore.load(*made.paths).outputs]

    def run(self) -> list[np.ndarray]:
        """Outputs of the target's own runtime; Caffe's nets are read back, in the reference interpreter."""
        assert self.inputs is not None
        paths = self.made.paths
        if self.target == "onnx":
            return run_ort(ort_session(paths[0]), self.inputs)
        if self.target == "caffe":
            out = convcore.load(*paths)(*self.inputs)
            return list(out) if isinstance(out, (tuple, list)) else [out]
        if self.target == "keras":
            import keras

            model = keras.models.load_model(paths[0])
            got = model(self.inputs if len(self.inputs) > 1 else self.inputs[0], training=False)
            return [keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(got)]
        import torch

        from .sources import arrays_of

        with torch.no_grad():
            return arrays_of(self.made.model(*(torch.from_numpy(np.array(a, order="C")) for a in self.inputs)))

    def source(self) -> Source:
        paths = self.made.paths
        model: Any = paths[0] if len(paths) == 1 else (paths[0], paths[1])
        if self.target == "pytorch":
            model = self.made.model
        return Source(model, self.inputs, self.outputs, self.target)


def orders(report: Any) -> tuple[list[Any], list[Any]]:
    """Permutations of inputs and outputs, axis i is axis perm[i] of the source's; empty where nothing was laid out."""
    found = [s.data for s in report.sections if s.title == "layout"]
    if not found:
        return [], []
    of = {kind: [tuple(x["perm"]) for x in found[0]["io"] if x["kind"] == kind] for kind in ("input", "output")}
    return tuple([None if p == tuple(range(len(p))) else p for p in of[k]] for k in of)  # type: ignore[return-value]


def _converted(source: Source, target: str, out: Path) -> Any:
    """Caffe's nets have fixed sizes, and SSD's Permute. A module that cannot be traced for any batch is traced for this one."""
    options, fixed = dict(source.options or {}), target == "caffe" and source.inputs is not None
    if target == "caffe":
        options |= {"io_layout": "target", "caffe_flavor": "ssd"}
    live = source.framework == "pytorch" and source.inputs is not None and not hasattr(source.model, "graph_module")
    if live:
        import torch

        options["example_inputs"] = tuple(torch.from_numpy(np.array(a, order="C")) for a in source.inputs or ())
        if fixed:
            options["dynamic_shapes"] = {}
    elif fixed:
        names = [v.name for v in convcore.load(source.model, **(source.options or {})).inputs]
        options["input_shapes"] = {n: a.shape for n, a in zip(names, source.inputs or (), strict=True)}
    try:
        return convcore.convert(source.model, target, out, check=source.outputs is None, **options)
    except ConvcoreError as e:
        if not live or fixed or "torch.export cannot trace it" not in str(e):
            raise
        return convcore.convert(source.model, target, out, check=source.outputs is None, **options, dynamic_shapes={})


def judged(source: Source, target: str, folder: Path) -> tuple[Row, Written | None]:
    """What became of a model: its error as a part of the range, or why it is refused; and what was written."""
    start = time.perf_counter()
    try:
        made = _converted(source, target, folder / f"model{SUFFIX[target]}")
    except ConvcoreError as e:
        problems = [f"{p.type}: {p.why}" for p in getattr(e, "problems", ())] or [str(e).splitlines()[0]]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        wrong = "WRONG" if type(e).__name__ == "MismatchError" else "refused"
        return {"result": wrong, "why": problems[0][:200] + more}, None
    written = Written(target, made, source)
    row: Row = {"result": "agrees"}
    if source.outputs is not None:
        assert written.outputs is not None
        error = error_of_range(_typed(written.run(), written.outputs), written.outputs)
        row |= {"error": float(f"{error:.2g}"), "result": "agrees" if error < LIMIT else "WRONG"}
    elif made.report.unverified or not made.report.ok:
        row["result"] = "not verified"
    row["seconds"] = round(time.perf_counter() - start, 1)
    return row, written


def _typed(got: list[np.ndarray], want: list[np.ndarray]) -> list[np.ndarray]:
    """Integers as wide as the source's: Caffe has floats only, torch and Keras write some indices wider."""
    return [g.astype(w.dtype) if np.array_equal(g, g.astype(w.dtype)) else g for g, w in zip(got, want, strict=True)]


def classes(config: Any) -> Iterator[str]:
    for x in config["config"].get("layers", []):
        if x["class_name"] in ("Functional", "Sequential"):
            yield from classes(x)
        else:
            yield x["class_name"]


def moved(written: Written) -> Row:
    """Of a Keras file: its layers and transposes, and what the minimum cut left of the source's own and put in."""
    kinds = list(classes(json.loads(zipfile.ZipFile(written.made.paths[0]).read("config.json"))))
    (section,) = [s.data for s in written.made.report.sections if s.title == "layout"]
    return {
        "layers": len(kinds), "transposes": sum(k in ("Permute", "Transpose") for k in kinds),
        "minimum": section["transposes"], "put in": len(section["remaining"]),
    }  # fmt: skip
