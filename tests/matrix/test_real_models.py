"""Files that people trained, and files of every Keras era: to ONNX, against what their own frameworks computed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix_kit import (
    ERAS,
    LIMIT,
    ZOO,
    as_list,
    convert,
    era_models,
    error_of_range,
    float_graph,
    ort_session,
    recorded,
    run_ort,
    transposes,
)

import convcore
from convcore.errors import BadFileError, UnsupportedError

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
pytest.importorskip("onnxruntime")

SHARED = Path("/work/shared")
HALF_LIMIT = 5e-3
"""For models that compute in float16: TensorFlow accumulates products in half precision, others in single."""

UNFINISHED = {
    "k231/cudnn",
    "k231/noinput_seq",
    "tf115/cudnn",
    "tf115/noinput_seq",
    "tf115/tfops",
    "tf23/textvec",
    "tf24/textvec",
    "tf28/textvec",
    "tf213/textvec.h5",
    "tf215/textvec.h5",
    "tf215/lambda.h5",
}
"""Files whose Keras stopped with an error while it wrote them."""
NOT_YET = {
    "TextVectorization",
    "AttentionWeightedAverage",
}


def source_of(era: str, name: str, form: str, eras: Path = ERAS) -> Any:
    path = eras / era / f"{name}.{form}"
    return (path, path.with_suffix(".weights.h5")) if form == "json" else path


def options_of(era: str) -> dict[str, Any]:
    return {"kernels": "theano"} if era == "k122" else {}


def config_of(source: Any) -> dict[str, Any]:
    """The configuration as the file holds it, read without convcore."""
    import zipfile

    import h5py

    path = source[0] if isinstance(source, tuple) else source
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            return json.loads(z.read("config.json"))
    with h5py.File(path) as f:
        text = f.attrs["model_config"]
    return json.loads(text if isinstance(text, str) else text.decode())


def lost(config: dict[str, Any]) -> bool:
    """A Lambda around a function of TensorFlow 2.5 and newer: the file holds the code of a wrapper, which every function has."""
    function = config.get("function")
    text = function[0] if isinstance(function, list) and isinstance(function[0], str) else ""
    code = base64.b64decode(text) if text.isascii() else b""
    return b"util/traceback_utils.py" in code


def not_yet(config: Any) -> set[tuple[str, str]]:
    """(name, class) of every layer, wrapped and nested ones included, whose class is not of this list."""
    found: set[tuple[str, str]] = set()
    if isinstance(config, dict):
        inner = config.get("config")
        refused = config.get("class_name") in NOT_YET or (config.get("class_name") == "Lambda" and lost(config["config"]))
        if refused and isinstance(inner, dict):
            found.add((config.get("name") or inner["name"], config["class_name"]))
        config = list(config.values())
    if isinstance(config, list):
        for x in config:
            found |= not_yet(x)
    return found


def resolution(want: list[np.ndarray]) -> float:
    """Four units in the last place of float32 at the outputs' size, of their range: what ten operations in another order may
    differ by. 1e-3 for those of ``lambda``, which lie between 2.9882 and 2.9892; less than LIMIT for all others."""
    floats = [w for w in want if w.dtype == np.float32 and np.ptp(w)]
    return max((4 * float(np.spacing(np.abs(w).max())) / float(np.ptp(w)) for w in floats), default=0.0)


def check(
    source: Any, out: Path, given: list[np.ndarray], want: list[np.ndarray], opset: int | None = None, **options: Any
) -> Any:
    """Interpreter, onnxruntime and the interpreter on the ONNX file, all against the recorded outputs."""
    model = convcore.load(source, **options)
    limit = max(LIMIT if float_graph(model.graph) else HALF_LIMIT, resolution(want))
    assert error_of_range(as_list(model(*given)), want) < limit
    proto, _ = convert(source, out, **options, **({} if opset is None else {"opset": opset}))
    assert [v.name for v in proto.graph.input] == [v.name for v in model.inputs]
    assert [v.name for v in proto.graph.output] == [v.name for v in model.outputs]
    assert error_of_range(run_ort(ort_session(out), given), want) < limit
    back = convcore.load(out)
    typed = [a.astype(v.dtype.numpy) for a, v in zip(given, back.inputs)]
    assert error_of_range(as_list(back(*typed)), want) < limit
    return proto


# ---- Keras of every era
def supported(eras: Path = ERAS) -> list[tuple[str, str, str]]:
    out = []
    for era, name, form in era_models(eras):
        if f"{era}/{name}" in UNFINISHED or f"{era}/{name}.{form}" in UNFINISHED or era == "misc3":
            continue
        if (eras / era / f"{name}.io.npz").exists() and not not_yet(config_of(source_of(era, name, form, eras))):
            out.append((era, name, form))
    return out


SUPPORTED = supported()


def test_the_fixtures_are_there() -> None:
    assert len(SUPPORTED) > 110 and {e for e, _, _ in SUPPORTED} == {p.name for p in ERAS.iterdir() if p.is_dir()} - {"misc3"}


@pytest.mark.parametrize(("era", "name", "form"), SUPPORTED, ids=["-".join(s) for s in SUPPORTED])
def test_era(era: str, name: str, form: str, tmp_path: Path) -> None:
    given, want = recorded(ERAS / era / f"{name}.io.npz")
    check(source_of(era, name, form), tmp_path / "m.onnx", given, want, **options_of(era))


REFUSED = [
    m for m in era_models() if m[0] != "misc3" and m not in SUPPORTED and m[1] not in ("cudnn", "norm_axes", "noinput_seq")
]


@pytest.mark.parametrize(("era", "name", "form"), REFUSED, ids=["-".join(s) for s in REFUSED])
def test_refused_with_every_layer_named(era: str, name: str, form: str, tmp_path: Path) -> None:
    source = source_of(era, name, form)
    if f"{era}/{name}" in UNFINISHED or f"{era}/{name}.{form}" in UNFINISHED:
        if (era, name, form) in (("tf24", "textvec", "json"),):
            pytest.skip("no weights")
        with pytest.raises(BadFileError, match=r"saving it did not finish|not a Keras model"):
            convcore.convert(source, "onnx", tmp_path / "m.onnx", **options_of(era))
    else:
        expected = not_yet(config_of(source))
        with pytest.raises(UnsupportedError) as e:
            convcore.convert(source, "onnx", tmp_path / "m.onnx", **options_of(era))
        assert {(p.layer, p.type) for p in e.value.problems} == expected and len(e.value.problems) == len(expected)
        assert all(p.why and p.hint for p in e.value.problems)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("era", "name", "form"), [m for m in era_models() if m[1] in ("cudnn", "norm_axes") and m not in SUPPORTED]
)
def test_without_recorded_outputs(era: str, name: str, form: str, tmp_path: Path) -> None:
    """CuDNN layers need a GPU to run, so nothing was recorded: the runtimes must agree with each other."""
    source = source_of(era, name, form)
    if f"{era}/{name}" in UNFINISHED:
        with pytest.raises(BadFileError, match="saving it did not finish"):
            convcore.convert(source, "onnx", tmp_path / "m.onnx")
        return
    assert convcore.convert(source, "onnx", tmp_path / "m.onnx", rtol=1e-5).report.verified


MISC = {
    "bf.keras": None,
    "nest3.keras": None,
    "opt.keras": None,
    "seq.keras": None,
    "sharednest.keras": None,
    "twice.keras": None,
    "ap.keras": None,
    "min.keras": None,
    "ops2.h5": None,
    "ops2.keras": None,
    "q_float8.keras": None,
    "q_int4.keras": ["emb"],
    "q_int8.keras": None,
}


@pytest.mark.parametrize("name", MISC)
def test_keras_3_oddities(name: str, tmp_path: Path) -> None:
    refused = MISC[name]
    if refused is None:
        report = convcore.convert(
            ERAS / "misc3" / name, "onnx", tmp_path / "m.onnx", opset=19 if "float8" in name else None
        ).report
        assert report.ok and report.verified
        return
    with pytest.raises(UnsupportedError) as e:
        convcore.convert(ERAS / "misc3" / name, "onnx", tmp_path / "m.onnx")
    assert [p.layer for p in e.value.problems] == refused
    assert list(tmp_path.iterdir()) == []


# ---- the zoo
def zoo_models(zoo: Path, kind: str) -> list[Path]:
    return sorted(p for p in zoo.glob(f"{kind}*") if (p / "inputs.npz").exists())


def zoo_source(folder: Path) -> Any:
    (model,) = [p for p in folder.iterdir() if p.suffix in (".h5", ".hdf5", ".keras", ".onnx")]
    return (folder / "architecture.json", model) if (folder / "architecture.json").exists() else model


def zoo_recorded(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    ref = folder / "ref_old.npz"
    with np.load(folder / "inputs.npz") as i, np.load(ref if ref.exists() else folder / "ref.npz") as o:
        return [i[k] for k in i.files], [o[k] for k in o.files]


def folders(kind: str) -> list[Any]:
    ours = zoo_models(ZOO, kind)
    names = {p.name for p in ours}
    more = [p for p in zoo_models(SHARED / "zoo", kind) if p.name not in names]
    return [pytest.param(p, id=p.name) for p in ours] + [
        pytest.param(p, id=f"shared-{p.name}", marks=pytest.mark.slow) for p in more
    ]


@pytest.mark.parametrize("folder", folders("keras"))
def test_keras_zoo(folder: Path, tmp_path: Path) -> None:
    source = zoo_source(folder)
    expected = not_yet(config_of(source))
    if expected:
        with pytest.raises(UnsupportedError) as e:
            convcore.convert(source, "onnx", tmp_path / "m.onnx")
        assert {(p.layer, p.type) for p in e.value.problems} == expected
        assert list(tmp_path.iterdir()) == []
        return
    given, want = zoo_recorded(folder)
    check(source, tmp_path / "m.onnx", given, want)
    left = transposes(convert(source, tmp_path / "t.onnx", io_layout="target")[0])
    assert left == (13 if folder.name == "keras2-deepcut" else 0)  # deepcut: Dense over the channels of 12 convolutions


@pytest.mark.parametrize("folder", folders("onnx"))
def test_onnx_zoo(folder: Path, tmp_path: Path) -> None:
    given, want = zoo_recorded(folder)
    source = zoo_source(folder)
    proto = check(source, tmp_path / "m.onnx", given, want)
    import onnx

    assert transposes(proto) <= transposes(onnx.load(source))


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared collection is not here")
def test_fixtures_that_are_not_in_the_repository(tmp_path: Path) -> None:
    eras, seen = SHARED / "fixtures/keras_eras", set(SUPPORTED)
    done = 0
    for era, name, form in era_models(eras):
        source = source_of(era, name, form, eras)
        parts = source if isinstance(source, tuple) else (source,)
        if (era, name, form) in seen or era == "misc3" or any(p.stat().st_size == 0 for p in parts):
            continue
        if f"{era}/{name}" in UNFINISHED or f"{era}/{name}.{form}" in UNFINISHED or not_yet(config_of(source)):
            continue
        if (eras / era / f"{name}.io.npz").exists():
            given, want = recorded(eras / era / f"{name}.io.npz")
            check(source, tmp_path / f"{done}.onnx", given, want, **options_of(era))
            done += 1
    print(done, "more fixtures")
