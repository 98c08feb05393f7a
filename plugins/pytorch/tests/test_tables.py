"""Tables of torch's modules and functions that the printer and the rules hold, beside torch's own signatures."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional as F

from convcore_pytorch.in_place import _ACTIVATIONS, _MAKERS
from convcore_pytorch.in_place import _FUNCTIONS as IN_PLACE
from convcore_pytorch.printer.classes import BUFFERS
from convcore_pytorch.printer.forward import _FACTORIES
from convcore_pytorch.tidying import FUNCTIONS, STATEFUL


def parameters(cls: Any) -> dict[str, inspect.Parameter]:
    found = inspect.signature(cls.__init__).parameters
    return {k: p for k, p in found.items() if k != "self"}


def test_buffers_of_layers() -> None:
    assert {k for k, _ in nn.BatchNorm2d(3).named_buffers()} == BUFFERS


MADE: dict[str, Any] = {
    "Linear": (3, 5), "Embedding": (7, 3), "PReLU": (3,), "LayerNorm": (5,), "RMSNorm": (5,), "GroupNorm": (2, 4),
    **{f"{k}{n}d": (4,) for k in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)},
    **{f"{k}{n}d": (4, 6, 3) for k in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
}  # fmt: skip
GIVEN: dict[str, Any] = {
    "Linear": (2, 3), "PReLU": (2, 3, 5), "LayerNorm": (2, 5), "RMSNorm": (2, 5), "GroupNorm": (2, 4, 3),
    **{f"{k}{n}d": (2, 4, *[5] * n) for k in ("BatchNorm", "InstanceNorm", "Conv", "ConvTranspose") for n in (1, 2, 3)},
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "Embedding": {"padding_idx": 2}, "LayerNorm": {"eps": 0.1}, "RMSNorm": {"eps": 0.1}, "GroupNorm": {"eps": 0.1},
    **{f"BatchNorm{n}d": {"eps": 0.1, "momentum": 0.25} for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": {"eps": 0.1, "affine": True} for n in (1, 2, 3)},
    **{f"Conv{n}d": {"stride": 2, "padding": 1, "dilation": 2, "groups": 2} for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": {"stride": 3, "padding": 1, "dilation": 2, "groups": 2, "output_padding": 2} for n in (1, 2, 3)},
}  # fmt: skip


def test_every_module_with_weights_as_its_function() -> None:
    """The weights in the order that the function takes them, and the settings by its names: it computes the same."""
    assert set(MADE) == set(STATEFUL)
    for name, (function, weights, settings) in STATEFUL.items():
        torch.manual_seed(3)
        module = getattr(nn, name)(*MADE[name], **OPTIONS.get(name, {})).eval()
        with torch.no_grad():
            for t in (*module.parameters(), *module.buffers()):
                if t.is_floating_point():
                    t.uniform_(0.5, 1.5)
        x = torch.tensor([[1, 4, 2]]) if name == "Embedding" else torch.randn(GIVEN[name])
        fn = getattr(F, function.removeprefix("F."))
        held = [getattr(module, w, None) if w else None for w in weights]
        more = {k: getattr(module, k) for k in settings}
        ahead = [more.pop(k) for k in ("normalized_shape", "num_groups") if k in more]
        assert torch.equal(fn(x, *ahead, *held, **more), module(x)), name
        theirs = list(inspect.signature(module.forward).parameters)
        assert theirs[0] in ("input", "x"), name
        options = set(OPTIONS.get(name, {})) - {"affine"}
        assert options <= set(settings), f"{name} takes {options}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_module_without_weights_as_its_function(name: str) -> None:
    space, _, function = FUNCTIONS[name].partition(".")
    fn = getattr({"F": F, "torch": torch}[space], function)
    d = int(name[-2]) if name[-1] == "d" and name[-2].isdigit() else 2
    settings: dict[str, Any] = {
        "GLU": {"dim": 1},
        "Softmax": {"dim": 1},
        "LogSoftmax": {"dim": 1},
        "Upsample": {"scale_factor": 2},
        "PixelShuffle": {"upscale_factor": 2},
        "PixelUnshuffle": {"downscale_factor": 2},
        "ELU": {"alpha": 0.7},
        "CELU": {"alpha": 0.7},
        "LeakyReLU": {"negative_slope": 0.3},
        "GELU": {"approximate": "tanh"},
        "Softshrink": {"lambd": 0.3},
        "Hardshrink": {"lambd": 0.3},
    }.get(name, {})
    if "Pool" in name:
        settings = {"output_size": 2} if "Adaptive" in name else {"kernel_size": 2, "stride": 1, "padding": 1}
    x = torch.randn(2, 4, *[6] * d)
    assert torch.equal(fn(x, **settings), getattr(nn, name)(**settings)(x))


def test_what_works_in_place() -> None:
    for name in _ACTIVATIONS:
        assert "inplace" in parameters(getattr(nn, name.removeprefix("torch.nn."))), name
    for name in IN_PLACE:
        assert "inplace" in inspect.signature(getattr(F, name.removeprefix("F."))).parameters, name
    assert len(_MAKERS) == 14 and all(m == "+" or hasattr(nn, m.removeprefix("torch.nn.")) for m in _MAKERS)
    for name in _FACTORIES:  # they take a device, which a tensor beside them gives
        assert "device" in (getattr(torch, name.removeprefix("torch.")).__doc__ or ""), name
