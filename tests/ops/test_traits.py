"""Traits and roles: what declarations say is checked, and nobody lists ops by name elsewhere."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import convcore.opset.declare as declare
from convcore.build.builder import Builder
from convcore.errors import DeclarationError, VerifyError
from convcore.ir.graph import Graph, Node, Value
from convcore.opset import Attr, AxisAttr, OpSet, Role, Sample, Trait, all_ops, op, register, traits_of
from convcore.opset.axes import Broadcast, Elementwise, Opaque, Perm
from convcore.testing import CheckFailed, check_op

ROOT = Path(__file__).parents[2]
OPS = all_ops()


def test_what_traits_imply():
    assert traits_of("reshape") & (Trait.VIEW | Trait.MOVES | Trait.KEEPS_SIGN) == Trait.VIEW | Trait.MOVES | Trait.KEEPS_SIGN
    assert Trait.MOVES in traits_of("gather") and Trait.VIEW not in traits_of("gather")
    assert traits_of("opaque") is Trait.NONE
    assert traits_of("transpose").names == ("VIEW", "MOVES", "KEEPS_SIGN")
    assert traits_of("dropout").names == ("VIEW", "MOVES", "SAME", "POINTWISE", "KEEPS_SIGN")
    assert Trait.MOVES in traits_of("expand") and Trait.VIEW not in traits_of("expand")


def test_roles():
    assert op("batch_norm").roles == {"parameter": ("scale", "bias"), "statistic": ("mean", "var")}
    assert [op("concat").role(i) for i in range(3)] == [Role.DATA] * 3
    assert op("gather").role(1) is Role.INDEX


@pytest.mark.parametrize(
    "roles, why",
    [({"weight": "x"}, "unknown role 'weight'"), ({"parameter": "w"}, "'w', which it lacks"), ({"index": "x x"}, "'x', twice")],
)
def test_wrong_roles(roles, why):
    with pytest.raises(DeclarationError, match=why):
        OpSet("t", "tests").op("t", "x:int", reference=lambda x: x, roles=roles)


@pytest.mark.parametrize(
    "name", [n for n, o in sorted(OPS.items()) if len(o.inputs) == 2 and o.samples and not o.inputs[1].variadic]
)
def test_what_commutes_says_so(name):
    """The other way round from check_op: an op whose inputs may be exchanged on every sample is declared so."""
    decl = OPS[name]
    if Trait.COMMUTES in decl.traits or decl.reference is None or decl.attrs or decl.inputs[0].types != decl.inputs[1].types:
        return
    rng = np.random.default_rng(0)
    kind = {"bool": bool, "int": np.int32}.get(decl.inputs[0].types, np.float32)
    a, b = (rng.uniform(0, 5, (3, 3)).astype(kind) for _ in range(2))
    assert not np.array_equal(decl.reference(a, b), decl.reference(b, a)), f"{name} commutes"


_count = iter(range(1000))


def _declared(signature="x:float", axes=None, infer=None, samples=None, reference=None, **more):
    family = OpSet("check", "tests")
    samples = samples or [Sample((2, 3, 5))]
    decl = family.op(
        f"trait_{next(_count)}", signature, reference=reference, axes=axes or Opaque(), infer=infer, samples=samples, **more
    )
    register(family)
    return decl


@pytest.mark.parametrize(
    "traits, reference, why",
    [
        (Trait.VIEW, lambda x: x[::-1].copy(), "is no view"),
        (Trait.MOVES, lambda x: x * np.float32(1), "computes with them|not among"),
        (Trait.MOVES, lambda x: np.zeros_like(x), "not among"),
        (Trait.NONNEGATIVE, lambda x: x, "declared nonnegative"),
        (Trait.KEEPS_SIGN, lambda x: x - np.float32(1), "keeps no sign"),
        (Trait.COMMUTES, lambda x: x, "only two inputs commute"),
        (Trait.SAME, lambda x: np.abs(x), "its result is not its input"),
        (Trait.POINTWISE, lambda x: np.cumsum(x, 0, dtype=x.dtype), "elements of x reach other places"),
        (Trait.BROADCASTS, lambda x: x[:, ::-1].copy(), "not its input broadcast"),
        (Trait.OF_SHAPES, lambda x: np.full(x.shape, x.max()), "depend on elements of its inputs"),
        (Trait.SCALED, lambda x: x, "an optional parameter scale"),
        (Trait.WINDOW, lambda x: x, "a window needs strides, pads, dilations, layout"),
        (Trait.RECURRENT, lambda x: x, "an optional input h0"),
    ],
)
def test_false_traits_are_found(traits, reference, why):
    with pytest.raises(CheckFailed, match=why):
        check_op(_declared(traits=traits, reference=reference))


def test_what_is_pointwise_has_one_result():
    twice = lambda c: [(c.dtype("x"), c.shape("x"))] * 2  # noqa: E731
    with pytest.raises(CheckFailed, match="what is pointwise has one result"):
        check_op(_declared(traits=Trait.POINTWISE, reference=lambda x: (x, x), infer=twice, outputs="y, z"))


def test_false_traits_of_another_shape():
    less = lambda c: [(c.dtype("x"), (1, *c.shape("x")[1:]))]  # noqa: E731
    with pytest.raises(CheckFailed, match="not its input broadcast"):
        check_op(_declared(traits=Trait.BROADCASTS, reference=lambda x: x[:1].copy(), infer=less))
    with pytest.raises(CheckFailed, match=r"the shape \(1, 3, 5\), its inputs \(2, 3, 5\)"):
        check_op(_declared(traits=Trait.POINTWISE, reference=lambda x: x.sum(0, keepdims=True), infer=less))


def test_false_commutes():
    with pytest.raises(CheckFailed, match="does not commute"):
        check_op(
            _declared("x:float, y:float", samples=[Sample((2, 3), (2, 3))], traits=Trait.COMMUTES, reference=lambda x, y: x - y)
        )


def test_view_of_other_order_needs_its_axis_rule():
    shape = {"infer": lambda c: [(c.dtype("x"), c.shape("x")[::-1])], "attrs": {"perm": Attr("perm", (2, 1, 0))}}
    reference = lambda x, perm: x.transpose(perm)  # noqa: E731
    check_op(_declared(traits=Trait.VIEW, reference=reference, axes=Perm(), **shape))
    with pytest.raises(CheckFailed, match="needs the axis rule"):
        check_op(_declared(traits=Trait.VIEW, reference=reference, **shape))


def test_index_inputs_are_integers():
    with pytest.raises(CheckFailed, match="is an index, so its type must be int"):
        check_op(_declared(reference=lambda x: x, axes=Elementwise(), roles={"index": "x"}))


# ---- inputs by name


def test_inputs_by_name():
    g = Graph()
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    stat = [b.const(np.full(3, i + 1.0), "float32") for i in range(2)]
    node = b.batch_norm(x, None, None, *stat, epsilon=1e-3, axis=1).producer
    assert node.arg("x") is x and node.arg("scale") is None and node.arg("var") is stat[1] and node.need("mean") is stat[0]
    with pytest.raises(VerifyError, match="its input scale is omitted"):
        node.need("scale")
    with pytest.raises(VerifyError, match="no input 'gamma', it has x, scale, bias, mean, var"):
        node.arg("gamma")


def test_trailing_and_variadic_inputs():
    b = Builder(Graph())
    x = b.input("x", "float32", (2, 5))
    w = b.const(np.ones((3, 5)), "float32")
    assert b.linear(x, w).producer.arg("b") is None
    joined = b.concat(x, w, axis=0).producer
    assert joined.args("xs") == (x, w)
    with pytest.raises(VerifyError, match="any number of inputs"):
        joined.arg("xs")
    loose = Node("opaque", [x], [Value("y", None, None)])
    with pytest.raises(Exception, match="unknown op 'opaque'"):
        loose.arg("x")


def test_training_attribute_is_declared():
    assert declare.Attr("float", 0.9, training=True).training and not declare.Attr("float").training


# ---- nobody lists ops

FREE = ("core/ops/", "/layout.py")
"""Declarations, and the targets' layout conventions (op -> where channels are). Rule files are told by what they hold."""
FOREIGN = {
    "plugins/keras/src/convcore_keras/files/keras1.py": "merge modes of Keras 1",
    "plugins/keras/src/convcore_keras/code/names.py": "functions of TensorFlow and Keras's backend, by Keras's operations",
    "plugins/keras/src/convcore_keras/code/tensors.py": "methods of TensorFlow's tensors",
    "plugins/keras/src/convcore_keras/code/source/arrays.py": "methods of numpy's arrays",
    "plugins/keras/src/convcore_keras/code/source/calls.py": "functions of Python's math",
    "plugins/keras/src/convcore_keras/code/source/domain.py": "Python's own functions",
    "plugins/pytorch/src/convcore_pytorch/in_place.py": "functions of torch.nn.functional that can work in place",
    "/dialect.py": "the operations of sizes (Dim), as the target's operators",
    "plugins/pytorch/src/convcore_pytorch/files/script/expressions.py": "Python's own functions in TorchScript source",
    "plugins/onnx/src/convcore_onnx/schemas.py": "words of string attributes: how ScatterElements combines",
    "plugins/onnx/src/convcore_onnx/rules/rnn_activations.py": "activations in recurrent layers, by ONNX's names",
}
"""Lists of other things that share their names with ops."""
RULE_FILE = re.compile(r"^@?RULES\.(op|ops|load|emit|functions)\(", re.MULTILINE)
"""A module that states rules of a framework: an op's name there is what the rule is for."""


def _names(node):
    """The strings of a collection of constants, of a table whose values are constants, or of a text split into words."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "split":
        text = node.func.value
        return text.value.split() if isinstance(text, ast.Constant) and isinstance(text.value, str) else []
    if isinstance(node, ast.Dict):
        data = all(isinstance(x, (ast.Constant, ast.Tuple, ast.List, ast.Set)) for x in node.values)
        parts = node.keys if data else []
    else:
        parts = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else []
    return [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]


def lists_of_ops(text):
    """``(line, names)`` of every collection of three or more op names, most of which are ops."""
    found = []
    tree = ast.parse(text)
    exported = {id(a.value) for a in tree.body if isinstance(a, ast.Assign) and ast.unparse(a.targets[0]) == "__all__"}
    for node in ast.walk(tree):
        if id(node) in exported:
            continue
        names = _names(node)
        ops = [n for n in names if n in OPS]
        if len(ops) >= 3 and len(ops) >= 0.6 * len(names):
            found.append((node.lineno, ops))
    return found


def test_lists_of_ops_are_found():
    assert lists_of_ops("VIEWS = frozenset({'reshape', 'transpose', 'squeeze'})") == [(1, ["reshape", "transpose", "squeeze"])]
    assert lists_of_ops("MOVES = ('reshape tile '\n 'concat').split()")
    assert lists_of_ops("P = {'conv': (1, 2), 'linear': (1, 2), 'prelu': (1,)}")
    assert not lists_of_ops("RULES = {'conv': f, 'linear': g, 'prelu': h}")
    assert not lists_of_ops("__all__ = ['conv', 'linear', 'prelu']")
    assert not lists_of_ops("KINDS = ('sum', 'nearest', 'cubic', 'max')")


def test_nobody_lists_ops():
    """Facts about ops are traits and roles on declarations; no pass, loader or emitter keeps a list of op names."""
    found = []
    for path in sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        if not any(f in name for f in (*FREE, *FOREIGN)) and not (name.startswith("plugins/") and RULE_FILE.search(text)):
            found += [f"{name}:{line}: {' '.join(ops)}" for line, ops in lists_of_ops(text)]
    assert not found, "\n".join(found)


def test_what_is_free_has_lists():
    """No exception for what needs none."""
    for part in FOREIGN:
        paths = [p for p in ROOT.glob("plugins/*/src/**/*.py") if part in p.as_posix()]
        assert any(lists_of_ops(p.read_text(encoding="utf-8")) for p in paths), part


def _affine(reference, signature="x:float, w:float, b:float?", roles="w b", samples=None):
    infer = lambda c: [(c.dtype("x"), None)]  # noqa: E731
    samples = samples or [Sample((2, 5), (3, 5), (3,))]
    return _declared(
        signature,
        samples=samples,
        reference=reference,
        infer=infer,
        traits=Trait.AFFINE,
        roles={"parameter": roles} if roles else {},
    )


@pytest.mark.parametrize(
    "reference, why",
    [
        (lambda x, w, b=None: x @ np.abs(w).T + (0 if b is None else b), "no sum of products"),
        (lambda x, w, b=None: x @ w.T + (0 if b is None else 2 * b), "no sum of products"),
        (lambda x, w, b=None: (x @ w.T)[:, ::-1] + (0 if b is None else b), "not those of the first axis"),
    ],
)
def test_false_affine(reference, why):
    with pytest.raises(CheckFailed, match=why):
        check_op(_affine(reference))


def test_affine_ops_have_two_parameters():
    with pytest.raises(CheckFailed, match="two parameters, the second of which is b"):
        check_op(_affine(lambda x, w, c=None: x @ w.T, "x:float, w:float, c:float?", "w c"))
    assert {n for n, o in OPS.items() if Trait.AFFINE in o.traits} == {"conv", "linear"}


@pytest.mark.parametrize("name", [n for n, o in sorted(OPS.items()) if isinstance(o.axes, (Elementwise, Broadcast))])
def test_what_is_pointwise_says_so(name):
    """The other way round from check_op: an op whose axes are those of its inputs, and which passes the check on every sample."""
    decl = OPS[name]
    assert Trait.POINTWISE in decl.traits, f"{name} has the axis rule {type(decl.axes).__name__}"


@pytest.mark.parametrize("name", [n for n, o in sorted(OPS.items()) if Trait.VIEW in o.traits])
def test_what_is_its_input_says_so(name):
    """A view that gives every sample back in its shape is SAME."""
    decl = OPS[name]
    given = [s.arrays()[0] for s in decl.samples]
    results = [decl.reference(a, **decl.complete(s.attrs, [Value("x", None, a.shape)])) for a, s in zip(given, decl.samples)]
    always = all(a.shape == np.shape(r) and np.array_equal(a, r) for a, r in zip(given, results))
    assert (Trait.SAME in decl.traits) is always


@pytest.mark.parametrize("start", [0, 1])
def test_a_first_state_that_is_left_out_is_zeros(start):
    def reference(x, h0=None):
        y = np.cumsum(x, 0) + (np.float32(start) if h0 is None else h0)
        return y, y[-1]

    decl = _declared(
        "x:float, h0:float?", outputs="y, h_n", samples=[Sample((2, 3)), Sample((2, 3), (3,))], reference=reference,
        infer=lambda c: [(c.dtype("x"), c.shape("x")), (c.dtype("x"), c.shape("x")[1:])], traits=Trait.RECURRENT,
    )  # fmt: skip
    if not start:
        check_op(decl)
        return
    with pytest.raises(CheckFailed, match="left out is not zeros"):
        check_op(decl)


def _scaled(reference, axis=1, **more):
    signature, samples = "x:float, scale:float?, bias:float?", [Sample((2, 3, 5), (3,), (3,), axis=axis)]
    return _declared(signature, samples=samples, reference=reference, attrs={"axis": AxisAttr(1)}, traits=Trait.SCALED,
                     infer=lambda c: [(c.dtype("x"), c.shape("x"))], **more)  # fmt: skip


def test_scaled():
    up = lambda p: 0 if p is None else p[:, None]  # noqa: E731
    right = lambda x, scale, bias, axis: np.tanh(x) * (1 if scale is None else up(scale)) + up(bias)  # noqa: E731
    check_op(_scaled(right, roles={"parameter": "scale bias"}))
    with pytest.raises(CheckFailed, match="an optional parameter scale"):
        check_op(_scaled(right))
    for wrong in (
        lambda x, scale, bias, axis: (np.tanh(x) + up(bias)) * (1 if scale is None else up(scale)),
        lambda x, scale, bias, axis: np.tanh(x) * (1 if scale is None else up(scale) ** 2) + up(bias),
        lambda x, scale, bias, axis: np.tanh(x) * (1 if scale is None else up(scale[::-1])) + up(bias),
    ):
        with pytest.raises(CheckFailed, match="not multiplied by its scale"):
            check_op(_scaled(wrong, roles={"parameter": "scale bias"}))
