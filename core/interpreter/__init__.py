"""The numpy reference runtime: executes a graph with each op's reference, or its body where it has none."""

from .execute import Interpreter, run

__all__ = ["Interpreter", "run"]
