"""Large ONNX models: 1 GB read and written again beside `cp`, and what finding composites costs in 1,000 to 100,000 nodes.

    python benchmarks/onnx_large.py [size] [nodes] [--mb 1024] [--runs 3]

size: whole processes of `convcore convert A -o B --no-check`, with weights in the file and beside it, to a new name and over an
earlier result, in turn with `cp`; the least wall time of several runs against that of `cp`, peak resident memory (mapped pages
count) against the size. nodes: blocks of a layer norm, a dense layer and a GELU in primitives, loaded in one process with
composites found and without; the least of several runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from run import CONVCORE, once, row


def large(path: Path, mb: int, external: bool) -> None:
    """Dense layers of 16 MB each."""
    import onnx
    from onnx import TensorProto, helper

    count, width = mb // 16, 2048
    rng = np.random.default_rng(0)
    nodes, weights, at = [], [], "x"
    for i in range(count):
        raw = rng.integers(0, 1 << 62, width * width // 2, dtype=np.int64)
        w = (raw.view(np.int32) % 1000).astype(np.float32) * np.float32(1e-5)
        weights.append(helper.make_tensor(f"w{i}", TensorProto.FLOAT, (width, width), w.tobytes(), raw=True))
        nodes += [helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"]), helper.make_node("Relu", [f"m{i}"], [f"r{i}"])]
        at = f"r{i}"
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", width]) for n in ("x", at)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:], weights), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data" if external else None)


def size(args: argparse.Namespace, folder: Path) -> None:
    import subprocess

    row("weights", "MB", "cp s", "convert s", "/ cp (2)", "CPU of cp", "CPU s", "peak MB", "/ size (1.1)")
    for external in (False, True):
        source = folder / f"{'beside' if external else 'inside'}.onnx"
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; "
        code += "from onnx_large import large; "
        subprocess.run([sys.executable, "-c", code + f"large(Path({str(source)!r}), {args.mb}, {external})"], check=True)
        held = source.with_name(f"{source.name}.data") if external else source
        mb = held.stat().st_size / 2**20
        for over in (False, True):
            copies, costs = [], []
            for i in range(args.runs + 1):
                out, copied = folder / "out.onnx", folder / "copy"
                for path in () if over else (out, out.with_name("out.onnx.data"), copied):
                    path.unlink(missing_ok=True)
                copies.append(once(["cp", held, copied]))
                command = [*CONVCORE, "convert", source, "-o", out, "--no-check", "--report", "none", "--force"]
                costs.append(once([*command, *(["--external-data", "always"] if external else [])]))
                if not i:
                    copies, costs = [], []  # a warm-up
            copy, wall = min(c.wall for c in copies), min(c.wall for c in costs)
            peak, cpu = max(c.peak for c in costs), min(c.cpu for c in costs)
            row(f"{'beside' if external else 'inside'}{', over' if over else ''}", f"{mb:.0f}", f"{copy:.2f}", f"{wall:.2f}",
                f"{wall / copy:.2f}", f"{min(c.cpu for c in copies):.2f}", f"{cpu:.2f}", f"{peak:.0f}",
                f"{peak / mb:.2f}")  # fmt: skip
        for path in folder.iterdir():
            path.unlink()


def blocks(path: Path, count: int) -> int:
    """Layer norms, dense layers and GELUs one behind the other, about ``count`` nodes."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    n, rng = 8, np.random.default_rng(0)
    nodes, weights, at = [], {"two": np.float32(2), "eps": np.float32(1e-5), "root": np.float32(2**0.5), "one": np.float32(1),
                              "half": np.float32(0.5)}, "x"  # fmt: skip

    def node(op: str, *inputs: str, **attrs: object) -> str:
        out = f"v{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [out], **attrs))
        return out

    while len(nodes) < count:
        i = len(nodes)
        weights |= {f"{k}{i}": rng.normal(size=s).astype("f4") for k, s in (("g", n), ("b", n), ("w", (n, n)), ("c", n))}
        c = node("Sub", at, node("ReduceMean", at, axes=[-1]))
        var = node("ReduceMean", node("Pow", c, "two"), axes=[-1])
        y = node("Div", c, node("Sqrt", node("Add", var, "eps")))
        y = node("Add", node("Mul", y, f"g{i}"), f"b{i}")
        y = node("Add", node("MatMul", y, f"w{i}"), f"c{i}")
        e = node("Add", node("Erf", node("Div", y, "root")), "one")
        at = node("Add", node("Mul", node("Mul", y, e), "half"), at)
    info = [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", "t", n]) for k in ("x", at)]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], [numpy_helper.from_array(a, k) for k, a in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8), path)
    return len(nodes)


def nodes(args: argparse.Namespace, folder: Path) -> None:
    import convcore

    row("nodes", "load ms", "us a node", "/ 1,000 (1.5)", "of it fusion (0.4)")
    first = 0.0
    for count in (1_000, 10_000, 100_000):
        path = folder / f"{count}.onnx"
        n = blocks(path, count)
        least = {True: float("inf"), False: float("inf")}
        for _ in range(args.runs if count > 50_000 else 2 * args.runs):
            for fuse in least:
                start = time.process_time()
                convcore.load(path, fuse=fuse)
                least[fuse] = min(least[fuse], time.process_time() - start)
        each = least[True] / n
        first = first or each
        row(
            f"{n:,}",
            f"{1000 * least[True]:.0f}",
            f"{1e6 * each:.0f}",
            f"{each / first:.2f}",
            f"{1 - least[False] / least[True]:.2f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=("size", "nodes", []), default=["size", "nodes"])
    parser.add_argument("--mb", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what in args.what or ["size", "nodes"]:
            {"size": size, "nodes": nodes}[what](args, Path(folder))


if __name__ == "__main__":
    main()
