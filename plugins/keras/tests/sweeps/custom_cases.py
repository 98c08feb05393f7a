"""Custom layers of Keras 3 (``custom_layers/keras3``) inside a small model, with their source given."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from .judge import Case

ROOT = Path(__file__).resolve().parents[1] / "custom_layers"

IMAGE = (8, 12, 6)
ROW = (7, 12)
GRAPH: Any = [[(7, 6), (7, 7)]]
TABLE: list[tuple[str, str, dict[str, Any], Any]] = [
    ("attention", "SelfAttention", {"units": 5}, ROW),
    ("attention", "MultiHead", {"dim": 6, "heads": 2}, ROW),
    ("attention", "MultiHead", {"dim": 9, "heads": 3, "causal": True}, ROW),
    ("attention", "BahdanauAttention", {"units": 5}, [(11,), ROW]),
    ("attention", "LuongAttention", {}, [(11,), ROW]),
    ("attention", "LuongAttention", {"method": "dot"}, [(12,), ROW]),
    ("attention", "GroupedQuery", {"heads": 4, "kv_heads": 2, "head_dim": 3}, ROW),
    ("attention", "LinearAttention", {"heads": 3}, ROW),
    ("attention", "PoolingByAttention", {"num_seeds": 2, "num_heads": 3, "key_dim": 5}, ROW),
    ("attention", "TransformerBlock", {"embed_dim": 12, "num_heads": 3, "ff_dim": 5}, ROW),
    ("attention", "EncoderStack", {"depth": 2, "dim": 12, "heads": 2}, ROW),
    ("attention", "RelativeBias", {"heads": 3, "reach": 2}, (3, 7, 7)),
    ("attention", "MaskedMeanAttention", {}, "masked"),
    ("attention", "CrossCovariance", {"num_heads": 3}, ROW),
    ("vision", "SqueezeExcite", {"ratio": 2, "activation": "silu"}, IMAGE),
    ("vision", "ChannelAttention", {}, IMAGE),
    ("vision", "SpatialAttention", {"kernel_size": 5}, IMAGE),
    ("vision", "CBAM", {"ratio": 3}, IMAGE),
    ("vision", "ECA", {}, IMAGE),
    ("vision", "GhostModule", {"out": 7}, IMAGE),
    ("vision", "Involution", {"channel": 6, "group_number": 2, "stride": 1}, IMAGE),
    ("vision", "Involution", {"channel": 6, "group_number": 1, "stride": 2}, IMAGE),
    ("vision", "GeM", {"p": 2.5}, IMAGE),
    ("vision", "NetVLAD", {"num_clusters": 5}, IMAGE),
    ("vision", "SpatialPyramidPooling", {"bins": [1, 2, 3]}, IMAGE),
    ("vision", "StochasticDepth", {"drop_prob": 0.2}, IMAGE),
    ("vision", "LayerScale", {"init_values": 1e-3, "projection_dim": 6}, IMAGE),
    ("vision", "InvertedResidual", {"filters": 6}, IMAGE),
    ("vision", "InvertedResidual", {"filters": 5, "expansion": 1, "stride": 2}, IMAGE),
    ("vision", "Patches", {"patch_size": 4}, IMAGE),
    ("vision", "PatchEncoder", {"num_patches": 7, "projection_dim": 5}, ROW),
    ("vision", "ClassToken", {}, ROW),
    ("vision", "CoordConv", {"filters": 5, "kernel_size": 3, "with_r": True}, IMAGE),
    ("vision", "PixelShuffle", {"scale": 2}, (5, 3, 12)),
    ("vision", "ReflectionPadding2D", {"padding": [2, 1]}, IMAGE),
    ("vision", "BlurPool", {}, IMAGE),
    ("vision", "WeightedFusion", {}, [[IMAGE, IMAGE, IMAGE]]),
    ("vision", "ResidualUnit", {"filters": 5, "use_1x1": True}, IMAGE),
    ("vision", "ResidualUnit", {"filters": 6}, IMAGE),
    ("sequence", "PositionalEncoding", {"max_len": 11}, ROW),
    ("sequence", "TokenAndPosition", {"maxlen": 7, "vocab_size": 13, "embed_dim": 5}, "ids"),
    ("sequence", "RotaryEmbedding", {}, ROW),
    ("sequence", "RMSNorm", {}, ROW),
    ("sequence", "InstanceNorm", {}, IMAGE),
    ("sequence", "InstanceNorm", {"scale": False, "gamma_regularizer": "l2"}, IMAGE),
    ("sequence", "AdaIN", {}, [[IMAGE, IMAGE]]),
    ("sequence", "DynamicTanh", {}, ROW),
    ("sequence", "MixtureOfExperts", {"units": 5}, ROW),
    ("sequence", "MultiGateMixture", {"units": 5, "num_experts": 3, "num_tasks": 2}, (12,)),
    ("sequence", "MixtureDensity", {"dims": 2, "mixtures": 3}, (12,)),
    ("sequence", "Capsule", {"num_capsule": 3, "dim_capsule": 5}, (7, 4)),
    ("sequence", "CapsuleLength", {}, (7, 4)),
    ("sequence", "Highway", {}, (12,)),
    ("sequence", "GatedLinearUnit", {"units": 5}, ROW),
    ("sequence", "GatedResidualNetwork", {"units": 5}, (12,)),
    ("sequence", "GatedResidualNetwork", {"units": 12}, (12,)),
    ("sequence", "VariableSelection", {"num_features": 3, "units": 5}, [[(5,), (5,), (5,)]]),
    ("sequence", "CrossLayer", {"num_layers": 3}, (7,)),
    ("sequence", "FactorizationMachine", {}, (7,)),
    ("sequence", "TiedDense", {"vocab": 13, "dim": 5}, "ids"),
    ("sequence", "ReverseSequence", {}, ROW),
    ("sequence", "TimeShift", {}, ROW),
    ("sequence", "ScaledInheritance", {"factor": 1.5, "activation": "tanh"}, (12,)),
    ("sequence", "FromConfig", {"options": {"b": 3, "a": 5}}, (12,)),
    ("sequence", "CRFDecode", {"labels": 5}, ROW),
    ("sequence", "CRFMarginals", {}, (7, 5)),
    ("sequence", "ALiBi", {}, ROW),
    ("sequence", "FourierFeatures", {}, ROW),
    ("sequence", "SpatialGating", {}, ROW),
    ("sequence", "SwitchRouting", {}, ROW),
    ("vision", "CondConv", {"filters": 5}, IMAGE),
    ("vision", "NonLocal", {}, IMAGE),
    ("vision", "GlobalResponseNorm", {}, IMAGE),
    ("vision", "HardSwishSE", {"filters": 6}, IMAGE),
    ("vision", "ASPP", {"filters": 5}, IMAGE),
    ("vision", "WindowPartition", {}, IMAGE),
    ("extended", "WeightStandardizedConv", {"filters": 5, "activation": "tanh"}, IMAGE),
    ("extended", "GatedConv", {"kernel_size": 3, "strides": 2, "activation": "relu"}, IMAGE),
    ("extended", "CosineDense", {"units": 5, "activation": "elu"}, ROW),
    ("extended", "CosineDense", {"units": 5, "use_bias": False}, ROW),
    ("extended", "MaskedDense", {"units": 5, "keep": 3}, ROW),
    ("extended", "InferenceBatchNorm", {"epsilon": 0.01}, IMAGE),
    ("extended", "SelfAttentionBlock", {"num_heads": 3, "key_dim": 5}, [ROW, (5, 12)]),
    ("extended", "ReversedLSTM", {"units": 5, "return_sequences": True}, ROW),
    ("extended", "UnitEmbedding", {"input_dim": 11, "output_dim": 5}, "ids"),
    ("extended", "CircularConv1D", {"filters": 5, "kernel_size": 4}, ROW),
    ("extended", "ScaledActivation", {"activation": "softplus"}, ROW),
    ("extended", "SameMaxPool", {}, IMAGE),
    ("extended", "ShiftedNorm", {"epsilon": 1e-5}, ROW),
    ("extended", "MeanBidirectional", {"layer": "GRU"}, ROW),
    ("loops", "WindowMeans", {}, ROW),
    ("loops", "PairwiseProducts", {}, (5, 3)),
    ("loops", "ExponentialAverage", {}, ROW),
    ("loops", "Viterbi", {}, (7, 5)),
    ("loops", "PowerIteration", {"units": 5}, ROW),
    ("loops", "FixedPoint", {}, (5,)),
    ("loops", "SlotwiseNorm", {}, (3, 7)),
    ("zoo_graphs", "GCN", {"channels": 5, "activation": "relu"}, GRAPH),
    ("zoo_graphs", "GAT", {"channels": 5, "heads": 3}, GRAPH),
    ("zoo_graphs", "GAT", {"channels": 5, "concat_heads": False, "activation": "tanh"}, GRAPH),
    ("zoo_graphs", "Cheb", {"channels": 5, "K": 4}, GRAPH),
    ("zoo_graphs", "DiffPool", {"k": 3, "channels": 5}, GRAPH),
    ("zoo_graphs", "NodeReadout", {}, ROW),
    ("zoo_graphs", "NodeReadout", {"kind": "mean"}, ROW),
    ("zoo_graphs", "DeepInterest", {}, "interest"),
    ("zoo_graphs", "DeepInterest", {"normalise": True, "activation": "relu"}, "interest"),
    ("zoo_graphs", "Interacting", {"scaling": True}, (7, 5)),
    ("zoo_graphs", "Time2Vec", {}, (7,)),
    ("zoo_graphs", "Beats", {}, (7,)),
    ("zoo_graphs", "TemporalBlock", {"filters": 5}, ROW),
    ("zoo_graphs", "RevIN", {}, (7, 5)),
    ("zoo_graphs", "FastRecurrence", {"units": 5}, ROW),
    ("zoo_vision", "WindowAttention", {"window_size": [2, 3], "num_heads": 2}, (6, 8)),
    ("zoo_vision", "SwinBlock", {"num_heads": 2, "shift_size": 2, "drop_path": 0.1}, (8, 12, 6)),
    ("zoo_vision", "SwinBlock", {"num_heads": 3}, (8, 12, 6)),
    ("zoo_vision", "DropPath", {"rate": 0.3}, IMAGE),
    ("zoo_vision", "AugmentedConv", {"filters": 7}, (3, 5, 6)),
    ("zoo_vision", "SpatialTransformer", {"output_size": [3, 5]}, (7, 5, 3)),
    ("zoo_vision", "Correlation", {}, [[(5, 7, 3), (5, 7, 3)]]),
    ("zoo_vision", "AdaptivePool", {"reduce_function": "max", "output_size": [2, 3]}, IMAGE),
    ("zoo_vision", "Sparsemax", {}, (7, 5)),
    ("zoo_vision", "Maxout", {"num_units": 3}, IMAGE),
    ("zoo_vision", "FilterResponse", {"learned_epsilon": True}, IMAGE),
    ("zoo_vision", "Poincare", {}, (7, 5)),
    ("zoo_vision", "VectorQuantizer", {"num_embeddings": 11, "embedding_dim": 5}, (7, 5)),
    ("zoo_vision", "TinyDecoder", {"vocab": 13, "dim": 6}, "ids"),
    ("zoo_vision", "FourierMix", {}, (7, 6)),
    ("zoo_vision", "MaskedHead", {"vocab": 11}, "places"),
    ("zoo_vision", "Retention", {"dim": 6}, ROW),
    ("zoo_python", "MixedIn", {}, ROW),
    ("zoo_python", "WeightNorm", {"layer": "Dense"}, ROW),
    ("zoo_python", "Encoder", {}, (7,)),
    ("zoo_python", "Pooled", {}, [(7,), (7,), (7,)]),
    ("zoo_python", "Pooled", {"mode": "max"}, [(7,), (7,)]),
    ("zoo_python", "Switched", {}, (6,)),
    ("zoo_python", "Switched", {"mode": "last"}, (6,)),
    ("zoo_python", "ByDict", {}, "dict"),
    ("zoo_python", "Patchwork", {}, IMAGE),
    ("zoo_python", "Lazy", {}, (7,)),
    ("sequence", "MinimalCell", {"units": 5}, "cell"),
    ("sequence", "PeepholeCell", {"units": 5}, "cell"),
]  # fmt: skip


def cases() -> list[Case]:
    """Every custom layer in a model."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    found: dict[str, int] = {}
    out = []
    for module, name, config, shape in TABLE:
        n = found[name] = found.get(name, 0) + 1
        label = name if n == 1 else f"{name} {n}"
        out.append(Case(label, lambda m=module, c=name, k=config, s=shape: _model(m, c, k, s), custom=str(ROOT / "keras3")))
    return [*out, *_wrapped()]


def _wrapped() -> list[Case]:
    """Custom layers and cells inside layers of Keras."""
    from keras3 import extended, sequence

    kept = keras.saving.get_custom_objects()
    kept.update({c.__name__: c for c in (sequence.MinimalCell, sequence.PeepholeCell, sequence.RMSNorm, extended.MaskedDense)})
    cell, hole, dense, each = sequence.MinimalCell, sequence.PeepholeCell, extended.MaskedDense, layers.TimeDistributed
    made: dict[str, Callable[[Any], Any]] = {
        "TimeDistributed(MaskedDense)": lambda x: each(dense(5))(x),
        "TimeDistributed(MaskedDense) masked": lambda x: layers.GRU(3)(each(dense(5))(layers.Masking()(x))),
        "RNN([MinimalCell, PeepholeCell])": lambda x: layers.RNN([cell(units=5), hole(units=3)], return_sequences=True)(x),
        "RNN(PeepholeCell) masked": lambda x: layers.RNN(hole(units=5), return_sequences=True)(layers.Masking()(x)),
        "RNN(PeepholeCell) states": lambda x: layers.RNN(hole(units=5), return_state=True, go_backwards=True)(x),
        "Bidirectional(RNN(MinimalCell))": lambda x: layers.Bidirectional(layers.RNN(cell(units=5), return_sequences=True))(x),
        "Bidirectional(RNN(MinimalCell)) masked": lambda x: layers.Bidirectional(
            layers.RNN(cell(units=5), return_sequences=True)
        )(layers.Masking()(x)),
        "Bidirectional(RNN(PeepholeCell)) sum": lambda x: layers.Bidirectional(layers.RNN(hole(units=5)), merge_mode="sum")(x),
        "Sequential with RMSNorm": lambda x: keras.Sequential([layers.Dense(6), sequence.RMSNorm(), dense(5)])(x),
    }

    def model(f: Callable[[Any], Any]) -> Any:
        x = keras.Input((7, 4), name="x")
        return keras.Model(x, f(x))

    source = str(ROOT / "keras3")
    alone = {"RNN([MinimalCell, PeepholeCell])", "Sequential with RMSNorm"}  # HDF5 does not tell whose their weights are
    return [Case(n, lambda f=f: model(f), custom=source, hdf5=n not in alone) for n, f in made.items()]


def _model(module: str, name: str, config: dict[str, Any], shape: Any) -> Any:
    cls = getattr(importlib.import_module(f"keras3.{module}"), name)
    if cls.__name__ not in {k.rpartition(">")[2] for k in keras.saving.get_custom_objects()}:
        keras.saving.get_custom_objects()[cls.__name__] = cls
    if shape == "ids":
        x = keras.Input((7,), dtype="int32", name="x")
        return keras.Model(x, cls(**config)(x))
    if shape == "dict":
        a, b = keras.Input((7,), name="a"), keras.Input((5,), name="b")
        return keras.Model([a, b], cls(**config)({"a": a, "b": b}))
    if shape == "places":
        x, at = keras.Input((7, 6), name="x"), keras.Input((3,), dtype="int32", name="at")
        return keras.Model([x, at], cls(**config)(x, mask_positions=at))
    if shape == "interest":
        query, keys, n = keras.Input((5,), name="q"), keras.Input((7, 5), name="k"), keras.Input((1,), dtype="int32", name="n")
        return keras.Model([query, keys, n], cls(**config)([query, keys, n]))
    if shape == "masked":
        x = keras.Input((7,), dtype="int32", name="x")
        return keras.Model(x, cls(**config)(keras.layers.Embedding(9, 5, mask_zero=True)(x)))
    if shape == "cell":
        x = keras.Input((7, 4), name="x")
        return keras.Model(x, keras.layers.RNN(cls(**config), return_sequences=True)(x))
    if "layer" in config:
        made = getattr(keras.layers, config["layer"])
        config = {**config, "layer": made(5, activation="tanh") if made is layers.Dense else made(5, return_sequences=True)}
    inputs: list[Any] = []
    args = [_made(s, inputs) for s in (shape if isinstance(shape, list) else [shape])]
    return keras.Model(inputs, cls(**config)(*args))


def _made(shape: Any, inputs: list[Any]) -> Any:
    if isinstance(shape, list):
        return [_made(s, inputs) for s in shape]
    inputs.append(keras.Input(shape, name=f"x{len(inputs)}"))
    return inputs[-1]
