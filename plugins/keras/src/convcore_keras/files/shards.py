"""Sharded Keras 3 weights: ``X.weights.json`` with ``weight_map`` {``/layers/dense/vars``: [``X_00000.weights.h5``,
...]}."""

from __future__ import annotations

import os
import re
import stat
from contextlib import ExitStack
from typing import Any

from convcore.plugin import BadFileError, Tensor

from .hdf5 import H5File
from .source import ByteSource
from .weights_v3 import SingleFile

__all__ = ["Shards"]

_MAX_SHARDS = 4096


class Shards:
    """All shards as one store; files must be regular, in the map's own folder, with plain names."""

    def __init__(self, path: str, data: Any, stack: ExitStack) -> None:
        self.label = path
        weight_map = data.get("weight_map") if isinstance(data, dict) else None
        if not isinstance(weight_map, dict):
            raise BadFileError(f"{path}: has no weight_map")
        self._stores: dict[str, SingleFile] = {}
        self._map: dict[str, list[str]] = {}
        self._children: dict[str, set[str]] = {}
        for key, files in weight_map.items():
            files = [files] if isinstance(files, str) else files
            if not isinstance(files, list) or not all(isinstance(f, str) for f in files):
                raise BadFileError(f"{path}: malformed weight_map entry {key[:80]!r}")
            self._map[key.strip("/")] = files
            parts = key.strip("/").split("/")
            for i in range(len(parts)):
                self._children.setdefault("/".join(parts[:i]), set()).add(parts[i])
        names = sorted({f for files in self._map.values() for f in files})
        if len(names) > _MAX_SHARDS:
            raise BadFileError(f"{path}: names {len(names)} shards, more than the {_MAX_SHARDS} allowed")
        for name in names:
            shard = _sibling(path, name)
            self._stores[name] = SingleFile(stack.enter_context(H5File(ByteSource.of_file(shard))))

    def variables(self, path: str) -> list[tuple[str, Tensor]] | None:
        files = self._map.get(f"{path}/vars".strip("/"))
        if files is None:
            return None
        found: dict[str, Tensor] = {}
        for f in files:
            for name, tensor in self._stores[f].variables(path) or []:
                if name in found:
                    raise BadFileError(f"{self.label}: two shards hold {path}/vars/{name}")
                found[name] = tensor
        return sorted(found.items(), key=lambda kv: (not kv[0].isdigit(), int(kv[0]) if kv[0].isdigit() else 0))

    def name_of(self, path: str) -> str | None:
        files = self._map.get(f"{path}/vars".strip("/")) or []
        return next((n for f in files if (n := self._stores[f].name_of(path)) is not None), None)

    def folders(self, path: str) -> list[str]:
        return sorted(self._children.get(path, set()) - {"vars"})

    def has(self, path: str) -> bool:
        return path in self._children


def _sibling(path: str, name: str) -> str:
    if not re.fullmatch(r"[^/\\\0]{1,255}", name) or name.startswith(".") or name in ("", ".", ".."):
        raise BadFileError(f"{path}: shard {name[:80]!r} is not a plain file name in the same folder")
    shard = os.path.join(os.path.dirname(os.path.abspath(path)), name)
    try:
        mode = os.lstat(shard).st_mode
    except OSError as e:
        raise BadFileError(f"{path}: shard {name[:80]!r} cannot be read: {e.strerror}") from e
    if not stat.S_ISREG(mode):
        raise BadFileError(f"{path}: shard {name[:80]!r} is not a regular file")
    return shard
