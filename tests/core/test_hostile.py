"""Small files that ask for much, or are no models at all: one message, soon, in little memory."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore import budget
from convcore.errors import BadFileError, ShapeError, UnsupportedError

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper

HOSTILE = Path(__file__).parents[1] / "data/hostile"
RAN = """
import json, os, resource, sys, time
from convcore.cli import main
for f in json.loads(sys.argv[1]):
    for args in (["inspect", f], ["convert", f, "--to", "onnx", "-o", "out.onnx"]):
        start = time.process_time()
        code = main(args)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print("RAN", json.dumps([os.path.basename(f), args[0], code, time.process_time() - start, used]), flush=True)
"""


def test_every_hostile_file_ends_soon(tmp_path: Path):
    """No bug (70), no foreign exception, nothing left, under 2 s and 300 MB each, beyond the imports."""
    for name in ("convcore_keras", "convcore_caffe", "h5py"):
        pytest.importorskip(name)
    files = sorted(str(p) for p in HOSTILE.iterdir() if p.name != "SOURCE.md")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path), "OMP_NUM_THREADS": "1"}
    warm = [str(HOSTILE / "onnx_unicode_name.onnx"), str(HOSTILE / "keras_resizing.json")]
    argv = [sys.executable, "-c", RAN, json.dumps(warm + files)]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, timeout=300, text=True)
    ran = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("RAN ")]
    assert len(ran) == 2 * len(warm + files), done.stderr[-500:]
    base = ran[3][4]
    for name, command, code, seconds, kilobytes in ran[4:]:
        assert code in (0, 1, 2, 3, 4, 6), (name, command, code, done.stderr[-2000:])
        assert seconds < 2 and kilobytes - base < 300 << 10, (name, command, seconds, kilobytes - base)
    codes = {name: code for name, command, code, *_ in ran if command == "inspect"}
    assert [codes[n] for n in ("hdf5_global_heap.h5", "keras_json_quotes.keras", "keras_nested_calls.json")] == [3, 3, 3]
    assert [codes[n] for n in ("keras_tensor_index.json", "onnx_function_doubling.onnx", "onnx_sparse_24.onnx")] == [3, 3, 3]
    assert [codes[n] for n in ("onnx_name_not_utf8.onnx", "onnx_node_name_not_utf8.onnx")] == [3, 3]
    assert os.listdir(tmp_path) in ([], ["out.onnx"])


# ---------------------------------------------------------------- the budget
def save(path: Path, nodes: list[Any], inits: Any = (), size: Any = (2,), **more: Any) -> Path:
    io_ = [helper.make_tensor_value_info(n, 1, size) for n in "xy"]
    graph = helper.make_graph(nodes, "g", io_[:1], io_[1:], list(inits))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **more), path)
    return path


def test_accounts_add_up_over_a_load_and_no_further():
    for spend in (budget.spend_nodes, budget.spend_bytes):
        most = budget.NODES if spend is budget.spend_nodes else budget.BYTES
        for _ in range(2):
            with budget.spending():
                spend(most, "it comes")
                with pytest.raises(BadFileError, match="CONVCORE_BUDGET=2"):
                    spend(1, "it comes")
        spend(most, "outside of a load nothing adds up")
    assert budget.bounded_results(budget.RESULTS, "x") == budget.RESULTS
    with pytest.raises(BadFileError, match="'s': 16,385 inputs or results"):
        budget.bounded_results(budget.RESULTS + 1, "layer 's'")


def test_graphs_of_100_000_nodes_are_no_attack():
    """What benchmarks/run.py graph measures must load."""
    with budget.spending():
        budget.spend_nodes(100_000, "it comes")


def test_nodes_are_counted_with_those_of_subgraphs(tmp_path: Path):
    half = [helper.make_node("Relu", ["x"], [f"a{i}"]) for i in range(budget.NODES // 2)]
    out = [helper.make_tensor_value_info("a0", 1, [2])]
    inner = helper.make_graph(half, "i", [], out)
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    source = save(tmp_path / "a.onnx", nodes, [numpy_helper.from_array(np.array(True), "c")])
    with pytest.raises(BadFileError, match=f"more than {budget.NODES:,} nodes"):
        convcore.load(source)


def test_inputs_of_one_node(tmp_path: Path):
    source = save(tmp_path / "a.onnx", [helper.make_node("Sum", ["x"] * (budget.RESULTS + 1), ["y"], name="s")])
    with pytest.raises(BadFileError, match=r"'s' \(Sum\): 16,385 inputs"):
        convcore.load(source)


def test_names_have_a_length(tmp_path: Path):
    save(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"], doc_string="d" * (budget.TEXT + 1))])
    convcore.load(tmp_path / "a.onnx")
    save(tmp_path / "b.onnx", [helper.make_node("Relu", ["x"], ["y"], name="n" * (budget.TEXT + 1))])
    with pytest.raises(BadFileError, match="name of 1,048,577 characters"):
        convcore.load(tmp_path / "b.onnx")


@pytest.mark.parametrize("version", [-1, 1 << 31])
def test_opset_versions_that_cannot_be(version: int, tmp_path: Path):
    source = save(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])])
    model = onnx.load(source)
    model.opset_import.add(domain="mine", version=version)
    with pytest.raises(BadFileError, match=rf"version {version} of the operator set 'mine'"):
        convcore.load(model)


def test_loops_without_end_are_not_checked(tmp_path: Path):
    v = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Relu", ["v"], ["w"]), helper.make_node("Identity", ["ci"], ["co"])], "b",
        [v("i", 7, ()), v("ci", 9, ()), v("v", 1, (2,))], [v("co", 9, ()), v("w", 1, (2,))],
    )  # fmt: skip
    count = numpy_helper.from_array(np.array(10**9), "n")
    source = save(tmp_path / "a.onnx", [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)], [count])
    from convcore.interpreter.execute import RegionRunner, TooLargeError

    region = convcore.load(source).graph.nodes[0].regions[0]
    runner = RegionRunner(region, {}, type("Outer", (), {"read": None, "precise": False})())
    runner._steps = budget.STEPS
    with pytest.raises(TooLargeError, match="100,000 steps"):
        runner(np.array(0), np.array(True), np.zeros(2, np.float32))


def test_symbolic_sizes_have_so_many_terms():
    from convcore.ir.dims import Dim

    size: Any = Dim("a") + Dim("b") + Dim("c")
    with pytest.raises(ShapeError, match="terms, more than 1,000"):
        for _ in range(8):
            size = size * size


def test_einsum_has_so_many_operands():
    from convcore.ops.linear import MOST_OPERANDS, parse_einsum

    letters = "abcdefghijklmnopq"
    assert len(letters) == MOST_OPERANDS + 1
    assert len(parse_einsum(",".join(letters[:-1]), [1] * MOST_OPERANDS)[0]) == MOST_OPERANDS
    with pytest.raises(ShapeError, match="17 operands"):
        parse_einsum(",".join(letters), [1] * len(letters))


def test_einsum_of_many_operands_goes_in_pairs():
    from convcore.ops.linear import _einsum

    xs = [np.random.default_rng(i).normal(size=2) for i in range(9)]
    want = xs[0]
    for x in xs[1:]:
        want = np.multiply.outer(want, x)
    np.testing.assert_allclose(_einsum(*xs, equation="a,b,c,d,e,f,g,h,i->abcdefghi"), want)


@pytest.mark.parametrize("shape", [(1 << 40,), (1,) * 65])
def test_inputs_that_no_machine_holds_are_not_made_up(shape: tuple[int, ...], tmp_path: Path):
    done = convcore.convert(
        save(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], size=shape), "onnx", tmp_path / "b.onnx"
    )
    assert done.report.verdict == "not verified" and "no inputs could be made up" in done.report.unverified


# ---------------------------------------------------------------- Keras's and Caffe's files
def keras_json(layers: list[Any]) -> dict[str, Any]:
    return {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": layers},
        "keras_version": "2.15.0",
        "backend": "tensorflow",
    }


def test_json_has_so_many_items_and_strings_are_scanned_once(tmp_path: Path):
    safe_json = pytest.importorskip("convcore_keras.files.safe_json")
    assert safe_json.loads('{"a": "[,{\\"", "b": [1, 2]}', "t") == {"a": '[,{"', "b": [1, 2]}
    with pytest.raises(BadFileError, match="5,000,000 items"):
        safe_json.loads(b"[" + b"[]," * safe_json.MAX_JSON_ITEMS + b"[]]", "t")
    with pytest.raises(BadFileError, match="nested more than"):
        safe_json.loads(b'{"x": ' + b"[" * 300 + b"]" * 300 + b"}", "t")
    with pytest.raises(BadFileError, match="not valid JSON"):
        safe_json.loads(b'{"a": "' + b'\\"' * 300_000, "t")


def test_attributes_of_any_kind_are_refused_with_their_layer(tmp_path: Path):
    pytest.importorskip("convcore_keras")
    x = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "x"}}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("Normalization", {"axis": [{"a": 1}], "mean": 1.0, "variance": 2.0}, "is no axis, or list of axes, of 2"),
        ("LayerNormalization", {"axis": [None], "scale": False, "center": False}, "axes"),
        ("Activation", {"activation": "relu", "dtype": {"class_name": ["x"], "config": {"name": "float32"}}}, ""),
    ]
    for cls, config, why in cases:
        (tmp_path / "m.json").write_text(json.dumps(keras_json([x, {"class_name": cls, "config": {"name": "l", **config}}])))
        problems = [p.why for p in convcore.load(tmp_path / "m.json").problems]
        assert why in "; ".join(problems) and bool(problems) == bool(why), (cls, problems)
    rnn = {"class_name": "LSTM", "config": {"name": "r", "units": 2}}
    both = {"class_name": "Bidirectional", "config": {"name": "b", "layer": rnn, "merge_mode": ["concat"]}}
    steps = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 5, 4], "dtype": "float32", "name": "x"}}
    (tmp_path / "m.json").write_text(json.dumps(keras_json([steps, both])))
    with pytest.raises((UnsupportedError, BadFileError)):
        convcore.convert(tmp_path / "m.json", "onnx", tmp_path / "m.onnx")


def test_deflated_members_are_not_inflated_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = pytest.importorskip("convcore_keras.files.archive")
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("metadata.json", '{"keras_version": "3.5.0"}')
        z.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": []}}))
        z.writestr("model.weights.h5", os.urandom(3000) + b"\0" * 3000)
    monkeypatch.setattr(archive, "_MAX_INFLATED", 5000)
    with pytest.raises(BadFileError, match="takes 6000 bytes of memory when inflated; pack the archive without compression"):
        convcore.load(tmp_path / "m.keras")


def test_heaps_of_texts():
    from convcore.loading import check_heaps

    def collection(*objects: tuple[int, int, bytes]) -> bytes:
        body = b"".join(i.to_bytes(2, "little") + bytes(6) + n.to_bytes(8, "little") + data for i, n, data in objects)
        return b"GCOL\x01\0\0\0" + (16 + len(body)).to_bytes(8, "little") + body

    sound = collection((1, 3, b"abc".ljust(8, b"\0")), (0, 24, b"rest".ljust(8, b"\0")))
    check_heaps(b"x" * 40 + sound, "f")
    check_heaps(b"GCOL\x01\0\0\0", "f")  # cut off: no collection
    check_heaps(b"GCOL\x01\0\0\0" + (1 << 60).to_bytes(8, "little") + bytes(64), "f")  # larger than the file: weights
    for bad in (collection((0, 0, bytes(16))), collection((1, 99, bytes(16))), collection((1, (1 << 64) - 1, bytes(16)))):
        with pytest.raises(BadFileError, match="f: the heap of texts at byte 40 is damaged"):
            check_heaps(b"x" * 40 + bad, "f")
        with pytest.raises(BadFileError, match="at byte 0 is damaged"):
            check_heaps(bad[:5] + b"\x01\xff\n" + bad[8:], "f")  # reserved bytes, at which libhdf5 does not look
        check_heaps(b"x" * 40 + bad, "f", 0, 40)
        with pytest.raises(BadFileError, match="at byte 0 is damaged"):
            check_heaps(b"x" * 40 + bad, "f", 40)


@pytest.mark.parametrize("window", [1, 7, 16, 41, 43, 4096])
def test_heaps_across_windows(window: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from convcore.loading import check_heaps, heaps

    monkeypatch.setattr(heaps, "_WINDOW", window)
    bad = b"GCOL\x01\0\0\0" + (40).to_bytes(8, "little") + bytes(24)
    (tmp_path / "f").write_bytes(b"x" * 5000 + bad + b"x" * 5000)
    with open(tmp_path / "f", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in (0, 4999, 5000):
            with pytest.raises(BadFileError, match=f"the heap of texts at byte {5000 - start} is damaged"):
                check_heaps(data, "f", start)
        check_heaps(data, "f", 5001)
        check_heaps(data, "f", 0, 5039)
        assert data[5000:5008] == b"GCOL\x01\0\0\0"


def test_chunks_that_are_never_stored_count(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("convcore_keras")
    layers: list[Any] = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 2048], "dtype": "float32", "name": "x"}}
    ]
    with h5py.File(tmp_path / "m.h5", "w") as f:
        f.attrs["keras_version"], f.attrs["backend"] = "2.15.0", "tensorflow"
        weights = f.create_group("model_weights")
        for i in range(20):
            config = {"name": f"d{i}", "units": 2048, "activation": "linear", "use_bias": False}
            layers.append({"class_name": "Dense", "config": config})
            weights.create_dataset(f"d{i}/d{i}/kernel:0", shape=(2048, 2048), dtype="f4", chunks=(2048, 2048), compression="gzip")
            weights[f"d{i}"].attrs["weight_names"] = np.array([f"d{i}/kernel:0".encode()])
        weights.attrs["layer_names"] = np.array([f"d{i}".encode() for i in range(20)])
        f.attrs["model_config"] = json.dumps(keras_json(layers))
    with pytest.raises(BadFileError, match="stores 0 bytes of the 16777216 it declares"):
        convcore.load(tmp_path / "m.h5")


def test_prototxt_has_strings_of_a_length(tmp_path: Path):
    pytest.importorskip("convcore_caffe")
    head = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }\n'
    for name in ("a" * ((1 << 20) + 1), "\\" * (1 << 21)):
        (tmp_path / "m.prototxt").write_text(head + f'layer {{ name: "{name}" type: "ReLU" bottom: "x" top: "y" }}')
        with pytest.raises(BadFileError, match="a string of"):
            convcore.load(tmp_path / "m.prototxt")
    tops = " ".join(f'top: "t{i}"' for i in range(budget.RESULTS + 1))
    (tmp_path / "m.prototxt").write_text(head + f'layer {{ name: "s" type: "Slice" bottom: "x" {tops} }}')
    with pytest.raises(BadFileError, match="inputs or results of one layer"):
        convcore.load(tmp_path / "m.prototxt")
    layers = "".join(f'layer {{ name: "r{i}" type: "ReLU" bottom: "x" top: "x" }}\n' for i in range(budget.NODES))
    (tmp_path / "m.prototxt").write_text(head + layers)
    with pytest.raises(BadFileError, match=f"layers come to more than {budget.NODES:,}"):
        convcore.load(tmp_path / "m.prototxt")


# ---------------------------------------------------------------- .ccir
def ccir(path: Path, change: Any = None) -> Path:
    """A file of a graph with an opaque node, its header changed."""
    source = save(
        path.with_suffix(".onnx"), [helper.make_node("Mine", ["x"], ["h"], domain="my"), helper.make_node("Elu", ["h"], ["y"])]
    )
    model = onnx.load(source)
    model.opset_import.add(domain="my", version=1)
    convcore.load(model).save(path)
    if change is not None:
        data = path.read_bytes()
        n = int.from_bytes(data[:8], "little")
        header = change(json.loads(data[8 : 8 + n]))
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + n :])
    return path


def _text(old: str, new: str) -> Any:
    def change(header: dict[str, Any]) -> dict[str, Any]:
        meta = header["__metadata__"]
        assert old in meta["convcore_ir"], meta["convcore_ir"]
        meta["convcore_ir"] = meta["convcore_ir"].replace(old, new)
        return header

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda h: {**h, "__metadata__": True}, "no table of texts"),
        (lambda h: {**h, "__metadata__": {"convcore_ir": 1}}, "no table of texts"),
        (lambda h: {**h, "t": {"dtype": "F32", "shape": [1 << 70], "data_offsets": [0, 1]}}, "does not fit into the file"),
        (lambda h: {**h, "t": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}}, "does not fit into the file"),
        (lambda h: {**h, "t": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}}, "tensor 't'"),
        (_text("alpha=1.0", 'alpha="much"'), "alpha"),
        (_text("alpha=1.0", "beta=1.0"), "beta"),
        (_text("framework=", "framewerk="), "framework is None"),
        (_text("why=", "follows=3, why="), "follows is 3"),
    ],
)  # fmt: skip
def test_stored_graphs_are_not_trusted(change: Any, why: str, tmp_path: Path):
    convcore.load(ccir(tmp_path / "a.ccir"))
    with pytest.raises(BadFileError, match=why):
        convcore.load(ccir(tmp_path / "b.ccir", change))


def test_stored_shapes_are_those_the_ops_infer(tmp_path: Path):
    source = save(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])])
    convcore.load(source).save(tmp_path / "a.ccir")
    data = (tmp_path / "a.ccir").read_bytes()
    spoiled = data.replace(b'float32[2] @ \\"relu', b'float32[3] @ \\"relu')
    if spoiled == data:
        import re

        spoiled = re.sub(rb"(= relu\([^:]*: float32\[)2", rb"\g<1>3", data)
    assert spoiled != data and len(spoiled) == len(data)
    (tmp_path / "b.ccir").write_bytes(spoiled)
    with pytest.raises(BadFileError, match="has shape"):
        convcore.load(tmp_path / "b.ccir")
