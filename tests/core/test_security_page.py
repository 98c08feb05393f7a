"""The limits on docs/security.md are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs/security.md").read_text(encoding="utf-8").split())


def test_budget():
    from convcore import budget

    assert budget.FACTOR == 1, "CONVCORE_BUDGET is set"
    assert f"**{budget.NODES:,} nodes**" in PAGE and f"**{budget.RESULTS:,} inputs or results**" in PAGE
    assert f"**{budget.BYTES >> 20} MiB**" in PAGE and f"**{budget.TEXT >> 20} MiB** of a name" in PAGE
    assert f"**{budget.STEPS:,} steps**" in PAGE and f"**{budget.TERMS:,} terms**" in PAGE


def test_keras_limits():
    pytest.importorskip("convcore_keras")
    from convcore_keras.files import archive, config, hdf5, safe_json, shards

    assert f"{safe_json.MAX_JSON_BYTES >> 20} MiB, {safe_json.MAX_JSON_DEPTH} levels, {safe_json.MAX_JSON_ITEMS:,} items" in PAGE
    assert f"nested Keras models | {config.MAX_NESTING} levels" in PAGE
    assert f"{archive._MAX_MEMBERS} members" in PAGE
    assert (
        f"over {archive._BIG >> 20} MiB may be compressed at most {archive._RATIO} times, to {archive._MAX_INFLATED >> 30} GiB"
        in PAGE
    )
    assert f"| {hdf5._MAX_ATTR_BYTES >> 20} MiB, {hdf5._MAX_NAMES:,} |" in PAGE
    assert f"dataset over {hdf5._BIG >> 20} MiB | declares at most {hdf5._RATIO} times" in PAGE
    assert f"Keras shards | {shards._MAX_SHARDS} files" in PAGE
    assert {1, 2, 3} == hdf5._FILTERS  # deflate, shuffle, fletcher32


def test_limits_of_keras_code():
    pytest.importorskip("convcore_keras")
    from convcore_keras import run_code
    from convcore_keras.code import domain, loops, making, marshal, values
    from convcore_keras.code.source import arrays, library, python
    from convcore_keras.code.source import domain as source
    from convcore_keras.files import config, hdf5, headers, safe_json, safe_yaml, weights_v3
    from convcore_keras.ops import signal

    said = f"({marshal.MAX_BYTES >> 10} KiB, {marshal.MAX_OBJECTS:,} objects, {marshal.MAX_DEPTH} levels, "
    assert f"{said}integers of {15 * marshal.MAX_DIGITS} bits, " in PAGE
    said = f"({domain.MAX_STEPS:,} steps, {domain.MAX_CALLS} calls deep, sequences of {values.MAX_ITEMS:,} items, "
    assert f"{said}integers of {domain.MAX_INT.bit_length() - 1} bits)" in PAGE and domain.MAX_INT.bit_count() == 1
    assert f"({source.STEPS:,} steps a layer, 64 calls deep, arrays of {arrays.MAX_SIZE:,} elements, " in PAGE
    assert f"loops of {loops.MOST_WRITTEN_OUT:,} steps without a tensor)" in PAGE
    assert f"at most {library.MAX_FILES:,} files of {library.MAX_BYTES >> 20} MiB each" in PAGE
    assert arrays.MAX_SIZE == making.MAX_MADE == python._MOST
    assert f"({run_code.SECONDS} s, {run_code.BYTES >> 30} GiB, no core dumps)" in PAGE
    assert f"| {safe_yaml.MAX_YAML_BYTES >> 20} MiB, {safe_json.MAX_JSON_DEPTH} levels, {safe_yaml._MAX_ITEMS:,} items" in PAGE
    assert f"layers of a Keras model, variables of a custom one | {config._MAX_LAYERS:,}, {weights_v3._MAX_CUSTOM:,}" in PAGE
    assert f"at most {hdf5._MAX_CHUNKED >> 30} GiB in chunks" in PAGE
    assert f"parts of the header of an HDF5 object | {headers._MAX_BLOCKS}" in PAGE
    assert f"windows and transforms that a Keras operation writes out | {signal.LONGEST} elements" in PAGE


def test_onnx_limits():
    pytest.importorskip("convcore_onnx")
    from convcore_onnx import structure

    assert f"| {structure.MAX_DEPTH} levels |" in PAGE


def test_caffe_limits():
    pytest.importorskip("convcore_caffe")
    from convcore_caffe.files import blobs, hdf5, text, wire

    limits = f"{text.MAX_DEPTH} levels, {text.MAX_TOKENS:,} tokens, strings of {text.MAX_STRING >> 20} MiB"
    assert f"prototxt | {text.MAX_BYTES >> 20} MiB, {limits}" in PAGE
    assert f"{wire.MAX_FIELDS:,} fields, {wire.MAX_RUNS} parts of a blob, {blobs.MAX_AXES} axes" in PAGE
    assert f"protobuf gets {wire.MAX_SKELETON >> 20} MiB of a layer" in PAGE
    assert f"{hdf5._MAX_LINKS:,} layers, declares at most {hdf5._RATIO} times" in PAGE


def test_pytorch_limits():
    pytest.importorskip("convcore_pytorch")
    from convcore_pytorch import control
    from convcore_pytorch.files import limits
    from convcore_pytorch.files.script import builder, statements
    from convcore_pytorch.rules import running

    assert f"| {limits.PICKLE >> 20} MiB, {limits.OPCODES:,} opcodes, {limits.MEMORY >> 20} MiB of objects" in PAGE
    assert f"| {limits.MEMBERS:,} members, none twice" in PAGE
    assert f"safetensors header | {limits.HEADER:,} bytes" in PAGE
    said = f"a line of {limits.TEXT_LINE >> 10} KiB, integers of {limits.INTEGER} bytes, keys nested {limits.NESTED_KEY} deep"
    assert said in PAGE and f"a directory of {limits.DIRECTORY >> 20} MiB" in PAGE
    assert f"a tensor in a PyTorch file | {limits.DIMS} axes, {limits.WIDEN >> 20} MiB expanded from a smaller storage" in PAGE
    assert f"JSON of an exported program | {limits.JSON >> 20} MiB, {limits.DEPTH} levels" in PAGE
    said = (
        f"{limits.SOURCE >> 20} MiB of source, {builder._STEPS:,} steps, {limits.NODES:,} values, calls {statements._CALLS} deep"
    )
    assert f"TorchScript | {said}" in PAGE
    assert f"loops written out up to {statements._UNROLL} times" in PAGE and control.UNROLLED == statements._UNROLL
    assert f"running extremes and medians of torch along an axis | {running.MOST} elements" in PAGE


def test_ccir_limit():
    from convcore.ir import serialize

    assert f"header | {serialize._MAX_HEADER >> 30} GiB" in PAGE
