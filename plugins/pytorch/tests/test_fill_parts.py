"""How layers of two modules are found, named, placed and paired, part by part, and what is said of those without a partner."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn

from convcore_pytorch.fill import (
    Layer,
    _by_name,
    _layers,
    _matched,
    _outputs,
    _place,
    _unpaired,
    _words,
    pair,
    settings_that_differ,
)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("shift", torch.zeros(3))
        self.register_buffer("lost", torch.zeros(3), persistent=False)
        self.fc = nn.Linear(3, 5)
        self.again = self.fc
        self.act = nn.ReLU()
        self.inner = nn.Sequential(nn.Sequential(nn.Linear(5, 2, bias=False)), nn.Dropout(0.1))
        self.attention = nn.MultiheadAttention(2, 1)

    def forward(self, x: Any) -> Any:
        return self.inner(self.act(self.fc(x * self.scale + self.shift)))


class Mine(nn.Conv2d):
    """Made of a layer of torch's."""


def test_layers_are_modules_with_weights() -> None:
    """A layer of torch's whole, what is in it with it; each once; what holds others only, and what has no weights, not at all."""
    found = _layers(Own())
    assert [(x.path, x.kind, sorted(x.states)) for x in found] == [
        ("", "own weights", ["scale", "shift"]),
        ("fc", "Linear", ["bias", "weight"]),
        ("inner.0.0", "Linear", ["weight"]),
        ("attention", "MultiheadAttention", ["in_proj_bias", "in_proj_weight", "out_proj.bias", "out_proj.weight"]),
    ]
    assert (
        str(found[0]) == "the model (own weights: scale [3], shift [3])" and str(found[2]) == "inner.0.0 (Linear: weight [2, 5])"
    )
    assert found[1].looks == "Linear [('bias', (5,)), ('weight', (5, 3))]"
    assert [x.kind for x in _layers(nn.Sequential(Mine(1, 1, 1), nn.ReLU()))] == ["Conv2d"]
    norm = _layers(nn.BatchNorm1d(3))[0]
    assert (
        norm.shapes == "weight [3], bias [3], running_mean [3], running_var [3]"
        and Layer("a", "K", {}, None).shapes == "no weights"
    )


def test_where_layers_stand() -> None:
    """What flows in and what comes of it; sums in any order, joins in theirs."""

    class Net(nn.Module):
        def __init__(self, how: int) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(3, 3) for _ in range(3))
            self.how = how

        def forward(self, x: Any) -> Any:
            a, b = self.a(x), self.b(x)
            if self.how < 2:
                return self.c(a + b if self.how else b + a)
            return self.c(torch.cat([a, b] if self.how == 2 else [b, a], 0))

    places = []
    for how in range(4):
        net = Net(how).eval()
        layers = _layers(net)
        _place(net, layers, [torch.ones(2, 3)])
        places.append([x.places for x in layers])
        assert all(len(x.places) == 1 for x in layers)
    assert places[0] == places[1] and places[0][0] == places[0][1] != places[0][2]
    assert (
        places[2][0] != places[2][1] and (places[2][0], places[2][1]) == (places[3][1], places[3][0]) and places[2] != places[0]
    )


def layer(path: str, shape: tuple[int, ...] = (2,), place: str = "p", kind: str = "K") -> Layer:
    return Layer(path, kind, {"w": torch.zeros(shape)}, None, [place])


def test_names_that_have_words_in_common() -> None:
    assert _words("encoder.Layer12_left-x") == {"encoder", "layer", "12", "left", "x"} and _words("") == frozenset()

    def named(ours: list[str], theirs: list[str]) -> Any:
        made = _by_name([layer(n) for n in ours], [layer(n) for n in theirs])
        return made and [(a.path, b.path) for a, b in made]

    assert named(["my_left", "my_right"], ["right", "left"]) == [("my_left", "left"), ("my_right", "right")]
    assert named(["one", "two"], ["left", "right"]) is None and named(["left", "left_x"], ["left", "right"]) is None
    assert named(["left_right", "x"], ["left", "right"]) is None and named(["a"], ["a"]) == [("a", "a")]
    assert named(["block1.conv", "block2.conv"], ["stage2.conv", "stage1.conv"]) == [
        ("block1.conv", "stage1.conv"),
        ("block2.conv", "stage2.conv"),
    ]


def test_who_belongs_together() -> None:
    ours = [layer("a"), layer("b", (3,)), layer("left", place="q"), layer("right", place="q")]
    theirs = [layer("right_1", place="q"), layer("x"), layer("left_1", place="q"), layer("y", (3,))]
    found, problems = _matched(ours, theirs)
    assert not problems and [(a.path, b.path) for a, b in found] == [
        ("a", "x"),
        ("b", "y"),
        ("left", "left_1"),
        ("right", "right_1"),
    ]
    found, problems = _matched([layer("one"), layer("two"), layer("c", (3,))], [layer("p"), layer("q"), layer("d", (3,))])
    assert [(a.path, b.path) for a, b in found] == [("c", "d")] and [p.code for p in problems] == ["ambiguous_layer"] * 2
    assert problems[0].why == "stands where others like it do: of the source it may be any of p, q" and (
        problems[0].layer,
        problems[0].type,
    ) == ("one", "K")
    found, problems = _matched([layer("a")], [layer("x"), layer("y")])
    assert not found and [p.why.partition(";")[0] for p in problems] == ["(of the module", "(of the source", "(of the source"]


def test_those_without_a_partner() -> None:
    """With weights the other side has not: what it may be; else that it stands elsewhere."""
    said = [
        (p.layer, p.why)
        for p in _unpaired(
            [layer("a", (5,)), layer("e")],
            [
                layer("x", (7,)),
                layer("y", (7,)),
                layer("z", (7,)),
                layer("u", (7,)),
                layer("f", place="q"),
                layer("k", (7,), kind="L"),
            ],
        )
    ]
    assert said[0] == (
        "a",
        "(of the module; w [5]) no layer of the source is like it; candidates: x (K: w [7]), y (K: w [7]), z (K: w [7])",
    )
    assert ("x", "(of the source; w [7]) no layer of the module is like it; candidates: a (K: w [5])") in said
    assert ("k", "(of the source; w [7]) no layer of the module is like it") in said and not [s for s in said if s[0] in "ef"]
    both = [(p.layer, p.why) for p in _unpaired([layer("")], [layer("f", place="q")])]
    assert both == [
        ("the model", "(of the module; w [2]) no layer of the source stands where it does; alike but elsewhere: f"),
        ("f", "(of the source; w [2]) no layer of the module stands where it does; alike but elsewhere: the model"),
    ]
    assert _unpaired([], []) == []


def test_modules_of_one_make_need_no_places() -> None:
    """The same layers at the same paths: as they are named, though their places say nothing."""
    assert pair(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), []) == {
        f"{i}.{k}": f"{i}.{k}" for i in (0, 1) for k in ("weight", "bias")
    }
    assert pair(nn.Linear(2, 3), nn.Linear(2, 3), []) == {"weight": "weight", "bias": "bias"}


def test_results_however_they_nest() -> None:
    a, b, c = (torch.full((1,), float(i)) for i in range(3))
    for made, want in ((a, [a]), ((a, [b, (c,)]), [a, b, c]), ({"x": a, "y": {"z": (b,)}}, [a, b]), ([], [])):
        assert all(x is y for x, y in zip(_outputs(made), want, strict=True))


def test_settings_of_paired_layers() -> None:
    mine, other = (
        nn.Sequential(nn.BatchNorm2d(3, eps=0.1), nn.Conv2d(3, 3, 1, stride=2)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)),
    )
    pairs = {"0.weight": "0.weight", "0.bias": "0.bias", "1.weight": "1.weight", "gone.weight": "1.weight"}
    assert settings_that_differ(pairs, mine, other) == [
        "0.eps is 0.1, the source's 1e-05",
        "1.stride is (2, 2), the source's (1, 1)",
    ]
    assert settings_that_differ(pairs, mine, mine) == [] and settings_that_differ({"0.weight": "1.weight"}, mine, other) == []
