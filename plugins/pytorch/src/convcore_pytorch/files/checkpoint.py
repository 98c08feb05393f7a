"""Checkpoints as an ordered mapping of names to lazy tensors, whatever container and wrapper they come in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convcore.plugin import BadFileError, Tensor, UsageError

from .archive import Archive
from .containers import load_stream, load_zip, refuse_tar
from .identify import Kind, kind_of
from .jsons import field as json_field
from .jsons import parse
from .safetensors import read_safetensors
from .storage import Region
from .unwrap import choose, is_module, module_tensors, plain

__all__ = ["Checkpoint", "read_checkpoint"]

PREFIXES = ("module.", "_orig_mod.", "_forward_module.")  # DataParallel, torch.compile, lightning's strategy


@dataclass(frozen=True)
class Checkpoint:
    """What :func:`read_checkpoint` found.

    ``tensors``: name -> lazy tensor, in the file's order (a :class:`.storage.StoredTensor`, or an array of a numpy value).
    ``extra``: entries of the same mapping that are no tensors. ``container``: checkpoint, legacy, safetensors, torchscript.
    ``entry``: the keys under which the mapping was found. ``prefix``: what was stripped from every name.
    ``metadata``: plain values beside the mapping (epoch, hyper-parameters as far as they are plain; safetensors' metadata).
    ``modules``: for a pickled module, the class of each sub-module by its path.
    """

    tensors: Mapping[str, Tensor]
    container: str
    entry: tuple[str, ...] = ()
    prefix: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str], entry: str | None = None, *, foreign: bool = False) -> Checkpoint:
    """The weights in a ``.pt``, ``.pth``, ``.bin``, ``.safetensors`` or ``.index.json`` file, or in a TorchScript archive.

    ``entry`` chooses one of several state dicts in the file (``"ema"``, ``"model.state_dict"``). ``foreign`` keeps objects that
    the file builds by unknown functions as inert data instead of refusing the file. BadFileError: unreadable or hostile;
    UnsupportedError: tensors with no counterpart; UsageError: ``entry`` does not exist, or must be given.
    """
    name = os.fsdecode(path)
    region = Region.of(name)
    kind = kind_of(name, region)
    if kind is None:
        raise BadFileError(f"{name}: no PyTorch checkpoint (no torch archive, torch stream or safetensors file)")
    if kind.name == "tar":
        raise refuse_tar(name)
    if kind.name in ("safetensors", "index"):
        if entry is not None:
            raise UsageError(f"{name}: a safetensors file has no entries to choose from (entry={entry!r})")
        return _safetensors(region) if kind.name == "safetensors" else _sharded(name, region, foreign)
    if kind.name in ("pt2", "pt2-old"):
        raise BadFileError(f"{name}: an exported program, not a checkpoint; read it with read_exported")
    return read_object(load_region(region, kind, foreign=foreign), kind.name, name, entry)


def load_region(region: Region, kind: Kind, *, foreign: bool) -> Any:
    """The object in a torch.save container."""
    if kind.name == "legacy":
        return load_stream(region, foreign=foreign)
    return load_zip(Archive(region), kind.top, foreign=foreign)


def read_object(root: Any, container: str, where: str, entry: str | None = None) -> Checkpoint:
    """The state dict in the object of a checkpoint."""
    keys, found = choose(root, where, entry)
    modules: dict[str, str] = {}
    if is_module(found):
        tensors, extra, modules = module_tensors(found, where)
    else:
        tensors, extra = plain(found)
    beside = root if isinstance(root, dict) and keys else {}
    metadata = {str(k): v for k, v in beside.items() if str(k) != keys[0]}
    names, prefix = strip(list(tensors))
    return Checkpoint(dict(zip(names, tensors.values())), container, keys, prefix, extra, metadata, modules)


def strip(names: list[str]) -> tuple[list[str], str]:
    """Names without the wrappers' prefixes that every one of them has, and what was taken away."""
    taken = ""
    while names:
        prefix = next((p for p in PREFIXES if all(n.startswith(p) and n != p for n in names)), None)
        if prefix is None:
            break
        names, taken = [n[len(prefix) :] for n in names], taken + prefix
    return names, taken


def _safetensors(region: Region) -> Checkpoint:
    tensors, metadata = read_safetensors(region)
    names, prefix = strip(list(tensors))
    return Checkpoint(dict(zip(names, tensors.values())), "safetensors", (), prefix, {}, metadata)


def _sharded(path: str, region: Region, foreign: bool) -> Checkpoint:
    """A Hugging Face index: ``{"metadata": ..., "weight_map": {name: file}}``, shards beside it."""
    index = parse(region.read(0, region.size), path)
    where = json_field(index, "weight_map", dict, path)
    folder = os.path.dirname(path)
    shards: dict[str, Checkpoint] = {}
    tensors: dict[str, Tensor] = {}
    containers: set[str] = set()
    for name, file in where.items():
        if not isinstance(file, str) or not file or file in (".", "..") or any(c in file for c in "/\\\0:"):
            raise BadFileError(f"{path}: shard {str(file)[:80]!r} is no plain file name")
        if file not in shards:
            shards[file] = _shard(os.path.join(folder, file), foreign)
            containers.add(shards[file].container)
        shard = shards[file]
        key = name.removeprefix(shard.prefix)
        if key not in shard.tensors or not name.startswith(shard.prefix):
            raise BadFileError(f"{path}: {name!r} is not in its shard {file}")
        tensors[name] = shard.tensors[key]
    for file, shard in shards.items():
        lost = [n for n in shard.tensors if where.get(shard.prefix + n) != file]
        if lost:
            raise BadFileError(f"{path}: shard {file} has {len(lost)} tensors that the index does not name, first {lost[0]!r}")
    names, prefix = strip(list(tensors))
    metadata = json_field(index, "metadata", dict, path, {})
    return Checkpoint(dict(zip(names, tensors.values())), "+".join(sorted(containers)), (), prefix, {}, metadata)


def _shard(path: str, foreign: bool) -> Checkpoint:
    region = Region.of(path)
    kind = kind_of(path, region)
    if kind is None or kind.name not in ("safetensors", "checkpoint", "legacy"):
        raise BadFileError(f"{path}: a shard is due, this is {'no torch file' if kind is None else kind.name}")
    if kind.name == "safetensors":
        return _safetensors(region)
    return read_object(load_region(region, kind, foreign=foreign), kind.name, path)
