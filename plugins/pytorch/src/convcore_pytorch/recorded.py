"""Sizes that torch recorded wrongly, which nothing may be held to."""

from __future__ import annotations

from dataclasses import replace

from .arguments import used
from .files.program import Program, TensorValue

__all__ = ["believable"]


def believable(program: Program) -> Program:
    """The program without the types and sizes that follow from a wrong record; they are worked out anew.

    torch 2.6 takes the states of an LSTM to be ``(layers, 1, batch, hidden)``; running gives ``(layers, batch, hidden)``
    (torch/_decomp/decompositions.py, ``mkldnn_one_layer_lstm``).
    """
    graph, gone = program.graph, set[str]()
    for n in graph.nodes:
        made = list(n.made())
        if n.target == "aten.lstm.input":
            told = [graph.values.get(name) for name in made[1:]]
            if not all(isinstance(t, TensorValue) and t.shape and len(t.shape) == 4 and t.shape[1] == 1 for t in told):
                continue
            gone.update(made[1:])
        elif gone.intersection(used(n)):
            gone.update(made)
    if not gone:
        return program
    return replace(program, graph=replace(graph, values={k: v for k, v in graph.values.items() if k not in gone}))
