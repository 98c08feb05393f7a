"""Models to convert, by group: a name, and what makes the source, its inputs and what its own framework computes of them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch_networks
from matrix_kit import DATA, ZOO
from torch_networks import perturbed

from .names import entries


@dataclass
class Source:
    """A source with inputs and outputs; without outputs convcore's own check is the judge. ``options`` are those of loading."""

    model: Any
    inputs: list[np.ndarray] | None = None
    outputs: list[np.ndarray] | None = None
    framework: str = ""
    options: dict[str, Any] | None = None


Case = tuple[str, Callable[[], Source]]


# ---- torch
def arrays_of(out: Any) -> list[np.ndarray]:
    """Tensors of a module's result, in order, as arrays."""
    if isinstance(out, dict):
        out = list(out.values())
    return [a for o in out for a in arrays_of(o)] if isinstance(out, (list, tuple)) else [out.detach().numpy()]


def of_torch(make: Callable[[], Any], *inputs: Any) -> Source:
    """Exported with a symbolic batch; torch's own numbers."""
    import torch

    torch.manual_seed(0)
    model = perturbed(make())
    batch = tuple({0: torch.export.Dim("N", max=4096)} for _ in inputs)
    program = torch.export.export(model, inputs, dynamic_shapes=batch)
    with torch.no_grad():
        out = model(*inputs)
    return Source(program, [i.numpy() for i in inputs], arrays_of(out), "pytorch")


def images(size: int, n: int = 2, channels: int = 3) -> Any:
    import torch

    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(3))


def torchvision() -> Iterator[Case]:
    with contextlib.suppress(ImportError):
        importlib.import_module("tvshim")  # first: it makes a torchvision without its own torch importable
    import torchvision as tv

    def made(space: Any, name: str, size: int, **options: Any) -> Source:
        if name.startswith("vit_"):
            options["image_size"] = size
        return of_torch(lambda: getattr(space, name)(weights=None, **options), images(size))

    for name, size in entries("torchvision"):
        yield name, lambda n=name, d=size: made(tv.models, n, d)
    for name, _ in entries("segmentation"):
        yield f"segmentation.{name}", lambda n=name: made(tv.models.segmentation, n, 64, weights_backbone=None)


def timm() -> Iterator[Case]:
    with contextlib.suppress(ImportError):
        importlib.import_module("tvshim")
    import timm

    for name, size in entries("timm"):
        yield name, lambda n=name, d=size: of_torch(lambda: timm.create_model(n, pretrained=False), images(d))


def unet() -> Any:
    """A UNet of three levels as people write it: two convolutions a level, transposed convolutions up, concatenation."""
    import torch
    from torch import nn

    class Double(nn.Sequential):
        def __init__(self, a: int, b: int) -> None:
            parts = [[nn.Conv2d(i, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)] for i in (a, b)]
            super().__init__(*parts[0], *parts[1])

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = (3, 11, 17, 29)
            self.down = nn.ModuleList(Double(a, b) for a, b in zip(sizes, sizes[1:]))
            self.bottom = Double(29, 37)
            self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in ((37, 29), (29, 17), (17, 11)))
            self.after = nn.ModuleList(Double(2 * b, b) for b in (29, 17, 11))
            self.head = nn.Conv2d(11, 5, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for block in self.down:
                x = block(x)
                kept.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = self.bottom(x)
            for up, block, skip in zip(self.up, self.after, reversed(kept)):
                x = block(torch.cat([skip, up(x)], dim=1))
            return self.head(x)

    return UNet()


def segmentation() -> Iterator[Case]:
    yield "unet", lambda: of_torch(unet, images(48))


def recurrent() -> Iterator[Case]:
    import torch
    from torch import nn

    x = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(3))
    for kind in ("LSTM", "GRU", "RNN"):
        for both in (False, True):
            for layers in (1, 2):
                name = f"{kind}{' bidirectional' if both else ''}{' of 2 layers' if layers == 2 else ''}"

                def make(kind: str = kind, both: bool = both, layers: int = layers) -> Any:
                    return getattr(nn, kind)(5, 6, num_layers=layers, bidirectional=both, batch_first=True)

                yield name, lambda make=make: of_torch(make, x)
    yield "RNN of relu", lambda: of_torch(lambda: nn.RNN(5, 6, nonlinearity="relu", batch_first=True), x)
    yield "GRU without bias", lambda: of_torch(lambda: nn.GRU(5, 6, bias=False, batch_first=True), x)


def transformers() -> Iterator[Case]:
    import torch
    from torch import nn

    x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(3))

    def layer(**options: Any) -> Any:
        return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options)

    yield "encoder layer", lambda: of_torch(layer, x)
    yield "encoder layer, norm first", lambda: of_torch(lambda: layer(norm_first=True), x)
    yield "encoder of 2 layers", lambda: of_torch(lambda: nn.TransformerEncoder(layer(), 2, enable_nested_tensor=False), x)
    yield "decoder layer", lambda: of_torch(lambda: nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), x, x.flip(1))

    for network in torch_networks.transformers():
        yield f"{network.name}, tiny", lambda n=network: of_torch(n.make, *n.inputs(2, 7))


# ---- Keras
def application(name: str, size: int, **options: Any) -> Source:
    """An architecture of keras.applications with every bias, scale and statistic off its initial value; Keras's own numbers.

    Scales are made smaller until the classes are not 0 and 1, and noise in the last place of the input is noise in the output: a
    deep one (EfficientNetV2S) has logits of 30,000 otherwise, and any other order of sums gives another class.
    """
    import keras

    keras.utils.set_random_seed(5)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=11, **options)
    rng = np.random.default_rng(3)
    for v in model.variables:
        if "moving_variance" in v.path or "gamma" in v.path:
            v.assign(rng.uniform(0.7, 1.3, v.shape))
        elif v.path.endswith(("bias", "beta", "moving_mean")):
            v.assign(rng.normal(0, 0.1, v.shape))
    x = rng.random((2, size, size, 3)).astype(np.float32)
    near = np.nextafter(x, rng.integers(0, 2, x.shape).astype(np.float32))
    for _ in range(40):
        y, other = (keras.ops.convert_to_numpy(model(v, training=False)) for v in (x, near))
        if np.ptp(y - other) <= 2e-5 * np.ptp(y) and np.ptp(y) < 0.99:
            return Source(model, [x], [y], "keras")
        for v in model.variables:
            if "gamma" in v.path:
                v.assign(0.94 * v)
    raise AssertionError(f"{name}: noise in the last place of the input changes the output, whatever the scales")


def applications() -> Iterator[Case]:
    for name, size in entries("applications"):
        yield name, lambda n=name, d=size: application(n, d)


# ---- files of the tests
def zoo() -> Iterator[Case]:
    for folder in sorted(ZOO.iterdir()):
        for path in sorted(folder.glob("*.onnx")):
            yield f"{folder.name}/{path.name}", lambda p=path: Source(p, framework="onnx")
        for path in sorted(folder.glob("*.prototxt")):
            yield f"{folder.name}/{path.name}", lambda p=path: Source(_net(p), framework="caffe")


def _net(definition: Path) -> Any:
    weights = [*definition.parent.glob("*.caffemodel"), None][0]
    return (definition, weights) if weights else definition


def caffe() -> Iterator[Case]:
    for path in sorted((DATA / "caffe_conformance").glob("[!_]*/*/deploy.prototxt")):
        yield f"{path.parent.parent.name}/{path.parent.name}", lambda p=path: Source(_net(p), framework="caffe")


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    f.__name__: f for f in (applications, torchvision, timm, segmentation, recurrent, transformers, zoo, caffe)
}
