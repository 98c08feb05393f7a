"""Composites recovered from transformers' models, exported by both of torch's ONNX exporters: expected and found, as a table.

    PYTHONPATH=... python plugins/onnx/tools/composites.py --page docs/support/composites.md [model ...]

Needs torch, transformers and onnxscript. Models are tiny, with random weights; what is expected is counted in the source of the
modules (LayerNorm and RMSNorm, GELU and SiLU activations, attentions). Each file is loaded, its composites counted, and run in
onnxruntime and in convcore's interpreter on the same inputs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import convcore

LAYERS = 2
NORMS, GATES, CORES = ("layer_norm", "rms_norm"), ("gelu", "silu", "swish"), ("attention", "multi_head_attention")


@dataclass(frozen=True)
class Case:
    """A model, its inputs by name, and the composites it is made of."""

    name: str
    make: Callable[[], tuple[Any, dict[str, Any]]]
    norms: int
    gates: int
    cores: int


def cases() -> list[Case]:
    """The models; sizes are small and differ from each other."""
    import torch
    import transformers as t

    ids = lambda n=2, s=7: torch.randint(2, 90, (n, s))  # noqa: E731
    image = lambda size: torch.randn(2, 3, size, size)  # noqa: E731
    small: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 3, "intermediate_size": 40}

    def masked(model: Any) -> tuple[Any, dict[str, Any]]:
        x = ids()
        return model, {"input_ids": x, "attention_mask": torch.ones_like(x)}

    L = LAYERS
    bert = t.BertConfig(vocab_size=99, **small)
    gpt2 = t.GPT2Config(vocab_size=99, n_embd=24, n_layer=L, n_head=3, use_cache=False)
    llama = t.LlamaConfig(vocab_size=99, num_key_value_heads=1, use_cache=False, **small)
    t5 = t.T5Config(vocab_size=99, d_model=24, d_kv=8, d_ff=40, num_layers=L, num_heads=3)
    vit = t.ViTConfig(image_size=20, patch_size=5, **small)
    swin = t.SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[2], num_heads=[3], window_size=4)
    convnext = t.ConvNextConfig(num_stages=2, hidden_sizes=[12, 20], depths=[1, 2], image_size=32)
    return [
        Case("bert", lambda: masked(t.BertModel(bert, add_pooling_layer=False)), 1 + 2 * L, L, L),
        Case("gpt2", lambda: masked(t.GPT2Model(gpt2)), 1 + 2 * L, L, L),
        Case("llama", lambda: masked(t.LlamaModel(llama)), 1 + 2 * L, L, L),
        Case("t5 encoder", lambda: masked(t.T5EncoderModel(t5)), 1 + 2 * L, 0, L),
        Case("vit", lambda: (t.ViTModel(vit, add_pooling_layer=False), {"pixel_values": image(20)}), 1 + 2 * L, L, L),
        Case("swin", lambda: (t.SwinModel(swin, add_pooling_layer=False), {"pixel_values": image(32)}), 6, 2, 2),
        Case("whisper encoder", lambda: (_encoder(t), {"input_features": torch.randn(2, 8, 24)}), 1 + 2 * L, 2 + L, L),
        Case("clip", lambda: _clip(t, ids(2, 7), image(20)), 4 * L + 3, 2 * L, 2 * L),
        Case("convnext", lambda: (t.ConvNextModel(convnext), {"pixel_values": image(32)}), 5, 3, 0),
    ]


def _encoder(t: Any) -> Any:
    config = t.WhisperConfig(
        vocab_size=99, num_mel_bins=8, d_model=24, encoder_layers=LAYERS, encoder_attention_heads=3, encoder_ffn_dim=40,
        decoder_layers=1, decoder_attention_heads=3, max_source_positions=12, decoder_start_token_id=1, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return t.WhisperModel(config).encoder


def _clip(t: Any, ids: Any, image: Any) -> tuple[Any, dict[str, Any]]:
    import torch

    sizes = {"hidden_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 3, "intermediate_size": 40}
    text = {"vocab_size": 99, "max_position_embeddings": 11, "bos_token_id": 0, "eos_token_id": 98, **sizes}
    config = t.CLIPConfig(text_config=text, vision_config={"image_size": 20, "patch_size": 5, **sizes}, projection_dim=16)
    ids[:, -1] = 98
    return t.CLIPModel(config), {"input_ids": ids, "pixel_values": image, "attention_mask": torch.ones_like(ids)}


class Positional:
    """Calls a model by keywords from positional arguments, for tracing; gives its first tensor."""

    def __new__(cls, model: Any, names: list[str]) -> Any:
        import torch

        class Wrapped(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.m = model

            def forward(self, *args: Any) -> Any:
                return self.m(**dict(zip(names, args)), return_dict=False)[0]

        return Wrapped()


def export(case: Case, exporter: str, half: bool, folder: Path) -> tuple[Path, list[Any]]:
    """The file of a model, and the arrays it is run on."""
    import torch

    torch.manual_seed(0)
    model, inputs = case.make()
    with torch.no_grad():
        for p in model.parameters():  # a position bias that starts as zeros would be nothing, and no mask
            if p.numel() > 1 and bool((p == p.reshape(-1)[0]).all()):
                p.add_(0.1 * torch.randn_like(p))
    model = Positional(model.eval(), list(inputs)).eval()
    args = tuple(inputs.values())
    if half:
        model = model.half()
        args = tuple(a.half() if a.is_floating_point() else a for a in args)
    path = folder / f"{case.name}-{exporter}{'-half' if half else ''}.onnx"
    names = list(inputs)
    with torch.no_grad():
        if exporter == "dynamo":
            torch.onnx.export(model, args, path, dynamo=True, opset_version=18, input_names=names, verbose=False)
        else:
            torch.onnx.export(model, args, path, dynamo=False, opset_version=17, input_names=names)
    return path, [a.numpy() for a in args]


def measured(case: Case, exporter: str, half: bool, folder: Path) -> list[str]:
    """A row of the table."""
    import onnxruntime as ort

    told = [case.name, exporter + (", half" if half else "")]
    try:
        path, arrays = export(case, exporter, half, folder)
    except Exception as e:  # noqa: BLE001 - what torch cannot export is no finding about convcore
        return [*told, f"not exported by torch: {type(e).__name__}", *[""] * (len(HEAD) - 3)]
    before = len(convcore.load(path, fuse=False).graph)
    model = convcore.load(path)
    counts = Counter(n.op for n in model.graph)
    expected = zip((NORMS, GATES, CORES), (case.norms, case.gates, case.cores))
    told += [f"{sum(counts[k] for k in kinds)} of {n}" for kinds, n in expected]
    cores = ", ".join(k for k in CORES if counts[k])
    others = ", ".join(f"{k} {counts[k]}" for k in ("linear", "embedding", "rotary_embedding") if counts[k])
    told += ["; ".join(filter(None, (cores, others))), f"{before} to {len(model.graph)}"]
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001 - a file that is wrong is the exporter's
        return [*told, f"onnxruntime refuses the file: {type(e).__name__}"]
    feed = dict(zip([i.name for i in session.get_inputs()], arrays[: len(session.get_inputs())]))
    wanted = session.run(None, feed)[0].astype(np.float64)
    y = next(iter(model.run({v.name: feed[v.name] for v in model.inputs}).values())).astype(np.float64)
    return [*told, f"{float(np.max(np.abs(y - wanted)) / max(np.ptp(wanted), 1e-9)):.0e}"]


PAGE = """# Composites recovered

Written by `python plugins/onnx/tools/composites.py --page docs/support/composites.md`; do not edit.

Tiny models of {versions} (biases and factors that start as one number made random, too;
opset 17 by TorchScript, 18 by dynamo): how many of the normalisations, GELU and SiLU, and
attentions of the modules are in the graph as such (some are in the file already), and what the interpreter then computes beside
onnxruntime on the file (error relative to the output's range).

{table}
"""

HEAD = ["model", "exporter", "norms", "gelu, silu", "attention", "as; and also", "nodes", "error"]


def main(argv: list[str]) -> int:
    """Measure, and print or write the page."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("models", nargs="*")
    p.add_argument("--page", type=Path)
    given = p.parse_args(argv)
    warnings.filterwarnings("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if given.models and case.name.split()[0] not in given.models:
                continue
            for exporter in ("TorchScript", "dynamo"):
                for half in (False, True):
                    rows.append(measured(case, exporter, half, Path(folder)))
                    sys.stderr.write(" | ".join(rows[-1]) + "\n")
    if given.page is not None:
        import torch
        import transformers

        versions = f"transformers {transformers.__version__} with random weights, exported by torch {torch.__version__}"
        table = ["| " + " | ".join(r) + " |" for r in ([HEAD] + [["---"] * len(HEAD)] + rows)]
        given.page.write_text(PAGE.format(versions=versions, table="\n".join(table)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
