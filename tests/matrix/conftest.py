"""Keras, where it judges, runs on torch; the tables and helpers of the plugins' own tests are importable here."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
HERE = Path(__file__).parent
for folder in (HERE, HERE.parents[1] / "plugins/keras/tests"):
    sys.path.insert(0, str(folder))
