"""Files that people take for models, told by their first bytes or by what a folder holds: said so, with what to do."""

from __future__ import annotations

from pathlib import Path

from .errors import BadFileError

__all__ = ["formats_not_read", "refuse_no_model"]

_TFLITE = "TensorFlow Lite models are not read; convert the Keras or ONNX model that it was made of"
_FOLDERS = {
    "saved_model.pb": "it is a TensorFlow SavedModel; load it in Keras and save that as .keras (model.save)",
    "keras_metadata.pb": "it is a Keras model in TensorFlow's SavedModel format; load it in Keras 2 and save that as .h5",
    "Manifest.json": "it is a Core ML package, which is not read",
}
_SUFFIXES = {
    ".tflite": _TFLITE,
    ".mlmodel": "Core ML models are not read; convert the model that it was made of",
    ".ckpt": "a checkpoint holds weights only; load it in its framework and save the model (.keras, .onnx, .pt2)",
    ".pb": "TensorFlow's frozen graphs are not read; load the model in Keras and save it as .keras, or export it as ONNX",
    ".index": "a TensorFlow checkpoint holds weights only; load it in Keras and save the model as .keras",
}


def formats_not_read() -> dict[str, str]:
    """What is taken for a model and is none that is read, by the suffix or the file that tells it, and what to do."""
    return {**_SUFFIXES, **_FOLDERS}


def refuse_no_model(path: Path, known: bool) -> None:
    """BadFileError for what is no model, or of a format that no plugin reads; ``known``: a framework has said it takes it."""
    why = ("" if known else _folder(path)) if path.is_dir() else _content(path)
    if not why and (not known or path.suffix.lower() == ".mlmodel"):  # its first bytes could be those of an ONNX file
        why = _SUFFIXES.get(path.suffix.lower(), "")
    if why:
        raise BadFileError(f"{path}: {why}")


def _folder(path: Path) -> str:
    return next((why for name, why in _FOLDERS.items() if (path / name).is_file()), "")


def _content(path: Path) -> str:
    try:
        with path.open("rb") as f:
            head = f.read(1024)
    except OSError:
        return ""  # whoever reads it says why it cannot
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a pointer of Git LFS and not the model itself: fetch that with 'git lfs pull', or download the file by itself"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page (HTML) that was saved in place of the model: download the file itself ('raw' on GitHub)"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in head[2:8]:
        return "is text in the encoding UTF-16 (PowerShell's > writes that): save it as UTF-8"
    if head[4:8] == b"TFL3":
        return _TFLITE
    return ""
