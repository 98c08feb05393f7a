"""What a custom layer or cell is refused for because of the file it is in: masks, versions, the order of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras_helpers import problems
from test_layers_told import graph_of, lone, zeros

from convcore.ir.graph import Graph
from convcore_keras.files.model import LayerConfig

HEAD = "import keras\nfrom keras import layers, ops\n"
LAYER = HEAD + "class Mine(layers.Layer):\n"
SEQ = (None, 5, 3)


def cell(name: str = "cell", **config: Any) -> LayerConfig:
    return LayerConfig(name, "Cell", "Cell", config, custom=True)


CELL = HEAD + "class Cell(layers.Layer):\n"
SIZED = CELL + "    state_size = 3\n"
STEP = "    def call(self, x, states): return x + states[0], [x]\n"
STATES: dict[str, Any] = {"cell": lone("StackedRNNCells", {"cells": [cell("a"), cell("b")]})}
TWO = zeros(**{"0": (3,), "1": (3,)})
NAMED = (
    "    def __init__(self, **kw):\n        super().__init__(**kw)\n        self.a, self.b = Part(), Part()\n"
    "class Part(layers.Layer):\n    def build(self, s): self.w = self.add_weight(shape=(3,), name='w')\n"
    "    def call(self, x): return x * self.w\n"
)
TOLD: dict[str, tuple[str, dict[str, Any], str]] = {
    # ---- cells
    "time first": (
        SIZED + STEP,
        {"cls": "RNN", "config": {"cell": cell(), "time_major": True}},
        "runs over sequences with the time first",
    ),
    "stacked of old": (
        SIZED + STEP,
        {"cls": "RNN", "config": STATES, "era": "keras2", "version": "2.3.1"},
        "is one of stacked cells, whose states Keras before 2.3 has in another order",
    ),
    "masked of old": (
        SIZED + STEP,
        {"cls": "RNN", "config": {"cell": cell()}, "era": "keras2", "version": "2.3.1", "masked": True},
        "is given a mask, which Keras 2 treats otherwise in each backend",
    ),
    "state size": (
        CELL + "    state_size = None\n" + STEP,
        {"cls": "RNN", "config": {"cell": cell()}},
        "has a state_size that is not known",
    ),
    "no states": (
        SIZED + "    def call(self, x, states): return x\n",
        {"cls": "RNN", "config": {"cell": cell()}},
        "is a cell whose call does not give an output and states",
    ),
    "more states": (
        SIZED + "    def call(self, x, states): return x, [x, x]\n",
        {"cls": "RNN", "config": {"cell": cell()}},
        "is a cell that gives 2 states instead of 1",
    ),
    "states of numbers": (
        SIZED + "    def call(self, x, states): return x, [3]\n",
        {"cls": "RNN", "config": {"cell": cell()}},
        "is a cell that gives 1 states instead of 1",
    ),
    "other arguments": (
        SIZED + STEP + "    def get_initial_state(self, other): return [other]\n",
        {"cls": "RNN", "config": {"cell": cell()}},
        "has a get_initial_state with arguments that convcore does not know",
    ),
    "no tensors": (
        SIZED + STEP + "    def get_initial_state(self, batch_size): return [3]\n",
        {"cls": "RNN", "config": {"cell": cell()}},
        "starts with states that are no tensors",
    ),
    # ---- masks
    "mask by None": (
        LAYER + "    def call(self, x, mask): return self.inner(x, None)\n"
        "    def __init__(self, **kw):\n        super().__init__(**kw)\n        self.inner = Inner()\n"
        "class Inner(layers.Layer):\n    def call(self, x, mask): return x\n",
        {"masked": True},
        "passes None for a mask that the input has",
    ),
    "two masks": (
        LAYER + "    def call(self, x): return x * 2.0\n    def compute_mask(self, x, mask=None): return [mask, mask]\n",
        {"masked": True},
        "gives 2 masks for 1 results",
    ),
    "no mask": (
        LAYER + "    def call(self, x): return x * 2.0\n    def compute_mask(self, x, mask=None): return 3\n",
        {"masked": True},
        "computes a mask that is no tensor",
    ),
    # ---- the order of weights
    "more than made": (
        LAYER + "    def call(self, x): return x\n",
        {"weights": TWO, "container": "hdf5"},
        "has 0 weights as far as it is built, the file holds 2; in the .keras format they are told apart",
    ),
    "less than made": (
        LAYER + "    def call(self, x): return self.b(self.a(x))\n" + NAMED,
        {"weights": {"0": TWO["0"]}, "container": "hdf5"},
        "has 2 weights as far as it is built, the file holds 1",
    ),
    "not called": (
        LAYER + "    def call(self, x): return self.a(x)\n" + NAMED,
        {"weights": TWO, "container": "hdf5"},
        "has 1 weights as far as it is built, the file holds 2",
    ),
}


def of(tmp_path: Path, source: str, cls: str = "Mine", config: Any = None, **more: Any) -> Graph:
    (tmp_path / "mine.py").write_text(source)
    return graph_of(cls, config or {}, SEQ, custom=[str(tmp_path / "mine.py")], **more)


@pytest.mark.parametrize("name", TOLD)
def test_why_it_is_refused(name: str, tmp_path: Path) -> None:
    source, how, why = TOLD[name]
    (p,) = problems(of(tmp_path, source, **how))
    assert why in p.why and p.layer == "layer"
