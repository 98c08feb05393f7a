"""OpenCV's dnn module as a second opinion on a net, on request: it is not Caffe, and what it gets wrong is excluded by name.

Verification itself runs the interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import FrameworkMissingError, Problem, Runtime, UnsupportedError

from .files import read_net
from .opencv import opencv_problems

__all__ = ["open_runtime"]


def open_runtime(source: Any, weights: Any = None) -> Runtime:
    """The net in ``cv2.dnn``. FrameworkMissingError without OpenCV, UnsupportedError where OpenCV is known to be wrong."""
    try:
        import cv2
    except ImportError as e:
        raise FrameworkMissingError("this needs OpenCV: pip install 'opencv-python-headless<5'") from e
    if not isinstance(source, (str, Path)) or weights is None:
        raise UnsupportedError(Problem("", "Caffe net", "OpenCV reads a prototxt and its caffemodel"))
    net = read_net(source, weights)
    problems = opencv_problems(net)
    if problems:
        raise UnsupportedError(problems, f"{source} is not run by OpenCV")
    try:
        model = cv2.dnn.readNetFromCaffe(str(source), str(weights))
    except cv2.error as e:
        raise UnsupportedError(Problem("", "Caffe net", f"OpenCV cannot read it: {_first_line(e)}")) from e
    inputs = tuple(i.name for i in net.inputs)
    writers = {top: layer.name for layer in net.layers for top in layer.tops}
    wanted = [writers[o] for o in net.outputs]

    def run(arrays: Sequence[Any]) -> list[Any]:
        try:
            for name, a in zip(inputs, arrays, strict=True):
                model.setInput(np.ascontiguousarray(a, np.float32), name)
            return [np.array(y) for y in model.forward(wanted)]
        except cv2.error as e:
            raise UnsupportedError(Problem("", "Caffe net", f"OpenCV cannot run it: {_first_line(e)}")) from e

    return Runtime(f"OpenCV {cv2.__version__}", run, inputs, tuple(net.outputs))


def _first_line(e: Exception) -> str:
    return next((line.strip() for line in str(e).splitlines() if line.strip()), "unknown error")
