"""Files that people take for models: what they are is said, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import convcore
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore.nomodel import refuse_no_model

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
pytest.importorskip("convcore_caffe")

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"
SUFFIXES = (".onnx", ".h5", ".keras", ".prototxt", ".caffemodel", ".pt", ".json")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("data", "why"), [(POINTER, "git lfs pull"), (PAGE, "web page"), (PAGE[1:].lower(), "web page")])
def test_pointers_and_pages(data: bytes, why: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"m{suffix}").write_bytes(data)
    with pytest.raises(BadFileError, match=why):
        convcore.load(tmp_path / f"m{suffix}")


def test_weights_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{}")
    (tmp_path / "w.h5").write_bytes(POINTER)
    with pytest.raises(BadFileError, match=r"w\.h5: is a pointer of Git LFS"):
        convcore.load(tmp_path / "m.json", tmp_path / "w.h5")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16(encoding: str, tmp_path: Path) -> None:
    text = 'name: "n"\nlayer { name: "x" type: "Input" top: "x" }'
    (tmp_path / "m.prototxt").write_bytes((b"\xfe\xff" if encoding.endswith("be") else b"") + text.encode(encoding))
    with pytest.raises(BadFileError, match="UTF-16"):
        convcore.load(tmp_path / "m.prototxt")


@pytest.mark.parametrize(
    ("name", "why"),
    [("saved_model.pb", "SavedModel.*model.save"), ("keras_metadata.pb", "save that as .h5"), ("Manifest.json", "Core ML")],
)
def test_folders(name: str, why: str, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "m/variables")
    (tmp_path / "m" / name).write_bytes(b"\x08\x01")
    with pytest.raises(BadFileError, match=why):
        refuse_no_model(tmp_path / "m", known=False)
    with pytest.raises((BadFileError, UnsupportedError), match=why.replace("model.save", "save")):  # Keras's reader says more
        convcore.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
        ("m.bin", b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
        ("m.mlmodel", b"\x08\x04", "Core ML"), ("m.ckpt", b"\x99\x98", "weights only"), ("m.index", b"\x99\x98", "weights only"),
        ("m.pb", b"\x99\x98\x97", "frozen graphs"),
    ],
)  # fmt: skip
def test_formats_that_nobody_reads(name: str, data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConvcoreError, match=why):
        convcore.load(tmp_path / name)
