"""What is left out means what torch takes for it: facts of stored tensors, arguments of what rebuilds them, results read."""

from __future__ import annotations

import inspect
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from convcore.errors import BadFileError
from convcore_pytorch.files import limits
from convcore_pytorch.files.checkpoint import read_checkpoint
from convcore_pytorch.files.elements import BY_NAME
from convcore_pytorch.files.machine import Machine
from convcore_pytorch.files.objects import Global
from convcore_pytorch.files.storage import Region, Storage, StoredTensor, tensor
from convcore_pytorch.files.table import call_by_table, numpy_dtype
from convcore_pytorch.fx import _read
from convcore_pytorch.printer.classes import DEFAULTS, POSITIONAL

from .kit import same


def facts(t: Any) -> tuple[bool, bool, bool, bool]:
    if isinstance(t, StoredTensor):
        return t.parameter, t.requires_grad, t.conj, t.neg
    return isinstance(t, torch.nn.Parameter), t.requires_grad, t.is_conj(), t.is_neg()


@pytest.mark.parametrize("zipped", [True, False])
def test_facts_of_stored_tensors_are_torchs(zipped: bool, tmp_path: Path) -> None:
    z = torch.complex(torch.randn(3), torch.randn(3))
    value = {
        "plain": torch.randn(2), "trained": torch.randn(2, requires_grad=True), "parameter": torch.nn.Parameter(torch.randn(2)),
        "frozen": torch.nn.Parameter(torch.randn(2), requires_grad=False), "complex": z, "conjugate": z.conj(),
        "negative": z.clone().conj().imag,
    }  # fmt: skip
    torch.save(value, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    read, found = torch.load(tmp_path / "a.pt"), read_checkpoint(tmp_path / "a.pt").tensors
    assert {k: facts(t) for k, t in found.items()} == {k: facts(t) for k, t in read.items()}
    assert {facts(t) for t in read.values()} >= {(True, True, False, False), (True, False, False, False)}


def test_safetensors_say_nothing_more_of_a_tensor(tmp_path: Path) -> None:
    save_file({"z": torch.complex(torch.randn(3), torch.randn(3))}, tmp_path / "a.safetensors")
    (read,), (found,) = (
        load_file(tmp_path / "a.safetensors").values(),
        read_checkpoint(tmp_path / "a.safetensors").tensors.values(),
    )
    assert facts(found) == facts(read) == (False,) * 4
    same(found, read)


def test_what_rebuilds_a_tensor_without_its_last_arguments() -> None:
    """``_rebuild_tensor`` of old files has no ``requires_grad``; a Parameter made of a tensor alone is trained."""
    storage = Storage("s", BY_NAME["float32"], 24, Region("f", 0, 24, bytes(24)))
    kept = torch.zeros(6).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=kept, dtype=torch.float32, _internal=True)
    for name, more in (("_rebuild_tensor", ()), ("_rebuild_tensor_v2", (True, {})), ("_rebuild_tensor_v2", (False, {}))):
        made = call_by_table(Global("torch._utils", name), (storage, 0, (2, 3), (3, 1), *more))
        assert facts(made) == facts(getattr(torch._utils, name)(typed, 0, (2, 3), (3, 1), *more))
    view = tensor(storage, BY_NAME["float32"], (2,), (1,), 0)
    for given in ((), (True,), (False,)):
        found = call_by_table(Global("torch.nn.parameter", "Parameter"), (view, *given))
        assert facts(found) == facts(torch.nn.Parameter(torch.zeros(2), *given))
    for given in ((), (1.5,)):
        with pytest.raises(BadFileError, match="other arguments than torch gives it"):  # pickle writes both parts
            call_by_table(Global("builtins", "complex"), given)
    assert call_by_table(Global("builtins", "complex"), (1.5, -2)) == complex(1.5, -2)


def test_keys_are_nested_as_far_as_the_limit() -> None:
    machine = Machine(b"", 0, lambda pid: None, "f", foreign=False)
    key: Any = 1
    for _ in range(limits.NESTED_KEY):
        key = (key,)
    target: dict[Any, Any] = {}
    machine.update(target, [key, 7])
    assert target == {key: 7}
    with pytest.raises(BadFileError, match="a key that is a tuple"):
        machine.update(target, [(key,), 7])


def test_as_many_results_are_made_as_the_last_that_is_read() -> None:
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    node = graph.call_function(torch.ops.aten.native_layer_norm.default, (x, [2], None, None, 1e-5))
    assert _read(node, (x, x, x)) == 1  # nothing reads one: the first stands for the node
    last = graph.call_function(operator.getitem, (node, 2))
    assert _read(node, (x, x, x)) == 1
    graph.output(last)
    assert _read(node, (x, x, x)) == 3


@pytest.mark.parametrize("name", sorted({*DEFAULTS, *POSITIONAL}))
def test_what_generated_constructors_leave_out_is_torchs_default(name: str) -> None:
    """Without keywords stand the first arguments of torch's constructor, in its order."""
    known = inspect.signature(getattr(torch.nn, name).__init__).parameters
    if {p.kind for p in known.values()} >= {inspect.Parameter.VAR_POSITIONAL}:  # RNN, LSTM and GRU hand all to their base
        known = inspect.signature(torch.nn.modules.rnn.RNNBase.__init__).parameters
        known = {k: p for k, p in known.items() if k != "mode"}
    given = DEFAULTS.get(name, {})
    assert {k: known[k].default for k in given} == given and all(type(known[k].default) is type(v) for k, v in given.items())
    assert tuple(known)[1 : 1 + len(POSITIONAL.get(name, ()))] == POSITIONAL.get(name, ())


def test_arrays_of_numpy_in_a_file_have_the_numbers_numpy_has() -> None:
    """All but long doubles, which are another type on each machine."""
    own = [t for t in np.sctypeDict.values() if t.__module__ == "numpy"]  # others register more
    kinds = {np.dtype(t) for t in own if np.dtype(t).kind in "biufc"}
    long = {np.dtype(np.longdouble), np.dtype(np.clongdouble)}
    for kind in kinds - long:
        for order in ("<", ">", "|", "="):
            assert numpy_dtype(call_by_table(Global("numpy", "dtype"), (order + kind.str[1:],))).str[1:] == kind.str[1:]
    for code in (*(k.str[1:] for k in long - {np.dtype("f8"), np.dtype("c16")}), "f3", "i16", "u9", "c4", "O", "U3"):
        with pytest.raises(BadFileError, match="whose element type is no number"):
            call_by_table(Global("numpy", "dtype"), (code,))
