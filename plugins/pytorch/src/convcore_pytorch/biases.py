"""The two biases that torch's recurrent layers add: one weight of the graph, which remembers its parts."""

from __future__ import annotations

from typing import Any

from convcore.plugin import DType, Tensor

__all__ = ["Biases"]


class Biases(Tensor):
    """The sum of ``input`` and ``hidden``. A pass that changes the weight makes another tensor of it, which is the sum alone."""

    __slots__ = ("hidden", "input")

    def __init__(self, input: Any, hidden: Any) -> None:
        super().__init__(DType.of(input.dtype), input.shape)
        self.input, self.hidden = input, hidden

    def numpy(self) -> Any:
        return self.input + self.hidden
