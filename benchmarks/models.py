"""Model files for the benchmarks, made without any framework: Keras 3 files and ONNX graphs of any size."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import keras_files as kf


def keras_mlp(path: Path, width: int, depth: int) -> Path:
    """Dense layers of equal width."""
    rng = np.random.default_rng(0)
    layers, weights = [kf.input_layer("x", (None, width))], {}
    last = "x"
    for i in range(depth):
        name = f"dense_{i}"
        layers.append(
            kf.layer("Dense", name, {"units": width, "activation": "relu", "use_bias": True}, [kf.tensor(last, (None, width))])
        )
        folder = "dense" if i == 0 else f"dense_{i}"
        weights[f"layers/{folder}/vars/0"] = (rng.standard_normal((width, width)) / width**0.5).astype("f4")
        weights[f"layers/{folder}/vars/1"] = rng.standard_normal(width).astype("f4") * 0.1
        last = name
    return kf.write(path, layers, [last], weights)


def keras_cnn(path: Path, blocks: list[tuple[int, int]], size: int, dense: list[int]) -> Path:
    """VGG-like: (filters, convolutions) per block with BatchNorm after each, max pooling, flatten, dense layers."""
    rng = np.random.default_rng(0)
    layers, weights = [kf.input_layer("image", (None, size, size, 3))], {}
    last, channels, n = "image", 3, 0
    for filters, count in blocks:
        for _ in range(count):
            conv, bn = f"conv_{n}", f"bn_{n}"
            layers.append(
                kf.layer("Conv2D", conv, {"filters": filters, "kernel_size": [3, 3], "padding": "same", "use_bias": False,
                                          "activation": "linear"}, [kf.tensor(last, (None, size, size, channels))])
            )  # fmt: skip
            layers.append(
                kf.layer("BatchNormalization", bn, {"axis": -1, "epsilon": 1e-3}, [kf.tensor(conv, (None, size, size, filters))])
            )
            act = f"relu_{n}"
            layers.append(kf.layer("Activation", act, {"activation": "relu"}, [kf.tensor(bn, (None, size, size, filters))]))
            suffix = "" if n == 0 else f"_{n}"
            kernel = rng.standard_normal((3, 3, channels, filters)) * (2 / (9 * channels)) ** 0.5
            weights[f"layers/conv2d{suffix}/vars/0"] = kernel.astype("f4")
            for i, v in enumerate(
                (
                    rng.uniform(0.5, 1.5, filters),
                    rng.normal(0, 0.1, filters),
                    rng.normal(0, 0.1, filters),
                    rng.uniform(0.5, 1.5, filters),
                )
            ):
                weights[f"layers/batch_normalization{suffix}/vars/{i}"] = v.astype("f4")
            last, channels, n = act, filters, n + 1
        pool = f"pool_{filters}_{n}"
        layers.append(
            kf.layer(
                "MaxPooling2D",
                pool,
                {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"},
                [kf.tensor(last, (None, size, size, channels))],
            )
        )
        last, size = pool, size // 2
    layers.append(kf.layer("Flatten", "flatten", {}, [kf.tensor(last, (None, size, size, channels))]))
    last, width = "flatten", size * size * channels
    for i, units in enumerate(dense):
        name = f"fc_{i}"
        layers.append(
            kf.layer(
                "Dense",
                name,
                {"units": units, "activation": "relu" if i < len(dense) - 1 else "softmax"},
                [kf.tensor(last, (None, width))],
            )
        )
        suffix = "" if i == 0 else f"_{i}"
        weights[f"layers/dense{suffix}/vars/0"] = (
            rng.standard_normal((width, units), dtype="f4") / np.float32(width**0.5)
        ).astype("f4")
        weights[f"layers/dense{suffix}/vars/1"] = np.zeros(units, "f4") + rng.normal(0, 0.1, units).astype("f4")
        last, width = name, units
    return kf.write(path, layers, [last], weights)


KERAS = {
    "mlp 10 k": lambda p: keras_mlp(p, 57, 3),
    "cnn 1 M": lambda p: keras_cnn(p, [(32, 1), (64, 1), (128, 2)], 32, [256, 10]),
    "cnn 25 M": lambda p: keras_cnn(p, [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 64, [2048, 1000]),
    "vgg16 138 M": lambda p: keras_cnn(p, [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 224, [4096, 4096, 1000]),
}
"""Keras models by name."""


def caffe_vgg16(path: Path) -> Path:
    """VGG16 as prototxt and caffemodel (553 MB), seeded random weights; returns the prototxt."""
    from convcore.ir.tensors import ArrayTensor
    from convcore_caffe.files import read_net, write_caffemodel

    rng = np.random.default_rng(0)
    text = ['name: "VGG16"', 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 224, 224] } } }']
    shapes: dict[str, list[tuple[int, ...]]] = {}
    last, channels = "data", 3
    for block, (filters, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
        for i in range(1, count + 1):
            name = f"conv{block}_{i}"
            conv = f"convolution_param {{ num_output: {filters} kernel_size: 3 pad: 1 }}"
            text.append(f'layer {{ name: "{name}" type: "Convolution" bottom: "{last}" top: "{name}" {conv} }}')
            text.append(f'layer {{ name: "relu{block}_{i}" type: "ReLU" bottom: "{name}" top: "{name}" }}')
            shapes[name] = [(filters, channels, 3, 3), (filters,)]
            last, channels = name, filters
        pool = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
        text.append(f'layer {{ name: "pool{block}" type: "Pooling" bottom: "{last}" top: "pool{block}" {pool} }}')
        last = f"pool{block}"
    width = 512 * 7 * 7
    for name, units in (("fc6", 4096), ("fc7", 4096), ("fc8", 1000)):
        fc = f"inner_product_param {{ num_output: {units} }}"
        text.append(f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{last}" top: "{name}" {fc} }}')
        if name != "fc8":
            text.append(f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}')
        shapes[name] = [(units, width), (units,)]
        last, width = name, units
    text.append(f'layer {{ name: "prob" type: "Softmax" bottom: "{last}" top: "prob" }}')
    path.write_text("\n".join(text) + "\n")
    net = read_net(path)
    for layer in net:
        for shape in shapes.get(layer.name, []):
            fan = int(np.prod(shape[1:])) or 1
            layer.blobs.append(ArrayTensor(rng.standard_normal(shape, dtype="f4") * np.float32((2 / fan) ** 0.5)))
    write_caffemodel(net, path.with_suffix(".caffemodel"))
    return path


def onnx_graph(path: Path, nodes: int) -> Path:
    """Residual blocks of five small nodes until there are ``nodes`` of them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    made, last = [], "x"
    for i in range(nodes):
        kind, out = i % 5, f"v{i}"
        if kind == 0:
            made.append(helper.make_node("Conv", [last, "w"], [out], f"n{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        elif kind == 3:
            made.append(helper.make_node("Add", [last, f"v{i - 3}"], [out], f"n{i}"))
        elif kind == 4:
            made.append(helper.make_node("LeakyRelu", [last], [out], f"n{i}", alpha=0.1))
        else:
            made.append(helper.make_node("Relu", [last], [out], f"n{i}"))
        last = out
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype("f4") * 0.1, "w")
    shape = ["N", 4, 8, 8]
    graph = helper.make_graph(
        made, "residual", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)], [weight],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
