"""A model of PyTorch goes on training in Keras as it would have there; architectures survive the way there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
pytest.importorskip("convcore_pytorch")
from keras_helpers import error_of_range, randomise
from torch import nn

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="gradients are torch's own here")
L = keras.layers


class Block(nn.Module):
    def __init__(self, c: int, d: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, d, 3, stride, 1, bias=False), nn.BatchNorm2d(d)
        self.conv2, self.bn2 = nn.Conv2d(d, d, 3, 1, 1, bias=False), nn.BatchNorm2d(d)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(c, d, 1, stride, bias=False), nn.BatchNorm2d(d)) if stride > 1 else None

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """ResNet18's blocks, narrower."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 5, 7, 2, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(5, 5, 1), Block(5, 5, 1))
        self.layer2 = nn.Sequential(Block(5, 7, 2), Block(7, 7, 1))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(7, 11)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class ResNet18(nn.Module):
    """ResNet18 as it is (He et al. 2016, torchvision's names): 11,689,512 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (c, d) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), 1):
            setattr(self, f"layer{i}", nn.Sequential(Block(c, d, 1 if i == 1 else 2), Block(d, d, 1)))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 1000)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def network(kind: type[Any] = ResNet) -> Any:
    torch.manual_seed(3)
    model = kind()
    for p in model.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn(p.shape)
    for n, b in model.named_buffers():
        if n.endswith("running_var"):
            b.copy_(0.7 + 0.6 * torch.rand(b.shape))
    for p in model.layer1[0].conv1.parameters():
        p.requires_grad = False
    return model.eval()


KEYS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias", "moving_mean": "running_mean",
        "moving_variance": "running_var"}  # fmt: skip


def named(model: Any, prefix: str = "") -> dict[str, Any]:
    """Variables by the names of the layers they are in, "_" between."""
    found: dict[str, Any] = {}
    for x in model.layers:
        if isinstance(x, keras.Model):
            found |= named(x, f"{prefix}{x.name}_")
        else:
            found |= {f"{prefix}{x.name}_{v.name}": v for v in x.variables if "seed" not in v.name}
    return found


def by_torch_name(model: Any) -> dict[str, Any]:
    """Variables by torch's names, "_" for "."."""
    return {f"{k.removesuffix(v.name)}{KEYS[v.name]}": v for k, v in named(model).items()}


def exported(model: Any, x: Any) -> Any:
    return torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("N", max=99)},))


def as_torch(a: Any) -> Any:
    return a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T if a.ndim == 2 else a


def test_one_step_changes_the_same_weights_by_the_same_amounts(tmp_path: Path) -> None:
    model, x = network(), torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    convcore.convert(exported(model, x), "keras", tmp_path / "net.keras")
    made = keras.models.load_model(tmp_path / "net.keras")
    theirs = {n.replace(".", "_"): p for n, p in model.named_parameters()}
    ours = by_torch_name(made)
    trained = {n for n, p in theirs.items() if p.requires_grad}
    assert trained == {n for n, v in ours.items() if v.trainable}
    assert sum(p.numel() for n, p in theirs.items() if n in trained) == sum(
        int(np.prod(v.shape)) for v in made.trainable_variables
    )
    before = {n: as_torch(keras.ops.convert_to_numpy(v)) for n, v in ours.items()}
    model.train()
    (model(x) ** 2).sum().backward()
    with torch.no_grad():
        made_x = x.permute(0, 2, 3, 1).contiguous()
    (made(made_x, training=True) ** 2).sum().backward()
    checked = 0
    for n, p in theirs.items():
        v = ours[n]
        np.testing.assert_array_equal(before[n], p.detach().numpy())
        if n not in trained:
            assert p.grad is None and v.value.grad is None
            continue
        theirs_moved, ours_moved = p.grad.numpy(), as_torch(v.value.grad.numpy())
        assert np.abs(theirs_moved - ours_moved).max() <= 1e-4 * np.abs(theirs_moved).max(), n
        checked += 1
    assert checked == len(trained) > 20


def test_a_step_of_fine_tuning_resnet18(tmp_path: Path) -> None:
    """Keras's SGD in the converted model and torch's in the source change the same weights by the same amounts; a frozen layer
    stays as it is. (The step is taken on the statistics of the batch, as either trains.)"""
    model, x = network(ResNet18), torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    labels = torch.tensor([3, 141, 59, 926])
    convcore.convert(exported(model, x), "keras", tmp_path / "net.keras", check=False)
    made = keras.models.load_model(tmp_path / "net.keras")
    theirs, ours = {n.replace(".", "_"): p for n, p in model.named_parameters()}, by_torch_name(made)
    trained = {n for n, p in theirs.items() if p.requires_grad}
    assert trained == {n for n, v in ours.items() if v.trainable} and len(trained) == 61
    assert sum(int(np.prod(v.shape)) for v in made.trainable_variables) == sum(theirs[n].numel() for n in trained)
    start = {n: p.detach().clone().numpy() for n, p in theirs.items()}

    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(model(x), labels).backward()
    optimizer.step()
    made.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    made.train_on_batch(x.permute(0, 2, 3, 1).contiguous().numpy(), labels.numpy())

    for n, p in theirs.items():
        moved = p.detach().numpy() - start[n]
        mine = as_torch(keras.ops.convert_to_numpy(ours[n])) - start[n]
        assert np.abs(moved - mine).max() <= 1e-4 * np.abs(moved).max(), n
        assert bool(np.abs(moved).max()) == (n in trained), n


def test_torch_to_keras_to_torch(tmp_path: Path) -> None:
    model, x = network(), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    convcore.convert(exported(model, x), "keras", tmp_path / "net.keras")
    back = convcore.convert(tmp_path / "net.keras", "pytorch", io_layout="target", check=False).model.eval()
    with torch.no_grad():
        assert error_of_range([back(x).numpy()], [model(x).numpy()]) < 1e-5
    mine = {n: tuple(p.shape) for n, p in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    again = {n: tuple(p.shape) for n, p in back.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert {n.replace(".", "_"): s for n, s in again.items()} == {n.replace(".", "_"): s for n, s in mine.items()}
    frozen = {n.replace(".", "_") for n, p in back.named_parameters() if not p.requires_grad}
    assert frozen == {n.replace(".", "_") for n, p in model.named_parameters() if not p.requires_grad}


def test_keras_to_torch_to_keras(tmp_path: Path) -> None:
    x = keras.Input((16, 18, 3), name="image")
    y = L.Conv2D(6, 3, padding="same", activation="relu", name="first")(x)
    y = L.BatchNormalization(name="norm", momentum=0.83)(y)
    z = L.DepthwiseConv2D(3, padding="same", name="depth")(y)
    y = L.MaxPooling2D(2, name="pool")(L.Add(name="sum")([y, z]))
    y = L.Dropout(0.3, name="drop")(L.GlobalAveragePooling2D(name="mean")(y))
    model = keras.Model(x, L.Dense(5, activation="softmax", name="last")(y), name="net")
    model.get_layer("first").trainable = False
    randomise(model)
    module = convcore.convert(model, "pytorch", io_layout="target", check=False).model.eval()
    data = np.random.default_rng(5).standard_normal((2, 16, 18, 3)).astype(np.float32)
    convcore.convert(exported(module, torch.from_numpy(data.transpose(0, 3, 1, 2).copy())), "keras", tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    got = keras.ops.convert_to_numpy(again(data, training=False))
    assert error_of_range([got], [keras.ops.convert_to_numpy(model(data, training=False))]) < 1e-5
    held = {k: (tuple(v.shape), v.trainable) for k, v in named(model).items()}
    assert {k: (tuple(v.shape), v.trainable) for k, v in named(again).items()} == held
    kept = [type(x).__name__ for x in again.layers]
    assert kept.count("Dropout") == 1 and again.get_layer("norm").momentum == pytest.approx(0.83)
