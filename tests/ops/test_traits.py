"""Traits and roles: what declarations say is checked, and nobody lists ops by name elsewhere."""

import ast
from pathlib import Path

import numpy as np
import pytest

import convcore.opset.declare as declare
from convcore.build.builder import Builder
from convcore.errors import DeclarationError, VerifyError
from convcore.ir.graph import Graph, Node, Value
from convcore.opset import Attr, OpSet, Role, Sample, Trait, all_ops, op, register, traits_of
from convcore.opset.axes import Elementwise, Opaque, Perm
from convcore.testing import CheckFailed, check_op

ROOT = Path(__file__).parents[2]
OPS = all_ops()


def test_what_traits_imply():
    assert traits_of("reshape") & (Trait.VIEW | Trait.MOVES | Trait.KEEPS_SIGN) == Trait.VIEW | Trait.MOVES | Trait.KEEPS_SIGN
    assert Trait.MOVES in traits_of("gather") and Trait.VIEW not in traits_of("gather")
    assert traits_of("opaque") is Trait.NONE
    assert traits_of("transpose").names == ("VIEW", "MOVES", "KEEPS_SIGN")


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
        (Trait.WINDOW, lambda x: x, "a window needs strides, pads, dilations, layout"),
    ],
)
def test_false_traits_are_found(traits, reference, why):
    with pytest.raises(CheckFailed, match=why):
        check_op(_declared(traits=traits, reference=reference))


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

FREE = ("core/ops/", "/rules/", "core/rewrite/", "/emit_rules/", "/layout.py", "convcore_keras/layers/", "convcore_keras/ops/")
"""Declarations, rule files (Keras's are beside its layers; the rules of composites are patterns over named ops), and the targets'
layout conventions (op -> where channels are)."""
FOREIGN = {
    "plugins/keras/src/convcore_keras/files/": "names of Keras activations and merge modes, which ops are named after",
    "plugins/keras/src/convcore_keras/code/": "functions of numpy and Keras and methods of arrays, by which code calls them",
    "/dialect.py": "the operations of sizes (Dim), as the target's operators",
    "plugins/pytorch/src/convcore_pytorch/files/script/": "Python's own functions in TorchScript source",
}
"""Lists of other things that share their names with ops."""


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
    for node in ast.walk(ast.parse(text)):
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
    assert not lists_of_ops("KINDS = ('sum', 'nearest', 'cubic', 'max')")


def test_nobody_lists_ops():
    """Facts about ops are traits and roles on declarations; no pass, loader or emitter keeps a list of op names."""
    found = []
    for path in sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if not any(f in name for f in (*FREE, *FOREIGN)):
            found += [f"{name}:{line}: {' '.join(ops)}" for line, ops in lists_of_ops(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


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
