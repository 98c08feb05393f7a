"""``.pt2`` archives as programs. Weights are mapped; pickled members and sample inputs are never opened.

Layouts: ``<top>/models/<name>.json`` with ``data/weights`` and ``data/constants`` (torch >= 2.8; weights one by one with a
config, or a torch.save archive ``<name>.pt``), and the flat one of before (``serialized_exported_program.json``,
``serialized_state_dict.pt``, ``serialized_constants.pt``). Source: torch/_export/serde/schema.py and
torch/export/pt2_archive/_package.py, torch 2.13.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convcore.plugin import BadFileError, Problem, Tensor, UnsupportedError, UsageError

from . import limits
from .archive import Archive
from .checkpoint import load_region
from .containers import big_endian
from .elements import BY_EXPORT
from .graphs import argument_value, read_graph, sizes, tensor_value
from .identify import kind_of
from .jsons import field, parse
from .program import Input, Output, Program, TensorValue
from .storage import Region, Storage, tensor

__all__ = ["ABOUT", "SCHEMA_MAJOR", "read_exported"]

ABOUT = "convcore.json"
"""The extra file of an archive of ours that holds what a program has no place for."""

SCHEMA_MAJOR = 8  # minor versions are additions, by torch's own rule (schema.py: SCHEMA_VERSION)


def read_exported(path: str | os.PathLike[str], model: str | None = None) -> Program:
    """The program of a ``.pt2`` file. ``model`` chooses one of several in an archive.

    BadFileError: unreadable; UnsupportedError: another schema version, or pickled weights; UsageError: which model?
    """
    name = os.fsdecode(path)
    region = Region.of(name)
    kind = kind_of(name, region)
    if kind is None or kind.name not in ("pt2", "pt2-old"):
        raise BadFileError(f"{name}: no exported program ({'no PyTorch file' if kind is None else f'a {kind.name} file'})")
    archive = Archive(region)
    if kind.name == "pt2-old":
        text = archive.read("serialized_exported_program.json", limits.JSON)
        weights = _saved(archive, "serialized_state_dict.pt")
        return _program(parse(text, name), weights, _saved(archive, "serialized_constants.pt"), "pt2-old", name)
    which = _choose(archive, kind.top, model)
    text = archive.read(f"{kind.top}models/{which}.json", limits.JSON)
    weights = _payload(archive, kind.top, "weights", which)
    program = _program(parse(text, name), weights, _payload(archive, kind.top, "constants", which), "pt2", name)
    extra = f"{kind.top}extra/{ABOUT}"
    return replace(program, about=archive.text(extra, limits.JSON)) if extra in archive else program


def _choose(archive: Archive, top: str, model: str | None) -> str:
    head = f"{top}models/"
    found = [
        n[len(head) : -5] for n in archive.members if n.startswith(head) and n.endswith(".json") and "/" not in n[len(head) :]
    ]
    if model is not None and model not in found:
        raise UsageError(f"{archive.region.path}: no model {model!r}; there are: {', '.join(found) or 'none'}")
    if model is None and len(found) != 1:
        raise UsageError(f"{archive.region.path}: holds {len(found)} models: {', '.join(found) or 'none'}; say which by model=")
    return found[0] if model is None else model


def _saved(archive: Archive, member: str) -> dict[str, Any]:
    """The tensors of a torch.save container inside the archive; nothing when it is absent or empty."""
    if member not in archive:
        return {}
    where = f"{archive.region.path}: {member}"
    inner = archive.data(member) if archive.members[member].method == 0 else None
    if inner is None:
        raw = archive.read(member, limits.PICKLE)
        inner = Region(where, 0, len(raw), raw)
    if not inner.size:
        return {}
    kind = kind_of(where, inner)
    if kind is None or kind.name not in ("checkpoint", "legacy"):
        raise BadFileError(f"{where}: no torch.save container")
    root = load_region(inner, kind, foreign=False)
    if not isinstance(root, dict):
        raise BadFileError(f"{where}: a mapping of names to tensors is due, not a {type(root).__name__}")
    odd = [str(k) for k, v in root.items() if not isinstance(v, Tensor) or not isinstance(k, str)]
    if odd:
        raise _objects(where, odd)
    return root


def _payload(archive: Archive, top: str, what: str, model: str) -> dict[str, Any]:
    """``data/weights`` or ``data/constants``: by their config, or as one torch.save container."""
    folder = f"{top}data/{what}/"
    config = f"{folder}{model}_{what}_config.json"
    if config not in archive:
        return _saved(archive, f"{folder}{model}.pt")
    where = f"{archive.region.path}: {config}"
    entries = field(parse(archive.read(config, limits.JSON), where), "config", dict, where)
    pickled = [name for name, entry in entries.items() if not isinstance(entry, dict) or entry.get("use_pickle") is not False]
    if pickled:
        raise _objects(where, pickled)
    storages: dict[str, Storage] = {}
    big = big_endian(archive, top)
    found: dict[str, Any] = {}
    for name, entry in entries.items():
        here = f"{where}: {name!r}"
        file = field(entry, "path_name", str, here)
        meta = tensor_value(field(entry, "tensor_meta", dict, here), here)
        if file not in storages:
            member = archive.members.get(folder + file)
            region = archive.data(folder + file)
            storages[file] = Storage(file, None, region.size, region, big_endian=big, crc=member.crc if member else 0)
        found[name] = tensor(
            storages[file],
            BY_EXPORT[field(entry["tensor_meta"], "dtype", int, here)],
            meta.shape,
            meta.strides,
            sizes([field(entry["tensor_meta"], "storage_offset", dict, here)], here)[0],
            parameter=field(entry, "is_param", bool, here),
            requires_grad=meta.requires_grad,
        )
    return found


def _objects(where: str, names: list[str]) -> UnsupportedError:
    """The refusal of what only a pickle could bring back."""
    why = "is stored as a pickle (a custom object or tensor subclass), which is never opened"
    return UnsupportedError(
        [Problem(n, where, why, "export the model with plain tensors", "unsupported_tensor") for n in names[:50]]
    )


# ---------------------------------------------------------------- the program
def _program(root: Any, weights: Mapping[str, Tensor], constants: Mapping[str, Any], container: str, where: str) -> Program:
    version = field(root, "schema_version", dict, where)
    major, minor = field(version, "major", int, where), field(version, "minor", int, where)
    if major != SCHEMA_MAJOR:
        why = f"schema version {major}.{minor} is not read, {SCHEMA_MAJOR}.x is (torch 2.6 and newer)"
        raise UnsupportedError(Problem(where, "exported program", why, "export it again with torch >= 2.6", "unsupported_format"))
    module = field(root, "graph_module", dict, where)
    graph = read_graph(field(module, "graph", dict, where), "", where, 0)
    signature = field(module, "signature", dict, where)
    inputs = [_input(e, where) for e in field(signature, "input_specs", list, where)]
    outputs = [_output(e, where) for e in field(signature, "output_specs", list, where)]
    if tuple(i.name for i in inputs if i.name) != graph.inputs or len(outputs) != len(graph.outputs):
        raise BadFileError(f"{where}: the signature does not list the graph's inputs and outputs")
    _weights_fit(graph.values, inputs, weights, constants, where)
    calls = field(module, "module_call_graph", list, where, [])
    return Program(
        container,
        graph,
        inputs,
        outputs,
        weights,
        constants,
        _ranges(field(root, "range_constraints", dict, where, {}), where),
        _structure(calls, where),
        {},
        {
            "schema": (major, minor),
            "torch": field(root, "torch_version", str, where, "<=2.4"),
            "operators": field(root, "opset_version", dict, where, {}),
        },
    )


def _ranges(found: dict[str, Any], where: str) -> dict[str, tuple[int | None, int | None]]:
    return {k: (field(v, "min_val", int, where, None), field(v, "max_val", int, where, None)) for k, v in found.items()}


def _structure(calls: list[Any], where: str) -> dict[str, Any]:
    """Nesting of the arguments and results, and the names of forward's arguments."""
    for call in calls:
        if field(call, "fqn", str, where) == "" and call.get("signature") is not None:
            told = field(call, "signature", dict, where)
            specs = {k: parse(field(told, k, str, where).encode(), f"{where}: {k}") for k in ("in_spec", "out_spec")}
            return {**specs, "names": field(told, "forward_arg_names", list, where, [])}
    return {}


def _one(entry: Any, where: str) -> tuple[str, Any]:
    """The one field of a union."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise BadFileError(f"{where}: a union without exactly one field")
    return next(iter(entry.items()))


_INPUTS = {
    "parameter": ("parameter", "parameter_name"),
    "buffer": ("buffer", "buffer_name"),
    "tensor_constant": ("constant", "tensor_constant_name"),
    "custom_obj": ("object", "custom_obj_name"),
}


def _input(entry: Any, where: str) -> Input:
    kind, told = _one(entry, where)
    if kind in _INPUTS:
        name, target = _INPUTS[kind]
        persistent = field(told, "persistent", bool, where, True)
        return Input(
            name, field(field(told, "arg", dict, where), "name", str, where), field(told, target, str, where), persistent
        )
    if kind == "token":
        return Input("token", field(field(told, "arg", dict, where), "name", str, where))
    if kind == "constant_input":
        value = _one(field(told, "value", dict, where), where)
        return Input("literal", field(told, "name", str, where), value=None if value[0] == "as_none" else value[1])
    if kind != "user_input":
        raise BadFileError(f"{where}: an input of unknown kind {kind[:40]!r}")
    form, value = _one(field(told, "arg", dict, where), where)
    if form in ("as_tensor", "as_custom_obj"):
        return Input("user", field(value, "name", str, where))
    if form in ("as_sym_int", "as_sym_float", "as_sym_bool") and isinstance(value, dict) and "as_name" in value:
        return Input("user", field(value, "as_name", str, where))
    return Input("literal", "", value=None if form == "as_none" else value)


_OUTPUTS = {
    "user_output": ("user", ""),
    "loss_output": ("loss", ""),
    "token": ("token", ""),
    "buffer_mutation": ("buffer_mutation", "buffer_name"),
    "parameter_mutation": ("parameter_mutation", "parameter_name"),
    "user_input_mutation": ("user_input_mutation", "user_input_name"),
    "gradient_to_parameter": ("gradient_to_parameter", "parameter_name"),
    "gradient_to_user_input": ("gradient_to_user_input", "user_input_name"),
}


def _output(entry: Any, where: str) -> Output:
    kind, told = _one(entry, where)
    if kind not in _OUTPUTS:
        raise BadFileError(f"{where}: an output of unknown kind {kind[:40]!r}")
    name, target = _OUTPUTS[kind]
    arg = field(told, "arg", dict, where)
    value = argument_value(arg if kind == "user_output" else {"as_tensor": arg}, where, 0)
    return Output(name, value, field(told, target, str, where) if target else "")


def _weights_fit(values: Mapping[str, Any], inputs: list[Input], weights: Any, constants: Any, where: str) -> None:
    """Every parameter, buffer and constant is there, with the type and shape the graph says."""
    for spec in inputs:
        if spec.kind not in ("parameter", "buffer", "constant"):
            continue
        stored = constants if spec.kind == "constant" or not spec.persistent else weights
        held = stored.get(spec.target, (weights if stored is constants else constants).get(spec.target))
        if held is None:
            raise BadFileError(f"{where}: {spec.kind} {spec.target!r} has no values in the archive")
        said = values.get(spec.name)
        have = (getattr(getattr(held, "element", None), "name", str(held.dtype)), held.shape)
        if not isinstance(said, TensorValue) or (said.dtype, said.shape) != have:
            raise BadFileError(
                f"{where}: {spec.kind} {spec.target!r} is stored as {have[0]}{list(have[1])}, the graph says otherwise"
            )
