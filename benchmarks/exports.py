"""A corpus of ONNX files as exporters write them, for `simplify.py`: 40 of them where every exporter is installed.

    PYTHONPATH=<torchvision, transformers, onnxscript, skl2onnx, scikit-learn> python benchmarks/exports.py FOLDER

Networks have random weights (seeded, `tests/matrix/torch_networks.py`). TorchScript files are of opset 17, dynamo's of 18.
What is there already is not made again; what an exporter cannot write is told, and the corpus is smaller by it.
``--tensorflow FOLDER`` holds tensorflow and tf2onnx, which run in a process of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TORCHSCRIPT = {
    "torchvision": ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1"],
    "transformers": ["Bert", "Albert", "ViT", "Swin", "CLIPText", "Segformer", "DistilBert"],
    "modules": ["LSTM, bidirectional", "GRU, bidirectional, 2 layers"],
}
DYNAMO = {
    "torchvision": ["resnet18", "efficientnet_b0"],
    "transformers": ["Bert", "GPT2", "Llama", "ViT", "Qwen2", "Whisper", "ConvNext", "Roberta"],
    "modules": ["GRU, bidirectional, 2 layers"],
}
UNFOLDED = ["resnet18", "mobilenet_v3_small"]
"""Written by TorchScript without folding anything: batch normalisation is in the file."""


def torch_exports(folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "matrix"))
    import torch
    from torch_networks import GROUPS, built

    torch.set_num_threads(1)

    def network(group: str, name: str) -> Any:
        found = next(n for n in GROUPS[group]() if n.name == name)
        return built(found), found.inputs(2, 9), found.axes

    def torchscript(path: Path, group: str, name: str, **options: Any) -> None:
        module, given, axes = network(group, name)
        names = [f"in{i}" for i in range(len(given))]
        torch.onnx.export(
            module, given, path, dynamo=False, opset_version=17, input_names=names, dynamic_axes=dict(zip(names, axes)), **options
        )

    def dynamo(path: Path, group: str, name: str) -> None:
        module, given, axes = network(group, name)
        free = tuple(dict.fromkeys(a, torch.export.Dim.DYNAMIC) for a in axes)
        with contextlib.suppress(Exception):  # lengths that the network fixes
            torch.onnx.export(module, given, path, dynamo=True, opset_version=18, dynamic_shapes=free, external_data=False)
        if not path.exists():
            torch.onnx.export(module, given, path, dynamo=True, opset_version=18, external_data=False)

    plain = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    for table, write, tail in ((TORCHSCRIPT, torchscript, "ts"), (DYNAMO, dynamo, "dynamo")):
        for group, names in table.items():
            for name in names:
                make(folder, f"{name} {tail}", lambda p, w=write, g=group, n=name: w(p, g, n))
    for name in UNFOLDED:
        make(folder, f"{name} unfolded", lambda p, n=name: torchscript(p, "torchvision", n, **plain))


def keras_exports(folder: Path) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np
    from keras import layers

    def image() -> Any:
        x = i = layers.Input((24, 20, 3))
        for n in (8, 12):
            x = layers.Conv2D(n, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.SeparableConv2D(n, 3, strides=2, padding="same")(x)
            x = layers.Activation("swish")(layers.BatchNormalization()(x))
        return keras.Model(i, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))

    def words() -> Any:
        i = layers.Input((12,), dtype="int32")
        x = layers.Embedding(50, 16)(i)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)])
        x = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
        return keras.Model(i, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))

    def steps() -> Any:
        i = layers.Input((5, 8))
        return keras.Model(i, layers.Dense(3)(layers.LSTM(6, return_sequences=True)(i)))

    for f in (image, words, steps):
        keras.utils.set_random_seed(0)

        def write(path: Path, f: Callable[[], Any] = f) -> None:
            model = f()
            model(np.zeros((1, *model.input_shape[1:]), "f4" if f is not words else "i4"))
            model.export(path, format="onnx", verbose=False)

        make(folder, f"keras {f.__name__}", write)


def sklearn_exports(folder: Path) -> None:
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 7)).astype("f4"), rng.integers(0, 3, 90)
    for name, model, zipmap in (
        ("mlp regressor", MLPRegressor(hidden_layer_sizes=(16, 8), max_iter=30, random_state=0), None),
        (
            "scaled mlp regressor",
            make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=30, random_state=0)),
            None,
        ),
        ("mlp classifier", MLPClassifier(hidden_layer_sizes=(16,), max_iter=30, random_state=0), {"zipmap": False}),
    ):
        fitted = model.fit(x, y)
        options = None if zipmap is None else {id(fitted): zipmap}
        make(
            folder, f"skl {name}", lambda p, m=fitted, o=options: p.write_bytes(to_onnx(m, x[:1], options=o).SerializeToString())
        )


TENSORFLOW = """
import sys, numpy as np, tensorflow as tf, tf2onnx
from keras import layers
import keras
folder = sys.argv[1]
keras.utils.set_random_seed(0)

def write(name, model, shape):
    f = tf.function(lambda x: model(x, training=False))
    tf2onnx.convert.from_function(f, [tf.TensorSpec((None, *shape), tf.float32)], opset=15, output_path=f"{folder}/{name}.onnx")

i = layers.Input((24, 20, 3))
x = layers.Conv2D(8, 3, padding="same", use_bias=False)(i)
x = layers.ReLU()(layers.BatchNormalization()(x))
x = layers.MaxPooling2D()(layers.DepthwiseConv2D(3, padding="same")(x))
write("tf2onnx image", keras.Model(i, layers.Dense(5)(layers.Flatten()(x))), (24, 20, 3))
i = layers.Input((9, 8))
x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(i)
write("tf2onnx lstm", keras.Model(i, layers.Dense(3)(x)), (9, 8))
i = layers.Input((9, 8))
x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(i, i) + i)
write("tf2onnx attention", keras.Model(i, layers.Dense(3)(layers.Dense(16, activation="swish")(x))), (9, 8))
"""


def tensorflow_exports(folder: Path, packages: Path) -> None:
    if all((folder / f"tf2onnx {n}.onnx").exists() for n in ("image", "lstm", "attention")):
        return
    env = {**os.environ, "PYTHONPATH": str(packages), "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", TENSORFLOW, str(folder)], env=env, capture_output=True, text=True)
    if done.returncode:
        print(f"not written: tf2onnx: {done.stderr.strip().splitlines()[-1][:200]}", flush=True)


def zoo_files(folder: Path) -> None:
    for path in sorted((ROOT / "tests" / "data" / "zoo").glob("onnx-*/*.onnx")):
        make(folder, path.parent.name, lambda p, source=path: shutil.copy(source, p))


def make(folder: Path, name: str, write: Callable[[Path], Any]) -> None:
    """Let an exporter write a file, unless it is there."""
    path = folder / f"{name.replace(', ', '-').replace(' ', '_')}.onnx"
    if path.exists():
        return
    log = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            warnings.simplefilter("ignore")
            write(path)
        print(f"{path.name}: {path.stat().st_size} bytes", flush=True)
    except Exception as e:  # noqa: BLE001  an exporter's own limit: told, and the corpus is smaller by it
        path.unlink(missing_ok=True)
        print(f"not written: {name}: {type(e).__name__}: {str(e).strip().splitlines()[0][:160]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tensorflow", type=Path, help="a folder with tensorflow and tf2onnx")
    parser.add_argument("--only", nargs="*", choices=("zoo", "skl", "keras", "torch"), default=("zoo", "skl", "keras", "torch"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for kind, write in (("zoo", zoo_files), ("skl", sklearn_exports), ("torch", torch_exports), ("keras", keras_exports)):
        if kind in args.only:
            write(args.folder)
    if args.tensorflow is not None:
        tensorflow_exports(args.folder, args.tensorflow)
    print(f"{len(list(args.folder.glob('*.onnx')))} files in {args.folder}")


if __name__ == "__main__":
    main()
