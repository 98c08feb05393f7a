"""TorchScript's source: torch as the judge of bodies of ``forward``, and the words that are refused."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convcore
from convcore.plugin import BadFileError, ConvcoreError, UnsupportedError
from convcore_pytorch.files.script import read_torchscript

from .runner import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _made(body: str, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(type("Plain", (torch.nn.Module,), {})())
        made.define(
            "def forward(self, x, n: int = 3, f: float = 2.5, b: bool = True):\n"
            + "".join(f"    {t}\n" for t in body.split("\n"))
        )
        made.eval().save(str(path))
    return made


def _numbers(x: Any) -> list[Any]:
    """The leaves of a result as numbers, in order."""
    if isinstance(x, dict):
        return [v for k in x for v in _numbers(x[k])]
    if isinstance(x, (list, tuple)):
        return [v for part in x for v in _numbers(part)]
    return [] if x is None else [x.tolist() if isinstance(x, torch.Tensor) else x]


BODIES = [
    "return x + n, x * f, x - 1, x / 2, x // 2, x % 2, x ** 2, -x, 2 - x, 3 / (x + 9)",
    "return x > 1, x >= 1, x < 1, x <= 1, x == 1, x != 1, (x > 0) & (x < 2), (x > 0) | (x < 2), (x > 0) ^ (x < 2), ~(x > 0)",
    "return x * (n + 1), x * (n - 5), x * (n * 2), x * (n // 2), x * (n % 2), x * (n / 2), x * (-n), x * (n ** 2)",
    "return x * (f + 1), x * (f - 5), x * (f * 2), x * (f // 2), x * (f % 2), x * (-f), x * int(f), x * float(n)",
    "return x if n > 2 else -x, x if n >= 3 else -x, x if n < 3 else -x, x if n <= 2 else -x, "
    "x if n == 3 else -x, x if n != 3 else -x",
    "return x if b and n > 2 else -x, x if b or n > 9 else -x, x if not b else -x, x if not (b and n == 2) else -x",
    "y = x\nfor i in range(n):\n    y = y + i\nreturn y",
    "y = x\nfor i in range(1, 8, 3):\n    y = y * i\nreturn y",
    "y = x\nfor i in range(7, 1, -2):\n    y = y + i * 0.5\nreturn y",
    "y = x\nfor i in range(2, 5):\n    if i == 3:\n        continue\n    y = y + i\nreturn y",
    "y = x\nfor i in range(9):\n    if i > 4:\n        break\n    y = y + i\nreturn y",
    "y = x\nfor i in range(100):\n    y = y + 0.5\nreturn y",
    "y = x\nfor i in range(64):\n    y = y + i\nreturn y",
    "y = x\nfor i in range(65):\n    y = y + i\nreturn y",
    "i = 0\nwhile i < 4:\n    i += 1\n    x = x + i\nreturn x",
    "y = x\nwhile bool(y.sum() < 50):\n    y = y * 2 + 1\nreturn y",
    "k = 0\ny = x\nwhile bool(y.sum() < 50):\n    y = y * 2 + 1\n    k += 1\nreturn y + k",
    "if bool(x.sum() > 0):\n    y = x + 1\nelse:\n    y = x - 1\nreturn y",
    "if bool(x.sum() > 0):\n    y, z = x + 1, x\nelse:\n    y, z = x - 1, x * 3\nreturn y, z",
    "if bool(x.sum() > 0):\n    return x + 1\nelse:\n    return x - 1",
    "y = x\nif bool(x.sum() > 0):\n    y = x + 1\n    if bool(x.max() > 1):\n        y = y * 2\nreturn y",
    "k = 1\nif bool(x.sum() > 0):\n    k = 2\nreturn x * k",
    "if x.dim() == 2:\n    y = x.sum(1)\nelif x.dim() == 3:\n    y = x.sum(2)\nelse:\n    y = x\nreturn y",
    "a, (c, d) = x, (x + 1, x + 2)\nreturn a, c, d, (c, [d])",
    "parts = [x, x + 1]\nparts.append(x * 2)\nparts.extend([x, x])\nparts[0] = x - 1\nreturn torch.cat(parts, 0), len(parts)",
    "parts = [x]\nfor i in range(3):\n    parts.append(x * i)\nreturn torch.stack(parts), parts[1], parts[-1]",
    "s = x.size()\nreturn x.reshape(s[1], s[0]), len(s), x.size(0), x.size(-1), x.numel()",
    "d = {'a': x, 'b': x + 1}\nreturn d['a'] + d['b'], len(d), 'a' in d, 'z' in d",
    "d = {'a': x, 'b': x + 1}\ny = x\nfor v in d.values():\n    y = y + v\nreturn y",
    "y = x\nfor k, v in {'p': 2, 'q': 5}.items():\n    if k == 'q':\n        y = y * v\nreturn y",
    "y = x\nfor v in [1.5, 2.5, -1.0]:\n    y = y + v\nreturn y",
    "y = x\nfor i, v in enumerate([x, x + 1]):\n    y = y + v * i\nreturn y",
    "y = x\nfor a, c in zip([1, 2], [x, x + 1]):\n    y = y + c * a\nreturn y",
    "y = [x * i for i in range(3)]\nreturn y[0] + y[2]",
    "return x[0], x[:, 1], x[1:, :2], x[..., -1], x[:, None], x[:, ::2], x[-1, 1:]",
    "y = x.clone()\ny[0] = 5\ny[:, 1] = y[:, 1] * 2\ny += 1\nreturn y",
    "return torch.where(x > 0, x, -x), torch.max(x, 1), torch.topk(x, 2, 1), x.argmax(1), torch.sort(x, 1, True)",
    "a, c = torch.split(x, [1, 2], 1)\nreturn a, c",
    "a, c, d = x.unbind(1)\nreturn a + c - d",
    "return x.view(-1), x.transpose(0, 1), x.permute(1, 0), x.unsqueeze(0), x.flatten(), x.expand(2, 2, 3), x.repeat(1, 2)",
    "return torch.zeros(2, 3), torch.ones([n, 2]), torch.full([2], f), torch.arange(n), torch.arange(1, 7, 2), torch.eye(n)",
    "return x.to(torch.float64), x.to(torch.int32), x.to(torch.bool), x.type_as(x), x.double().float(), "
    "torch.zeros_like(x), torch.ones_like(x, dtype=torch.int64)",
    "return min(n, 5), max(n, 5), min(f, 1.0), abs(-n), int(f), float(n), bool(n), round(f), len('abc')",
    "return x * min(x.size(0), 1), x * max(x.size(1), 5), x * (x.size(0) + n), x * (x.size(1) * 2 - 1)",
    "y: Optional[Tensor] = None\nif n > 2:\n    y = x\nif y is None:\n    return x - 1\nreturn y + 1",
    "y: Optional[Tensor] = None\nif y is not None:\n    return y\nreturn x + 1",
    "y: List[Tensor] = []\nfor i in range(2):\n    y.append(x + i)\nreturn y",
    "assert n > 2, 'small'\nif x.size(1) == 9:\n    raise ValueError('nine')\nreturn x",
    "with torch.no_grad():\n    y = x + 1\nreturn y",
    "m = 'mean'\nreturn x.mean() if m == 'mean' else x.sum()",
    "return x.sum(), x.sum(1), x.sum([0, 1], True), x.mean(0), x.std(), x.prod(1), x.amax(1), x.any(), x.cumsum(1), x.norm()",
    "return torch.relu(x), torch.sigmoid(x), torch.softmax(x, 1), torch.clamp(x, 0, 1), torch.clamp(x, "
    "min=0.5), x.leaky_relu() if n > 9 else x.abs()",
    "return torch.matmul(x, x.t()), x @ x.t(), torch.addmm(x @ x.t(), x, x.t(), beta=0.5, alpha=2), "
    "torch.einsum('ij,kj->ik', [x, x])",
    "return not b, n == 3 and f == 2.5, n > 5 or b, (n, f, b)",
    "return x * (7 // 2), x * (-7 // 2), x * (7 % -4), x * (7 / 2), x * (2.0 ** 0.5), x * -3, x * (1 - 4 * 2)",
]  # fmt: skip
X = [torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.25, 3.5]]), torch.tensor([[-0.5, -1.0, -2.0], [1.0, 0.25, -3.5]])]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_gives_what_torch_gives(body: str, tmp_path: Path) -> None:
    made = _made(body, tmp_path / "a.pt")
    program = read_torchscript(tmp_path / "a.pt")
    for x in X:
        assert repr(_numbers(run(program, x.clone()))) == repr(_numbers(made(x.clone())))


REFUSED = {
    "return x.gone": (UnsupportedError, "attribute 'gone' of a Tensor is not read|'gone'"),
    "return x.add(x)": (UnsupportedError, "method 'add'"),
    "return ...": (BadFileError, "a constant that TorchScript does not write"),
    "return b'a'": (BadFileError, "a constant that TorchScript does not write"),
    "return 18446744073709551616": (BadFileError, "a constant that TorchScript does not write"),
    "return ~1": (BadFileError, "an operator that TorchScript does not write"),
    "return -True": (BadFileError, "an operator that TorchScript does not write"),
    "return -x": (BadFileError, "an operator that TorchScript does not write"),
    "return (x, x)[2]": (BadFileError, "item 2 of 2"),
    "return (x, x)[-3]": (BadFileError, "item -3 of 2"),
    "return {'a': x}['b']": (BadFileError, "no entry 'b' in a dict"),
    "return {x: 1}": (UnsupportedError, "a dict.* keys that are not known"),
    "return self.training.foo": (UnsupportedError, "attribute 'foo'.* of a bool is not read"),
    "return (x)(1)": (UnsupportedError, "call of x|is not read"),
    "return torch.add(x, x)(1)": (BadFileError, "a call that TorchScript does not write"),
    "return self.gone()": (BadFileError, "no (attribute|method) 'gone'"),
    "return __torch__.gone.Thing()": (BadFileError, "gone"),
    "return ops.prim.gone(x)": (UnsupportedError, "prim.gone.* is not read"),
    "return ops.prim.min([x, x])": (UnsupportedError, "prim.min.* is not read"),
    "return getattr(self, 'gone')": (BadFileError, "has no attribute 'gone'"),
    "return open('a')": (UnsupportedError, "call of open.* is not read"),
    "return torch.__not__(1)": (BadFileError, "not of something that is no truth value"),
    "return torch.mul('a', 3)": (BadFileError, "a list or text is repeated"),
    "return torch.mul([1], 3)": (BadFileError, "a list or text is repeated"),
    "return torch.floordiv(1, 0)": (BadFileError, "torch.floordiv of constants fails"),
    "return torch.sqrt(-1)": (BadFileError, "torch.sqrt of constants fails"),
    "return torch.add(9223372036854775807, 1)": (BadFileError, "a value that is too large"),
    "return torch.sub(-9223372036854775807, 1)": (BadFileError, "a value that is too large"),
    "return torch.pop([x])": (UnsupportedError, "list.pop"),
    "with x:\n      y = x\n    return y": (UnsupportedError, "with x.* is no context that is read"),
    "return x[1:2] = 3": (BadFileError, "is damaged"),
    "del x\n    return 1": (UnsupportedError, "delete.* is no statement that is read"),
    "x.y = 3\n    return x": (UnsupportedError, "attribute 'y'.* of something that is no module is set"),
    "self.training = [x]\n    return x": (UnsupportedError, "is set to a .* no form as a model's state"),
    "x[0] = 3\n    return x": (BadFileError, "an assignment that TorchScript does not write"),
    "a, b = x\n    return a": (UnsupportedError, "unpacking.* of a Tensor into 2 names"),
    "a, b = (x, x, x)\n    return a": (UnsupportedError, "unpacking.* into 2 names"),
    "if 'a':\n      y = 1\n    return x": (BadFileError, "a condition that is no truth value"),
    "if torch.gt(x, 1):\n      return x\n    return torch.add(x, 1)": (
        UnsupportedError,
        "return.* from one side of a branch only",
    ),
    "for i in [1, 2]:\n      y = i\n    return x": (BadFileError, "a loop that TorchScript does not write"),
    "for i in range(1, 2):\n      y = i\n    return x": (BadFileError, "a loop that TorchScript does not write"),
    "for i in range(65):\n      return x\n    return x": (UnsupportedError, "return.* from inside a loop"),
    "y = [x]\n    for i in range(65):\n      y = [x]\n    return y": (
        UnsupportedError,
        "variable 'y'.* that changes from step to step",
    ),
    "y = None\n    for i in range(65):\n      y = x\n    return y": (
        UnsupportedError,
        "variable 'y'.* that changes from step to step",
    ),
    "for i in range(65):\n      self.training = False\n    return x": (
        UnsupportedError,
        "a loop.* sets attributes of a module|training",
    ),
    "y = [x]\n    for i in range(65):\n      _ = torch.append(y, x)\n    return y": (
        UnsupportedError,
        "list.append.* outside of the branch or loop",
    ),
    "if torch.gt(x, 1):\n      y = self\n    else:\n      y = {'a': x}\n    return y": (ConvcoreError, "a value never set"),
    "return (self).forward()": (BadFileError, "forward is called without|nested"),
    "return (self).forward(x, 1, 2.0, True, 5)": (BadFileError, "forward takes 5 arguments"),
    "return (self).forward(x, q=1)": (BadFileError, "forward takes 5 arguments"),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("script") / "a.pt"
    _made("return x + n", path)
    with zipfile.ZipFile(path) as z:
        return {n: z.read(n) for n in z.namelist()}


@pytest.mark.parametrize("line", REFUSED)
def test_what_the_source_may_not_say_is_refused(line: str, archive: dict[str, bytes], tmp_path: Path) -> None:
    kind, why = REFUSED[line]
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as z:
        for n, data in archive.items():
            if n.endswith(".py"):
                data = data.decode().rpartition("return ")[0].encode() + line.encode() + b"\n"
            z.writestr(n, data)
    with pytest.raises(kind, match=why):
        read_torchscript(tmp_path / "b.pt")


NOT_LOADED = {
    "continue": r"carries 'y' as float32\[2, 3\] into a step and as float32 out of it", "y[0] = 5": r"aten\.tensor\.int",
    "round(f)": r"aten\.round\.float",
}  # fmt: skip
"""Bodies that are read, and refused as a graph."""


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_loaded_as_what_torch_gives(body: str, tmp_path: Path) -> None:
    """As a graph: sizes and numbers computed while it is loaded, branches and loops as regions."""
    made = _made(body, tmp_path / "a.pt")
    why = next((w for k, w in NOT_LOADED.items() if k in body), "")
    if why:
        with pytest.raises(UnsupportedError, match=why):
            convcore.convert(tmp_path / "a.pt", "onnx", tmp_path / "a.onnx", input_shapes={"x": (2, 3)})
        return
    model = convcore.load(tmp_path / "a.pt", input_shapes={"x": (2, 3)})
    assert not model.problems
    for x in X:
        got, want = list(model.run({"x": x.numpy()}).values()), list(_leaves(made(x.clone())))
        assert [a.shape for a in got] == [np.shape(b) for b in want]
        assert [a.dtype.kind for a in got] == [np.asarray(b).dtype.kind for b in want]
        for a, b in zip(got, want):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def _leaves(value: Any) -> Any:
    """The tensors and numbers of a result; None is none."""
    if isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    elif value is not None:
        yield value
