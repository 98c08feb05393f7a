"""Trained models as PyTorch modules: do they agree, export and train?

    python plugins/pytorch/tools/sweep.py FOLDER [--page FILE]

FOLDER holds one folder a model: its files, ``inputs.npz``, and recorded outputs ``ref_old.npz``, ``ref.npz`` or ``ref_caffe.npz``
(with ``inputs_caffe.npz``). Each is converted (and checked), run on the recorded inputs, exported by torch.export (with
a free batch where the source has one), and takes one step of SGD, which must lower a loss (of three sizes, 1e-2 to 1e-6 of the
loss, the first that does).
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import convcore
from convcore.plugin import ConvcoreError, Dim, UnsupportedError

TOLERANCE = 1e-4


@dataclass
class Result:
    """What became of a model; a text that starts with ``no`` is a finding."""

    name: str
    verdict: str = ""
    recorded: str = "-"
    exports: str = "-"
    trains: str = "-"

    @property
    def bad(self) -> bool:
        return any(t.startswith("no:") for t in (self.verdict, self.recorded, self.exports, self.trains))


def source_of(folder: Path) -> Any:
    """A file, or a pair of architecture and weights."""
    for pattern in ("*.prototxt", "architecture.json"):
        found = sorted(folder.glob(pattern))
        if found:
            weights = sorted([*folder.glob("*.caffemodel"), *folder.glob("*.h5"), *folder.glob("*.hdf5")])
            return (found[0], weights[0])
    return sorted([*folder.glob("*.onnx"), *folder.glob("*.h5"), *folder.glob("*.hdf5"), *folder.glob("*.keras")])[0]


def sweep(folder: Path) -> Result:
    """One model."""
    result = Result(folder.name)
    try:
        model = convcore.load(source_of(folder))
        if model.problems:
            result.verdict = f"not read: {model.problems[0].type}"
            return result
        with TemporaryDirectory() as at:
            made = convcore.convert(model, "pytorch", Path(at) / "net.py")
            result.verdict, module = made.report.verdict, Laid(made)
    except UnsupportedError as e:
        result.verdict = f"no: {e.problems[0].why}"
        return result
    except ConvcoreError as e:
        result.verdict = f"no: {' '.join(str(e).split())[:200]}"
        return result
    result.recorded = recorded(folder, model, module)
    fed = module.take(arrays(folder / "inputs.npz"), [v.name for v in model.graph.inputs])
    result.exports = exports(module.module, fed, batches(model))
    result.trains = trains(module.module, fed)
    return result


class Laid:
    """A module, and how its inputs and outputs lie beside the source's."""

    def __init__(self, made: Any) -> None:
        self.module = made.model
        self.moved = {x["name"]: x["perm"] for x in made.report.to_dict()["sections"]["layout"]["io"]}

    def take(self, given: list[Any], names: list[str]) -> list[Any]:
        laid = [a.transpose(self.moved[n]) if n in self.moved else a for a, n in zip(given, names)]
        return [torch.from_numpy(np.array(a, order="C")) for a in laid]  # ascontiguousarray keeps odd strides of sizes of 1

    def give(self, got: list[Any], names: list[str]) -> dict[str, Any]:
        back = {n: [list(self.moved[n]).index(i) for i in range(len(self.moved[n]))] for n in names if n in self.moved}
        return {n: a.numpy().transpose(back[n]) if n in back else a.numpy() for a, n in zip(got, names)}


def arrays(path: Path) -> list[Any]:
    """Recorded inputs in the order of the model's."""
    with np.load(path) as z:
        return [z[k] for k in z.files]


def outputs(module: Any, tensors: Any) -> list[Any]:
    with torch.no_grad():
        out = module(*tensors)
    return list(out) if isinstance(out, (tuple, list)) else [out]


def worst(got: Any, want: Any) -> float:
    """The largest error relative to the range of what is wanted."""
    a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) if b.size else 0.0


def recorded(folder: Path, model: Any, module: Any) -> str:
    """The largest error against each file of recorded outputs."""
    said = []
    for inputs, ref in (("inputs.npz", "ref_old.npz"), ("inputs.npz", "ref.npz"), ("inputs_caffe.npz", "ref_caffe.npz")):
        if not (folder / ref).exists():
            continue
        tensors = module.take(arrays(folder / inputs), [v.name for v in model.graph.inputs])
        with np.load(folder / ref) as z:
            want = {k: z[k] for k in z.files}
        got = module.give(outputs(module.module, tensors), [v.name for v in model.graph.outputs])
        pairs = [(got[k], v) for k, v in want.items()] if set(want) == set(got) else list(zip(got.values(), want.values()))
        error = max(worst(g, w) for g, w in pairs)
        said.append(f"{'no: ' if error > TOLERANCE else ''}{error:.0e} ({ref})")
        if ref == "ref_old.npz":
            break
    said.sort(key=lambda t: not t.startswith("no:"))
    return ", ".join(said) or "-"


def batches(model: Any) -> list[Any]:
    """Which axes of each input are symbolic, by torch.export's dimensions."""
    dims: dict[str, Any] = {}
    out = []
    for v in model.graph.inputs:
        axes = {i: str(d) for i, d in enumerate(v.shape or ()) if isinstance(d, Dim) and i == 0}
        for n in axes.values():
            dims.setdefault(n, torch.export.Dim(n if n.isidentifier() else f"axis{len(dims)}", max=1 << 16))
        out.append({i: dims[n] for i, n in axes.items()} or None)
    return out


def exports(module: Any, tensors: list[Any], dynamic: list[Any]) -> str:
    """torch.export gives a program that computes the same, on another batch too."""

    def tiled(t: Any, d: Any, n: int) -> Any:
        return t if d is None else torch.cat([t] * n)[: 2 if n == 2 and len(t) == 1 else None]

    example = [tiled(t, d, 2 if d is not None and len(t) < 2 else 1) for t, d in zip(tensors, dynamic)]
    try:
        program = torch.export.export(module, tuple(example), dynamic_shapes=tuple(dynamic), strict=False)
    except Exception as e:  # noqa: BLE001 - whatever torch raises is the finding
        if any(dynamic):
            fixed = exports(module, tensors, [None] * len(dynamic))
            return fixed if fixed.startswith("no:") else f"{fixed} only"
        return f"no: {type(e).__name__}: {' '.join(str(e).split())[:160]}"
    for given in (example, [tiled(t, d, 2) for t, d in zip(example, dynamic)]):
        want, got = outputs(module, given), outputs(program.module(), given)
        if max(worst(g, w) for g, w in zip(got, want)) > TOLERANCE:
            return "no: the program computes something else"
    return "free batch" if any(dynamic) else "fixed sizes"


def trains(module: Any, tensors: list[Any]) -> str:
    """One step of SGD lowers a loss; gradients reach how many of the parameters."""
    module.train()
    for m in module.modules():
        if isinstance(m, (torch.nn.Dropout, torch.nn.modules.batchnorm._BatchNorm)):
            m.eval()  # the same function before and after the step
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        return "all frozen in the source"

    def loss() -> Any:
        out = module(*tensors)
        outs = [o for o in (out if isinstance(out, (tuple, list)) else (out,)) if o.is_floating_point()]
        return sum((((o - 0.3) / 10) ** 2).mean() for o in outs)

    first = loss()
    if not isinstance(first, torch.Tensor) or not first.requires_grad:
        return "no: no gradient"
    first.backward()
    reached = [p for p in parameters if p.grad is not None and bool((p.grad != 0).any())]
    norm = sum(float((p.grad**2).sum()) for p in reached)
    if not norm:
        return "no: no gradient"
    before = [p.detach().clone() for p in reached]
    for part in (1e-2, 1e-4, 1e-6):  # of the loss, if it were linear
        torch.optim.SGD(reached, lr=part * float(first) / norm).step()
        after = float(loss().detach())
        if after < float(first):
            return f"{len(reached)} of {len(parameters)} parameters"
        with torch.no_grad():
            for p, old in zip(reached, before):
                p.copy_(old)
    return f"no: {float(first):.6g} becomes {after:.6g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    found = [f for f in sorted(asked.folder.iterdir()) if f.is_dir() and f.name.startswith(("keras", "onnx", "caffe"))]
    results = []
    for folder in found:
        if asked.only in folder.name:
            results.append(sweep(folder))
            r = results[-1]
            sys.stdout.write(f"{r.name}: {r.verdict} | {r.recorded} | {r.exports} | {r.trains}\n")
            sys.stdout.flush()
    bad = [r for r in results if r.bad]
    done = [r for r in results if not r.bad and not r.verdict.startswith("not read")]
    line = f"{len(done)} of {len(results)} models agree, export and train; {len(bad)} do not; the rest is not read at all."
    sys.stdout.write(f"{line}\n")
    if asked.page:
        rows = [f"| {r.name} | {r.verdict} | {r.recorded} | {r.exports} | {r.trains} |" for r in results]
        head = [
            "# Trained models as PyTorch modules", "",
            "Written by `python plugins/pytorch/tools/sweep.py FOLDER --page docs/support/pytorch_zoo.md`; do not edit.", "",
            line, "",
            "| model | verdict of the conversion | error against recorded outputs | torch.export | one step of SGD reaches |",
            "|---|---|---|---|---|",
        ]  # fmt: skip
        asked.page.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
