"""Files of torch in a process in which torch cannot be imported: the numbers are torch's, ONNX files are written."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .kit import DATA, bits, without_torch

ZOO = Path(__file__).resolve().parents[3] / "tests" / "data" / "zoo"
CHECKPOINTS = [p for p in (DATA / "tiny.pth", DATA / "pnet.pt", ZOO / "torch-facenet-onet" / "onet.pt") if p.exists()]


class Cnn(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.fc = torch.nn.Conv2d(3, 5, 3, 2), torch.nn.BatchNorm2d(5), torch.nn.Linear(5, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


class Branch(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return self.fc(x)
        return x * 2 - 1


def made(folder: Path) -> dict[str, tuple[str, torch.nn.Module, torch.Tensor]]:
    """Exported, traced and scripted: the file, the module and an input of another batch than it was made with."""
    torch.manual_seed(3)
    cnn, branch = Cnn().eval(), Branch().eval()
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(cnn, (torch.randn(2, 3, 11, 13),), dynamic_shapes=({0: batch},))
        torch.export.save(program, folder / "cnn.pt2")
        torch.jit.trace(cnn, torch.randn(2, 3, 11, 13)).save(str(folder / "traced.pt"))
        torch.jit.script(branch).save(str(folder / "branch.pt"))
    x = torch.randn(4, 3, 11, 13)
    return {
        "cnn.pt2": ("", cnn, x), "traced.pt": ("batch,3,11,13", cnn, x), "branch.pt": ("batch,5", branch, torch.randn(4, 5)),
    }  # fmt: skip


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda p: p.name)
def test_checkpoints_are_torchs(path: Path, tmp_path: Path) -> None:
    """Every value, bit for bit, in the order of the file."""
    out = without_torch(
        """
        import json, hashlib, numpy
        from convcore_pytorch.files.checkpoint import read_checkpoint
        found = {k: v.numpy() for k, v in read_checkpoint(sys.argv[1]).tensors.items()}
        sums = {k: hashlib.sha256(a.tobytes()).hexdigest() for k, a in found.items()}
        print(json.dumps([[k, str(a.dtype), list(a.shape), sums[k]] for k, a in found.items()]))
        assert "torch" not in sys.modules
        """,
        str(path),
    )
    import hashlib

    theirs = torch.load(path, weights_only=True)
    want = [
        [k, str(bits(v).dtype), list(v.shape), hashlib.sha256(np.ascontiguousarray(bits(v)).tobytes()).hexdigest()]
        for k, v in theirs.items()
    ]
    assert json.loads(out) == want


def test_programs_become_onnx_and_agree(tmp_path: Path) -> None:
    """An exported CNN, a traced one and a scripted branch, as ONNX made without torch; onnxruntime against torch."""
    ort = pytest.importorskip("onnxruntime")
    cases = made(tmp_path)
    given = json.dumps({k: v[0] for k, v in cases.items()})
    out = without_torch(
        """
        import json, pathlib
        folder = pathlib.Path(sys.argv[1])
        import convcore
        for name, shape in json.loads(sys.argv[2]).items():
            shapes = {"x": tuple(int(d) if d.isdecimal() else d for d in shape.split(","))} if shape else {}
            made = convcore.convert(folder / name, to="onnx", out=folder / (name + ".onnx"), input_shapes=shapes)
            print(made.report.verdict)
        assert "torch" not in sys.modules
        """,
        str(tmp_path), given, onnx=True,
    )  # fmt: skip
    assert out.split() == ["ok"] * 3, out
    for name, (_, model, x) in cases.items():
        session = ort.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        for sign in (1, -1):
            (got,) = session.run(None, {session.get_inputs()[0].name: (x * sign).numpy()})
            with torch.no_grad():
                np.testing.assert_allclose(got, model(x * sign).numpy(), rtol=1e-4, atol=1e-5)


def test_a_published_model_with_states(tmp_path: Path) -> None:
    """Silero's voice activity, 16 kHz, from zeros: what torch's own running of the file gave, then a second step against it."""
    held = np.load(DATA / "silero_vad.npz")
    options = (
        'input_shapes={"x": (1, 512), "_state": (2, 1, 128), "_context": (1, 64)}, '
        'fixed="sr=16000,_last_sr=16000,_last_batch_size=1"'
    )
    out = without_torch(
        f"""
        import numpy, json
        import convcore
        model = convcore.load(sys.argv[1], {options})
        assert [v.name for v in model.graph.inputs] == ["x", "_state", "_context"], model.graph.inputs
        x = numpy.load(sys.argv[2])["x"]
        first, state, context = model(x, numpy.zeros((2, 1, 128), "f4"), numpy.zeros((1, 64), "f4"))
        second, _, _ = model(x[:, ::-1].copy(), state, context)
        print(float(first.item()), float(second.item()))
        """,
        str(DATA / "silero_vad.jit"), str(DATA / "silero_vad.npz"),
    )  # fmt: skip
    theirs = torch.jit.load(str(DATA / "silero_vad.jit"))
    theirs.reset_states()
    x = torch.from_numpy(held["x"])
    with torch.no_grad():
        want = [float(theirs(x, 16000)), float(theirs(x.flip(1), 16000))]
    np.testing.assert_allclose(want[0], held["out"].item(), rtol=1e-4)
    np.testing.assert_allclose([float(v) for v in out.split()], want, rtol=1e-3, atol=1e-6)


def test_every_reader_is_asked_in_one_process(tmp_path: Path) -> Any:
    """A legacy checkpoint and safetensors: no torch, no pickle, the same numbers (``.pt2``: ``test_torch_2_6.py``)."""
    from safetensors.torch import save_file

    model = Cnn().eval()
    torch.save(model.state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(dict(model.state_dict()), tmp_path / "w.safetensors")
    out = without_torch(
        """
        import numpy, pathlib
        from convcore_pytorch.files.checkpoint import read_checkpoint
        folder = pathlib.Path(sys.argv[1])
        for found in (read_checkpoint(folder / "legacy.pth").tensors, read_checkpoint(folder / "w.safetensors").tensors):
            print(len(found), float(found["conv.weight"].numpy().sum(dtype="f8")))
        """,
        str(tmp_path),
    )
    total = float(model.conv.weight.detach().double().sum())
    for line in out.strip().splitlines():
        count, found = line.split()
        assert int(count) >= len(list(model.parameters())) and float(found) == pytest.approx(total, rel=1e-9)
