"""One file for graph and weights: a safetensors file whose metadata holds the text form.

Any safetensors reader can open it. Tensors are streamed when saving and memory-mapped when loading.
"""

from __future__ import annotations

import json
import operator
import os
import struct
from pathlib import Path
from typing import Any

from ..budget import AXES
from ..errors import BadFileError, OutputError
from ..files import watched
from ..output import writing
from .dtypes import DType
from .graph import Graph
from .tensors import MappedTensor, Tensor, moves_of
from .text import parse_text, to_text

__all__ = ["load", "read_safetensors", "save", "write_safetensors"]

_CODES = {
    DType.FLOAT32: "F32", DType.FLOAT16: "F16", DType.FLOAT64: "F64", DType.BFLOAT16: "BF16", DType.INT8: "I8",
    DType.INT16: "I16", DType.INT32: "I32", DType.INT64: "I64", DType.UINT8: "U8", DType.UINT16: "U16", DType.UINT32: "U32",
    DType.UINT64: "U64", DType.BOOL: "BOOL", DType.COMPLEX64: "C64",
}  # fmt: skip
_DTYPES = {v: k for k, v in _CODES.items()}
_MAX_HEADER = 1 << 30
FORMAT = "2"
"""Version of the text form: 2 has scopes, roles and results, 1 had layers."""


def write_safetensors(path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors in the safetensors format, one at a time; atomic."""
    path = Path(path)
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, t in tensors.items():
        if t.dtype not in _CODES:
            raise OutputError(f"tensor {name!r}: dtype {t.dtype} cannot be stored in {path.name}")
        header[name] = {"dtype": _CODES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with writing(path) as (temporary,), temporary.open("wb") as f:
        f.write(struct.pack("<Q", len(text)))
        f.write(text)
        for t in tensors.values():
            t.write_to(f)


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Memory-mapped tensors and the metadata of a safetensors file; BadFileError if it is malformed."""
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(watched(path), "rb") as f:
            head = f.read(8)
            n = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 0 < n <= min(_MAX_HEADER, size - 8):
                raise BadFileError(f"{path}: not a safetensors file (header of {n} bytes in {size})")
            header = json.loads(f.read(n))
    except OSError as e:
        raise BadFileError(f"{path}: cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise BadFileError(f"{path}: not a safetensors file: {e}") from e
    if not isinstance(header, dict):
        raise BadFileError(f"{path}: not a safetensors file")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BadFileError(f"{path}: its metadata is no table of texts")
    tensors: dict[str, Tensor] = {}
    for name, info in header.items():
        try:
            dtype, shape = _DTYPES[info["dtype"]], [operator.index(d) for d in info["shape"]]
            begin, end = (operator.index(o) for o in info["data_offsets"])
        except (KeyError, TypeError, ValueError) as e:
            raise BadFileError(f"{path}: tensor {name!r}: {e!r}") from e
        if len(shape) > AXES or max((begin, end, *shape)) > size:
            raise BadFileError(f"{path}: tensor {name!r} does not fit into the file")
        t = MappedTensor(path, 8 + n + begin, dtype, shape)
        if any(d < 0 for d in shape) or begin < 0 or end - begin != t.nbytes or 8 + n + end > size:
            raise BadFileError(f"{path}: tensor {name!r} does not fit into the file")
        tensors[name] = t
    return tensors, metadata


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Save a graph with its weights to one ``.ccir`` file."""
    attr_tensors: list[Tensor] = []
    text = to_text(graph, attr_tensors)
    tensors: dict[str, Tensor] = {}
    _collect(graph, "", tensors)
    tensors.update({f"#{i}": t for i, t in enumerate(attr_tensors)})
    write_safetensors(path, tensors, {"convcore_ir": text, "convcore_format": FORMAT})


def _collect(graph: Graph, prefix: str, out: dict[str, Tensor]) -> None:
    for name, v in graph.weights.items():
        if v.tensor is not None:
            out[f"{prefix}{name}"] = moves_of(v.tensor)[0] if v.source and not prefix else v.tensor
    for node in graph:
        for i, r in enumerate(node.regions):
            _collect(r, f"{prefix}{node.name}#{i}#", out)


def load(path: str | os.PathLike[str]) -> Graph:
    """Load a ``.ccir`` file; weights stay on disk until they are used."""
    tensors, metadata = read_safetensors(path)
    if "convcore_ir" not in metadata:
        raise BadFileError(f"{path}: no convcore graph in it")
    if metadata.get("convcore_format") != FORMAT:
        raise BadFileError(
            f"{path}: its format is {metadata.get('convcore_format')!r}, this convcore reads {FORMAT}: convert the source again"
        )
    attr_tensors: list[Tensor] = []
    while f"#{len(attr_tensors)}" in tensors:
        attr_tensors.append(tensors[f"#{len(attr_tensors)}"])
    graph = parse_text(metadata["convcore_ir"], tensors, attr_tensors)
    _restore(graph, "", tensors)
    return graph


def _restore(graph: Graph, prefix: str, tensors: dict[str, Tensor]) -> None:
    """Give the weights of regions their values (their names are unique only within their region)."""
    for node in graph:
        for i, r in enumerate(node.regions):
            inner = f"{prefix}{node.name}#{i}#"
            for name, v in r.weights.items():
                found = tensors.get(inner + name)
                if found is None or v.tensor is None or found.dtype != v.dtype or found.shape != v.tensor.shape:
                    raise BadFileError(f"the weight {name!r} of a region of {node.name!r} is missing or has another shape")
                v.tensor = found
            _restore(r, inner, tensors)
