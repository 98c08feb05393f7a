"""A template plugin: the layer ScaledTanh, y = scale * tanh(x * w)."""
