"""Wire reader and writer against google.protobuf with descriptors built from our tables, every way to store blobs, and damage."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore.ir.dtypes import DType
from convcore.ir.tensors import ArrayTensor, LazyTensor, MappedTensor
from convcore_caffe.files import Blob, Layer, Message, Net, read_mean, read_net, read_weights, write_caffemodel
from convcore_caffe.files import wire as wire_module
from convcore_caffe.files.descriptors import TEXT_ONLY
from convcore_caffe.files.schema import AMBIGUOUS, enum_values, message_names, message_type
from convcore_caffe.files.wire import read_message_file
from convcore_caffe.files.wire_write import encode, varint, write_pieces

from .test_files_text import DATA, messages

MODELS = sorted((DATA / "caffe_conformance").glob("*/*/*.caffemodel")) + sorted((DATA / "zoo").glob("caffe-*/*.caffemodel"))


def field(number: int, wire: int, payload: bytes) -> bytes:
    return varint(number << 3 | wire) + (varint(len(payload)) if wire == 2 else b"") + payload


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def shape(*dims: int) -> bytes:
    return field(7, 2, field(1, 2, b"".join(map(varint, dims))))


def model(blob: bytes, name: str = "ip") -> bytes:
    return field(100, 2, field(1, 2, name.encode()) + field(2, 2, b"InnerProduct") + field(7, 2, blob))


def read_blob(tmp_path: Path, blob: bytes) -> tuple[object, bool, np.ndarray]:
    path = tmp_path / "m.caffemodel"
    path.write_bytes(model(blob))
    (layer,) = read_weights(path)
    return layer.blobs[0], layer.legacy[0], layer.blobs[0].numpy()


# ---- against google.protobuf
@pytest.fixture(scope="module")
def classes() -> dict[str, type]:
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="c.proto", package="c", syntax="proto2")
    kinds = {"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12, "uint32": 13}
    enums = set()
    for name in message_names():
        m = file.message_type.add(name=name)
        for f in message_type(name).by_name.values():
            if not f.number:
                continue
            kind = kinds.get(f.kind) or (14 if f.kind == "enum" else 11)
            d = m.field.add(name=f.name, number=f.number, label=3 if f.repeated else 2 if f.required else 1, type=kind)
            if kind in (11, 14):
                d.type_name = f".c.{f.type}"
            if kind == 14:
                enums.add(f.type)
            if f.type == "BlobProto" or (name in ("BlobProto", "BlobShape") and f.repeated):
                d.options.packed = d.type not in (11,)
            if f.default is not None and f.default != AMBIGUOUS and kind != 12:
                default = f"{f.type}__{f.default}" if kind == 14 else str(f.default)
                d.default_value = default.lower() if kind == 8 else default
    for name in enums:
        e = file.enum_type.add(name=name)
        for value, number in enum_values(name).items():
            if number >= 0:
                e.value.add(name=f"{name}__{value}", number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    get = message_factory.GetMessageClass
    return {name: get(pool.FindMessageTypeByName(f"c.{name}")) for name in message_names()}


def plain(m: Message) -> dict:
    """Our message as a dict of comparable values; blobs as (shape, values)."""

    def one(f: object, v: object) -> object:
        if isinstance(v, Blob):
            return (v.shape, v.tensor.numpy().tobytes())
        if isinstance(v, Message):
            return plain(v)
        if f.kind == "enum":
            return enum_values(f.type)[v]
        return np.float32(v).tobytes() if f.kind == "float" else v

    out = {}
    for name, value in m.fields():
        f = m.schema.by_name[name]
        out[name] = [one(f, v) for v in value] if f.repeated else one(f, value)
    return out


def google(m: object) -> dict:
    def one(f: object, v: object) -> object:
        if f.message_type is not None and f.message_type.name == "BlobProto":
            legacy = [v.num, v.channels, v.height, v.width]
            dims = legacy if any(v.HasField(k) for k in ("num", "channels", "height", "width")) else v.shape.dim
            values = v.double_data if len(v.double_data) else v.data
            if v.HasField("raw_data"):  # half precision, as OpenCV's shrink script writes it (zoo/caffe-lpr-*)
                assert v.raw_data_type == enum_values("RawType")["FLOAT16"]
                values = np.frombuffer(v.raw_data, "<f2")
            return (tuple(dims), np.array(values, np.float32).tobytes())
        if f.message_type is not None:
            return google(v)
        return np.float32(v).tobytes() if f.type == 2 else v

    def repeated(f: object) -> bool:
        return f.is_repeated if hasattr(f, "is_repeated") else f.label == 3

    return {f.name: [one(f, x) for x in v] if repeated(f) else one(f, v) for f, v in m.ListFields()}


@pytest.mark.parametrize("path", MODELS, ids=lambda p: "/".join(p.parts[-3:-1]))
def test_same_as_protobuf(path: Path, classes: dict[str, type]) -> None:
    theirs = classes["NetParameter"].FromString(path.read_bytes())
    assert plain(read_message_file(path, "NetParameter")) == google(theirs)


def test_there_are_models() -> None:
    assert len(MODELS) > 180


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(m=messages("NetParameter", wire_only=True))
def test_any_message_agrees_with_protobuf_both_ways(m: Message, classes: dict[str, type], tmp_path: Path) -> None:
    pieces, size = encode(m)
    data = b"".join(pieces)
    assert len(data) == size
    theirs = classes["NetParameter"]()
    theirs.MergePartialFromString(data) if hasattr(theirs, "MergePartialFromString") else theirs.ParseFromString(data)
    assert google(theirs) == plain(m)
    path = tmp_path / "x.bin"
    path.write_bytes(theirs.SerializePartialToString())
    if path.stat().st_size:
        assert plain(read_message_file(path, "NetParameter")) == plain(m)


# ---- blobs
def test_packed_data_is_mapped_not_read(tmp_path: Path) -> None:
    tensor, legacy, values = read_blob(tmp_path, shape(2, 3) + field(5, 2, floats(*range(6))))
    assert isinstance(tensor, MappedTensor)
    assert not legacy
    np.testing.assert_array_equal(values, np.arange(6, dtype="f4").reshape(2, 3))


def test_data_before_shape_and_diff_skipped(tmp_path: Path) -> None:
    blob = field(6, 2, floats(9, 9)) + field(5, 2, floats(1, 2)) + field(9, 2, b"\0" * 16) + shape(2)
    np.testing.assert_array_equal(read_blob(tmp_path, blob)[2], [1, 2])
    one_by_one = b"".join(field(6, 5, floats(v)) for v in range(3)) + field(5, 2, floats(4)) + shape(1)
    np.testing.assert_array_equal(read_blob(tmp_path, one_by_one)[2], [4])


def test_unpacked_data_is_gathered(tmp_path: Path) -> None:
    n = 10_007
    values = np.random.default_rng(0).normal(size=n).astype("f4")
    blob = shape(n) + b"".join(field(5, 5, v.tobytes()) for v in values)
    tensor, _, got = read_blob(tmp_path, blob)
    assert isinstance(tensor, LazyTensor)
    np.testing.assert_array_equal(got, values)


def test_unpacked_runs_cross_numpy_blocks(tmp_path: Path) -> None:
    n = (1 << 20) + 13
    values = np.arange(n, dtype="<f4")
    rows = np.empty((n, 5), np.uint8)
    rows[:, 0] = 5 << 3 | 5
    rows[:, 1:] = values.view(np.uint8).reshape(n, 4)
    _, _, got = read_blob(tmp_path, shape(n) + rows.tobytes())
    np.testing.assert_array_equal(got, values)


def test_mixed_runs_keep_their_order(tmp_path: Path) -> None:
    blob = shape(7) + field(5, 2, floats(0, 1)) + field(5, 5, floats(2)) + field(6, 5, floats(8)) + field(5, 5, floats(3))
    blob += field(5, 2, floats(4, 5, 6))
    np.testing.assert_array_equal(read_blob(tmp_path, blob)[2], range(7))


@pytest.mark.parametrize("packed", [True, False])
def test_double_data_wins_and_is_float32(tmp_path: Path, packed: bool) -> None:
    doubles = [0.1, -2.5, 1e-3]
    raw = [struct.pack("<d", v) for v in doubles]
    stored = field(8, 2, b"".join(raw)) if packed else b"".join(field(8, 1, r) for r in raw)
    tensor, _, values = read_blob(tmp_path, shape(3) + stored)
    assert tensor.dtype == DType.FLOAT32
    np.testing.assert_array_equal(values, np.float32(doubles))


@pytest.mark.parametrize(("kind", "dtype"), [(None, "<f2"), (2, "<f2"), (1, "<f4"), (None, "<f4"), (0, "<f8")])
def test_raw_data(tmp_path: Path, kind: int | None, dtype: str) -> None:
    values = np.array([0.5, -1.25, 3], dtype)
    blob = shape(3) + (b"" if kind is None else field(10, 0, varint(kind))) + field(12, 2, values.tobytes())
    tensor, _, got = read_blob(tmp_path, blob)
    assert tensor.dtype == DType.FLOAT32
    np.testing.assert_array_equal(got, values.astype("f4"))


def test_legacy_axes(tmp_path: Path) -> None:
    blob = field(1, 0, varint(1)) + field(2, 0, varint(1)) + field(3, 0, varint(2)) + field(4, 0, varint(3))
    tensor, legacy, _ = read_blob(tmp_path, blob + field(5, 2, floats(*range(6))))
    assert (tensor.shape, legacy) == ((1, 1, 2, 3), True)
    for left_out in range(1, 5):  # BlobProto: ``optional int32 num = 1 [default = 0]``, and so on
        given = [b"" if i == left_out else field(i, 0, varint(2)) for i in range(1, 5)]
        tensor, legacy, _ = read_blob(tmp_path, b"".join(given))
        assert (tensor.shape, legacy) == (tuple(0 if i == left_out else 2 for i in range(1, 5)), True)


def test_scalar_blob(tmp_path: Path) -> None:
    tensor, _, values = read_blob(tmp_path, field(7, 2, b"") + field(5, 2, floats(0.25)))
    assert tensor.shape == ()
    assert values == 0.25


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (shape(2, 3) + field(5, 2, floats(*range(5))), "wants 6 values, the file holds 5"),
        (shape(1 << 40, 1 << 40, 1 << 40) + field(5, 2, floats(1, 2)), "wants"),
        (shape(3), "wants 3 values, the file holds 0"),
        (shape(*[1] * 33) + field(5, 2, floats(1)), "32|33"),
        (field(7, 2, field(1, 0, varint(-2))) + field(5, 2, floats(1, 2)), "negative"),
        (shape(1) + field(5, 2, b"abc"), "cut inside a value"),
        (shape(1) + field(5, 0, b"\1"), "wire type"),
        (shape(1) + field(10, 0, varint(3)) + field(12, 2, b"abcd"), "not supported"),
        (shape(1) + field(5, 2, floats(1)) + field(12, 2, b"abcd"), "beside"),
        (shape(1) + varint(5 << 3 | 5) + b"ab", "truncated"),
    ],
)
def test_broken_blobs_name_the_layer(tmp_path: Path, blob: bytes, why: str) -> None:
    with pytest.raises(BadFileError, match=why) as e:
        read_blob(tmp_path, blob)
    assert "'ip'" in str(e.value)


def test_v1_and_v0_files(tmp_path: Path) -> None:
    blob = shape(2) + field(5, 2, floats(1, 2))
    v1 = field(2, 2, field(4, 2, b"a") + field(5, 0, varint(14)) + field(6, 2, blob))
    v0 = field(2, 2, field(1, 2, field(1, 2, b"b") + field(2, 2, b"conv") + field(50, 2, blob)) + field(2, 2, b"x"))
    path = tmp_path / "old.caffemodel"
    path.write_bytes(field(1, 2, b"net") + v1 + v0)
    assert [(w.name, w.type, len(w.blobs)) for w in read_weights(path)] == [("a", "InnerProduct", 1), ("b", "Convolution", 1)]
    path.write_bytes(v1 + model(blob))
    with pytest.raises(BadFileError, match="V1"):
        read_weights(path)


def test_mean_file(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    dims = b"".join(field(k, 0, varint(n)) for k, n in ((1, 1), (2, 3), (3, 2), (4, 5)))
    path.write_bytes(dims + field(5, 2, floats(*range(30))))
    mean = read_mean(path)
    assert mean.shape == (1, 3, 2, 5)
    np.testing.assert_array_equal(mean.numpy().ravel(), range(30))
    path.write_bytes(dims)
    with pytest.raises(BadFileError):
        read_mean(path)


# ---- writing
def test_writing_streams_and_comes_back(tmp_path: Path, classes: dict[str, type]) -> None:
    rng = np.random.default_rng(3)
    w, b = rng.normal(size=(3, 5, 2)).astype("f4"), rng.normal(size=7)
    asked = []

    def lazily() -> np.ndarray:
        asked.append(1)
        return w

    blobs = [LazyTensor(lazily, DType.FLOAT32, w.shape).transpose((2, 0, 1)), ArrayTensor(b), ArrayTensor(np.float32(4))]
    net = Net("n", [Layer("a/b", "InnerProduct", ["x"], ["y"], blobs=blobs), Layer("r", "ReLU", ["y"], ["y"])])
    pieces, size = encode(Message("NetParameter"))
    assert (pieces, size) == ([], 0)
    path = tmp_path / "out.caffemodel"
    write_caffemodel(net, path)
    assert asked == [1]
    first, second = read_weights(path)
    assert (first.name, second.name, second.blobs) == ("a/b", "r", [])
    np.testing.assert_array_equal(first.blobs[0].numpy(), w.transpose(2, 0, 1))
    np.testing.assert_array_equal(first.blobs[1].numpy(), b.astype("f4"))
    assert first.blobs[2].shape == ()
    theirs = classes["NetParameter"].FromString(path.read_bytes())
    assert list(theirs.layer[0].blobs[0].shape.dim) == [2, 3, 5]
    assert list(theirs.layer[0].blobs[1].data) == list(b.astype("f4"))


def test_more_than_protobuf_can_read_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    big = LazyTensor(lambda: np.zeros(0, "f4"), DType.FLOAT32, (1 << 29,))
    with pytest.raises(UnsupportedError, match="2147483647"):
        write_caffemodel(Net("n", [Layer("a", "InnerProduct", blobs=[big])]), tmp_path / "x.caffemodel")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> np.ndarray:
        raise BadFileError("the source ended")

    blobs = [LazyTensor(fail, DType.FLOAT32, (3,))]
    with pytest.raises(BadFileError, match="the source ended"):
        write_caffemodel(Net("n", [Layer("a", "InnerProduct", blobs=blobs)]), tmp_path / "x.caffemodel")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConvcoreError):
        write_caffemodel(Net("n", [Layer("a", "ReLU")]), tmp_path / "no" / "x.caffemodel")


def test_write_pieces_writes_the_announced_size() -> None:
    m = Message("LayerParameter", name="é", loss_weight=[0.5], phase="TRAIN")
    m.put("blobs", [Blob(ArrayTensor(np.zeros((2, 0, 3), "f4"))), Blob(ArrayTensor(np.ones((130,), "f4")))])
    pieces, size = encode(m)
    out = io.BytesIO()
    write_pieces(pieces, out)
    assert len(out.getvalue()) == size


# ---- damage
def consume(path: Path) -> None:
    for layer in read_weights(path):
        for blob in layer.blobs:
            blob.numpy()


def test_truncation_anywhere_ends_in_a_typed_error(tmp_path: Path) -> None:
    data = (DATA / "caffe_conformance" / "_Net" / "v1_layers" / "weights.caffemodel").read_bytes()
    path = tmp_path / "cut.caffemodel"
    complete = 0
    for n in range(0, len(data), 3):
        path.write_bytes(data[:n])
        try:
            consume(path)
            complete += 1
        except BadFileError as e:
            assert str(path) in str(e)
    assert complete < 20  # only cuts between two layers leave a shorter, valid file


_SEED = (DATA / "caffe_conformance" / "_Net" / "hdf5_weights" / "weights.caffemodel").read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, len(_SEED) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes_end_in_a_typed_error_or_a_value(edits: list[tuple[int, int]], tmp_path: Path) -> None:
    data = bytearray(_SEED)
    for at, value in edits:
        data[at] = value
    path = tmp_path / "m.caffemodel"
    path.write_bytes(data)
    with suppress(BadFileError):
        consume(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=80))
def test_garbage_ends_in_a_typed_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.caffemodel"
    path.write_bytes(data)
    for read in (lambda: read_message_file(path, "NetParameter"), lambda: consume(path), lambda: read_mean(path).numpy()):
        with suppress(BadFileError):
            read()


def test_groups_and_endless_fields_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.caffemodel"
    path.write_bytes(field(1, 2, b"n") + b"\xa3\x06" * 200_000)
    with pytest.raises(BadFileError, match="wire type 3"):
        read_message_file(path, "NetParameter")
    monkeypatch.setattr(wire_module, "MAX_FIELDS", 1000)
    path.write_bytes(field(4, 0, b"\1") * 2000)
    with pytest.raises(BadFileError, match="fields"):
        read_message_file(path, "NetParameter")
    path.write_bytes(field(4, 2, b"\1" * 2000))
    with pytest.raises(BadFileError, match="fields"):
        read_message_file(path, "NetParameter")


# ---- what protobuf gets, and does not get
def one_layer(*fields: bytes) -> bytes:
    return field(100, 2, field(1, 2, b"odd") + b"".join(fields))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (one_layer(field(130, 2, field(1, 2, b"caf\xe9"))), "module is not UTF-8"),
        (one_layer(field(106, 2, b"\x1b\x08\x01\x1c")), "field 3 with wire type 3"),
        (one_layer(field(106, 2, b"\x08")), "LayerParameter is damaged"),
        (field(2, 2, field(4, 2, b"odd") + field(5, 0, varint(400_000_001))), "V1LayerType has no value 400000001"),
    ],
)
def test_damage_inside_a_layer_names_it(tmp_path: Path, raw: bytes, why: str) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(raw)
    with pytest.raises(BadFileError, match=rf"at byte \d+, layer 'odd': .*{why}"):
        read_message_file(path, "NetParameter")


def test_numbers_made_up_for_the_text_form_mean_nothing_in_a_binary_file(tmp_path: Path) -> None:
    text_only = [(t, i) for t in ("LayerParameter", "DetectionOutputParameter")
                 for i, f in enumerate(message_type(t).by_name.values()) if not f.number]  # fmt: skip
    assert len({t for t, _ in text_only}) == 2
    path = tmp_path / "a.caffemodel"
    for name, i in text_only:
        odd = field(TEXT_ONLY + i, 2, b"")
        inside = message_type("LayerParameter").by_name["detection_output_param"].number
        path.write_bytes(one_layer(odd if name == "LayerParameter" else field(inside, 2, odd)))
        (layer,) = read_message_file(path, "NetParameter").get("layer")
        m = layer if name == "LayerParameter" else layer.get("detection_output_param")
        assert list(m.unknown) == [f"#{TEXT_ONLY + i}"] and m.names() in ([f"#{TEXT_ONLY + i}"], ["name", f"#{TEXT_ONLY + i}"])


def test_text_only_fields_are_not_written_to_a_binary_file(tmp_path: Path) -> None:
    m = Message("NetParameter")
    layer = Message(
        "LayerParameter", name="d", detection_output_param=Message("DetectionOutputParameter", num_classes=7, save_file="x")
    )
    m.set("layer", [layer])
    path = tmp_path / "a.caffemodel"
    with path.open("wb") as f:
        write_pieces(encode(m)[0], f)
    (back,) = read_message_file(path, "NetParameter").get("layer")
    assert plain(back) == {"name": "d", "detection_output_param": {"num_classes": 7}} and not back.unknown


def test_a_layer_is_bounded_without_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(
        one_layer(field(2, 2, b"Python"), field(130, 2, field(3, 2, b"p" * 5000)), field(7, 2, field(5, 2, bytes(8000))))
    )
    monkeypatch.setattr(wire_module, "MAX_SKELETON", 4000)
    with pytest.raises(BadFileError, match="layer 'odd': LayerParameter is larger than 4000 bytes without its weights"):
        read_message_file(path, "NetParameter")
    path.write_bytes(one_layer(field(7, 2, field(5, 2, bytes(8000)) + field(7, 2, field(1, 0, varint(2000))))))
    assert read_message_file(path, "NetParameter").get("layer")[0].get("blobs")[0].shape == (2000,)


def test_the_pool_is_private_and_protobuf_is_imported_for_binary_files_only(tmp_path: Path) -> None:
    net = tmp_path / "n.prototxt"
    net.write_text('layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }')
    code = f"""
import sys, convcore_caffe.files as files
files.read_net({str(net)!r})
assert "google.protobuf" not in sys.modules
from convcore_caffe.files.descriptors import message_class
message_class("NetParameter")
from google.protobuf import descriptor_pool
try:
    descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
except KeyError:
    print("private")
"""
    path = os.pathsep.join(p for p in sys.path if p)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert out.stdout.strip() == "private", out.stderr


def test_a_net_of_no_layers_is_a_caffemodel(tmp_path: Path) -> None:
    """What is left of a net without weights once a tool has stripped its layers: beside a prototxt it is found and read."""
    (tmp_path / "m.caffemodel").write_bytes(field(1, 2, b"net"))
    assert read_weights(tmp_path / "m.caffemodel") == []
    (tmp_path / "n.caffemodel").write_bytes(field(3, 2, b"data"))  # an input, and nothing else
    with pytest.raises(BadFileError, match="no layers: not a caffemodel"):
        read_weights(tmp_path / "n.caffemodel")


def test_what_is_wrong_in_a_binary_file_is_in_no_line(tmp_path: Path) -> None:
    m = Message("NetParameter")
    m.set("layer", [Message("LayerParameter", name="d", type="ReLU", bottom=["nowhere"], top=["d"])])
    path = tmp_path / "a.caffemodel"
    with path.open("wb") as f:
        write_pieces(encode(m)[0], f)
    with pytest.raises(BadFileError, match="unknown bottom blob 'nowhere'") as binary:
        read_net(path)
    path = tmp_path / "a.prototxt"
    path.write_text('layer { name: "d" type: "ReLU" bottom: "nowhere" top: "d" }')
    with pytest.raises(BadFileError, match="unknown bottom blob 'nowhere'") as text:
        read_net(path)
    assert f"{path}:1: layer 'd'" in str(text.value) and "layer 'd'" in str(binary.value) and ":1:" not in str(binary.value)
