"""String attributes that are one of a few words: nothing else is taken, whether the node uses it or not."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.defs
import pytest
from onnx import helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems
from convcore_onnx.schemas import CHOICES, odd_choice

FREE = {"delimiter", "equation", "locale", "pattern", "pixel_format", "to", "value_string"}
"""String attributes that hold any text, or (a Cast of opset 1, an image's format) something that is refused by other words."""
_STRING = onnx.defs.OpSchema.AttrType.STRING


def test_every_string_of_the_standard_is_known_as_words_or_free() -> None:
    every = {
        (schema.name, name)
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == ""
        for name, a in schema.attributes.items()
        if a.type == _STRING and name not in FREE
    }
    assert every == CHOICES.keys(), "attributes of another standard: say which words they may be"
    for schema in onnx.defs.get_all_schemas_with_history():
        for name, a in schema.attributes.items():
            if (schema.name, name) in CHOICES and not schema.domain:
                word = a.default_value.s.decode().replace("foward", "forward")  # a slip in the schema of RNN, version 1
                assert not word or word in CHOICES[schema.name, name]


def test_each_is_refused_in_the_standard_s_own_cases(node_cases: list[Any]) -> None:
    """Whatever else the node has: every set of attributes and number of inputs in the cases."""
    seen: set[Any] = set()
    for case in node_cases:
        (version,) = {o.version for o in case.model.opset_import if not o.domain} or {0}
        for i, node in enumerate(case.model.graph.node):
            for type_, name in [k for k in CHOICES if k[0] == node.op_type and not node.domain]:
                key = type_, name, frozenset(a.name for a in node.attribute), len(node.input)
                if key in seen or name not in onnx.defs.get_schema(type_, version).attributes:
                    continue
                seen.add(key)
                model = onnx.ModelProto()
                model.CopyFrom(case.model)
                changed = model.graph.node[i]
                kept = [a for a in changed.attribute if a.name != name]
                del changed.attribute[:]
                changed.attribute.extend([*kept, helper.make_attribute(name, "odd")])
                whys = [p.why for p in opaque_problems(load_model(model))]
                assert any(f"{name}='odd' is not one of" in why for why in whys), (case.name, whys)
    assert {k[:2] for k in seen} >= CHOICES.keys() - {
        ("ConvInteger", "auto_pad"),
        ("QLinearConv", "auto_pad"),
        ("Upsample", "mode"),
    }


@pytest.mark.parametrize(("type_", "name"), CHOICES)
def test_the_words_are_taken(type_: str, name: str) -> None:
    assert all(not odd_choice(type_, {name: word, "other": "odd"}) for word in CHOICES[type_, name])
    assert odd_choice(type_, {name: "odd"}).startswith(f"{name}='odd' is not one of ")
