"""Conversions of values both ways, and that the generated round trip of rows finds what is wrong with one."""

import pytest

from convcore.errors import DeclarationError
from convcore.ir.dtypes import DType
from convcore.rules import A, ForeignNode, NotExpressible, RuleSet, find_iso, isomorphism, known_isos
from convcore.testing.ops import CheckFailed
from convcore.testing.rules import check_row

# ---- isomorphisms


ISO_CASES = [
    ("same", "v", "v"),
    ("one_minus", 0.25, 0.75),
    ("negate", 3, -3),
    ("not", True, False),
    ("bool_int", 1, True),
    ("tuple", [1, 2], (1, 2)),
    ("int_tuple", [1, 2], (1, 2)),
    (("enum", {"a": "none", "b": "tanh"}), "b", "tanh"),
    ("begin_end", [1, 2, 3, 4], ((1, 3), (2, 4))),
    ("pairs", [[1, 2], [3, 4]], ((1, 2), (3, 4))),
    ("symmetric_pads", [1, 2], ((1, 1), (2, 2))),
    ("one_item", 7, (7,)),
    ("item", [7], 7),
    ("scalar", 7, 7),
]


@pytest.mark.parametrize(("spec", "theirs", "ours"), ISO_CASES, ids=[str(c[0]) for c in ISO_CASES])
def test_isomorphisms_reverse(spec, theirs, ours):
    iso = find_iso(spec)
    assert iso.load(theirs) == ours
    assert iso.emit(ours) == theirs
    assert known_isos()[iso.name]


@pytest.mark.parametrize(
    ("spec", "way", "value"),
    [
        ("begin_end", "load", [1, 2, 3]),
        ("begin_end", "emit", "same_upper"),
        ("symmetric_pads", "emit", ((1, 2),)),
        ("symmetric_pads", "emit", "same_upper"),
        (("enum", {"a": 1}), "load", "b"),
        (("enum", {"a": 1}), "emit", True),
        (("enum", {"a": 1}), "emit", 2),
        ("one_item", "emit", (1, 2)),
        ("item", "load", [1, 2]),
        ("scalar", "load", (1, 2)),
    ],
)
def test_values_without_a_counterpart(spec, way, value):
    with pytest.raises(NotExpressible):
        getattr(find_iso(spec), way)(value)


def test_the_vocabulary_is_closed():
    with pytest.raises(DeclarationError, match="unknown isomorphism"):
        A("x", iso="no_such_thing")
    with pytest.raises(DeclarationError, match="declared twice"):
        isomorphism("same", lambda v: v, lambda v: v, "again")


# ---- the generated round trip finds what is wrong


def test_check_row_finds_a_conversion_that_does_not_reverse():
    isomorphism("toy_lossy", lambda v: v, lambda v: round(v), "loses digits")
    row = RuleSet("toy").op("T", "leaky_relu", alpha=A("alpha", iso="toy_lossy"))
    with pytest.raises(CheckFailed, match=r"alpha=0\.3 came back as 0"):
        check_row(row)


def test_check_row_finds_what_is_written_and_not_read(monkeypatch):
    row = RuleSet("toy").op("T", "leaky_relu", alpha=A("alpha"))
    write = row.emit

    def more(e, node):
        write(e, node)
        e.nodes[-1].attrs["beta"] = 1

    monkeypatch.setattr(type(row), "emit", lambda self, e, node: more(e, node))
    with pytest.raises(CheckFailed, match="written but not read: beta"):
        check_row(row)


def test_check_row_needs_an_example():
    row = RuleSet("toy").op("T", "gelu", approximate=A("mode", iso=("enum", {"x": "erf"})))
    with pytest.raises(CheckFailed, match="no example"):
        check_row(row)


def test_check_row_finds_swapped_inputs_attributes_of_the_wrong_type_and_rejecting_conditions():
    with pytest.raises(CheckFailed, match="keepdims=1: 1 is not a bool"):
        check_row(RuleSet("toy").op("T", "argmax", axis=A("axis"), keepdims=A("keep", False, "toy_int")))
    isomorphism("toy_stuck", lambda v: tuple(sorted(v)), lambda v: list(v), "always the same")
    with pytest.raises(CheckFailed, match=r"perm=\(0, 3, 1, 2\) came back as \(0, 1, 2, 3\)"):
        check_row(RuleSet("toy").op("T", "transpose", perm=A("perm", iso="toy_stuck")))
    with pytest.raises(CheckFailed, match="input 0"):
        twisted = RuleSet("toy").op("T", "sub", "a=x, b=y")
        load = twisted.load
        object.__setattr__(twisted, "load", lambda g, n: load(g, ForeignNode(n.type, n.name, n.inputs[::-1], n.attrs)))
        check_row(twisted)
    row = RuleSet("toy").op("T", "gelu", when={"mode": frozenset({"y"})}, approximate=A("mode"))
    with pytest.raises(CheckFailed, match="conditions reject"):
        check_row(row)


isomorphism("toy_int", lambda v: v, lambda v: int(not v), "turns around")


def test_check_row_reports_what_was_written():
    row = RuleSet("toy").op("T", "selu", alpha=A("a", 1.5), gamma=A("g", 2.5))
    report = check_row(row)
    assert report.written == {"a", "g"} and report.exact >= 4
    row = RuleSet("toy").op("T", "cast", to=A("to", iso=("enum", {1: DType.FLOAT32, 2: DType.INT32})))
    report = check_row(row)
    assert report.written == {"to"} and any("no counterpart" in r for r in report.reasons)
