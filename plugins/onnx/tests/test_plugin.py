"""The plugin's hooks: light to import, sure of its files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_kit import emit_model, load_model

from convcore.build.builder import Builder
from convcore.errors import BadFileError, InputError, UnsupportedError, UsageError
from convcore.host import host, resolve
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore_onnx.nesting import nest_by_names
from convcore_onnx.plugin import convcore_frameworks, convcore_identify, convcore_options, looks_like_model


def small() -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [info("x", 1, [2])], [info("y", 1, [2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, convcore_onnx.plugin; print([m for m in ('onnx', 'google.protobuf', 'onnxruntime') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_everything_named_exists() -> None:
    (f,) = convcore_frameworks()
    for path in (f.rules, f.convention):
        assert resolve(path) is not None
    assert all(host().can("onnx", stage) for stage in ("load", "emit", "runtime"))
    assert {o.name for o in convcore_options("onnx")} == {
        "opset",
        "contrib",
        "ir_version",
        "external_data",
        "keep_training",
        "onnx_functions",
    }
    assert not convcore_options("keras")


def test_files_are_known_by_content(tmp_path: Path) -> None:
    model = small()
    for name, raw, low, high in (
        ("m.onnx", model.SerializeToString(), 90, 100), ("m.bin", model.SerializeToString(), 80, 90),
        ("empty.onnx", b"", 40, 60), ("text.onnx", b"layer { name: 'x' }", 40, 60), ("text.txt", b"hello, world", 0, 0),
        ("zip.keras", b"PK\x03\x04" + b"\0" * 60, 0, 0), ("h.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 60, 0, 0),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(raw)
        claim = convcore_identify(str(path))
        assert low <= (claim.score if claim else 0) <= high, name
    assert convcore_identify(model).score == 100
    assert convcore_identify(3) is None


def test_a_caffemodel_is_not_taken_for_onnx() -> None:
    data = Path(__file__).parents[3] / "tests" / "data"
    models = list(data.rglob("*.caffemodel"))
    assert models
    for path in models:
        assert not looks_like_model(path.read_bytes()[:512], path.stat().st_size), path


def test_the_runtime_quotes_a_refusal(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    (tmp_path / "bad.onnx").write_bytes(b"junk")
    with pytest.raises(BadFileError, match="onnxruntime"):
        open_runtime(tmp_path / "bad.onnx")
    got = open_runtime(small(), optimise=False)
    assert got.inputs == ("x",) and got.outputs == ("y",)


def test_idle_threads_of_the_runtime_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would burn a core while the other side of a check runs."""
    ort = pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    seen = []
    real = ort.InferenceSession

    def session(what, options, **kw):
        seen.append(options.get_session_config_entry("session.intra_op.allow_spinning"))
        return real(what, options, **kw)

    monkeypatch.setattr(ort, "InferenceSession", session)
    open_runtime(small())
    assert seen == ["0"]


# ---- what a file is
def number(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(n: int, value: int | bytes) -> bytes:
    """A field of a message: a number, or bytes with their length."""
    if isinstance(value, int):
        return number(n << 3) + number(value)
    return number(n << 3 | 2) + number(len(value)) + value


GRAPH = field(7, b"graph")
STARTS: list[tuple[bytes, bool]] = [
    (field(1, 8) + GRAPH, True), (field(1, 1) + GRAPH, True), (field(1, 999) + GRAPH, True), (field(1, 0) + GRAPH, False),
    (field(1, 1000) + GRAPH, False), (GRAPH, False), (field(8, b"") + GRAPH, True), (GRAPH + field(8, b""), False),
    (field(1, 8), True), (field(1, 8) + field(2, b"pytorch") + field(3, b"2") + field(4, b"ai") + GRAPH, True),
    (field(1, 8) + field(2, b"a\0b") + GRAPH, False), (field(1, 8) + field(2, b"\xff") + GRAPH, False),
    (field(1, 8) + field(3, b"\xff") + GRAPH, False), (field(1, 8) + field(4, b"\xff") + GRAPH, False),
    (field(1, 8) + field(6, b"\xff") + GRAPH, True), (field(1, 8) + field(5, 3) + field(14, b"") + GRAPH, True),
    (field(1, 8) + field(20, b"") + field(25, b"") + field(26, b"") + GRAPH, True), (field(1, b"8") + GRAPH, False),
    (field(1, 8) + field(5, b"3") + GRAPH, False), (field(1, 8) + field(7, 1), False), (field(1, 8) + field(9, 1) + GRAPH, False),
    (field(1, 8) + b"\x80", False), (field(1, 8) + b"\x3a" + b"\x80" * 11, False), (b"\xff" * 12, False),
    (field(1, 8) + b"\x3a\x06graph", False),  # one byte more than there is
    (field(1, 8) + field(200, b""), False),
]  # fmt: skip


@pytest.mark.parametrize(("start", "known"), STARTS, ids=range(len(STARTS)))
def test_what_a_model_begins_with(start: bytes, known: bool) -> None:
    """The wire types of ModelProto's fields (onnx.proto), an ir_version or an operator set, and a graph where there is more."""
    assert looks_like_model(start, len(start)) is known
    assert looks_like_model(start, len(start) + 1) is known or start[-6:] in (b"\x06graph", b"\x3a\x06grap")


def test_a_graph_that_goes_on_behind_what_was_read() -> None:
    start = field(1, 8) + number(7 << 3 | 2) + number(1000) + bytes(500)
    size = len(start) + 500
    assert looks_like_model(start, size) and not looks_like_model(start, size - 1)
    text = field(1, 8) + number(2 << 3 | 2) + number(1000) + b"\xff" * 500  # a text that is not there whole is not looked at
    assert looks_like_model(text, 2000)


def test_names_that_are_bytes_links_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "M.ONNX"
    path.write_bytes(small().SerializeToString())
    assert convcore_identify(path).score == 95 and convcore_identify(path).why == "the fields of a ModelProto"
    assert convcore_identify(bytes(path)) is None and convcore_identify(None) is None
    (tmp_path / "d.onnx").mkdir()
    for name, score in (("d.onnx", 20), ("gone.onnx", 20), ("gone.bin", 0)):
        claim = convcore_identify(tmp_path / name)
        assert (claim.score if claim else 0) in (score, 50 if score else 0) and bool(claim) is bool(score)
        assert not claim or claim.why == "the suffix .onnx"


# ---- the runtime
def run_of(*nodes: Any, inputs: dict[str, Any], opset: int = 18, **more: Any) -> Any:
    from convcore_onnx.runtime import open_runtime

    info = [helper.make_tensor_value_info(k, t, s) for k, (t, s) in inputs.items()]
    graph = helper.make_graph(list(nodes), "g", info, [helper.make_empty_tensor_value_info("y")])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return open_runtime(helper.make_model(graph, opset_imports=imports, ir_version=8), **more)


def test_what_the_runtime_is_given_and_gives(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    runtime = run_of(helper.make_node("Add", ["a", "b"], ["y"]), inputs={"a": (1, [2]), "b": (1, [2])})
    x = np.array([1, 2], "f4")
    assert runtime.run([x, x])[0].tolist() == [2, 4]
    for given in ([x], [x, x, x]):
        with pytest.raises(InputError, match=rf"2 inputs expected \(a, b\), got {len(given)}"):
            runtime.run(given)
    with pytest.raises(InputError, match="onnxruntime: "):
        runtime.run([x, np.zeros(3, "f4")])
    assert "without optimisations" not in runtime.name and "without optimisations" in runtime.plain().name
    assert runtime.plain().plain is None
    odd = tmp_path / os.fsdecode(b"m\xff.onnx")
    odd.write_bytes(small().SerializeToString())
    from convcore_onnx.runtime import open_runtime

    assert open_runtime(odd).run([x])[0].tolist() == [1, 2]


def test_what_the_runtime_lacks() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UnsupportedError, match=r"onnxruntime .*Own") as caught:
        run_of(helper.make_node("Own", ["a"], ["y"], domain="own"), inputs={"a": (1, [2])})
    assert caught.value.problems[0].code == "unsupported_by_runtime" and "Error: " not in caught.value.problems[0].why
    with pytest.raises(UnsupportedError, match=r"onnxruntime .*Acosh") as caught:
        run_of(helper.make_node("Acosh", ["a"], ["y"]), inputs={"a": (11, [2])})
    assert caught.value.problems[0].code == "unsupported_by_runtime" and "NOT_IMPLEMENTED" not in caught.value.problems[0].why
    with pytest.raises(BadFileError, match=r"onnxruntime .* refuses the model: "):
        run_of(helper.make_node("Add", ["a", "a", "a"], ["y"]), inputs={"a": (1, [2])})


def test_sequences_and_what_is_absent_in_the_runtime() -> None:
    from convcore_onnx.runtime import _given, _value

    a, b = np.zeros(2, "f4"), np.zeros(3, "f4")
    held = np.empty(2, object)
    held[:] = [a, b]
    assert _given(a) is a and [x.shape for x in _given(held)] == [(2,), (3,)]
    texts = np.array(["p", "q"], object)
    assert _given(texts) is texts and _given(np.array("p", object)).item() == "p"
    none, some = np.empty((), object), np.empty((), object)
    some[()] = a
    assert _given(none) is None and _given(some) is a
    sequence = np.empty((), object)
    sequence[()] = held
    assert [x.shape for x in _given(sequence)] == [(2,), (3,)]
    small8 = DType.parse("float8_e4m3fn") if hasattr(DType, "parse") else DType("float8_e4m3fn")
    assert _value(np.zeros(2, np.uint8), small8).dtype == small8.numpy
    assert _value(np.zeros(2, np.uint8), DType.UINT8).dtype == np.uint8 and _value(a, small8) is a and _value(a, None) is a
    assert [x.shape for x in _value([a, b], None)] == [(2,), (3,)]


@pytest.mark.parametrize(
    ("opset", "ir", "why"),
    [(18, 8, ""), (18, 7, "ir_version 7 does not fit opset 18: 8 to"), (7, 3, ""),
     (7, 2, "ir_version 2 does not fit opset 7: 3 to"),
     (18, onnx.IR_VERSION, ""), (18, onnx.IR_VERSION + 1, f"8 to {onnx.IR_VERSION} do"), (6, None, "opset 6 cannot be written"),
     (9999, None, "opset 9999 cannot be written: convcore writes 7 to")],
)  # fmt: skip
def test_versions_that_fit(opset: int, ir: int | None, why: str) -> None:
    g = load_model(small())
    if why:
        with pytest.raises(UsageError, match=why):
            emit_model(g, opset, ir_version=ir)
    else:
        made = emit_model(g, opset, ir_version=ir)
        assert (made.ir_version, made.opset_import[0].version) == (ir, opset)


# ---- blocks
def layers(*names: str, weights: str = "") -> list[tuple[str, ...]]:
    """The blocks that nodes of these names stand in, a Relu each; ``weights``: which of them, a letter each, is multiplied by."""
    g = Graph("g")
    b = Builder(g)
    v = b.input("x", "float32", (2,))
    held = {k: b.weight(np.ones(2, "f4"), k, source=k) for k in sorted(set(weights.replace(".", "")))}
    for i, name in enumerate(names):
        layer = g.scope(name, "Mul" if weights and weights[i] != "." else "Relu", {})
        with b.at(Origin("onnx", name, "Relu"), layer):
            v = b.mul(v, held[weights[i]]) if weights and weights[i] != "." else b.relu(v)
    g.outputs = [v]
    nest_by_names(g)
    found = []
    for node in g:
        path, scope = [], node.scope
        while scope is not None and scope is not g.root:
            path.append(scope.name if not getattr(scope, "call", 0) else f"{scope.name}#{scope.call}")
            scope = scope.parent
        found.append(tuple(reversed(path)))
    return found


def test_names_with_slashes_are_blocks() -> None:
    assert layers("a", "b") == [("a",), ("b",)]
    assert layers("/a/b", "/a/c") == [("/a", "b"), ("/a", "c")]
    assert layers("a/b/c", "a/d") == [("a", "b", "c"), ("a", "d")]
    assert layers("a//b", "a/") == [("a//b",), ("a/",)]  # joined by a slash, these would be others
    assert layers("a", "a/b") == [("a",), ("a/b",)]  # a node is no block
    assert layers("p/a", "p/a/b") == [("p", "a"), ("p", "a/b")]
    deep = "/".join("abcdefghijklmnopqrstuvwxyz012345")
    assert layers(deep)[0][-1] == "5" and len(layers(deep)[0]) == 32 and layers(f"{deep}/6") == [(f"{deep}/6",)]


def test_a_block_that_repeats_is_called_again() -> None:
    """The same kinds with the same weights: one module, called twice; others are one use."""
    twice = layers("m/a", "m/b", "m/a_1", "m/b_1", weights="w.w.")
    assert [p[0] for p in twice] == ["m", "m", "m#1", "m#1"]
    other = layers("m/a", "m/b", "m/a_1", "m/b_1", weights="w.v.")
    assert {p[0] for p in other} == {"m"}
    assert {p[0] for p in layers("m/a", "m/b", "m/a_1", "m/b_1")} == {"m"}  # without a weight nothing is shared
    assert {p[0] for p in layers("m/a", "m/b", "m/a_1", weights="w.w")} == {"m"}
    assert [p[0] for p in layers("m/a", "m/a_1", weights="ww")] == ["m", "m#1"]
    inner = layers("o/m/a", "o/m/b", "o/m/a_1", "o/m/b_1", weights="w.w.")
    assert [p[:2] for p in inner] == [("o", "m"), ("o", "m"), ("o", "m#1"), ("o", "m#1")]
