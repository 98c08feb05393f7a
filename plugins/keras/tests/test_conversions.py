"""How single arguments of Keras become attributes and back (``ruleset.py``), what a configuration lacks (``layer_spec.py``)."""

from __future__ import annotations

from typing import Any

import pytest
from test_layers_told import graph_of

from convcore.errors import UsageError
from convcore.plugin import NotExpressible
from convcore_keras import ruleset as r
from convcore_keras.custom_objects import source_of_objects
from convcore_keras.layer_spec import completed

TAKEN: list[tuple[Any, tuple[Any, ...], Any]] = [
    (r._padding_load, ("valid",), None),
    (r._padding_load, ("same",), "same_upper"),
    (r._padding_emit, ("same_upper",), "same"),
    (r._padding_emit, (((0, 0), (0, 0)),), "valid"),
    (r._axes_load, (2,), (2,)),
    (r._axes_load, ([1, 2],), (1, 2)),
    (r._axes_load, ((-2, -1),), (-2, -1)),
    (r._axes_load, ([],), ()),
    (r._axes_load, ([0, 1],), (0, 1)),
    (r._axes_emit, ((2,),), 2),
    (r._axes_emit, ((1, 2),), [1, 2]),
    (r._number, (3,), 3.0),
    (r._number, (2.5,), 2.5),
    (r._one_axis, ([3],), 3),
    (r._one_axis, (-1,), -1),
    (r._per_axis, (2, 3), (2, 2, 2)),
    (r._per_axis, ([2, 3], 2), (2, 3)),
    (r._per_axis_emit, ((2, 3), 2), [2, 3]),
    (r._after_batch_load, ([2, 1],), (0, 2, 1)),
    (r._after_batch_load, ((1, 3, 2),), (0, 1, 3, 2)),
    (r._after_batch_load, ([],), (0,)),
    (r._after_batch_emit, ((0, 2, 1),), [2, 1]),
    (r._spatial_load, ((1, 2), "channels_last"), ((0, 0), (1, 2), (0, 0))),
    (r._spatial_load, (((1, 2), (3, 0)), "channels_first"), ((0, 0), (0, 0), (1, 2), (3, 0))),
    (r._spatial_emit, (((0, 0), (1, 2), (0, 0)), "channels_last"), [1, 2]),
    (r._spatial_emit, (((0, 0), (0, 0), (1, 2), (3, 0)), "channels_first"), [[1, 2], [3, 0]]),
    (r._axes_or_all, (1,), (1,)),
    (r._axes_or_all, ([0, 2],), (0, 2)),
]
REFUSED: list[tuple[Any, tuple[Any, ...], str]] = [
    (r._padding_load, ("full",), "padding='full'"),
    (r._padding_load, (None,), "padding=None"),
    (r._padding_emit, (((0, 0), (0, 1)),), "padding ((0, 0), (0, 1)) is neither valid nor same"),
    (r._padding_emit, (None,), "padding None is neither valid nor same"),
    (r._axes_load, ("a",), "axis='a'"),
    (r._axes_load, ([1, "a"],), "axis=[1, 'a']"),
    (r._axes_load, (None,), "axis=None"),
    (r._axes_load, ([2, 1],), "axis=[2, 1] is not in the order of the axes"),
    (r._axes_load, ([-1, 0],), "axis=[-1, 0] is not in the order of the axes"),
    (r._axes_emit, ((2, 1),), "axes (2, 1) are not in ascending order"),
    (r._number, (True,), "True is not a number"),
    (r._number, ("3",), "'3' is not a number"),
    (r._number, (None,), "None is not a number"),
    (r._one_axis, ([1, 2],), "axis=[1, 2] is not one axis"),
    (r._one_axis, (None,), "axis=None is not one axis"),
    (r._per_axis, ([2], 2), "[2] does not have one entry for each of 2 axes"),
    (r._per_axis, (None, 2), "None does not have one entry for each of 2 axes"),
    (r._per_axis_emit, ((2, None), 2), "(2, None) keeps the size of an axis"),
    (r._after_batch_load, ([0, 1],), "dims=[0, 1] are not a permutation of 1..n"),
    (r._after_batch_load, ([1, 1],), "dims=[1, 1] are not a permutation of 1..n"),
    (r._after_batch_emit, ((1, 0),), "(1, 0) moves the batch axis"),
    (r._after_batch_emit, ((),), "() moves the batch axis"),
    (r._spatial_load, ((-1, 2), "channels_last"), "padding=((-1, 2),) is negative"),
    (r._spatial_load, (((1, 2), (3, -1)), "channels_first"), "padding=((1, 2), (3, -1)) is negative"),
    (r._spatial_emit, (((0, 1), (1, 2), (0, 0)), "channels_last"), "are not around the spatial axes of channels_last data"),
    (r._spatial_emit, (((0, 0), (1, 2), (0, 1)), "channels_last"), "are not around the spatial axes of channels_last data"),
    (r._spatial_emit, (((0, 0), (1, 2), (0, 0)), "channels_first"), "are not around the spatial axes of channels_first data"),
    (r._spatial_emit, (((0, 0), (1, -2), (0, 0)), "channels_last"), "are not around the spatial axes of channels_last data"),
]


@pytest.mark.parametrize(("convert", "given", "want"), TAKEN)
def test_what_it_becomes(convert: Any, given: tuple[Any, ...], want: Any) -> None:
    found = convert(*given)
    assert found == want and type(found) is type(want)


@pytest.mark.parametrize(("convert", "given", "why"), REFUSED)
def test_what_it_may_not_be(convert: Any, given: tuple[Any, ...], why: str) -> None:
    with pytest.raises(NotExpressible) as e:
        convert(*given)
    assert why in str(e.value)


def test_what_shapes_say_of_a_configuration() -> None:
    shapes = {"kernel": (3, 5, 7, 11), "bias": (11,)}
    assert completed("Conv2D", {}, shapes) == {"filters": 11, "kernel_size": [3, 5], "use_bias": True}
    assert completed("Conv2D", {"kernel_size": 2}, {"kernel": (3, 5, 7, 11)}) == {
        "filters": 11,
        "kernel_size": 2,
        "use_bias": False,
    }
    assert completed("LSTM", {}, {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)})["units"] == 5
    assert completed("Dense", {"units": 4}, {}) == {"units": 4, "use_bias": False}
    for name, needs in {"Conv2D": "filters, kernel_size", "Dense": "units", "Reshape": "target_shape"}.items():
        with pytest.raises(ValueError, match=f"^{name} needs {needs}$"):
            completed(name, {}, {})


class Mine:
    class Inner:
        pass


def test_what_custom_objects_may_be() -> None:
    assert [(n, own, p.name) for n, own, p in source_of_objects({"A": Mine, "b": graph_of})] == [
        ("A", "Mine", "test_conversions.py"), ("b", "graph_of", "test_layers_told.py")
    ]  # fmt: skip
    assert source_of_objects({"A": lambda g, node: None}) == []
    for objects in ([Mine], {3: Mine}, None):
        with pytest.raises(UsageError, match="custom_objects is a dict of names"):
            source_of_objects(objects)
    with pytest.raises(UsageError, match=r"custom_objects\['A'\] is neither a class nor a function"):
        source_of_objects({"A": 3})
    for x in (Mine.Inner, int, lambda x: x, len):
        with pytest.raises(UsageError, match=r"custom_objects\['A'\]: the source of .* is not at the top of a file, so that it"):
            source_of_objects({"A": x})
