"""Rows of PyTorch: what conversions cost beside torch's own exporter and onnx2torch, and how fast what is converted runs.

    PYTHONPATH=<folder with torchvision, transformers, onnxscript> python benchmarks/pytorch.py [ROW...] [--onnx2torch FOLDER]

ROW: code (ONNX to code and weights, whole process), export (torch to ONNX in process, the second call), latency, memory; default
all. ``--onnx2torch`` is a folder that holds onnx2torch (``pip install --no-deps --target FOLDER onnx2torch``; it needs torch,
torchvision and onnx beside). CPU is user and system time; networks have random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from run import CONVCORE, Cost, measure, row

NETS = """
import contextlib, io, json, sys, time, warnings, logging
warnings.filterwarnings("ignore")
with contextlib.suppress(ImportError):
    import tvshim
import torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)

def net(name):
    if name == "GPT-2":
        import transformers
        config = transformers.GPT2Config(use_cache=False)
        class Logits(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = transformers.GPT2LMHeadModel(config)
            def forward(self, ids):
                return self.model(ids).logits
        return Logits().eval(), (torch.randint(0, 50000, (2, 16)),)
    if name == "LSTM":
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.words = nn.Embedding(5000, 64)
                self.rnn = nn.LSTM(64, 128, bidirectional=True, batch_first=True)
                self.tags = nn.Linear(256, 17)
            def forward(self, x):
                return self.tags(self.rnn(self.words(x))[0])
        return Tagger().eval(), (torch.randint(0, 5000, (4, 50)),)
    import torchvision
    return getattr(torchvision.models, name)(weights=None).eval(), (torch.randn(2, 3, 224, 224),)

def quietly(run):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return run()
"""

EXPORT = """
import convcore, tempfile, pathlib
model, given = net(sys.argv[1])
folder = tempfile.TemporaryDirectory()
out = pathlib.Path(folder.name) / "net.onnx"
axes = tuple({0: torch.export.Dim.DYNAMIC} for _ in given)
runs = {
    "ours": lambda: convcore.convert(model, "onnx", out, example_inputs=given, check=False),
    "theirs": lambda: torch.onnx.export(model, given, out.with_name("t.onnx"), dynamo=True, dynamic_shapes=axes, verbose=False),
}
took = {}
for name, run in runs.items():
    quietly(run)
    start = time.process_time()
    quietly(run)
    took[name] = time.process_time() - start
print(json.dumps(took))
"""

LATENCY = """
import convcore
model, given = net(sys.argv[1])
made = convcore.convert(model, "pytorch", example_inputs=given, check=False).model
took = {"ours": [], "theirs": []}
with torch.no_grad():
    assert torch.allclose(made(*given), model(*given), atol=1e-4)
    for i in range(int(sys.argv[2])):
        for name, m in (("ours", made), ("theirs", model)) if i % 2 else (("theirs", model), ("ours", made)):
            start = time.process_time()
            m(*given)
            took[name].append(time.process_time() - start)
print(json.dumps({k: min(v) for k, v in took.items()}))
"""

MEMORY = """
model, given = net(sys.argv[1])
size = sum(t.nbytes for t in model.state_dict().values())
if sys.argv[2] == "convert":
    import convcore, tempfile, pathlib
    folder = tempfile.TemporaryDirectory()
    out = pathlib.Path(folder.name) / "net.onnx"
    quietly(lambda: convcore.convert(model, "onnx", out, example_inputs=given, check=False))
elif sys.argv[2] == "module":
    import convcore
    quietly(lambda: convcore.convert(model, "pytorch", example_inputs=given, check=False))
else:
    with torch.no_grad():
        model(*given)
print(json.dumps({"size": size}))
"""

MAKE = """
model, given = net("resnet50")
for name, buffer in model.named_buffers():
    if "running" in name:
        buffer.uniform_(0.5, 1.5)
quietly(lambda: torch.onnx.export(model, given, sys.argv[1], dynamo=False, opset_version=13, input_names=["x"],
                                  dynamic_axes={"x": {0: "batch"}}))
"""

ONNX2TORCH = "import sys, onnx, onnx2torch\nonnx2torch.convert(sys.argv[1])\n"


def output(code: str, *args: object) -> dict[str, float]:
    """What a process prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", NETS + code, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def code(args: argparse.Namespace, folder: Path) -> None:
    """ONNX to code and weights, whole process: less than importing torch, and at least 8 x less than onnx2torch."""
    source = folder / "resnet50.onnx"
    subprocess.run([sys.executable, "-c", NETS + MAKE, source], check=True, capture_output=True)
    ours = measure([*CONVCORE, "convert", source, "-o", folder / "net.py", "--no-check", "--report", "none"], args.runs)
    torch = measure([sys.executable, "-c", "import torch"], args.runs)
    row("ResNet50", "CPU s", "peak MB", "/ ours")
    rows: list[tuple[str, Cost]] = [("convcore", ours), ("import torch", torch)]
    if args.onnx2torch:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(args.onnx2torch))))
        shim = "import contextlib\nwith contextlib.suppress(ImportError):\n    import tvshim\n"
        rows.append(("onnx2torch", measure([sys.executable, "-c", shim + ONNX2TORCH, source], args.runs)))
    for name, cost in rows:
        row(name, f"{cost.cpu:.2f}", f"{cost.peak:.0f}", f"{cost.cpu / ours.cpu:.2f}")


def export(args: argparse.Namespace, folder: Path) -> None:
    """torch to ONNX in process, export included, the second call: at most half of torch.onnx.export(dynamo=True)."""
    row("network", "convcore s", "torch s", "ratio")
    for name in ("resnet50", "swin_t", "GPT-2"):
        took = output(EXPORT, name)
        row(name, f"{took['ours']:.2f}", f"{took['theirs']:.2f}", f"{took['ours'] / took['theirs']:.2f}")


def latency(args: argparse.Namespace, folder: Path) -> None:
    """A converted module beside its source, one thread, the least of alternating runs: CNNs within 5 %, LSTM within 10 %."""
    row("network", "converted ms", "source ms", "ratio")
    for name in ("resnet50", "mobilenet_v3_small", "efficientnet_b0", "LSTM"):
        took = output(LATENCY, name, 10 * args.runs)
        row(name, f"{took['ours'] * 1e3:.1f}", f"{took['theirs'] * 1e3:.1f}", f"{took['ours'] / took['theirs']:.3f}")


def memory(args: argparse.Namespace, folder: Path) -> None:
    """Peak beyond a process that runs the network once: at most 1.2 x the weights and 300 MB."""
    row("resnet50", "peak MB", "beyond MB", "/ limit")
    peaks = {}
    for what in ("run", "convert", "module"):
        command = [sys.executable, "-c", NETS + MEMORY, "resnet50", what]
        peaks[what] = statistics.median(measure(command, 1).peak for _ in range(max(1, args.runs // 2)))
    limit = 1.2 * output(MEMORY, "resnet50", "run")["size"] / 2**20 + 300
    row("run alone", f"{peaks['run']:.0f}")
    for what, to in (("convert", "to ONNX"), ("module", "to PyTorch")):
        beyond = peaks[what] - peaks["run"]
        row(to, f"{peaks[what]:.0f}", f"{beyond:.0f}", f"{beyond / limit:.2f}")


ROWS = {f.__name__: f for f in (code, export, latency, memory)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--onnx2torch", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as tmp:
        for name in args.rows or ROWS:
            print(f"== {name}: {ROWS[name].__doc__}")
            ROWS[name](args, Path(tmp))
            print()


if __name__ == "__main__":
    main()
