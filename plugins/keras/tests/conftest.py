"""Keras, where a test needs it as the judge, runs on torch; helpers of the tests here are importable."""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, os.path.dirname(__file__))
