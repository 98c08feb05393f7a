"""``convcore.records.dataclass`` is ``dataclasses.dataclass``, cheaper to define: both make the same classes here."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from convcore import records

BOTH: list[Callable[..., Any]] = [dataclasses.dataclass, records.dataclass]


@records.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 3


def made(dataclass: Callable[..., Any], **options: Any) -> Any:
    @dataclass(**options)
    class Thing:
        a: int
        b: list[int] = dataclasses.field(default_factory=list)
        hidden: int = dataclasses.field(default=5, repr=False)
        loose: int = dataclasses.field(default=7, compare=False)

    return Thing


def told(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except (TypeError, AttributeError) as e:  # FrozenInstanceError is one
        return type(e).__name__


def facts(dataclass: Callable[..., Any], options: dict[str, Any]) -> list[Any]:
    thing = made(dataclass, **options)
    one, same, other = thing(a=1), thing(a=1, loose=8), thing(a=1, hidden=6)
    replaced = dataclasses.replace(one, a=2)
    return [
        repr(one), one == same, one == other, one != same, one == replaced, one == 3, replaced.a, dataclasses.asdict(one),
        told(lambda: hash(one) == hash(same)), told(lambda: setattr(one, "a", 9)), told(lambda: delattr(one, "a")),
        dataclasses.is_dataclass(thing), [f.name for f in dataclasses.fields(thing)], thing.__match_args__,
        thing.__eq__ is object.__eq__, thing.__hash__ is None,
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"eq": False}, {"frozen": True}, {"frozen": True, "eq": False}, {"slots": True},
                                     {"frozen": True, "slots": True}, {"kw_only": True}])  # fmt: skip
def test_same_as_the_standard_library(options: dict[str, Any]) -> None:
    assert facts(BOTH[0], options) == facts(BOTH[1], options)


def test_own_methods_stay() -> None:
    @records.dataclass(frozen=True)
    class Own:
        a: int

        def __repr__(self) -> str:
            return "mine"

        def __hash__(self) -> int:
            return 11

        def __eq__(self, other: object) -> bool:
            return True

    assert (repr(Own(1)), hash(Own(1)), Own(1) == Own(2)) == ("mine", 11, True)


@pytest.mark.parametrize("base, derived", [(a, b) for a in BOTH for b in BOTH])
def test_subclasses_by_either(base: Callable[..., Any], derived: Callable[..., Any]) -> None:
    @base(frozen=True)
    class A:
        a: int = 1

    @derived(frozen=True)
    class B(A):
        b: tuple[int, ...] = ()

    assert (B(2, (3,)), hash(B(2)), B(2) == A(2)) == (B(2, (3,)), hash(B(2)), False)
    assert repr(B(2)).endswith("B(a=2, b=())")
    with pytest.raises(TypeError, match="frozen"):
        derived()(type("C", (A,), {"__annotations__": {"c": "int"}}))


def test_no_fields_and_one() -> None:
    @records.dataclass(frozen=True)
    class Nothing:
        pass

    @records.dataclass(frozen=True)
    class One:
        a: Any

    assert (Nothing() == Nothing(), hash(Nothing()), repr(One((1,)))) == (True, hash(()), repr(One((1,))))
    assert (One(1) == One(1), One(1) == One(2), hash(One(1)) == hash((1,))) == (True, False, True)
    with pytest.raises(TypeError, match="unhashable"):
        hash(One([]))


def test_it_holds_itself() -> None:
    @records.dataclass
    class Node:
        next: Any = None

    node = Node()
    node.next = node
    assert repr(node).endswith("Node(next=...)")


def test_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(Point(1))) == copy.deepcopy(Point(1)) == Point(1, 3)
