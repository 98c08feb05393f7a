"""What a model is read from: never written over, and never exchanged unnoticed between loading and converting."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore import files
from convcore.errors import SourceChangedError
from convcore.files import reading
from convcore.ir import tensors
from convcore.ir.dtypes import DType
from convcore.ir.tensors import LazyTensor, MappedTensor

DATA = Path(__file__).parents[1] / "data" / "zoo"
CAFFE = ("caffe-mtcnn-det1/det1.prototxt", "caffe-mtcnn-det1/det1.caffemodel")


def _onnx(path: Path, seed: int = 0, external: str = "") -> Path:
    onnx = pytest.importorskip("onnx")
    w = onnx.numpy_helper.from_array(np.random.default_rng(seed).normal(size=(700, 3)).astype("f4"), "w")
    io = [onnx.helper.make_tensor_value_info(n, 1, ["n", k]) for n, k in (("x", 700), ("y", 3))]
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", io[:1], io[1:], [w])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    more = {"save_as_external_data": True, "location": external, "size_threshold": 0} if external else {}
    onnx.save(model, path, **more)
    return path


def _same(path: Path) -> Callable[[], None]:
    before = path.read_bytes()

    def check() -> None:
        assert path.read_bytes() == before, f"{path.name} was changed"

    return check


def test_external_data_is_not_written_over(tmp_path: Path):
    a = _onnx(tmp_path / "a.onnx", external="w.onnx")
    whole = _same(tmp_path / "w.onnx")
    with pytest.raises(convcore.ConvcoreError, match=r"w\.onnx.*destroy"):
        convcore.convert(a, "onnx", tmp_path / "w.onnx")
    whole()


def test_external_data_of_the_result_is_not_written_over_that_of_the_source(tmp_path: Path):
    a = _onnx(tmp_path / "a.onnx", external="b.onnx.data")
    whole = _same(tmp_path / "b.onnx.data")
    with pytest.raises(convcore.ConvcoreError, match="destroy"):
        convcore.convert(a, "onnx", tmp_path / "b.onnx", external_data="always")
    whole()
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_links_are_the_file(tmp_path: Path, link: str):
    a = _onnx(tmp_path / "a.onnx")
    out = tmp_path / "out.onnx"
    (os.link if link == "hard" else os.symlink)(a, out)
    whole = _same(a)
    with pytest.raises(convcore.ConvcoreError, match=r"out\.onnx is .*a\.onnx, which"):
        convcore.convert(a, "onnx", out)
    whole()


def test_caffemodel_of_the_source_is_not_written_over(tmp_path: Path):
    net, weights = (Path(shutil.copy(DATA / f, tmp_path / n)) for f, n in zip(CAFFE, ("net.prototxt", "o.caffemodel")))
    whole = _same(weights)
    with pytest.raises(convcore.ConvcoreError, match=r"o\.caffemodel.*destroy"):
        convcore.convert((net, weights), "caffe", tmp_path / "o.prototxt")
    whole()
    assert not (tmp_path / "o.prototxt").exists()


def test_a_loaded_model_protects_its_files(tmp_path: Path):
    a = _onnx(tmp_path / "a.onnx", external="w.onnx")
    model = convcore.load(a)
    for m in (model, model[:1]):
        with pytest.raises(convcore.ConvcoreError, match="destroy"):
            convcore.convert(m, "onnx", tmp_path / "w.onnx")
    model.save(tmp_path / "m.ccir")
    with pytest.raises(convcore.ConvcoreError, match="the source itself"):
        convcore.load(tmp_path / "m.ccir").save(tmp_path / "m.ccir")


def _replace(path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copy2(path, copy)
    os.replace(copy, path)


def _edit(path: Path) -> None:
    stamp = path.stat()
    with path.open("r+b") as f:
        f.seek(-100, 2)
        f.write(b"\0" * 40)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))


def _grow(path: Path) -> None:
    stamp = path.stat()
    with path.open("ab") as f:
        f.write(b"\0")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def _edit_and_set_back(path: Path) -> None:
    """As large, and as old, as before: only the inode's own time tells."""
    _edit(path)
    stamp = path.stat()
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns - 1))


def _remove(path: Path) -> None:
    path.unlink()


SOURCES: dict[str, Callable[[Path], tuple[object, str]]] = {
    "onnx": lambda d: (_onnx(d / "a.onnx"), "a.onnx"),
    "onnx external": lambda d: (_onnx(d / "a.onnx", external="w.bin"), "w.bin"),
    "caffe": lambda d: (tuple(Path(shutil.copy(DATA / f, d)) for f in CAFFE), "det1.caffemodel"),
    "keras": lambda d: (Path(shutil.copy(next((DATA / "keras2-fer-minixception").glob("*.hdf5")), d / "m.h5")), "m.h5"),
    "ccir": lambda d: (convcore.load(_onnx(d / "a.onnx")).save(d / "a.ccir"), "a.ccir"),
}


@pytest.mark.parametrize("change", [_replace, _edit, _edit_and_set_back, _grow, _remove])
@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_that_changes_after_loading(tmp_path: Path, kind: str, change: Callable[[Path], None]):
    source, file = SOURCES[kind](tmp_path)
    model = convcore.load(source)
    change(tmp_path / file)
    for check in (True, False):
        with pytest.raises(convcore.ConvcoreError, match=file) as e:
            convcore.convert(model, "onnx", tmp_path / "out.onnx", check=check)
        assert type(e.value).__name__ == "SourceChangedError"
    assert not (tmp_path / "out.onnx").exists()


def test_a_source_that_changes_at_the_end(tmp_path: Path):
    """The prototxt is read whole at load: only the comparison at the end can see that it changed."""
    net, weights = (Path(shutil.copy(DATA / f, tmp_path)) for f in CAFFE)
    model = convcore.load((net, weights))
    net.write_text(net.read_text() + "\n# changed\n")
    with pytest.raises(convcore.ConvcoreError, match=r"det1\.prototxt"):
        convcore.convert(model, "onnx", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_an_untouched_source_converts(tmp_path: Path):
    model = convcore.load(_onnx(tmp_path / "a.onnx", external="w.bin"))
    os.chmod(tmp_path / "w.bin", 0o640)  # this and a link change the inode's own time, and say so
    os.link(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert convcore.convert(model, "onnx", tmp_path / "out.onnx").report.ok


_OPENED: list[str] | None = None


def _hook(event: str, args: tuple[object, ...]) -> None:
    if _OPENED is not None and event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        _OPENED.append(os.path.abspath(os.fsdecode(args[0])))


@pytest.mark.parametrize("kind", SOURCES)
def test_loaders_note_every_file_they_open(tmp_path: Path, kind: str):
    """The interpreter's own audit of opened files is the judge."""
    global _OPENED
    source, file = SOURCES[kind](tmp_path)
    if _OPENED is None:
        sys.addaudithook(_hook)
    _OPENED = []
    model = convcore.load(source)
    opened, _OPENED = {p for p in _OPENED if p.startswith(str(tmp_path))}, []
    noted = {f.path for f in model.files.files}
    assert opened <= noted, opened - noted
    assert str(tmp_path / file) in noted


def _tensors(path: Path, n: int = 7) -> list[MappedTensor]:
    return [MappedTensor(path, 4 * i, DType.FLOAT32, (1,)) for i in range(n)]


def test_a_batch_looks_at_each_file_once_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for p in paths:
        np.arange(7, dtype="f4").tofile(p)
    asked: list[str] = []
    real = files._stamp
    monkeypatch.setattr(files, "_stamp", lambda p: asked.append(p) or real(p))
    with reading():
        made = [t for p in paths for t in _tensors(p)]
    assert asked == [str(p) for p in paths]
    asked.clear()
    with reading(), reading():
        assert [float(t.numpy()[0]) for t in made] == [*range(7), *range(7)]
    assert sorted(asked) == sorted(str(p) for p in (*paths, *paths))


@pytest.mark.parametrize("change", [_edit, _grow, _remove])
def test_a_file_that_changes_within_a_batch(tmp_path: Path, change: Callable[[Path], None]):
    """Not seen at the second tensor, it is at the end; and at once where another batch has begun."""
    path = tmp_path / "a.bin"
    np.arange(70, dtype="f4").tofile(path)
    a, b = _tensors(path, 2)
    with pytest.raises(SourceChangedError, match=r"a\.bin"), reading():
        a.numpy()
        change(path)
    for read in (a.numpy, b.numpy):
        with pytest.raises(SourceChangedError, match=r"a\.bin"), reading():
            read()


def test_tensors_of_two_loads_of_one_path_are_told_apart(tmp_path: Path):
    path = tmp_path / "a.bin"
    np.arange(70, dtype="f4").tofile(path)
    (old,) = _tensors(path, 1)
    _edit(path)
    (new,) = _tensors(path, 1)
    with reading():
        new.numpy()
        with pytest.raises(SourceChangedError):
            old.numpy()
        new.numpy()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_relative_path_means_the_same_file_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    """Weights are read after the working folder has changed to one with a file of the same name and other values."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    source, file = SOURCES[kind](here)
    if kind == "ccir":
        source = here / file
    shutil.copytree(here, there)
    _edit(there / file)
    monkeypatch.chdir(here)
    model = convcore.load(tuple(Path(p.name) for p in source) if isinstance(source, tuple) else source.name)
    whole = convcore.load(source)
    monkeypatch.chdir(there)
    expected = {k: v.tensor for k, v in whole.graph.weights.items()}
    assert expected and model.graph.weights.keys() == expected.keys()
    for k, v in model.graph.weights.items():
        assert np.array_equal(v.tensor.numpy(), expected[k].numpy())


def test_a_tensor_of_a_relative_path_stays_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "other").mkdir()
    np.full(7, 3, "f4").tofile(tmp_path / "a.bin")
    np.full(7, 5, "f4").tofile(tmp_path / "other" / "a.bin")
    monkeypatch.chdir(tmp_path)
    (t,) = _tensors(Path("a.bin"), 1)
    monkeypatch.chdir(tmp_path / "other")
    assert t.numpy()[0] == 3


@pytest.mark.parametrize("read", ["mapped", "written", "lazy"])
def test_a_file_replaced_between_the_look_and_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str):
    path = tmp_path / "a.bin"
    np.full(7, 3, "f4").tofile(path)
    (mapped,) = _tensors(path, 1)
    lazy = LazyTensor(lambda: np.fromfile(path, "f4"), DType.FLOAT32, (7,), file=path)
    real = files.unchanged
    looked: list[object] = []

    def look(stamp: object) -> None:
        real(stamp)
        if not looked:
            looked.append(stamp)
            _replace(path)

    monkeypatch.setattr(tensors, "unchanged", look)
    with pytest.raises(SourceChangedError, match=r"a\.bin"):
        {"mapped": mapped.numpy, "written": lambda: mapped.write_to(io.BytesIO()), "lazy": lazy.numpy}[read]()
