"""Custom layers as people write them, for the tests: ``keras3`` with ``keras.ops``, ``tf2`` with ``tf.*`` and ``K.*``."""
