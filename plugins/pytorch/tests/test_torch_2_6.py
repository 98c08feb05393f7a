"""Files that torch 2.6.0 wrote (``tools/made_files.py``): read without torch, they give what it computed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from convcore_pytorch.files.exported import read_exported
from convcore_pytorch.files.symbols import Expr

from .kit import DATA, without_torch
from .runner import run

HERE = DATA / "torch_2_6"
FILES: dict[str, str] = json.loads((HERE / "index.json").read_text())["files"]
TYPES = {"lstm.pt": "int64", "transformer.pt": "padding:bool"}  # a TorchScript file does not say them


def recorded(name: str, tail: str, letter: str) -> list[Any]:
    """The arrays ``i0``... or ``o0``... of a module, of the first batch or the second (``b``)."""
    held = np.load(HERE / f"{name}.npz")
    keys = (f"{letter}{i}{tail}" for i in range(len(held)))
    return [held[k] for k in keys if k in held]


def test_every_program_gives_what_was_recorded() -> None:
    """Types, shapes and values of two batches, from one reading."""
    out = without_torch(
        """
        import json, pathlib, numpy
        import convcore
        folder, types = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
        for file, name in json.loads((folder / "index.json").read_text())["files"].items():
            held = numpy.load(folder / (name + ".npz"))
            given = {}
            if file.endswith(".pt"):
                names = {"transformer": ("x", "memory", "padding"), "lstm": ("ids",)}.get(name, ("x",))
                given["input_shapes"] = {n: ("batch", *held[f"i{i}"].shape[1:]) for i, n in enumerate(names)}
                if file in types:
                    text = types[file]
                    given["input_dtypes"] = text if ":" in text else ",".join(f"{n}:{text}" for n in names)
            model = convcore.load(folder / file, **given)
            worst = 0.0
            for tail in ("", "b"):
                made = model(*(held[f"i{i}{tail}"] for i in range(len(model.graph.inputs))))
                made = made if isinstance(made, (list, tuple)) else [made]
                assert f"o{len(made)}{tail}" not in held and f"i{len(model.graph.inputs)}{tail}" not in held, file
                for i, a in enumerate(made):
                    b = held[f"o{i}{tail}"]
                    assert (a.dtype, a.shape) == (b.dtype, b.shape), (file, i, a.dtype, a.shape, b.dtype, b.shape)
                    worst = max(worst, float(numpy.max(numpy.abs(a.astype("f8") - b.astype("f8")), initial=0)))
            print(file, worst)
        assert "torch" not in sys.modules
        """,
        str(HERE), json.dumps(TYPES),
    )  # fmt: skip
    found = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()}
    assert list(found) == list(FILES) and len(FILES) == 14
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("file", [f for f, name in FILES.items() if f.endswith(".pt2") and name != "lstm"])
def test_the_operators_are_torchs(file: str) -> None:
    """The program as it is read, run by torch's own operators of today."""
    program = read_exported(HERE / file)
    for tail in ("", "b"):
        given = [torch.from_numpy(a) for a in recorded(FILES[file], tail, "i")]
        for got, want in zip(run(program, *given), recorded(FILES[file], tail, "o"), strict=True):
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)


def test_what_is_beside_the_graph() -> None:
    gpt = read_exported(HERE / "gpt.pt2")
    assert gpt.versions["torch"].startswith("2.6.0") and gpt.versions["schema"][0] == 8 and gpt.container == "pt2-old"
    assert gpt.weights["words.weight"].identity == gpt.weights["head.weight"].identity
    assert gpt.ranges == {"s0": (0, 64), "s1": (0, 20)}
    ids = gpt.graph.values["ids"].shape
    assert ids is not None and len({str(d) for d in ids if isinstance(d, Expr)}) == 2
    branch = read_exported(HERE / "branch.pt2")
    assert next(i for i in branch.inputs if i.target == "passing").persistent is False
    assert sorted(branch.constants) == ["passing", "plain"] and "shift" in branch.weights
    assert read_exported(HERE / "mixed.pt2").weights["p16"].requires_grad is False
    assert [s.path for s in gpt.graph.nodes[-1].scopes][-1] == "head"


def test_states_whose_sizes_torch_recorded_wrongly() -> None:
    """It took the states of an LSTM for (layers, 1, batch, hidden); what follows from that is not believed, the rest is."""
    from convcore_pytorch.recorded import believable

    program = read_exported(HERE / "lstm.pt2")
    node = next(n for n in program.graph.nodes if n.target == "aten.lstm.input")
    hidden = list(node.made())[1]
    assert len(program.graph.values[hidden].shape) == 4  # type: ignore[union-attr, arg-type]
    held = believable(program).graph.values
    assert hidden not in held and next(iter(node.made())) in held
    gone = set(program.graph.values) - set(held)
    assert {"select", "linear_1"} <= gone and "gru" not in " ".join(gone)
    other = read_exported(HERE / "cnn.pt2")
    assert believable(other) is other


def test_checkpoints_are_what_was_saved() -> None:
    """Both containers, a training state with its optimiser, and a whole module, of which the weights are read."""
    out = without_torch(
        """
        import pathlib, numpy
        from convcore_pytorch.files.checkpoint import read_checkpoint
        folder = pathlib.Path(sys.argv[1])
        for file, name in (("zip.pth", "state"), ("legacy.pth", "state"), ("training.pth", "training"),
                           ("whole_module.pth", "training")):
            held, made = numpy.load(folder / (name + ".npz")), read_checkpoint(folder / file).tensors
            assert list(made) == list(held), file
            for k, t in made.items():
                a = t.numpy()
                assert a.dtype == held[k].dtype or (a.dtype.name, held[k].dtype.name) == ("bfloat16", "float32"), (file, k)
                assert numpy.array_equal(a.astype(held[k].dtype), held[k]), (file, k)
            print(file, len(made))
        """,
        str(HERE),
    )  # fmt: skip
    assert [line.split()[0] for line in out.splitlines()] == ["zip.pth", "legacy.pth", "training.pth", "whole_module.pth"]
