"""Files of weights alone, for ``convcore inspect`` and ``convcore diff``."""

from __future__ import annotations

import os

from convcore.plugin import BadFileError, Checkpoint, watched

from .files.checkpoint import read_checkpoint
from .files.identify import kind_of

__all__ = ["weights_alone"]

_KINDS = {
    "checkpoint": "a PyTorch checkpoint",
    "legacy": "a PyTorch checkpoint of before torch 1.6",
    "tar": "a PyTorch checkpoint of before torch 0.1.10",
    "safetensors": "a safetensors file",
    "index": "an index of shards",
}


def weights_alone(path: str | os.PathLike[str], entry: str | None) -> Checkpoint | None:
    """The weights in a ``.pth``, ``.bin``, ``.pt`` or ``.safetensors`` file or in the shards of an index; None for others.

    Nothing in it is executed. UsageError names the choices where several state dicts are in it and ``entry`` does not say which.
    """
    name = os.fsdecode(path)
    try:
        kind = kind_of(watched(name))
    except BadFileError:  # an archive that is damaged, or somebody else's: loading it says which
        return None
    if kind is None or kind.name not in _KINDS or name.endswith(".ccir"):
        return None
    found = read_checkpoint(name, entry)
    beside = {k: v for k, v in {**found.metadata, **found.extra}.items() if isinstance(v, (str, int, float, bool))}
    return Checkpoint(_KINDS[kind.name], found.tensors, ".".join(found.entry), found.prefix, beside)
