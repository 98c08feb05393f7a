"""Folders for the hub with a card, and labels, preprocessing, licence and properties that travel with every target."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.cli import main
from convcore.errors import BadFileError, MismatchError, OutputError, SourceChangedError, UsageError
from convcore.ir.about import ABOUT, about, about_text, take_about, take_text

for _name in ("convcore_keras", "convcore_onnx", "convcore_caffe", "convcore_pytorch", "onnxruntime"):
    pytest.importorskip(_name)
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
LABELS = ["cat", 'a "dog"', "it's Ünï"]
SAID = {"labels": LABELS, "preprocessing": {"x": {"mean": [0.5, 0.25], "order": "RGB"}}, "license": "mit",
        "description": "Two lines,\nof a model.", "properties": {"author": "nobody", "empty": ""}}  # fmt: skip


def net(path: Path, props: dict[str, str] | None = None, doc: str = "") -> Path:
    """An image of 2 channels to three classes."""
    rng = np.random.default_rng(0)
    w = {"w": rng.standard_normal((5, 2, 3, 3)), "b": rng.standard_normal(5), "k": rng.standard_normal((5, 3))}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "k"], ["y"], name="classes"),
    ]
    io = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 7, 11]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]),
    ]
    held = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in w.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "pets", io[:1], io[1:], held), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    for k, v in (props or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = k, v
    model.doc_string = doc
    onnx.save(model, path)
    return path


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A model that says everything of itself."""
    props = {
        "labels": json.dumps(LABELS), "preprocessing": json.dumps(SAID["preprocessing"]), "license": "mit",
        **SAID["properties"],  # type: ignore[dict-item]
    }  # fmt: skip
    return net(tmp_path / "pets.onnx", props, SAID["description"])  # type: ignore[arg-type]


# ---- what travels
@pytest.mark.parametrize("name", ["y.onnx", "y.keras", "y.h5", "y.json", "y.prototxt", "y.pt2", "y.ccir"])
def test_it_travels_with_every_file_that_is_read_again(told: Path, tmp_path: Path, name: str):
    model = convcore.load(told)
    assert about(model.metadata) == SAID
    if name.endswith(".ccir"):
        model.save(tmp_path / name)
        assert about(convcore.load(tmp_path / name).metadata) == SAID
        return
    if name.endswith(".pt2"):
        pytest.importorskip("torch")
    done = convcore.convert(told, None, tmp_path / name, check=False)
    assert about(convcore.load(done.paths[0], done.weights).metadata) == SAID


def test_it_travels_with_code(told: Path, tmp_path: Path):
    torch = pytest.importorskip("torch")
    done = convcore.convert(told, "pytorch", tmp_path / "pets_net.py", check=False)
    space: dict = {"__name__": "pets_net", "__file__": str(done.paths[0])}
    exec(compile(done.paths[0].read_text(), done.paths[0], "exec"), space)
    assert space["LABELS"] == tuple(LABELS) and space["PREPROCESSING"] == SAID["preprocessing"]
    assert torch.is_tensor(space["load"]()(torch.zeros(1, 2, 7, 11)))
    head = done.paths[1].read_bytes()
    meta = json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])["__metadata__"]
    assert json.loads(meta["convcore"]) == SAID
    pth = convcore.convert(told, "pytorch", tmp_path / "pets.pth", check=False)
    assert any("a .pth has no place for labels, preprocessing, license" in n for n in pth.report.notes)
    keras = convcore.convert(told, "keras", tmp_path / "made.py", check=False)
    import h5py

    with h5py.File(keras.paths[1]) as f:
        assert json.loads(f.attrs["convcore"]) == SAID


def test_keras_opens_what_tells_of_itself(told: Path, tmp_path: Path):
    """Its readers ignore the attribute: of a file, and of weights."""
    keras = pytest.importorskip("keras")
    for name in ("k.keras", "k.h5"):
        convcore.convert(told, "keras", tmp_path / name, check=False)
        assert keras.saving.load_model(tmp_path / name).output_shape == (None, 3)


@pytest.mark.parametrize("props, labels", [
    ({"names": "{0: 'cat', 1: \"it's\", 2: 'x, y'}"}, ["cat", "it's", "x, y"]),
    ({"classes": '["a", "b", "c"]'}, ["a", "b", "c"]),
    ({"names": "{0: 'cat', 2: 'dog'}"}, None),
    ({"names": "{0: __import__('os')}"}, None),
    ({"names": "cat, dog"}, None),
    ({"classes": "[1, 2]"}, None),
    ({"labels": "[" * 5000}, None),
    ({"labels": '{"no": "list"}'}, None),
    ({"labels": "[[[[[[[[1]]]]]]]]"}, None),
])  # fmt: skip
def test_labels_in_properties_of_onnx(tmp_path: Path, props: dict, labels: list | None):
    """What is no list of labels stays a property; whatever it is, an ONNX result has the same properties."""
    model = convcore.load(net(tmp_path / "a.onnx", props))
    assert model.metadata.get("labels") == labels and model.metadata["properties"] == props
    done = convcore.convert(tmp_path / "a.onnx", "onnx", tmp_path / "b.onnx", check=False)
    assert {p.key: p.value for p in done.model.metadata_props} == props


def test_a_licence_under_another_name(tmp_path: Path):
    net(tmp_path / "a.onnx", {"License": "AGPL-3.0"})
    done = convcore.convert(tmp_path / "a.onnx", "onnx", tmp_path / "b.onnx", check=False)
    assert {p.key: p.value for p in done.model.metadata_props} == {"License": "AGPL-3.0"}
    assert convcore.load(tmp_path / "b.onnx").metadata["license"] == "AGPL-3.0"


def test_texts_that_are_none():
    meta: dict = {}
    for text in (
        None,
        3,
        "",
        "{",
        "[" * 99999,
        "[1]",
        '{"labels": "cat", "license": ["mit"], "kind": "other"}',
        '{"labels": []}',
    ):
        take_text(meta, text)
    assert meta == {} and about_text(meta) == ""
    assert take_about(meta, {"license": "mit", "other": 1}) == {"other": 1} and meta == {"license": "mit"}
    take_text(meta, about_text(SAID))
    assert meta == SAID and list(about({**SAID, "kind": "x"})) == list(ABOUT)


# ---- files beside the source, and labels that the user names
def test_labels_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfone\n two \n\nthree\n")
    source = net(tmp_path / "a.onnx")
    assert convcore.load(source, labels=str(tmp_path / "labels.txt")).metadata["labels"] == ["one", "two", "three"]
    assert main(["inspect", str(source), "--labels", str(tmp_path / "labels.txt")]) == 0
    assert 'labels: ["one", "two", "three"]' in capsys.readouterr().out
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    done = convcore.convert(source, "keras", labels=str(tmp_path / "two.txt"), check=False)
    assert "there are 2 labels, and no output has an axis of that size" in done.report.notes
    with pytest.raises(UsageError, match="cannot be read"):
        convcore.load(source, labels=str(tmp_path / "none.txt"))
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadFileError, match="not UTF-8"):
        convcore.load(source, labels=str(tmp_path / "bad.txt"))
    (tmp_path / "big.txt").write_bytes(b"x" * (1 << 24) + b"x")
    with pytest.raises(BadFileError, match="more than"):
        convcore.load(source, labels=str(tmp_path / "big.txt"))


def test_a_folder_of_the_hub_is_the_source(tmp_path: Path):
    net(tmp_path / "model.onnx")
    config = {"id2label": {"1": "dog", "0": "cat", "2": "emu"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.25], "do_resize": true}')
    (tmp_path / "README.md").write_text("---\ntags:\n- x\nlicense: 'cc-by-4.0' # theirs\n---\n# Pets\n")
    meta = convcore.load(tmp_path / "model.onnx").metadata
    assert meta["labels"] == ["cat", "dog", "emu"] and meta["license"] == "cc-by-4.0"
    assert meta["preprocessing"] == {"x": {"image_mean": [0.5, 0.25], "do_resize": True}}
    assert [n for n in meta["notes"] if "beside the source" in n] == [
        "labels: from config.json beside the source", "preprocessing: from preprocessor_config.json beside the source",
        "license: from README.md beside the source",
    ]  # fmt: skip


def test_a_file_beside_may_change_meanwhile(tmp_path: Path):
    """The model is what is watched; a labels file that the user names is, too."""
    net(tmp_path / "model.onnx")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    model = convcore.load(tmp_path / "model.onnx", labels=str(tmp_path / "labels.txt"))
    (tmp_path / "README.md").write_text("something else")
    assert convcore.convert(model, "keras", tmp_path / "a.keras", check=False).paths
    (tmp_path / "labels.txt").write_text("d\ne\nf\ng\n")
    with pytest.raises(SourceChangedError, match=r"labels\.txt"):
        convcore.convert(model, "keras", tmp_path / "b.keras", check=False)


@pytest.mark.parametrize("config", [
    {"id2label": {"0": "cat", "1": "dog"}}, {"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}},
    {"id2label": {"0": "a", "1": "b", "7": "c"}}, {"id2label": []}, {"label_names": "abc"}, [1], {"pretrained_cfg": 7},
])  # fmt: skip
def test_what_does_not_fit_is_not_taken(tmp_path: Path, config: object):
    """Another number of classes than any output has, names that transformers made up, and what is none of it."""
    net(tmp_path / "model.onnx")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text("no json")
    (tmp_path / "README.md").write_text("no front matter\n")
    assert about(convcore.load(tmp_path / "model.onnx").metadata) == {}


def test_timm_beside(tmp_path: Path):
    net(tmp_path / "model.onnx")
    cfg = {"mean": [0.5, 0.4], "std": [0.1, 0.2], "crop_pct": 0.9, "license": "apache-2.0", "url": "x"}
    (tmp_path / "config.json").write_text(json.dumps({"label_names": ["a", "b", "c"], "pretrained_cfg": cfg}))
    meta = convcore.load(tmp_path / "model.onnx").metadata
    assert (meta["labels"], meta["license"]) == (["a", "b", "c"], "apache-2.0")
    facts = {"mean": [0.5, 0.4], "std": [0.1, 0.2], "crop_pct": 0.9, "order": "RGB", "formula": "(x / 255 - mean) / std"}
    assert meta["preprocessing"] == {"x": facts}


def test_live_modules_of_transformers_and_timm():
    torch = pytest.importorskip("torch")

    def about_of(**attributes: object) -> dict:
        module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
        for k, v in attributes.items():
            setattr(module, k, v)
        return about(convcore.load(module, example_inputs=[torch.zeros(2, 2, 7, 11)]).metadata)

    class Config:
        id2label = {0: "cat", 1: "dog", 2: "emu"}

    assert about_of(config=Config()) == {"labels": ["cat", "dog", "emu"]}
    Config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    assert about_of(config=Config()) == {}
    cfg = {"mean": (0.5, 0.4), "std": (0.1, 0.2), "input_size": (2, 7, 11), "license": "mit", "url": "x", "crop_pct": None}
    said = about_of(pretrained_cfg=cfg)
    assert set(said) == {"preprocessing"}  # the licence is of timm's own weights: these may be others
    ((_, facts),) = said["preprocessing"].items()
    assert facts == {
        "mean": [0.5, 0.4], "std": [0.1, 0.2], "input_size": [2, 7, 11], "order": "RGB", "formula": "(x / 255 - mean) / std",
    }  # fmt: skip
    assert about_of(pretrained_cfg={**cfg, "label_names": ["a", "b", "c"]})["labels"] == ["a", "b", "c"]


# ---- the folder
FILES = {
    "pytorch": ["model.py", "README.md", "config.json", "model.safetensors"],
    "keras": ["config.json", "README.md", "metadata.json", "model.weights.h5"],
    "onnx": ["model.onnx", "README.md", "config.json"],
    "caffe": ["deploy.prototxt", "README.md", "config.json", "deploy.caffemodel"],
}


@pytest.mark.parametrize("to", FILES)
def test_the_folder(told: Path, tmp_path: Path, to: str):
    """Files under the usual names, a card that says where it comes from; its own code loads the model."""
    (tmp_path / "LICENSE").write_text("Do what you like.\n")
    out = tmp_path / "made"
    done = convcore.convert(told, to, out, hub=True)
    assert done.report.verdict == "ok" and done.paths[0] == out / FILES[to][0]
    assert sorted(p.name for p in out.iterdir()) == sorted([*FILES[to], "LICENSE"])
    assert {p.name for p in done.paths} == {p.name for p in out.iterdir()}
    card = (out / "README.md").read_text(encoding="utf-8")
    front = card.split("---\n")[1]
    assert f"license: mit\nlibrary_name: {to}\npipeline_tag: image-classification\ntags:\n- convcore\n- onnx\n" == front
    assert f"`pets.onnx`, {told.stat().st_size:,} bytes, sha256 `{hashlib.sha256(told.read_bytes()).hexdigest()}`" in card
    for words in ("# pets\n", "Verdict: **ok**", "> of a model.", "`cat`, `a \"dog\"`, `it's Ünï`", "The source says: `mit`",
                  "`LICENSE` is a copy", "| `x` | mean | `[0.5, 0.25]` |", "| author | `nobody` |"):  # fmt: skip
        assert words in card, words
    assert (out / "LICENSE").read_text() == "Do what you like.\n"
    if to != "keras":
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        assert config["id2label"] == dict(enumerate_text(LABELS)) and config["label2id"]["cat"] == 0
        assert config["architectures"] == ["Pets" if to == "pytorch" else "pets"]
        assert config["outputs"][0]["shape"][-1] == 3 and config["preprocessing"] == SAID["preprocessing"]
    if to != "pytorch":  # whose code is not read
        assert about(convcore.load(out).metadata) == SAID
    if to == "caffe":  # which is nowhere to be installed
        return
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    env = {**os.environ, "KERAS_BACKEND": "torch"}
    run = subprocess.run([sys.executable, "-c", code], cwd=out, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def enumerate_text(items: list[str]) -> list[tuple[str, str]]:
    return [(str(i), x) for i, x in enumerate(items)]


def test_a_card_without_facts(tmp_path: Path):
    """No licence is none; no label, no task; another licence than those the hub knows has a name. Markup of a source is none."""
    net(tmp_path / "a.onnx", {"x|y": "<b>`z`\n\n# h"})
    convcore.convert(tmp_path / "a.onnx", "onnx", tmp_path / "out", hub=True, check=False, io_layout="target", opset=17)
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith("---\nlibrary_name: onnx\ntags:\n- convcore\n- onnx\n---\n")
    for words in ("does not say under which licence", "Verdict: **not verified**", r"| x\|y | `<b>'z' # h` |",
                  "| options | opset `17`, io_layout `target` |"):  # fmt: skip
        assert words in card, words
    (tmp_path / "b").mkdir()
    net(tmp_path / "b/a.onnx", {"license": "Non Commercial!"})
    convcore.convert(tmp_path / "b/a.onnx", "onnx", tmp_path / "out", hub=True, check=False)  # over a folder of ours
    assert "license: other\nlicense_name: non-commercial\n" in (tmp_path / "out/README.md").read_text()


def test_folders_that_are_not_ours_stay(told: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("# Mine\n")
    with pytest.raises(OutputError, match=r"mine holds README\.md: name a folder of its own"):
        convcore.convert(told, "onnx", tmp_path / "mine", hub=True)
    assert (tmp_path / "mine/README.md").read_text() == "# Mine\n" and len(list((tmp_path / "mine").iterdir())) == 1
    convcore.convert(told, "onnx", tmp_path / "mine", hub=True, overwrite=True, check=False)
    assert "convcore" in (tmp_path / "mine/README.md").read_text()
    with pytest.raises(OutputError, match="cannot be made a folder"):
        convcore.convert(told, "onnx", tmp_path / "no/such", hub=True)
    with pytest.raises(UsageError, match="name the folder"):
        convcore.convert(told, "onnx", hub=True)
    with pytest.raises(UsageError, match="name the target"):
        convcore.convert(told, None, tmp_path / "x.onnx", hub=True)
    with pytest.raises(OutputError, match="hub=True"):
        convcore.convert(told, "onnx", tmp_path / "mine")


def test_a_folder_without_a_model_is_none(told: Path, tmp_path: Path):
    convcore.convert(told, "pytorch", tmp_path / "code", hub=True, check=False)
    (tmp_path / "both").mkdir()
    for name in ("model.onnx", "deploy.prototxt"):
        (tmp_path / "both" / name).write_bytes(told.read_bytes())
    for name in ("code", "both"):
        with pytest.raises(UsageError, match="cannot tell what"):
            convcore.load(tmp_path / name)


def test_nothing_is_left_where_it_fails(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(job: object) -> None:
        raise MismatchError("differs", job.report)  # type: ignore[attr-defined]

    monkeypatch.setattr("convcore.pipeline._verify", refuse)
    with pytest.raises(MismatchError):
        convcore.convert(told, "onnx", tmp_path / "out", hub=True)
    assert not (tmp_path / "out").exists()


def test_a_framework_without_a_habit(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    from convcore.host import host

    monkeypatch.setitem(host().frameworks, "caffe", replace(host().framework("caffe"), hub=None))
    with pytest.raises(UsageError, match=r"caffe says no names .*keras, onnx, pytorch"):
        convcore.convert(told, "caffe", tmp_path / "out", hub=True)


def test_the_command(told: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["convert", str(told), "--to", "onnx", "-o", str(tmp_path / "out"), "--hub"]) == 0
    assert "README.md" in capsys.readouterr().out
    assert main(["convert", str(told), "--to", "onnx", "--hub"]) == 2
    assert "--hub: name the folder" in capsys.readouterr().err
