"""Attention layers: records only, no rule maps them yet."""

from __future__ import annotations

from ..layer_spec import V, layer

__all__: list[str] = []

layer("AdditiveAttention", defaults={"use_scale": True, "dropout": 0.0}, variables=(V("scale", (None,), when="use_scale"),))
layer(
    "Attention",
    defaults={"use_scale": False, "score_mode": "dot", "dropout": 0.0},
    variables=(V("scale", (), when="use_scale"), V("concat_score_weight", (), when="score_mode=concat")),
)
_CALL = (
    "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask", "return_attention_scores", "training",
    "use_causal_mask",
)  # fmt: skip

layer(
    "GroupQueryAttention",
    call=_CALL,
    defaults={"dropout": 0.0, "use_bias": True, "sliding_window": None, "use_gate": False},
    required=("head_dim", "num_query_heads", "num_key_value_heads"),
    variables=(
        V("query/kernel", folders=("_query_dense",)),
        V("query/bias", when="use_bias", folders=("_query_dense",)),
        V("key/kernel", folders=("_key_dense",)),
        V("key/bias", when="use_bias", folders=("_key_dense",)),
        V("gate/kernel", when="use_gate", folders=("_gate_dense",)),
        V("gate/bias", when="use_gate&use_bias", folders=("_gate_dense",)),
        V("value/kernel", folders=("_value_dense",)),
        V("value/bias", when="use_bias", folders=("_value_dense",)),
        V("output/kernel", folders=("_output_dense",)),
        V("output/bias", when="use_bias", folders=("_output_dense",)),
    ),
    aliases=("GroupedQueryAttention",),
)
layer(
    "MultiHeadAttention",
    call=_CALL,
    defaults={
        "value_dim": None,
        "dropout": 0.0,
        "use_bias": True,
        "output_shape": None,
        "attention_axes": None,
        "sliding_window": None,
        "use_gate": False,
    },
    required=("num_heads", "key_dim"),
    variables=(
        V("query/kernel", folders=("query_dense", "_query_dense")),
        V("query/bias", when="use_bias", folders=("query_dense", "_query_dense")),
        V("key/kernel", folders=("key_dense", "_key_dense")),
        V("key/bias", when="use_bias", folders=("key_dense", "_key_dense")),
        V("gate/kernel", when="use_gate", folders=("_gate_dense",)),
        V("gate/bias", when="use_gate&use_bias", folders=("_gate_dense",)),
        V("value/kernel", folders=("value_dense", "_value_dense")),
        V("value/bias", when="use_bias", folders=("value_dense", "_value_dense")),
        V("output/kernel", folders=("output_dense", "_output_dense")),
        V("output/bias", when="use_bias", folders=("output_dense", "_output_dense")),
    ),
)
