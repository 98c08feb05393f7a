"""Layers of tf.keras."""
