"""What the loader tells and refuses of programs that are made by hand: inputs, weights, results, scopes, branches, loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.errors import ConvcoreError, UnsupportedError, UsageError
from convcore.hookspecs import LoadRequest
from convcore.interpreter import Interpreter
from convcore.plugin import ArrayTensor, Dim, opaque_problems
from convcore_pytorch.files.program import (
    Argument,
    Constant,
    Graph,
    Input,
    Node,
    Output,
    Program,
    Ref,
    Scope,
    SymValue,
    TensorValue,
)
from convcore_pytorch.files.symbols import Expr
from convcore_pytorch.load import fixed_values
from convcore_pytorch.loader import Loader
from convcore_pytorch.rules import RULES

F = TensorValue("float32", (2, 3), (3, 1))
X = Input("user", "x")


def node(name: str, target: str, *args: Any, outs: Any = None, scopes: tuple[Scope, ...] = ()) -> Node:
    """``"=text"`` is a text, another text a reference."""
    given = [(a[1:] if a[:1] == "=" else Ref(a)) if isinstance(a, str) else a for a in args]
    return Node(name, target, tuple(Argument("", a) for a in given), (name,) if outs is None else outs, scopes)


RELU = node("y", "aten.relu.default", "x")


def program(
    *nodes: Node, inputs: Any = (X,), outputs: Any = ("y",), values: Any = (), weights: Any = None, constants: Any = None,
    container: str = "program", versions: Any = None,
) -> Program:  # fmt: skip
    made = [o if isinstance(o, Output) else Output("user", Ref(o) if isinstance(o, str) else o) for o in outputs]
    known = {"x": F, **dict(values)}
    names = tuple(i.name for i in inputs if i.name)
    body = Graph("", names, tuple(o.value for o in made), tuple(nodes), known)
    return Program(container, body, list(inputs), made, weights or {}, constants or {}, {}, {}, {}, versions or {})


def load(p: Program, shapes: Any = None, facts: Any = None, **options: Any) -> Any:
    graph = Loader(p, LoadRequest("", rules=RULES, options=options, input_shapes=shapes or {}), facts).run()
    if problems := opaque_problems(graph):
        raise UnsupportedError(problems)
    return graph


def held(*shape: int, seed: int = 0) -> ArrayTensor:
    return ArrayTensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def run(graph: Any, *arrays: Any) -> list[np.ndarray]:
    return [np.asarray(a) for a in Interpreter(graph).run(list(arrays))]


A = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
WEIGHT = Input("parameter", "w", "lin.weight")

REFUSED: dict[str, tuple[Program, str]] = {
    "number": (program(RELU, inputs=(X, Input("user", "n")), values={"n": SymValue("int")}),
        r"'n' \(input\): is a number; only tensors can be inputs - fix it to a value"),
    "text": (program(RELU, inputs=(X, Input("user", "n"))), r"'n' \(input\): is a number; only tensors can be inputs"),
    "number of a script": (program(RELU, inputs=(X, Input("user", "n")), values={"n": SymValue("int")}, container="torchscript"),
        r"'n' \(input\): is a number; only tensors can be inputs - fix it: fixed='n=\.\.\.'"),
    "no shape": (program(RELU, inputs=(X,), values={"x": None}, container="torchscript"),
        r"a TorchScript file does not say the shapes of its inputs; give that of 'x': .*input_shapes=\{'x'"),
    "object": (program(RELU, inputs=(X, Input("object", "o", "net.tokens"))), r"'net\.tokens' \(object\): is a custom object"),
    "lost weight": (program(node("y", "aten.add.Tensor", "x", "w"), inputs=(X, WEIGHT)),
        r"'lin\.weight' \(parameter\): has no values in the program"),
    "weight that is none": (program(node("y", "aten.add.Tensor", "x", "w"), inputs=(X, WEIGHT), weights={"lin.weight": "text"}),
        r"'lin\.weight' \(parameter\): has no values in the program"),
    "text as a result": (program(RELU, outputs=(Output("user", "abc"),)),
        r"'output' \(output\): is 'abc', no tensor and no number"),
    "text as a later result": (program(RELU, outputs=("y", Output("user", "abc"))), r"'output_1' \(output\): is 'abc'"),
    "gradient": (program(RELU, outputs=("y", Output("gradient_to_parameter", Ref("y"), "lin.weight"))),
        r"'lin\.weight' \(output\): the model changes 'lin\.weight' between calls \(gradient_to_parameter\)"),
    "buffer": (program(RELU, outputs=("y", Output("buffer_mutation", Ref("y"), "mean"))),
        r"the model changes 'mean' between calls \(buffer_mutation\)"),
    "training": (program(RELU, versions={"training": True}),
        r"the module is in training mode; call module\.eval\(\) before it is saved, or say training=True"),
    "list apart": (
        program(node("l", "prim.ListConstruct", "x", "x"), node("u", "prim.ListUnpack", "l", outs=("a", "b", "c")), RELU),
        r"\(prim\.ListUnpack\): takes a list apart into 3, which has another length"),
    "no list apart": (program(node("u", "prim.ListUnpack", "x", outs=("a", "b")), RELU), r"takes a list apart into 2"),
    "shape": (program(RELU, values={"y": TensorValue("float32", (2, 5), (5, 1))}), r"gives 2x3, but torch recorded 2x5"),
    "rank": (program(RELU, values={"y": TensorValue("float32", (2, 3, 1), (3, 1, 1))}), r"gives 2x3, but torch recorded 2x3x1"),
    "operator": (program(node("y", "aten.linalg_eig.default", "x")), r"aten\.linalg_eig"),
    "check": (program(node("y", "prim.RaiseIf", 1, True, "=no way", outs=()), RELU),
        r"\(prim\.RaiseIf\): raises an exception for these inputs: no way"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_program_may_not_hold_is_told(what: str) -> None:
    made, why = REFUSED[what]
    with pytest.raises(ConvcoreError, match=why):
        load(made)


def test_what_is_no_harm() -> None:
    assert run(load(program(RELU, versions={"training": True}), training=True), A)[0].min() == 0
    shown = load(program(RELU, outputs=("y", Output("buffer_mutation", Ref("y"), "mean"))), training=True)
    assert [v.name for v in shown.outputs] == ["output_0"]
    checked = program(
        node("c", "prim.RaiseIf", 0, True, "=no way", outs=()), node("d", "prim.RaiseIf", 1, False, "=", outs=()), RELU
    )
    assert len(load(checked)) == 1
    for target in ("aten._assert_async.msg", "aten.warn.default", "aten._check_is_size.default"):
        assert len(load(program(node("c", target, "x", "x", outs=()), RELU))) == 1
    noted = load(program(RELU, outputs=("y", Output("user_input_mutation", Ref("y"), "x"), Output("token", None))))
    assert noted.metadata["notes"] == ["the model also writes into its input 'x'; the result does not show that"]


def test_results_and_their_names() -> None:
    one = load(program(RELU))
    assert [v.name for v in one.outputs] == ["output"]
    many = load(
        program(
            RELU,
            outputs=("y", "x", "y", Output("user", [Ref("y"), {"k": Ref("x")}, None]), Output("loss", 2.5), Output("user", True)),
        )
    )
    assert [v.name for v in many.outputs] == [f"output_{i}" for i in range(7)]
    got = run(many, A)
    for i, want in enumerate((A.clip(0), A, A.clip(0), A.clip(0), A, np.float32(2.5), np.bool_(True))):
        np.testing.assert_array_equal(got[i], want)
        assert got[i].dtype == np.asarray(want).dtype
    size = Expr("symbol", ("s0",))
    known = {"x": TensorValue("float32", (size, 3)), "n": SymValue("int", size)}
    sizes = load(program(node("n", "aten.sym_size.int", "x", 0), RELU, outputs=("y", "n"), values=known))
    assert sizes.inputs[0].shape == (Dim("batch"), 3) and int(run(sizes, A)[1]) == 2
    told = load(program(RELU, outputs=("y", "x")), facts={"outputs": ["first"], "name": "Net", "names": {}})
    assert [v.name for v in told.outputs] == ["first", "output_1"] and told.name == "Net"


def test_weights_are_named_told_and_tied() -> None:
    w, b = held(2, 3), held(2, 3, seed=1)
    count = ArrayTensor(np.asarray(4))
    inputs = (X, WEIGHT, Input("parameter", "t", "tied.weight"), Input("buffer", "b", "bn.running_var"),
              Input("buffer", "p", "plain", persistent=False), Input("constant", "c", "lifted"),
              Input("buffer", "n", "bn.num_batches_tracked"), Input("parameter", "u", "unused.weight"))  # fmt: skip
    nodes = [
        node("a", "aten.add.Tensor", "x", "w", scopes=(Scope("", "Net"), Scope("lin", "torch.nn.modules.linear.Linear"))),
        node("d", "aten.add.Tensor", "a", "t", scopes=(Scope("", "Net"), Scope("tied", "Other"))),
        node("e", "aten.add.Tensor", "d", "b"), node("f", "aten.add.Tensor", "e", "p"), node("y", "aten.add.Tensor", "f", "c"),
    ]  # fmt: skip
    unused = held(5, seed=2)
    weights = {"lin.weight": w, "tied.weight": w, "bn.running_var": b, "bn.num_batches_tracked": count, "unused.weight": unused}
    p = program(*nodes, inputs=inputs, weights=weights, constants={"plain": held(2, 3, seed=3), "lifted": held(2, 3, seed=4)},
                versions={"torch": (2, 13), "schema": "", "archive": 8, "other": 1})  # fmt: skip
    g = load(p)
    by_name = dict(g.weights)
    assert set(by_name) == {"lin.weight", "bn.running_var", "plain", "lifted", "unused.weight"}
    assert [by_name[k].role for k in ("lin.weight", "bn.running_var", "plain", "lifted", "unused.weight")] == [
        "parameter", "buffer", "buffer", "constant", "parameter",
    ]  # fmt: skip
    assert [by_name[k].trainable for k in ("lin.weight", "bn.running_var", "lifted")] == [True, False, False]
    m = g.metadata
    assert m["counts"] == {"bn.num_batches_tracked": 4}
    assert m["keys"] == list(weights) and m["unsaved"] == ["plain"]
    assert m["unread"] == ["unused.weight"] and m["tied"] == {"tied.weight": "lin.weight"}
    assert (m["framework"], m["kind"], m["version"]) == ("pytorch", "program", "torch 2.13, archive 8")
    assert m["notes"] == []
    wanted = (A + w.numpy() * 2 + b.numpy() + held(2, 3, seed=3).numpy() + held(2, 3, seed=4).numpy()).astype(np.float32)
    np.testing.assert_allclose(run(g, A)[0], wanted, rtol=1e-5, atol=1e-6)


def test_scopes_are_the_modules() -> None:
    root = Scope("", "Net")
    block, conv = Scope("layers.0", "my.Block"), Scope("layers.0.act", "torch.nn.modules.activation.ReLU")
    nodes = [
        node("a", "aten.relu.default", "x", scopes=(root, block, conv)),
        node("b", "aten.neg.default", "a", scopes=(root, block)),
        node("c", "aten.relu.default", "b", scopes=(root, Scope("layers.0", "my.Block", 1), Scope(conv.path, conv.cls, 1))),
        node("y", "aten.neg.default", "c", scopes=(root,)),
    ]
    g = load(program(*nodes))
    found = [[(s.name, s.type) for s in reversed([s for s in n.scope.ancestors() if s.parent is not None])] for n in g]
    assert found == [
        [("layers", ""), ("0", "my.Block"), ("act", "torch.nn.ReLU")], [("layers", ""), ("0", "my.Block")],
        [("layers", ""), ("0", "my.Block"), ("act", "torch.nn.ReLU")], [],
    ]  # fmt: skip
    assert [n.origin.layer for n in g] == ["layers.0.act/a", "layers.0/b", "layers.0.act/c", "y"]
    assert len({n.scope for n in g}) == 4


# ---- branches, loops
def body(*nodes: Node, inputs: tuple[str, ...], outputs: Any, values: Any = (), captures: bool = False) -> Graph:
    return Graph(
        "body", inputs, tuple(Ref(o) if isinstance(o, str) else o for o in outputs), tuple(nodes), dict(values), captures
    )


BOOL, NUM = TensorValue("bool", (), ()), TensorValue("int64", (), ())
SIDE = body(node("r", "aten.relu.default", "a"), inputs=("a",), outputs=("r",))
WHOLE = body(node("r", "aten.gt.Scalar", "a", 0), inputs=("a",), outputs=("r",))
PRED = node("s", "aten.sum.default", "x"), node("p", "aten.gt.Scalar", "s", 0)
STEP = body(node("r", "aten.add.Scalar", "a", 1), inputs=("a",), outputs=("r",))
HALF = body(node("r", "prims.convert_element_type.default", "a"), inputs=("a",), outputs=("r",))
LESS = body(node("m", "aten.sum.default", "a"), node("r", "aten.lt.Scalar", "m", 40), inputs=("a",), outputs=("r",))

REGIONS: dict[str, tuple[Any, str]] = {
    "branches of two types": ((*PRED, node("y", "higher_order.cond", "p", SIDE, WHOLE, [Ref("x")])),
        r"\(higher_order\.cond\): its branches give different element types"),
    "number carried": ((node("y", "higher_order.while_loop", LESS, STEP, [3], []),),
        r"\(higher_order\.while_loop\): carries a number, not a tensor"),
    "number gone over": ((node("y", "higher_order.map_impl", STEP, [3], []),),
        r"\(higher_order\.map_impl\): goes over something that is no tensor"),
    "nothing gone over": ((node("y", "higher_order.scan", STEP, [Ref("x")], [], []),),
        r"\(higher_order\.scan\): goes over something that is no tensor"),
    "state that grows": ((node("y", "higher_order.scan", body(node("r", "aten.unsqueeze.default", "a", 0), inputs=("a", "b"),
        outputs=("r", "b")), [Ref("x")], [Ref("x")], [], outs=(("y", "z"),)),),
        r"\(higher_order\.scan\): carries float32\[2, 3\] into a step and float32\[1, 2, 3\] out of it"),
    "text carried": ((node("y", "prim.Loop", 70, True, ["abc"], body(inputs=("i", "a"), outputs=(True, "a"), captures=True)),),
        r"\(prim\.Loop\): carries 'abc', no tensor and no number"),
    "autocast": ((node("y", "higher_order.wrap_with_autocast", "=cpu", None, True, None, SIDE, "x"),),
        r"computes in mixed precision \(autocast\), whose casts the program does not show; export without autocast"),
    "hidden name": ((node("z", "aten.neg.default", "x"), *PRED, node("y", "higher_order.cond", "p",
        body(node("r", "aten.add.Tensor", "a", "z"), inputs=("a",), outputs=("r",)), SIDE, [Ref("x")])),
        r"'z' \(value\): is used in a branch or loop that does not see it"),
    "write outside": ((node("z", "aten.neg.default", "x"), *PRED, node("y", "higher_order.cond", "p",
        body(node("r", "aten.relu_.default", "a"), inputs=("a",), outputs=("r",)), SIDE, [Ref("z")])),
        r"writes into a tensor from outside of its branch or loop"),
}  # fmt: skip


@pytest.mark.parametrize("what", REGIONS)
def test_regions_that_are_refused(what: str) -> None:
    nodes, why = REGIONS[what]
    with pytest.raises(UnsupportedError, match=why):
        load(program(*nodes, values={"p": BOOL}))


def test_regions_compute() -> None:
    """By hand: a branch by data, one that is known, loops with and without a count, steps over an axis."""
    both = program(
        *PRED,
        node(
            "y",
            "higher_order.cond",
            "p",
            SIDE,
            body(node("r", "aten.neg.default", "a"), inputs=("a",), outputs=("r",)),
            [Ref("x")],
        ),
    )
    for a in (A, -A, A * 0):
        np.testing.assert_array_equal(run(load(both), a)[0], a.clip(0) if a.sum() > 0 else -a)
    for known, want in ((True, A.clip(0)), (False, -A)):
        nodes = node(
            "y",
            "higher_order.cond",
            known,
            SIDE,
            body(node("r", "aten.neg.default", "a"), inputs=("a",), outputs=("r",)),
            [Ref("x")],
        )
        assert [n.op for n in load(program(nodes))] == ["relu" if known else "neg"]
        np.testing.assert_array_equal(run(load(program(nodes)), A)[0], want)
    looped = load(program(node("y", "higher_order.while_loop", LESS, STEP, [Ref("x")], [])))
    for a in (A, A + 30):
        want = a
        while want.sum() < 40:
            want = want + 1
        np.testing.assert_array_equal(run(looped, a)[0], want)
    summed = body(
        node("r", "aten.add.Tensor", "a", "b"), node("q", "aten.mul.Tensor", "r", "k"), inputs=("a", "b", "k"), outputs=("r", "q")
    )
    state = TensorValue("float32", (3,), (1,))
    over = program(
        node("y", "higher_order.scan", summed, [Ref("h")], [Ref("x")], [Ref("k")], outs=(("y", "z"),)),
        inputs=(X, Input("user", "h"), Input("user", "k")), values={"h": state, "k": state}, outputs=("y", "z"),
    )  # fmt: skip
    h, k = np.array([1, -2, 3], np.float32), np.array([2, 0.5, -1], np.float32)
    got = run(load(over), A, h, k)
    np.testing.assert_array_equal(got[0], h + A.sum(0))
    np.testing.assert_array_equal(got[1], np.stack([h + A[0], h + A[0] + A[1]]) * k)
    times = body(node("r", "aten.mul.Tensor", "a", "k"), inputs=("a", "k"), outputs=("r",))
    mapped = program(node("y", "higher_order.map_impl", times, [Ref("x")], [Ref("k")]),
                     inputs=(X, Input("user", "k")), values={"k": state})  # fmt: skip
    np.testing.assert_array_equal(run(load(mapped), A, k)[0], A * k)


def test_fixed_values() -> None:
    found = fixed_values("a=1, b = true,c=0.5,d=words,e=None,f=-2,g=FALSE,h=1e3,i=")
    assert found == {"a": 1, "b": True, "c": 0.5, "d": "words", "e": None, "f": -2, "g": False, "h": 1000.0, "i": ""}
    assert [type(found[k]) for k in "abcf"] == [int, bool, float, int] and fixed_values(None) == fixed_values("") == {}
    for text in ("a", "=1", "a=1,,b=2", " =3"):
        with pytest.raises(UsageError, match="is no name=value"):
            fixed_values(text)


def test_constants_of_memory_are_no_matter() -> None:
    for kind, value in (("memory_format", "channels_last"), ("layout", "strided")):
        given = Argument("self", Ref("x")), Argument("memory_format", Constant(kind, value), True)
        np.testing.assert_array_equal(run(load(program(Node("y", "aten.clone.default", given, ("y",)))), A)[0], A)
