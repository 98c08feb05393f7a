"""PyTorch networks that judge both directions: seeded, statistics and biases perturbed, with inputs of any batch and length."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Axes = dict[int, str]


@dataclass(frozen=True)
class Network:
    """``make`` gives the module, ``inputs(batch, length)`` its positional inputs, ``axes`` the names of their symbolic axes."""

    name: str
    make: Callable[[], Any]
    inputs: Callable[[int, int], tuple[Any, ...]]
    axes: tuple[Axes, ...]
    sizes: tuple[tuple[int, int], ...] = ((1, 11), (3, 6))
    """The (batch, length) of each comparison; the example is of another."""


def built(network: Network) -> Any:
    """The module, in evaluation mode, the same weights each time."""
    import torch

    torch.manual_seed(0)
    return perturbed(network.make())


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


def noise(*shape: int) -> Any:
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(3 + sum(shape)))


def words(batch: int, length: int, below: int = 90, start: int = 0) -> Any:
    import torch

    return torch.randint(start + 3, below, (batch, length), generator=torch.Generator().manual_seed(3 + batch + length))


# ---------------------------------------------------------------- images
TORCHVISION = dict.fromkeys(("maxvit_t", "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"), 224) | {"inception_v3": 96}
"""Sizes of images, where a network of torchvision's does not take 64."""

TIMM = Path(__file__).with_name("timm_networks.txt")
"""A small network of each file of timm 1.0.31, and of families that share a file, each with the size of its image."""


def image_network(name: str, make: Callable[[], Any], size: int) -> Network:
    return Network(name, make, lambda n, _: (noise(n, 3, size, size),), ({0: "batch"},))


def torchvision() -> Iterator[Network]:
    """Every classification model."""
    shim()
    import torchvision as tv

    for name in tv.models.list_models(tv.models):
        more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        yield image_network(name, lambda n=name, m=more: getattr(tv.models, n)(weights=None, **m), TORCHVISION.get(name, 64))


def timm() -> Iterator[Network]:
    shim()
    import timm as library

    for line in TIMM.read_text(encoding="utf-8").splitlines():
        name, size = line.split()
        yield image_network(name, lambda n=name: library.create_model(n, pretrained=False), int(size))


def shim() -> None:
    """A torchvision that was not built for this torch becomes importable, where the shim is at hand."""
    with contextlib.suppress(ImportError):
        importlib.import_module("tvshim")


# ---------------------------------------------------------------- transformers
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 97}
LLAMA = {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 64}
HEADS = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 97}
PAIR = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 97, "max_position_embeddings": 64, "decoder_start_token_id": 2,
}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 97, "decoder_start_token_id": 0}
AUDIO = {
    **SMALL, "conv_dim": [16, 16], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
VISION = {k: v for k, v in SMALL.items() if k != "vocab_size"} | {"image_size": 32, "patch_size": 8}

TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Albert": ("words", {**SMALL, "embedding_size": 16}),
    "Bart": ("pair", PAIR),
    "Beit": ("image", VISION),
    "Bert": ("words", SMALL),
    "BioGpt": ("words", SMALL),
    "Blenderbot": ("pair", PAIR),
    "Bloom": ("words", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 97}),
    "CLIPVision": ("image", VISION),
    "CLIPText": ("words", SMALL),
    "CodeGen": ("words", {**HEADS, "rotary_dim": 4, "n_ctx": 64, "n_embd": 32}),
    "Cohere": ("words", LLAMA),
    "ConvBert": ("words", {**SMALL, "embedding_size": 32}),
    "ConvNext": ("image64", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}),
    "CTRL": ("words", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 97, "dff": 48}),
    "Deberta": ("words", {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 32}),
    "DebertaV2": ("words", {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16}),
    "DeiT": ("image", VISION),
    "Dinov2": ("image", VISION),
    "DistilBert": ("words", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 97}),
    "Electra": ("words", {**SMALL, "embedding_size": 16}),
    "Ernie": ("words", SMALL),
    "Falcon": ("words", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 97}),
    "FNet": ("words", SMALL),
    "Gemma": ("words", {**LLAMA, "head_dim": 8}),
    "Gemma2": ("words", {**LLAMA, "head_dim": 8, "query_pre_attn_scalar": 8}),
    "GPT2": ("words", HEADS),
    "GPTBigCode": ("words", HEADS),
    "GPTJ": ("words", {**HEADS, "rotary_dim": 4}),
    "GPTNeo": ("words", {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
                         "vocab_size": 97, "max_position_embeddings": 64, "window_size": 4}),
    "GPTNeoX": ("words", {**SMALL, "max_position_embeddings": 64}),
    "Granite": ("words", LLAMA),
    "Hubert": ("audio", AUDIO),
    "Llama": ("words", LLAMA),
    "Marian": ("pair", {**PAIR, "pad_token_id": 0}),
    "MBart": ("pair", PAIR),
    "Mistral": ("words", {**LLAMA, "sliding_window": 4}),
    "MobileBert": ("words", {**SMALL, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}),
    "MPNet": ("words", SMALL),
    "Mpt": ("words", {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 97, "max_seq_len": 64}),
    "MT5": ("pair", T5),
    "Nystromformer": ("words", SMALL),
    "Olmo": ("words", LLAMA),
    "OPT": ("words", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48, "vocab_size": 97,
                      "word_embed_proj_dim": 32, "max_position_embeddings": 64}),
    "Pegasus": ("pair", PAIR),
    "Phi": ("words", LLAMA),
    "Phi3": ("words", {**LLAMA, "num_key_value_heads": 4}),
    "Qwen2": ("words", LLAMA),
    "Qwen3": ("words", {**LLAMA, "head_dim": 8}),
    "RoFormer": ("words", {**SMALL, "embedding_size": 16}),
    "Roberta": ("words", SMALL),
    "Segformer": ("image64", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16}),
    "SqueezeBert": ("words", {**SMALL, "embedding_size": 32}),
    "StableLm": ("words", LLAMA),
    "Starcoder2": ("words", LLAMA),
    "Swin": ("image64", {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4],
                         "window_size": 4}),
    "T5": ("pair", T5),
    "ViT": ("image", VISION),
    "ViTMSN": ("image", VISION),
    "Wav2Vec2": ("audio", AUDIO),
    "Whisper": ("mel", {**PAIR, "max_source_positions": 20, "max_target_positions": 64, "num_mel_bins": 8}),
    "XGLM": ("words", {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4, "vocab_size": 97}),
    "XLMRoberta": ("words", SMALL),
    "XLNet": ("words", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "vocab_size": 97}),
}  # fmt: skip
"""Configurations of two layers or so, with what their models take."""

TAKES: dict[str, tuple[Callable[[int, int], tuple[Any, ...]], tuple[Axes, ...]]] = {
    "words": (lambda n, t: (words(n, t),), ({0: "batch", 1: "time"},)),
    "pair": (lambda n, t: (words(n, t + 2), words(n, t)), ({0: "batch", 1: "time"}, {0: "batch", 1: "out"})),
    "image": (lambda n, _: (noise(n, 3, 32, 32),), ({0: "batch"},)),
    "image64": (lambda n, _: (noise(n, 3, 64, 64),), ({0: "batch"},)),
    "audio": (lambda n, t: (noise(n, 100 + 10 * t),), ({0: "batch", 1: "time"},)),
    "mel": (lambda n, t: (noise(n, 8, 40), words(n, t)), ({0: "batch"}, {0: "batch", 1: "time"})),
}


def hugging(kind: str, takes: str, config: dict[str, Any]) -> Any:
    """A model of a configuration whose forward takes its inputs by position and gives all its tensors."""
    import torch
    import transformers as library
    from torch import nn

    known = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2} if "vocab_size" in config else {}
    made = getattr(library, f"{kind}Model")(getattr(library, f"{kind}Config")(**{**known, **config}))
    if hasattr(made.config, "use_cache"):
        made.config.use_cache = False

    def tensors(made: Any) -> Any:
        return tuple(t for t in made.to_tuple() if isinstance(t, torch.Tensor))

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = made

        def forward(self, ids: Any) -> Any:
            return tensors(self.model(ids))

    class Pair(Words):
        def forward(self, ids: Any, out_ids: Any) -> Any:
            return tensors(self.model(ids, decoder_input_ids=out_ids))

    return (Pair if takes in ("pair", "mel") else Words)()


def transformers() -> Iterator[Network]:
    shim()
    for kind, (takes, config) in TRANSFORMERS.items():
        inputs, axes = TAKES[takes]
        yield Network(kind, lambda k=kind, t=takes, c=config: hugging(k, t, c), inputs, axes)


# ---------------------------------------------------------------- torch.nn
def recurrent_module(kind: str, stated: bool, options: dict[str, Any]) -> Any:
    """A layer whose outputs are all given; its first states from outside where ``stated``."""
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = getattr(nn, kind)(5, 7, **options)

        def forward(self, x: Any) -> Any:
            return self.rnn(x)

    class Stated(Plain):
        def forward(self, x: Any, h: Any, c: Any = None) -> Any:
            return self.rnn(x, h if c is None else (h, c))

    return (Stated if stated else Plain)()


def recurrent() -> Iterator[Network]:
    """LSTM, GRU and RNN in all their options: 2 ** 5 of each."""
    for kind, extra in (("LSTM", {}), ("LSTM", {"proj_size": 3}), ("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})):
        for both, layers, first, bias, stated in itertools.product(
            (False, True), (1, 2), (True, False), (True, False), (False, True)
        ):
            options = {**extra, "bidirectional": both, "num_layers": layers, "batch_first": first, "bias": bias}
            if layers == 2:
                options["dropout"] = 0.3
            told = [*(f"{k}={v}" for k, v in extra.items()), *["bidirectional"] * both, f"{layers} layers" if layers > 1 else ""]
            told += ["" if first else "time first", "" if bias else "no bias", "states given" if stated else ""]
            width = extra.get("proj_size", 7)

            def inputs(n: int, t: int, first: bool = first, d: int = layers * (1 + both), w: int = width,
                       s: bool = stated, k: str = kind) -> tuple[Any, ...]:  # fmt: skip
                x = noise(n, t, 5) if first else noise(t, n, 5)
                more = (noise(d, n, w), *((noise(d, n, 7),) if k == "LSTM" else ())) if s else ()
                return (x, *more)

            axes: list[Axes] = [{0: "batch", 1: "time"} if first else {0: "time", 1: "batch"}]
            axes += [{1: "batch"}] * ((2 if kind == "LSTM" else 1) if stated else 0)
            make = lambda k=kind, s=stated, o=options: recurrent_module(k, s, o)  # noqa: E731
            yield Network(", ".join(filter(None, (kind, *told))), make, inputs, tuple(axes))


def cells() -> Iterator[Network]:
    from torch import nn

    for kind in ("LSTMCell", "GRUCell", "RNNCell"):
        for bias in (True, False):
            make = lambda k=kind, b=bias: getattr(nn, k)(5, 7, bias=b)  # noqa: E731
            yield Network(f"{kind}{'' if bias else ', no bias'}", make, lambda n, _: (noise(n, 5),), ({0: "batch"},))


def attention_module(weights: str, apart: bool, options: dict[str, Any]) -> Any:
    from torch import nn

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = {"kdim": 5, "vdim": 7} if apart else {}
            self.attend = nn.MultiheadAttention(12, 3, **widths, **options)

        def forward(self, q: Any, k: Any, v: Any, mask: Any = None, padding: Any = None) -> Any:
            needed = {"need_weights": weights != "none", "average_attn_weights": weights == "mean"}
            out, seen = self.attend(q, k, v, attn_mask=mask, key_padding_mask=padding, **needed)
            return out if seen is None else (out, seen)

    return Attend()


def attention() -> Iterator[Network]:
    """MultiheadAttention in all its options, and with each kind of mask."""
    import torch

    def inputs(n: int, t: int, first: bool, apart: bool) -> tuple[Any, ...]:
        shapes = [(n, t, 12), (n, t + 2, 5 if apart else 12), (n, t + 2, 7 if apart else 12)]
        return tuple(noise(*s) if first else noise(s[1], s[0], s[2]) for s in shapes)

    def named(first: bool) -> tuple[Axes, ...]:
        b, t = (0, 1) if first else (1, 0)
        return ({b: "batch", t: "time"}, {b: "batch", t: "keys"}, {b: "batch", t: "keys"})

    flags = itertools.product((True, False), (True, False), ("none", "mean", "each"), (False, True), (False, True), (False, True))
    for first, bias, weights, apart, add_bias, add_zero in flags:
        options = {"batch_first": first, "bias": bias, "add_bias_kv": add_bias, "add_zero_attn": add_zero}
        told = ["" if first else "time first", "" if bias else "no bias", "" if weights == "none" else f"weights: {weights}"]
        told += ["kdim, vdim" if apart else "", "add_bias_kv" if add_bias else "", "add_zero_attn" if add_zero else ""]
        make = lambda w=weights, a=apart, o=options: attention_module(w, a, o)  # noqa: E731
        take = lambda n, t, f=first, a=apart: inputs(n, t, f, a)  # noqa: E731
        yield Network(", ".join(filter(None, ("MultiheadAttention", *told))), make, take, named(first))

    def masks(n: int, t: int, kind: str) -> tuple[Any, ...]:
        square = torch.ones(t, t + 2).triu(2)
        mask = square.bool() if kind.startswith("bool") else square * -1e4
        padding = torch.zeros(n, t + 2, dtype=torch.bool)
        padding[:, -1] = True
        return (mask, padding) if kind.endswith("padding") else (mask,)

    for kind, weights in itertools.product(("bool", "float", "bool and padding"), ("none", "mean")):
        make = lambda w=weights: attention_module(w, False, {"batch_first": True})  # noqa: E731
        take = lambda n, t, k=kind: (*inputs(n, t, True, False), *masks(n, t, k))  # noqa: E731
        axes: tuple[Axes, ...] = (*named(True), {0: "time", 1: "keys"}, *([{0: "batch", 1: "keys"}] if "padding" in kind else []))
        yield Network(f"MultiheadAttention, mask: {kind}{', weights' * (weights == 'mean')}", make, take, axes)


def encoders() -> Iterator[Network]:
    """Transformer layers and stacks of them in all their options."""
    from torch import nn

    def one(n: int, t: int, first: bool) -> tuple[Any, ...]:
        return (noise(n, t, 12) if first else noise(t, n, 12),)

    def two(n: int, t: int, first: bool) -> tuple[Any, ...]:
        return (*one(n, t + 2, first), noise(n, t, 12) if first else noise(t, n, 12))

    def named(first: bool, *lengths: str) -> tuple[Axes, ...]:
        return tuple({0: "batch", 1: t} if first else {0: t, 1: "batch"} for t in lengths)

    for first, before, bias, act in itertools.product((True, False), (False, True), (True, False), ("relu", "gelu")):
        options = {"batch_first": first, "norm_first": before, "bias": bias, "activation": act}
        told = [
            "" if first else "time first",
            "norm first" if before else "",
            "" if bias else "no bias",
            "gelu" * (act == "gelu"),
        ]
        text = "".join(f", {t}" for t in told if t)

        def layer(kind: str, options: dict[str, Any] = options) -> Any:
            return getattr(nn, f"Transformer{kind}Layer")(12, 3, 17, **options)

        take1 = lambda n, t, f=first: one(n, t, f)  # noqa: E731
        take2 = lambda n, t, f=first: two(n, t, f)[::-1]  # noqa: E731
        yield Network(f"TransformerEncoderLayer{text}", lambda m=layer: m("Encoder"), take1, named(first, "time"))
        yield Network(f"TransformerDecoderLayer{text}", lambda m=layer: m("Decoder"), take2, named(first, "out", "time"))
        if bias:
            stack = lambda m=layer: nn.TransformerEncoder(m("Encoder"), 2, nn.LayerNorm(12), enable_nested_tensor=False)  # noqa: E731
            yield Network(f"TransformerEncoder{text}", stack, take1, named(first, "time"))
            stack = lambda m=layer: nn.TransformerDecoder(m("Decoder"), 2, nn.LayerNorm(12))  # noqa: E731
            yield Network(f"TransformerDecoder{text}", stack, take2, named(first, "out", "time"))
            whole = {k: v for k, v in options.items() if k != "bias"}
            make = lambda o=whole: nn.Transformer(12, 3, 2, 2, 17, **o)  # noqa: E731
            yield Network(f"Transformer{text}", make, lambda n, t, f=first: two(n, t, f), named(first, "time", "out"))


def modules() -> Iterator[Network]:
    yield from recurrent()
    yield from cells()
    yield from attention()
    yield from encoders()


GROUPS = {f.__name__: f for f in (modules, transformers, torchvision, timm)}
