"""The layers of ``keras1`` and ``keras2`` with configurations and input shapes ("masked": behind a masking Embedding)."""

IMAGE = (8, 12, 6)
ROW = (7, 12)
TABLES = {
    "keras1": [
        ("Attention", {}, ROW),
        ("Attention", {"bias": False}, "masked"),
        ("Scale", {}, IMAGE),
        ("L2Normalize", {"scale": 7}, IMAGE),
        ("HighwayStep", {"activation": "tanh"}, (7,)),
        ("TemporalMean", {}, ROW),
        ("TemporalMean", {}, "masked"),
        ("PairDistance", {}, [(7,), (7,)]),
    ],
    "keras2": [
        ("LayerNormalization", {}, ROW),
        ("LayerNormalization", {"scale": False, "epsilon": 0.01}, "masked"),
        ("MultiHeadAttention", {"head_num": 3}, ROW),
        ("MultiHeadAttention", {"head_num": 2, "activation": None, "use_bias": False}, ROW),
        ("Capsule", {"num_capsule": 3, "dim_capsule": 5}, ROW),
        ("GroupNormalization", {"groups": 3}, IMAGE),
        ("WeightNormDense", {"units": 5, "activation": "tanh"}, (7,)),
        ("WeightNormDense", {"units": 5, "use_bias": False}, ROW),
        ("ConvSN2D", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
        ("PositionEmbedding", {}, ROW),
        ("PositionEmbedding", {"mode": "concat"}, ROW),
        ("FeedForward", {"units": 5}, ROW),
        ("ResidualWrapper", {"layer": "Dense"}, ROW),
        ("MaxAttention", {}, ROW),
    ],
}
