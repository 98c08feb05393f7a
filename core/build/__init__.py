"""Building and checking graphs: the builder, the verifier, opaque nodes."""
