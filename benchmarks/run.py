"""Benchmarks of whole processes; see README.md beside this file."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Children may keep their compiled modules: pip compiles what it installs, this tree's are compiled by the first run."""
KERAS = ("mlp 10 k", "cnn 1 M", "cnn 25 M", "vgg16 138 M")
CONVCORE = [sys.executable, "-m", "convcore"]


@dataclass
class Cost:
    """CPU and wall seconds and peak resident MB of a finished process."""

    cpu: float
    wall: float
    peak: float


def once(command: Sequence[object]) -> Cost:
    """Run a command; its output is dropped unless it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{log.read().decode()[-3000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024)


def measure(command: Sequence[object], runs: int) -> Cost:
    """The median of several runs after a warm-up."""
    once(command)
    costs = [once(command) for _ in range(runs)]
    return Cost(*(statistics.median(getattr(c, f) for c in costs) for f in ("cpu", "wall", "peak")))


def made(path: Path, maker: str, *args: object) -> Path:
    """Make a model in a process of its own: a child's peak memory starts at its parent's size, so this one stays small."""
    code = f"import sys; from pathlib import Path; sys.path.insert(0, {str(HERE)!r}); from models import *; "
    subprocess.run([sys.executable, "-c", code + f"{maker}(Path({str(path)!r}), *{args!r})"], check=True)
    return path


def row(*cells: object) -> None:
    """One line of a table."""
    print("  ".join(f"{c:<14}" if i == 0 else f"{c:>12}" for i, c in enumerate(cells)), flush=True)


def convert(args: argparse.Namespace, folder: Path) -> None:
    """Keras to ONNX without the check, against imports, a file copy and the peers."""
    base = measure([sys.executable, "-c", "import numpy, h5py, onnx"], args.runs)
    print(f"python -c 'import numpy, h5py, onnx': {base.cpu:.2f} s CPU, {base.peak:.0f} MB")
    print("budget: 3 x imports + 3 x cp + 0.2 s CPU; 1.5 x the file + 150 MB\n")
    row("model", "file MB", "CPU s", "/ budget", "wall s", "peak MB", "/ budget")
    peers = [p for p in (tf2onnx, keras_export) if args.peers]
    results = []
    for name in KERAS:
        source = made(folder / f"{name.replace(' ', '_')}.keras", f"KERAS[{name!r}]")
        out = folder / "out.onnx"
        size = source.stat().st_size / 2**20
        copy = measure(["cp", source, folder / "copy"], args.runs)
        cost = measure([*CONVCORE, "convert", source, "-o", out, "--no-check", "--report", "none"], args.runs)
        budget, memory = 3 * base.cpu + 3 * copy.cpu + 0.2, 1.5 * size + 150
        row(
            name,
            f"{size:.1f}",
            f"{cost.cpu:.2f}",
            f"{cost.cpu / budget:.2f}",
            f"{cost.wall:.2f}",
            f"{cost.peak:.0f}",
            f"{cost.peak / memory:.2f}",
        )
        results.append((name, source, cost))
    for peer in peers:
        print(f"\n{peer.__doc__}")
        prepare = peer(folder)
        if isinstance(prepare, str):
            print(f"  not measured: {prepare}")
            continue
        row("model", "CPU s", "/ convcore", "peak MB", "/ convcore")
        for name, source, ours in results:
            try:
                cost = measure(prepare(source), max(1, args.runs // 2))
            except SystemExit as e:
                row(name, "failed: " + str(e).splitlines()[-1][:100])
                continue
            row(name, f"{cost.cpu:.2f}", f"{cost.cpu / ours.cpu:.1f}", f"{cost.peak:.0f}", f"{cost.peak / ours.peak:.1f}")


def _venv(name: str, *packages: str) -> Path | str:
    """An environment of its own with packages in it, or why it cannot be made."""
    folder = HERE / ".venvs" / name
    python = folder / "bin/python"
    if not (folder / ".done").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], capture_output=True, text=True
        )
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed"
        (folder / ".done").touch()
    return python


def _runner(python: Path, folder: Path, name: str, code: str):
    script = folder / f"{name}.py"
    script.write_text(code)
    return lambda source: [python, script, source, folder / "peer.onnx"]


def tf2onnx(folder: Path):
    """tf2onnx (TensorFlow 2.15; it does not read Keras 3 files, so the model is rebuilt layer by layer first)"""
    python = _venv("tf2onnx", "tensorflow-cpu==2.15.1", "tf2onnx", "onnx==1.16.2", "numpy<2", "keras==2.15.0")
    if isinstance(python, str):
        return python
    return _runner(python, folder, "peer_tf2onnx", PEER_MODEL + (
        "import tf2onnx\n"
        "tf2onnx.convert.from_keras(model, opset=15, output_path=sys.argv[2])\n"
    ))  # fmt: skip


def keras_export(folder: Path):
    """Keras 3's own model.export(format='onnx') on the torch backend"""
    python = _venv("keras_export", "torch==2.13.0", "keras", "onnx", "onnxscript", "numpy")
    if isinstance(python, str):
        return python
    return _runner(python, folder, "peer_keras", (
        "import os, sys\nos.environ['KERAS_BACKEND'] = 'torch'\nimport keras, numpy as np\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "model(np.zeros([1, *model.input_shape[1:]], 'float32'))\n"
        "model.export(sys.argv[2], format='onnx', verbose=False)\n"
    ))  # fmt: skip


PEER_MODEL = """
import json, sys, zipfile, io, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import h5py, numpy as np, tensorflow as tf
z = zipfile.ZipFile(sys.argv[1])
config = json.loads(z.read("config.json"))
weights = h5py.File(io.BytesIO(z.read("model.weights.h5")))
K, made, last, counts = tf.keras.layers, {}, None, {}
for layer in config["config"]["layers"]:
    c, kind = dict(layer["config"]), layer["class_name"]
    if kind == "InputLayer":
        last = first = K.Input(c["batch_shape"][1:], name=c["name"])
        continue
    part = getattr(K, kind)(**c)
    last = part(last)
    folder = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}.get(kind)
    if folder:
        n = counts.get(folder, 0)
        counts[folder] = n + 1
        g = weights[f"layers/{folder}" + (f"_{n}" if n else "") + "/vars"]
        part.set_weights([g[str(i)][()] for i in range(len(g))])
model = tf.keras.Model(first, last)
"""

GRAPH = """
import sys, time, gc, convcore
from pathlib import Path
best = [1e9, 1e9]
for _ in range(int(sys.argv[2])):
    gc.collect()
    start = time.process_time()
    model = convcore.load(sys.argv[1])
    loaded = time.process_time()
    convcore.convert(model, "onnx", sys.argv[1] + ".out.onnx", check=False)
    best = [min(best[0], loaded - start), min(best[1], time.process_time() - loaded)]
print(*best)
"""


def caffe(args: argparse.Namespace, folder: Path) -> None:
    """VGG16's caffemodel to ONNX without the check, against a file copy and caffe2onnx."""
    source = made(folder / "vgg16.prototxt", "caffe_vgg16")
    weights, out = source.with_suffix(".caffemodel"), folder / "out.onnx"
    size = weights.stat().st_size / 2**20
    copy = measure(["cp", weights, folder / "copy"], args.runs)
    cost = measure([*CONVCORE, "convert", source, "-w", weights, "-o", out, "--no-check", "--report", "none"], args.runs)
    budget, memory = 3 * copy.wall + 1, 1.2 * size + 150
    print("budget: 3 x cp + 1 s; 1.2 x the file + 150 MB")
    row("model", "file MB", "CPU s", "wall s", "/ budget", "peak MB", "/ budget")
    cells = [size, cost.cpu, cost.wall, cost.wall / budget, cost.peak, cost.peak / memory]
    row("vgg16", *(f"{c:.2f}" if c < 10 else f"{c:.0f}" for c in cells))
    if not args.peers:
        return
    python = _venv("caffe2onnx", "caffe2onnx")
    if isinstance(python, str):
        print(f"caffe2onnx: not measured: {python}")
        return
    try:
        peer = measure(
            [python, "-m", "caffe2onnx.convert", "--prototxt", source, "--caffemodel", weights, "--onnx", folder / "p.onnx"], 1
        )
    except SystemExit as e:
        print(f"caffe2onnx: not measured: {str(e).splitlines()[-1]}")
        return
    ratios = f"{peer.wall / cost.wall:.1f} x the time, {peer.peak / cost.peak:.1f} x the memory of convcore"
    print(f"caffe2onnx: {peer.wall:.1f} s wall, {peer.peak:.0f} MB: {ratios}")


def graph(args: argparse.Namespace, folder: Path) -> None:
    """Load and emit cost per node of ONNX graphs, and its growth against 1,000 nodes."""
    row("nodes", "load us/node", "/ 1 k", "convert us", "/ 1 k")
    first: tuple[float, float] | None = None
    for nodes in (1_000, 10_000, 100_000):
        source = made(folder / f"g{nodes}.onnx", "onnx_graph", nodes)
        out = subprocess.run(
            [sys.executable, "-c", GRAPH, str(source), "5" if nodes < 50_000 else "2"], capture_output=True, text=True, check=True
        )
        load, emit = (float(x) / nodes * 1e6 for x in out.stdout.split())
        first = first or (load, emit)
        row(f"{nodes:,}", f"{load:.1f}", f"{load / first[0]:.2f}", f"{emit:.1f}", f"{emit / first[1]:.2f}")


APPLICATION = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras
keras.utils.set_random_seed(0)
getattr(keras.applications, sys.argv[1])(weights=None).save(sys.argv[2])
"""


def _cases(folder: Path) -> dict[str, list[object]]:
    """What another tree is compared in: by name, the arguments of the command line without the output."""
    cases: dict[str, list[object]] = {}
    for name in ("MobileNetV2", "ResNet50"):
        keras, onnx = folder / f"{name}.keras", folder / f"{name}.onnx"
        subprocess.run([sys.executable, "-c", APPLICATION, name, str(keras)], check=True, capture_output=True)
        once([*CONVCORE, "convert", keras, "-o", onnx, "--no-check", "--report", "none"])
        cases |= {f"{name}, Keras, checked": [keras], f"{name}, ONNX, checked": [onnx]}
        cases[f"{name}, Keras"] = [keras, "--no-check"]
    mlp = made(folder / "mlp.keras", "KERAS['mlp 10 k']")
    cases |= {"10 k parameters, Keras, checked": [mlp], "10 k parameters, Keras": [mlp, "--no-check"]}
    for name in KERAS[1:]:
        source = made(folder / f"{name.replace(' ', '_')}.keras", f"KERAS[{name!r}]")
        cases[f"{name}, Keras"] = [source, "--no-check"]
    net = made(folder / "vgg16.prototxt", "caffe_vgg16")
    cases["VGG16, caffemodel"] = [net, "-w", net.with_suffix(".caffemodel"), "--no-check"]
    for nodes in (1_000, 10_000, 100_000):
        cases[f"{nodes:,} nodes, ONNX"] = [made(folder / f"g{nodes}.onnx", "onnx_graph", nodes), "--no-check"]
    return cases


def against(args: argparse.Namespace, folder: Path) -> None:
    """Whole conversions by this tree and another one, in turn: the least CPU and the least peak of either."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{'to ONNX, from':<34}{'CPU s':>8}{'now':>8}{'ratio':>7}{'peak MB':>9}{'now':>6}{'ratio':>7}")
    for name, given in _cases(folder).items():
        best: list[list[Cost]] = [[], []]
        for _ in range(args.runs):
            for python, costs in zip((args.base, sys.executable), best):
                command = [python, "-m", "convcore", "convert", *given, "-o", folder / "out.onnx", "--report", "none"]
                costs.append(once(command))
        (a, p), (b, q) = ((min(c.cpu for c in costs), min(c.peak for c in costs)) for costs in best)
        print(f"{name:<34}{a:>8.2f}{b:>8.2f}{b / a:>7.2f}{p:>9.0f}{q:>6.0f}{q / p:>7.2f}", flush=True)


LATENCY = """
import os, sys, time
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np, torch
torch.set_num_threads(1)
x = torch.from_numpy(np.random.default_rng(0).random((2, 224, 224, 3)).astype("float32"))
best, models = [1e9, 1e9], [keras.models.load_model(p) for p in sys.argv[2:]]
for i in range(int(sys.argv[1]) * 2):
    start = time.process_time()
    with torch.no_grad():
        models[i % 2](x, training=False)
    best[i % 2] = min(best[i % 2], time.process_time() - start)
print(*best)
"""


def to_keras(args: argparse.Namespace, folder: Path) -> None:
    """ResNet50, ONNX to Keras, without the check; beside onnx2tf, and the result's time beside that of Keras's own ResNet50."""
    own, source, out = folder / "ResNet50.keras", folder / "ResNet50.onnx", folder / "out.keras"
    subprocess.run([sys.executable, "-c", APPLICATION, "ResNet50", str(own)], check=True, capture_output=True)
    once([*CONVCORE, "convert", own, "-o", source, "--io-layout", "target", "--no-check", "--report", "none"])
    size = source.stat().st_size / 2**20
    command = ["convert", source, "-o", out, "--no-check", "--report", "none"]
    cost = measure([*CONVCORE, *command, "--force"], args.runs)
    print(f"ResNet50 ({size:.0f} MB): {cost.cpu:.2f} s CPU, {cost.peak:.0f} MB peak")
    print(f"peak / (1.2 x the model + 150 MB): {cost.peak / (1.2 * size + 150):.2f}")
    code = "import sys; from convcore.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print('keras' in sys.modules, 'tensorflow' in sys.modules, 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code, *map(str, command), "--force"], capture_output=True, text=True, check=True)
    print(f"keras, tensorflow, torch imported: {told.stdout.splitlines()[-1]}")
    times = subprocess.run(
        [sys.executable, "-c", LATENCY, str(4 * args.runs), str(own), str(out)], capture_output=True, text=True, check=True
    )
    theirs, ours = (float(t) * 1e3 for t in times.stdout.split()[-2:])
    print(f"2 images of 224 on torch, one thread: {ours:.0f} ms CPU, Keras's own {theirs:.0f} ms")
    print(f"ratio {ours / theirs:.2f} (limit 1.05)")
    if args.onnx2tf:
        code = "import sys, onnx2tf; onnx2tf.convert(input_onnx_file_path=sys.argv[1], output_folder_path=sys.argv[2], "
        code += "output_keras_v3=True, non_verbose=True)"
        peer = once([args.onnx2tf, "-c", code, source, folder / "peer"])
        print(f"onnx2tf: {peer.cpu:.1f} s CPU, {peer.peak:.0f} MB: {peer.cpu / cost.cpu:.1f} x the CPU (at least 15), "
              f"{peer.peak / cost.peak:.1f} x the memory of convcore")  # fmt: skip


def start(args: argparse.Namespace, folder: Path) -> None:
    """Start-up of the command line."""
    numpy = measure([sys.executable, "-c", "import numpy"], args.runs)
    ours = measure([*CONVCORE, "--version"], args.runs)
    print(f"python -c 'import numpy': {numpy.cpu:.3f} s CPU")
    print(f"convcore --version: {ours.cpu:.3f} s CPU, ratio {ours.cpu / numpy.cpu:.2f} (limit 2)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=["convert", "caffe", "graph", "start", "against", "to_keras", []], default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--base", help="python of another tree's environment, for `against`")
    parser.add_argument("--onnx2tf", metavar="PY", help="python of an environment that has onnx2tf, for `to_keras`")
    parser.add_argument("--peers", action="store_true", help="also measure tf2onnx and Keras's own export")
    args = parser.parse_args()
    if "against" in args.what and not args.base:
        parser.error("against what? --base names the python of the other tree's environment")
    with tempfile.TemporaryDirectory() as tmp:
        for name in args.what or ["start", "graph", "convert", "caffe"]:
            print(f"== {name}")
            {"convert": convert, "caffe": caffe, "graph": graph, "start": start, "against": against, "to_keras": to_keras}[name](
                args, Path(tmp)
            )
            print()


if __name__ == "__main__":
    main()
