"""The files: weights, the layer table, the labels.

``<name>_weights.kerasmodel.h5``: the attribute ``layer_names`` of the root lists the layers that have weights; a group for each,
whose attribute ``weight_names`` lists its arrays: ``<layer>/kernel:0`` (out, in, h, w or out, in), ``bias:0``; ``gamma:0``,
``beta:0``, ``moving_mean:0``, ``moving_variance:0``, the last with epsilon added, since Viya's layer has none
(``write_keras_model_parm.py`` of DLPy 1.3.0). Of an ONNX source it is named ``.onnxmodel.h5``. Of a Caffe source
``.caffemodel.h5`` holds ``data/<layer>/0, 1, ...``, and the scale of a batch normalisation in ``data/<layer>_scale``
(``write_caffe_model_parm.py``).
``<name>_layers.csv``: a row a layer: name, type, sources, and the options of the action ``deepLearn.addLayer`` as JSON.
``<name>_labels.csv``: ``label_id,label``, ids from 0 (``Model.change_labels``), where the classes are known.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from convcore.plugin import EmitRequest, Emitted, FlatLayer, FlatModel, Problem, UnsupportedError, flatten, plan, writing

from .rules import ACTIVATIONS, RULES, ViyaDialect, pads_of

_ACTS = set(ACTIVATIONS.values())
_HOLD_ACT = ("convolution", "fullconnect", "batchnorm", "residual", "concat")


@dataclass
class Row:
    """One layer of Viya's: ``options`` of addLayer without its type."""

    name: str
    type: str
    sources: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def emit(request: EmitRequest) -> Emitted:
    """Write the three files; UnsupportedError lists everything that Viya does not have."""
    flat = flatten(plan(request.graph, request.rules or RULES, None, ViyaDialect(), request.overrides))
    rows = table(flat)
    classes = list(request.options.get("classes") or request.graph.metadata.get("labels") or ())
    if classes and len(classes) != rows[-1].options["n"]:
        raise _refused(rows[-1].name, "output", f"has {rows[-1].options['n']} outputs, {len(classes)} classes are named")
    if request.out is None:
        return Emitted(model=lambda: rows)
    kind = {"onnx": "onnxmodel", "caffe": "caffemodel"}.get(str(request.graph.metadata.get("framework")), "kerasmodel")
    out = Path(request.out)
    stem = out.name.split(".")[0].removesuffix("_weights")
    paths = [out.with_name(f"{stem}{part}") for part in (f"_weights.{kind}.h5", "_layers.csv", "_labels.csv")]
    with writing(*(paths if classes else paths[:2])) as made:
        write_weights(made[0], rows, kind)
        write_table(made[1], rows)
        for path in made[2:]:
            with open(path, "w", encoding="utf-8", newline="") as f:
                csv.writer(f).writerows([("label_id", "label"), *enumerate(classes)])
    return Emitted(tuple(str(p) for p in (paths if classes else paths[:2])))


def _refused(layer: str, type: str, why: str) -> UnsupportedError:
    return UnsupportedError(Problem(layer, type, why, "", "unsupported_layer"), "cannot be written for SAS Viya")


# ---- layers
def table(flat: FlatModel) -> list[Row]:
    """The layers in order, activations inside the layers before them, the last one the output. Raises UnsupportedError."""
    if len(flat.inputs) != 1 or len(flat.outputs) != 1 or len(flat.inputs[0].shape or ()) != 4:
        raise _refused("the model", "network", "Viya's image networks have one image as input and one output")
    x = flat.inputs[0]
    _, c, h, w = x.shape or ()
    rows = [Row(x.name, "input", [], {"nChannels": c, "width": w, "height": h})]
    made = {x.name: rows[0]}
    shapes = {x.name: x.shape}
    uses: dict[str, int] = {}
    for layer in flat.layers:
        for name in layer.inputs:
            uses[str(name)] = uses.get(str(name), 0) + 1
        shapes.update((o, flat.values[o].shape) for o in layer.outputs)
    flattened = set()
    for layer in flat.layers:
        source, name = str(layer.inputs[0]), layer.outputs[0]
        if layer.type == "flatten":
            made[name] = made[source]
            flattened.add(name)
            continue
        if layer.type in _ACTS:
            before = made[source]
            if before.type not in _HOLD_ACT or before.options["act"] != "IDENTITY" or uses[source] != 1 or source in flattened:
                raise _refused(layer.name, layer.type, "is an activation that is no layer's own, which Viya does not have")
            before.options["act"] = layer.type
            made[name] = before
            continue
        if any(str(i) in flattened for i in layer.inputs) and layer.type != "fullconnect":
            raise _refused(layer.name, layer.type, "takes an image in one line, which only fully connected layers do")
        if layer.type == "fullconnect" and len(shapes[source] or ()) != 2:
            raise _refused(layer.name, layer.type, "is applied to each position of its input, which Viya's layer is not")
        rows.append(_row(layer, [made[str(i)].name for i in layer.inputs], shapes[source] or ()))
        made[name] = rows[-1]
    last = rows[-1]
    if last.type != "fullconnect" or made[flat.outputs[0]] is not last:
        raise _refused(last.name, last.type, "is the last layer; Viya's output layer is a fully connected one")
    last.type = "output"
    for row in rows:
        if row.type != "output" and row.options.get("act") == "SOFTMAX":
            raise _refused(row.name, row.type, "has softmax, which Viya has in the output layer only")
    return rows


def _row(layer: FlatLayer, sources: list[str], shape: Sequence[Any]) -> Row:
    config = dict(layer.config)
    options: dict[str, Any] = {}
    weights = {k: np.asarray(t.numpy(), np.float32) for k, t in layer.weights.items()}
    if layer.type in ("convolution", "pooling"):
        size, strides = config.get("kernel") or config.get("size"), config.get("strides") or (1, 1)
        pads = pads_of(config, shape)
        options |= {"width": size[1], "height": size[0], "padWidth": pads[1][0], "padHeight": pads[0][0]}
        options |= {"strideHorizontal": strides[1], "strideVertical": strides[0]}
    if layer.type in ("convolution", "fullconnect"):
        options["nFilters" if layer.type == "convolution" else "n"] = config["n"]
        options["noBias"] = "bias" not in weights
    if layer.type == "pooling":
        options["pool"] = config["pool"]
    if layer.type == "batchnorm":
        size = weights["mean"].shape
        epsilon = np.float32(config["epsilon"])
        weights = {
            "gamma": weights.get("gamma", np.ones(size, np.float32)), "beta": weights.get("beta", np.zeros(size, np.float32)),
            "moving_mean": weights["mean"], "moving_variance": weights["variance"] + epsilon,
        }  # fmt: skip
    if layer.type in _HOLD_ACT:
        options["act"] = "IDENTITY"
    return Row(layer.name, layer.type, sources, options, weights)


# ---- files
def write_weights(path: Path, rows: Sequence[Row], kind: str) -> None:
    """The weights as DLPy's ``load_weights`` takes them, told apart by the suffix."""
    held = [r for r in rows if r.weights]
    with h5py.File(path, "w") as f:
        if kind == "caffemodel":
            for row in rows:
                group = f.create_group(f"data/{row.name}")
                arrays = list(row.weights.values())
                if row.type == "batchnorm":
                    scale = f.create_group(f"data/{row.name}_scale")
                    for i, a in enumerate(arrays[:2]):
                        scale.create_dataset(str(i), data=a)
                    arrays = [*arrays[2:], np.ones(1, np.float32)]
                for i, a in enumerate(arrays):
                    group.create_dataset(str(i), data=a)
            return
        f.attrs["layer_names"] = np.array([r.name.encode() for r in held])
        for row in held:
            group = f.create_group(row.name)
            names = [f"{row.name}/{k}:0" for k in row.weights]
            for name, a in zip(names, row.weights.values(), strict=True):
                group.create_dataset(name, data=a)
            group.attrs["weight_names"] = np.array([n.encode() for n in names])


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """A row a layer."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        out = csv.writer(f)
        out.writerow(["name", "type", "srcLayers", "options"])
        for r in rows:
            out.writerow([r.name, r.type, " ".join(r.sources), json.dumps(r.options)])
