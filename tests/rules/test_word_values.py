"""What the words of rows give, value for value: sizes, last axes, orders of axes beside numpy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convcore.errors import DeclarationError, ShapeError
from convcore.ir.dims import Dim
from convcore.ir.tensors import as_tensor
from convcore.rules import A, NotExpressible, Rest, W
from convcore.rules.words import Given, Last, Rank, Size, permutation_of, reorder

N = Dim("N")

SIZES: list[tuple[Size, Any, dict[str, Any], Any]] = [
    (Size("w", 1), (2, 3), {}, 3), (Size("w", 1), (2, N), {}, None), (Size("w", 1), None, {}, None),
    (Size("w", 0), (2, N), {}, 2),
    (Size("w", "2:"), (2, 3, 5, 7), {}, [5, 7]), (Size("w", "2:"), (2, 3, 5, N), {}, None), (Size("w", "2:"), (2, 3), {}, []),
    (Size("w", 1, times="g"), (2, 3), {"g": 4}, 12), (Size("w", 1, times="g"), (2, 3), {"g": N}, None),
    (Size("w", 1, over="g"), (2, 6), {"g": 3}, 2), (Size("w", 1, over="g"), (2, 6), {"g": 1}, 6),
    (Size("w", 1, over="g"), (2, 6), {"g": 4}, None), (Size("w", 1, over="g"), (2, 6), {"g": 0}, None),
    (Size("w", 1, over="g"), (2, 6), {"g": -3}, None), (Size("w", 1, over="g"), (2, 6), {"g": N}, None),
    (Size("w", 1, times="a", over="b"), (2, 6), {"a": 5, "b": 10}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("size", "shape", "attrs", "value"), SIZES)
def test_sizes_of_inputs(size: Size, shape: Any, attrs: dict[str, Any], value: Any) -> None:
    assert size.value(shape, attrs) == value


LOADED: list[tuple[Any, Any, Any]] = [
    (7, (2, 3, 7), (2,)), ([3, 7], (2, 3, 7), (1, 2)), ((2, 3, 7), (2, 3, 7), (0, 1, 2)), ([], (2, 3), ()), (7, (2, N), (1,)),
    ([N], (2, 5), (1,)), (3, (2, 3, 7), "n=[3] are not the last sizes of (2, 3, 7)"),
    ([1, 2, 3], (2, 3), "n=[1, 2, 3] are not the last sizes of (2, 3)"),
    (7, None, "the number of axes of its input is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "shape", "axes"), LOADED)
def test_last_axes_by_their_sizes(sizes: Any, shape: Any, axes: Any) -> None:
    if isinstance(axes, str):
        with pytest.raises(NotExpressible) as told:
            Last("n").load(sizes, shape)
        assert str(told.value) == axes
    else:
        assert Last("n").load(sizes, shape) == axes


WRITTEN: list[tuple[Any, Any, Any]] = [
    ((2,), (2, 3, 7), 7), ((-1,), (2, 3, 7), 7), ((2, 1), (2, 3, 7), [3, 7]), ((0, 1, 2), (2, 3, 7), [2, 3, 7]),
    ((1,), (2, 3, 7), "axes=(1,) are not the last of 3 axes"), ((), (2, 3), "axes=() are not the last of 2 axes"),
    ((0, 2), (2, 3, 7), "axes=(0, 2) are not the last of 3 axes"), ((0,), (), "axes=(0,) are not the last of 0 axes"),
    ((1,), (2, N), "a size along axes=(1,) is not a known number"), ((1,), None, "the number of axes of its input is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("axes", "shape", "sizes"), WRITTEN)
def test_sizes_of_last_axes(axes: Any, shape: Any, sizes: Any) -> None:
    if isinstance(sizes, str):
        with pytest.raises(NotExpressible) as told:
            Last("n").emit("axes", axes, shape)
        assert str(told.value) == sizes
    else:
        assert Last("n").emit("axes", axes, shape) == sizes
        assert Last("n", single=False).emit("axes", axes, shape) == (sizes if isinstance(sizes, list) else [sizes])


def test_from_the_end() -> None:
    assert Rest(2, from_end=True).emit("axes", (2, 3), 4) == -2 and Rest(2).emit("axes", (2, 3), 4) == 2
    assert Rest(A("axis")).emit("axes", (1, 2), 3) == 1 and Rest(A("axis")).emit("axes", (2, 1), 3) == 1
    assert Rest(-2).load(-2, 4) == (2, 3)


ORDERS: list[tuple[str, tuple[int, ...], dict[str, int], Callable[[Any], Any]]] = [
    # an order, a shape, sizes, and the same by numpy
    ("IO->OI", (2, 3), {}, lambda a: a.T),
    ("*IO->OI*", (5, 7, 2, 3), {}, lambda a: a.transpose(3, 2, 0, 1)),
    ("*IO->OI*", (2, 3), {}, lambda a: a.T),
    ("*->*", (2, 3, 5), {}, lambda a: a),
    ("1C->C", (1, 3), {}, lambda a: a.reshape(3)),
    ("C->C1", (3,), {}, lambda a: a.reshape(3, 1)),
    ("(AB)C->ABC", (6, 5), {"A": 2}, lambda a: a.reshape(2, 3, 5)),
    ("(AB)C->BAC", (6, 5), {"B": 3}, lambda a: a.reshape(2, 3, 5).transpose(1, 0, 2)),
    ("ABC->(AB)C", (2, 3, 5), {}, lambda a: a.reshape(6, 5)),
    ("ABC->C(BA)", (2, 3, 5), {}, lambda a: a.transpose(2, 1, 0).reshape(5, 6)),
    ("(AB)->(BA)", (6,), {"A": 2, "B": 3}, lambda a: a.reshape(2, 3).T.reshape(6)),
    ("*1->*", (2, 3, 1), {}, lambda a: a.reshape(2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("order", "shape", "sizes", "wanted"), ORDERS)
def test_orders_of_axes(order: str, shape: tuple[int, ...], sizes: dict[str, int], wanted: Callable[[Any], Any]) -> None:
    a = np.arange(np.prod(shape)).reshape(shape)
    found = reorder(order, as_tensor(a), sizes).numpy()
    assert np.array_equal(found, wanted(a)) and found.shape == wanted(a).shape
    if "(" not in order and "1" not in order:
        perm, back = permutation_of(order, len(shape))
        assert np.array_equal(found, a.transpose(perm)) and np.array_equal(found.transpose(back), a)


REFUSED: list[tuple[str, tuple[int, ...], dict[str, int], type[Exception], str]] = [
    ("IO->OI", (2, 3, 5), {}, ShapeError, "a weight with 3 axes does not fit the order 'IO->OI'"),
    ("*IO->OI*", (2,), {}, ShapeError, "a weight with 1 axes does not fit the order"),
    ("1C->C", (2, 3), {}, NotExpressible, "an axis of 2 elements is not of size 1"),
    ("(AB)C->ABC", (7, 5), {"A": 2}, NotExpressible, r"an axis of 7 elements is not AB with {'A': 2}"),
    ("(AB)C->ABC", (6, 5), {}, NotExpressible, "an axis of 6 elements is not AB with {}"),
    ("(AB)C->ABC", (6, 5), {"A": 0}, NotExpressible, "an axis of 6 elements is not AB with {'A': 0}"),
    ("(AB)C->ABC", (6, 5), {"A": 2, "B": 2}, NotExpressible, "an axis of 6 elements is not AB with"),
    ("IO", (2, 3), {}, DeclarationError, "bad axis order 'IO'"), ("I-O->OI", (2, 3), {}, DeclarationError, "bad axis order"),
    ("(IO->OI", (2, 3), {}, DeclarationError, "bad axis order"), ("IO)->OI", (2, 3), {}, DeclarationError, "bad axis order"),
    ("*I*->I", (2, 3), {}, DeclarationError, "bad axis order"), ("(I1)->I", (2,), {}, DeclarationError, "bad axis order"),
    ("((I))->I", (2,), {}, DeclarationError, "bad axis order"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "shape", "sizes", "error", "why"), REFUSED)
def test_orders_that_do_not_fit(order: str, shape: tuple[int, ...], sizes: dict[str, int], error: Any, why: str) -> None:
    with pytest.raises(error, match=why):
        reorder(order, as_tensor(np.zeros(shape)), sizes)


def test_words_as_json() -> None:
    assert Size("w", 1).to_json() == {"size_of": "w", "axis": 1}
    assert Size("w", "2:", times="g", over="h").to_json() == {"size_of": "w", "axis": "2:", "times": "g", "over": "h"}
    assert Last("n").to_json() == {"sizes_of_last_axes": "n"}
    assert Last("n", at=0).to_json() == {
        "sizes_of_last_axes": "n",
        "at": 0,
    }
    assert Given("b").to_json() == {"given": "b"} and Given("b", False).to_json() == {"given": "b", "default": False}
    assert Rank(3).to_json() == {"axes": 3} and Rank(3, "q").to_json() == {"axes": 3, "of": "q"}
    assert Rest(2).to_json() == {"axes_from": 2} and Rest(A("a")).to_json() == {"axes_from": A("a").to_json()}
    assert W("w").emit(as_tensor(np.zeros(3)), {}).shape == (3,)
