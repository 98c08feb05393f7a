"""Whole models of every source as Keras files, loaded by plain ``load_model``: what agrees, and how many transposes are inside.

    KERAS_BACKEND=torch PYTHONPATH=<folder with torchvision and timm> python tests/matrix/sweep_keras.py [GROUP...]

GROUP: applications, torchvision, timm, recurrent, transformers, zoo, caffe (default: all that is installed). Not part of the
tests: it takes an hour on one core. The table is written to ``docs/support/keras-written.md``; models done before are kept there
unless they are named again (``--only NAME``). The judge is the source's own framework (torch, Keras), the recorded outputs of
Caffe, and for the zoo the reference interpreter.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
warnings.filterwarnings("ignore")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from matrix_kit import DATA, error_of_range, orders, permuted

import convcore
from convcore.errors import ConvcoreError

PAGE = Path(__file__).parents[2] / "docs" / "support" / "keras-written.md"
Case = tuple[str, Callable[[], tuple[Any, Any, Any]]]
"""A name, and what gives (source, inputs or None, outputs or None): without outputs convcore's own check is the judge."""

APPLICATIONS = {
    "MobileNet": 64, "MobileNetV2": 64, "MobileNetV3Small": 64, "MobileNetV3Large": 64, "EfficientNetB0": 64,
    "EfficientNetV2B0": 64, "ResNet50": 64, "ResNet50V2": 64, "DenseNet121": 64, "Xception": 96, "InceptionV3": 96,
    "InceptionResNetV2": 96, "VGG16": 32, "VGG19": 32, "ConvNeXtTiny": 64,
}  # fmt: skip
TORCHVISION = [
    "alexnet",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3@96",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "vgg11_bn",
    "convnext_tiny",
    "swin_t",
    "swin_v2_t",
    "vit_b_32@224",
    "maxvit_t@224",
    "segmentation.fcn_resnet50",
    "segmentation.lraspp_mobilenet_v3_large",
    "segmentation.deeplabv3_mobilenet_v3_large",
]
TIMM = [
    "res2net50_26w_4s",
    "seresnet18",
    "legacy_seresnet18",
    "hrnet_w18_small",
    "skresnet18",
    "resnest14d",
    "ghostnet_050",
    "dla34",
    "cspresnet50",
    "dpn48b",
    "hardcorenas_a",
    "hgnet_tiny",
    "lcnet_050",
    "repghostnet_050",
    "resnetv2_50",
    "rexnet_100",
    "selecsls42",
    "vovnet39a",
    "xception41",
    "repvit_m0_9",
    "starnet_s1",
    "fastvit_t8",
    "mobilenetv4_conv_small",
    "inception_next_atto",
    "poolformer_s12",
    "convmixer_768_32",
    "edgenext_xx_small",
    "mobilevit_xxs",
    "mixer_s32_224@224",
    "vit_tiny_patch16_224@224",
    "deit_tiny_patch16_224@224",
    "levit_128s@224",
    "pit_ti_224@224",
    "nf_resnet26",
    "tf_efficientnet_lite0",
    "mobileone_s0",
    "regnetz_b16",
    "gernet_s",
]


def perturbed(model: Any) -> Any:
    """Statistics and biases that are not zero."""
    import torch

    g = torch.Generator().manual_seed(1)
    for p in model.parameters():
        if p.ndim == 1 or not p.data.any():
            p.data += 0.1 * torch.randn(p.shape, generator=g)
    for n, b in model.named_buffers():
        if n.endswith("running_mean"):
            b.add_(0.1 * torch.randn(b.shape, generator=g))
        if n.endswith("running_var"):
            b.copy_(0.7 + 0.6 * torch.rand(b.shape, generator=g))
    return model.eval()


def of_torch(make: Callable[[], Any], *inputs: Any, dynamic: bool = True) -> tuple[Any, Any, Any]:
    """Exported with a symbolic batch; torch's own numbers."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = perturbed(make())
    batch = tuple({0: torch.export.Dim("N", max=4096)} for _ in inputs) if dynamic else None
    program = torch.export.export(model, inputs, dynamic_shapes=batch)
    with torch.no_grad():
        out = model(*inputs)
    out = list(out.values()) if isinstance(out, dict) else list(out) if isinstance(out, (tuple, list)) else [out]
    flat = [t for o in out for t in (o if isinstance(o, (tuple, list)) else [o])]
    return program, [i.numpy() for i in inputs], [t.numpy() for t in flat]


def images(size: int) -> Any:
    import torch

    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))


def applications() -> Iterator[Case]:
    import keras

    def make(name: str, size: int) -> tuple[Any, Any, Any]:
        keras.utils.set_random_seed(5)
        model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=11)
        rng = np.random.default_rng(3)
        for v in model.variables:
            if "moving_variance" in v.path or "gamma" in v.path:
                v.assign(rng.uniform(0.7, 1.3, v.shape))
            elif v.path.endswith(("bias", "beta", "moving_mean")):
                v.assign(rng.normal(0, 0.1, v.shape))
        x = rng.random((2, size, size, 3)).astype(np.float32)
        return model, [x], [keras.ops.convert_to_numpy(model(x, training=False))]

    for name, size in APPLICATIONS.items():
        yield name, lambda name=name, size=size: make(name, size)


def torchvision() -> Iterator[Case]:
    importlib.import_module("tvshim")  # first: it makes a torchvision without its own torch importable
    import torchvision as tv

    for entry in TORCHVISION:
        name, _, size = entry.partition("@")
        space, _, short = name.rpartition(".")
        space = getattr(tv.models, space) if space else tv.models
        more = {"weights_backbone": None} if space is not tv.models else {}
        yield (
            name,
            lambda s=space, n=short, d=int(size or 64), m=more: of_torch(lambda: getattr(s, n)(weights=None, **m), images(d)),
        )


def timm() -> Iterator[Case]:
    importlib.import_module("tvshim")  # first: it makes a torchvision without its own torch importable
    import timm

    for entry in TIMM:
        name, _, size = entry.partition("@")
        yield name, lambda n=name, d=int(size or 64): of_torch(lambda: timm.create_model(n, pretrained=False), images(d))


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

    with contextlib.suppress(ImportError):
        import tvshim  # noqa: F401 - transformers imports torchvision

    x = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(3))
    for norm_first in (False, True):
        yield (
            f"encoder layer{', norm first' if norm_first else ''}",
            lambda n=norm_first: of_torch(lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=n), x),
        )
    yield (
        "encoder of 2 layers",
        lambda: of_torch(
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False),
            x,
        ),
    )
    yield "decoder layer", lambda: of_torch(lambda: nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), x, x.flip(1))

    def hugging(kind: str, **config: Any) -> tuple[Any, Any, Any]:
        import transformers as t

        class Logits(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = getattr(t, f"{kind}Model")(getattr(t, f"{kind}Config")(**config))

            def forward(self, ids: Any) -> Any:
                return self.model(ids, use_cache=False).last_hidden_state if kind != "Bert" else self.model(ids).last_hidden_state

        return of_torch(Logits, torch.randint(0, 90, (2, 7), generator=torch.Generator().manual_seed(3)))

    small = {"vocab_size": 97, "attn_implementation": "eager"}
    yield (
        "Bert, tiny",
        lambda: hugging("Bert", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, **small),
    )
    yield "GPT2, tiny", lambda: hugging("GPT2", n_embd=32, n_layer=2, n_head=4, n_positions=64, **small)
    yield (
        "Llama, tiny",
        lambda: hugging(
            "Llama",
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            **small,
        ),
    )


def zoo() -> Iterator[Case]:
    for folder in sorted((DATA / "zoo").iterdir()):
        if folder.name.startswith("onnx"):
            for path in sorted(folder.glob("*.onnx")):
                yield f"{folder.name}/{path.name}", lambda p=path: (p, None, None)
        elif folder.name.startswith("caffe"):
            for path in sorted(folder.glob("*.prototxt")):
                weights = [*folder.glob("*.caffemodel"), None][0]
                yield f"{folder.name}/{path.name}", lambda p=path, w=weights: ((p, w) if w else p, None, None)


def caffe() -> Iterator[Case]:
    for folder in sorted(p.parent for p in (DATA / "caffe_conformance").glob("[!_]*/*/deploy.prototxt")):
        weights = folder / "weights.caffemodel"
        source = (folder / "deploy.prototxt", weights) if weights.exists() else folder / "deploy.prototxt"
        yield f"{folder.parent.name}/{folder.name}", lambda s=source: (s, None, None)


GROUPS = {f.__name__: f for f in (applications, torchvision, timm, recurrent, transformers, zoo, caffe)}


def classes(config: Any) -> Iterator[str]:
    for x in config["config"].get("layers", []):
        if x["class_name"] in ("Functional", "Sequential"):
            yield from classes(x)
        else:
            yield x["class_name"]


def one(make: Callable[[], tuple[Any, Any, Any]], folder: Path) -> dict[str, Any]:
    """What became of a model: its error as a part of the range, the transposes inside, or why it is refused."""
    import keras

    start = time.perf_counter()
    try:
        source, inputs, wanted = make()
    except Exception as e:  # noqa: BLE001 - a model the source's own framework cannot build or export is no finding here
        return {"result": "not made", "why": f"{type(e).__name__}: {e}".splitlines()[0][:160]}
    out = folder / "model.keras"
    try:
        made = convcore.convert(source, "keras", out, check=wanted is None)
    except ConvcoreError as e:
        problems = [f"{p.type}: {p.why}" for p in getattr(e, "problems", ())] or [str(e).splitlines()[0]]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        wrong = "WRONG" if type(e).__name__ == "MismatchError" else "refused"
        return {"result": wrong, "why": problems[0][:200] + more}
    model = keras.models.load_model(out)
    row: dict[str, Any] = {"result": "agrees"}
    if wanted is not None:
        ins, outs = orders(made.report)
        got = model([*permuted(inputs, ins)] if len(inputs) > 1 else permuted(inputs, ins)[0], training=False)
        arrays = permuted([keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(got)], outs, back=True)
        error = error_of_range(arrays, wanted)
        row |= {"error": error, "result": "agrees" if error < 1e-4 else "WRONG"}
    elif made.report.unverified or not made.report.ok:
        row["result"] = "not verified"
    kinds = list(classes(json.loads(zipfile.ZipFile(out).read("config.json"))))
    (section,) = [s.data for s in made.report.sections if s.title == "layout"]
    row |= {
        "layers": len(kinds), "transposes": sum(k in ("Permute", "Transpose") for k in kinds),
        "put in": len(section["remaining"]), "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    return row


def page(rows: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = [
        "# Whole models written as Keras 3", "",
        "Written by `tests/matrix/sweep_keras.py`; do not edit. Each file is loaded by plain `keras.models.load_model` (safe",
        "mode, torch backend). *Error*: largest difference from the source's own framework as a part of the output's range;",
        "empty: compared by convcore's check. *Transposes*: Permute and Transpose inside the file, and how many of them the",
        "layout pass had to put in.", "",
    ]  # fmt: skip
    for group, found in rows.items():
        good = sum(r["result"] == "agrees" for r in found.values())
        lines += [
            f"## {group}: {good} of {len(found)} agree",
            "",
            "| model | result | error | layers | transposes (put in) |",
            "|---|---|---|---|---|",
        ]
        for name, r in found.items():
            why = re.sub(r"[|\n]", " ", r.get("why", ""))
            error = f"{r['error']:.1e}" if "error" in r else ""
            moved = f"{r['transposes']} ({r['put in']})" if "transposes" in r else ""
            lines.append(f"| {name} | {r['result']}{': ' + why if why else ''} | {error} | {r.get('layers', '')} | {moved} |")
        lines.append("")
    lines += ["<!-- " + json.dumps(rows).replace("--", "\\u002d\\u002d") + " -->", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--left", action="store_true", help="only models that are not in the table yet")
    args = parser.parse_args()
    held = re.search(r"<!-- (\{.*\}) -->", PAGE.read_text(encoding="utf-8")) if PAGE.exists() else None
    rows: dict[str, dict[str, dict[str, Any]]] = json.loads(held[1]) if held else {}
    for group in args.groups or GROUPS:
        found = rows.setdefault(group, {})
        for name, make in GROUPS[group]():
            if (args.only and name not in args.only) or (args.left and name in found):
                continue
            with tempfile.TemporaryDirectory(prefix="convcore-sweep-") as folder:
                found[name] = one(make, Path(folder))
            sys.stderr.write(f"{group} {name}: {found[name]}\n")
            PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
