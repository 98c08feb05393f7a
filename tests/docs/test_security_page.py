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
    from convcore_pytorch.files import limits

    assert f"| {limits.PICKLE >> 20} MiB, {limits.OPCODES:,} opcodes, {limits.MEMORY >> 20} MiB of objects" in PAGE
    assert f"| {limits.MEMBERS:,} members, none twice" in PAGE
    assert f"safetensors header | {limits.HEADER:,} bytes" in PAGE


def test_ccir_limit():
    from convcore.ir import serialize

    assert f"header | {serialize._MAX_HEADER >> 30} GiB" in PAGE
