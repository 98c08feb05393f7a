"""The one emit context: transactions, names, states, units, sizes, look-ahead; peepholes and dead calls on a plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from module_tree import RULES, TreeDialect

from convcore.build.builder import Builder
from convcore.emit.journal import Journal
from convcore.emit.legalise import expand
from convcore.emit.names import Names, identifier
from convcore.errors import ShapeError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Node
from convcore.plugin import (
    LEFT_OUT,
    Block,
    Dialect,
    NotExpressible,
    Plan,
    PlanCall,
    Ref,
    RuleSet,
    State,
    Tidy,
    Unit,
    UnsupportedError,
    flatten,
    plan,
    prune,
    tidy,
)


def start() -> tuple[Graph, Builder, Any]:
    g = Graph("net")
    b = Builder(g)
    return g, b, b.input("x", "float32", (2, 3))


def one(rule: Any, dialect: Dialect | None = None, op: str = "relu") -> Plan:
    """The plan of one node that ``rule`` writes."""
    g, b, x = start()
    g.outputs = [b.op(op, x)]
    rules = RuleSet("one")
    rules.emit(op)(rule)
    return plan(g, rules, None, dialect or TreeDialect())


# ---- the transaction
def test_a_failed_attempt_leaves_nothing() -> None:
    j, table, items = Journal(), {"a": 1}, [1]
    owner = Ref(None, 0)
    with pytest.raises(ValueError), j.attempt():
        j.put(table, "a", 2)
        j.put(table, "b", 3)
        j.append(items, 2)
        j.set(owner, "name", "n")
        with j.attempt():
            j.put(table, "a", 5)
        raise ValueError
    assert (table, items, owner.name) == ({"a": 1}, [1], "")
    with j.attempt():
        j.put(table, "a", 7)
        with pytest.raises(ValueError), j.attempt():
            j.put(table, "a", 8)
            raise ValueError
    assert table == {"a": 7}


def test_a_rule_that_gives_up_leaves_no_call_state_name_or_unit() -> None:
    g, b, x = start()
    w = b.weight(np.ones((3, 3), np.float32), "w")
    g.outputs = [b.linear(x, w)]
    rules = RuleSet("t")

    @rules.emit("linear", priority=1)
    def gives_up(e: Any, node: Node) -> None:
        e.memo("k", lambda: 1)
        e.unit("Dense", [e.value(x)], {}, [e.state(w, "T", lambda t: t.transpose((1, 0)))], outputs=node.outputs)
        e.const([1.0, 2.0])
        raise NotExpressible("no")

    @rules.emit("linear")
    def takes_over(e: Any, node: Node) -> None:
        assert e.memo("k", lambda: 2) == 2
        e.call("MatMul", [e.value(x), e.value(w)], outputs=node.outputs, name="mm")

    class Eager(TreeDialect):
        eager_names = True

    made = plan(g, rules, None, Eager())
    assert [c.type for c in made.root.calls] == ["MatMul"] and [s.name for s in made.states] == ["w"]
    assert "const" not in made.names and made.root.calls[0].name == "mm"


# ---- names
def test_names() -> None:
    n = Names(reserved=["taken"])
    n.reserve("kept")
    assert [n.fresh("a"), n.fresh("a"), n.fresh("a_1"), n.fresh("a")] == ["a", "a_1", "a_1_1", "a_2"]
    assert [n.fresh("kept"), n.own("kept"), n.own("kept"), n.fresh("taken")] == ["kept_1", "kept", "kept_2", "taken_1"]
    assert [n.fresh("a", "b"), n.fresh("", "c"), n.fresh("")] == ["b", "c", "value"]


def test_names_of_a_failed_attempt_are_free_again() -> None:
    j = Journal()
    n = Names(j)
    with pytest.raises(ValueError), j.attempt():
        n.fresh("a")
        raise ValueError
    assert n.fresh("a") == "a"


@pytest.mark.parametrize(
    ("text", "want"),
    [("conv", "conv"), ("a/b.c", "a_b_c"), ("7x7", "_7x7"), ("for", "for_"), ("", "x"), ("größe", "gr_e"), ("//", "x")],
)
def test_identifiers(text: str, want: str) -> None:
    assert identifier(text) == want and identifier(text).isidentifier()


# ---- states and units
def test_a_weight_is_one_state_and_an_equal_layer_one_unit() -> None:
    g, b, x = start()
    w = b.weight(np.ones((3, 3), np.float32), "w", trainable=True)
    g.outputs = [b.linear(b.linear(x, w), w)]
    made = plan(g, RULES, None, TreeDialect())
    first, second = made.root.calls
    assert first.target is second.target and isinstance(first.target, Unit)
    (state,) = made.states
    assert (state.value, state.trainable, state.role) == (w, True, "parameter") and state.tensor.shape == (3, 3)
    assert list(first.target.states) == ["kernel"] and first.args[0] is made.root.inputs[0]


def test_other_configuration_is_another_unit() -> None:
    def rule(e: Any, node: Node) -> None:
        (y,) = e.unit("ELU", [e.value(node.inputs[0])], {"alpha": 1.0})
        (y,) = e.unit("ELU", [y], {"alpha": 1.0})
        e.unit("ELU", [y], {"alpha": 2.0}, outputs=node.outputs)

    a, b, c = one(rule).root.calls
    assert a.target is b.target and a.target is not c.target and c.config == {"alpha": 2.0}


def test_numbers_that_print_differently_are_different_configurations() -> None:
    def rule(e: Any, node: Node) -> None:
        (y,) = e.unit("Scale", [e.value(node.inputs[0])], {"by": 0.0})
        (y,) = e.unit("Scale", [y], {"by": -0.0})
        (y,) = e.unit("Scale", [y], {"by": False})
        e.unit("Scale", [y], {"by": 0}, outputs=node.outputs)

    assert len({c.target for c in one(rule).root.calls}) == 4


def test_small_equal_constants_are_held_once() -> None:
    def rule(e: Any, node: Node) -> None:
        a, b, c = e.const([1.0, 2.0]), e.const([1.0, 2.0]), e.const([1, 2])
        assert a is b and a is not c and (a.dtype, c.dtype) == ("float32", "int64")
        e.call("f", [e.value(node.inputs[0]), a, b, c], outputs=node.outputs)

    assert len(one(rule).states) == 2


def test_literals_and_held_constants_are_the_dialects() -> None:
    class Literals(TreeDialect):
        def literal(self, value: Any, dtype: Any) -> Any:
            return value if isinstance(value, float) else None

        def hold(self, s: Any, state: State, value: Any, name: str) -> Any:
            return s.unit("Constant", (), {}, [state], name=name)[0]

    def rule(e: Any, node: Node) -> None:
        e.call("f", [e.value(node.inputs[0]), e.const(0.5), e.const([1.0])], outputs=node.outputs)

    held, call = one(rule, Literals()).root.calls
    assert held.type == "Constant" and call.args[1] == 0.5 and call.args[2] is held.results[0]


def test_dtypes_the_target_does_not_compute_with() -> None:
    class Floats(TreeDialect):
        dtypes = frozenset([convcore_dtype("float32")])

    g = Graph("net")
    b = Builder(g)
    g.outputs = [b.relu(b.input("x", "float64", (2, 3)))]
    with pytest.raises(Exception, match="Tree computes in float32, 'x' is float64"):
        plan(g, RULES, None, Floats())


def moved(rule: Any, dtype: str) -> int | str:
    """How many calls a rule for relu makes of such a tensor in a target that computes in float32, or why none."""

    class Floats(TreeDialect):
        dtypes = frozenset([convcore_dtype("float32")])

    g = Graph("net")
    b = Builder(g)
    g.outputs = [b.relu(b.input("x", dtype, (2, 3)))]
    rules = RuleSet("one")
    rules.emit("relu")(rule)
    try:
        return len(plan(g, rules, None, Floats()).root.calls)
    except UnsupportedError as e:
        return str(e)


@pytest.mark.parametrize("way", ["value", "call", "unit"])
def test_what_does_not_say_that_it_only_moves_computes(way: str) -> None:
    def rule(e: Any, node: Node, said: dict[str, bool]) -> None:
        x = e.value(node.inputs[0], **(said if way == "value" else {"carry": True}))
        getattr(e, "unit" if way == "unit" else "call")(
            "relu", [x], outputs=node.outputs, **({"carry": True} if way == "value" else said)
        )

    told: list[dict[str, bool]] = [{}, {"carry": False}, {"carry": True}]
    left, no, yes = (moved(lambda e, node, said=said: rule(e, node, said), "float64") for said in told)
    assert left == no and "Tree computes in float32" in str(no) and yes == 1
    assert all(moved(lambda e, node, said=said: rule(e, node, said), "float32") == 1 for said in told)


@pytest.mark.parametrize("way", ["call", "unit"])
def test_a_call_has_one_result_unless_it_says_more(way: str) -> None:
    def rule(e: Any, node: Node) -> None:
        make = getattr(e, way)
        counts.extend((len(make("a", [])), len(make("b", [], n_outputs=3))))
        make("relu", [e.value(node.inputs[0])], outputs=node.outputs)

    counts: list[int] = []
    one(rule)
    assert counts == [1, 3]


def convcore_dtype(name: str) -> Any:
    from convcore.ir.dtypes import DType

    return DType(name)


# ---- results
def test_results_that_hold_no_value_and_such_that_are_left_out() -> None:
    def rule(e: Any, node: Node) -> None:
        a, b, c = e.call("f", [e.value(node.inputs[0])], outputs=[LEFT_OUT, None, node.outputs[0]], shapes=[(7,)])
        assert (a.left_out, b.left_out, c.value) == (True, False, node.outputs[0])
        assert (a.shape, b.shape, c.shape) == ((7,), None, (2, 3))

    one(rule)


def test_what_an_earlier_call_gives_is_not_written_again() -> None:
    g, b, x = start()
    y = b.relu(x)
    g.outputs = [b.exp(y)]
    rules = RuleSet("t")

    @rules.emit("relu")
    def both(e: Any, node: Node) -> None:
        end = node.outputs[0].users[0].outputs[0]
        e.call("ReluExp", [e.value(x)], outputs=[end])
        e.given(node.outputs[0], end)

    @rules.emit("exp")
    def exp(e: Any, node: Node) -> None:
        e.call("Exp", [e.value(node.inputs[0])], outputs=node.outputs)

    made = plan(g, rules, None, TreeDialect())
    assert [c.type for c in made.root.calls] == ["ReluExp"] and made.root.outputs == list(made.root.calls[0].results)


# ---- sizes
class Sized(TreeDialect):
    def size_of(self, s: Any, x: Any, axis: int, name: str) -> Any:
        return s.call("size", [x], {"axis": axis}, name=name)[0]

    def size_op(self, s: Any, op: str, a: Any, b: Any) -> Any:
        return s.call(op, [a, b])[0]


def test_sizes_as_data() -> None:
    n, m = Dim("n"), Dim("m")
    g = Graph("net")
    b = Builder(g)
    g.outputs = [b.relu(b.input("x", "float32", (n, m)))]
    rules = RuleSet("t")

    @rules.emit("relu")
    def relu(e: Any, node: Node) -> None:
        whole = e.sizes([2, 3])
        parts = e.sizes([n * m, (n + 1) // 2, n])
        assert parts[2] is e.size(n), "once"
        e.call("f", [whole, *parts], outputs=node.outputs)
        with pytest.raises(NotExpressible, match=r"\(2, \?\) is unknown"):
            e.sizes([2, None])
        with pytest.raises(NotExpressible, match="'k' is not the size of any input"):
            e.size(Dim("k"))

    made = plan(g, rules, None, Sized())
    types = [c.type for c in made.root.calls]
    assert types.count("size") == 2 and types.count("mod") == 1 and types.count("div") == 1 and types[-1] == "f"
    g.outputs = [b.relu(g.inputs[0])]
    with pytest.raises(Exception, match="Tree has no sizes as data"):
        plan(g, rules, None, TreeDialect())


def test_sizes_of_what_only_failed_attempts_or_stand_ins_have() -> None:
    """A size is read from a value that is there: not from one undone since, and not from one written within another."""
    n = Dim("n")
    g = Graph("net")
    b = Builder(g)
    x = b.input("x", "float32", (2, 3))
    y = b.relu(x)
    z = b.exp(y)
    y.shape = z.shape = (n, 3)
    g.outputs = [b.tanh(z)]
    rules = RuleSet("t")

    @rules.emit("relu")
    def both(e: Any, node: Node) -> None:
        with pytest.raises(NotExpressible, match="gives up"), e.attempt():
            e.call("Relu", [e.value(x)], outputs=[y])
            e.size(n)
            raise NotExpressible("gives up")
        with pytest.raises(NotExpressible, match="'n' is not the size of any input"):
            e.size(n)
        e.call("ReluExp", [e.value(x)], outputs=[z])
        e.given(y, z)

    @rules.emit("exp")
    @rules.emit("tanh")
    def whole(e: Any, node: Node) -> None:
        e.call(node.op, [e.value(node.inputs[0]), e.size(n)], outputs=node.outputs)

    made = plan(g, rules, None, Sized())
    (size,) = [c for c in made.root.calls if c.type == "size"]
    assert size.args[0].call.type == "ReluExp"


# ---- tidying
def test_what_regions_read_is_read() -> None:
    g, b, x = start()
    y = b.relu(x)
    g.outputs = [b.exp(x), y]
    made = plan(g, RULES, None, TreeDialect())
    made.root.outputs.pop()
    outer, end = made.root.calls
    inner = PlanCall("neg", (outer.results[0],), {}, ())
    inner.results = (Ref(inner),)
    end.kwargs = {"body": Block("body", calls=[inner], outputs=list(inner.results))}
    assert made.reads()[outer.results[0]] == 1
    prune(made)
    assert [c.type for c in made.root.calls] == ["relu", "exp"]
    end.kwargs["body"].outputs, end.kwargs["body"].calls = [outer.results[0]], []
    assert made.reads()[outer.results[0]] == 1
    end.kwargs = {}
    prune(made)
    assert [c.type for c in made.root.calls] == ["exp"]


def test_peepholes_and_dead_calls() -> None:
    g, b, x = start()
    dead, y = b.exp(x), b.relu(b.relu(b.relu(x)))
    g.outputs = [b.add(y, x), dead]
    made = plan(g, RULES, None, TreeDialect())
    made.root.outputs.pop()

    def twice(t: Tidy, call: PlanCall) -> bool:
        before = t.only(call.args[0], "relu")
        if before is None:
            return False
        t.absorb(call, before)
        return True

    tidy(made, {"relu": twice})
    assert [c.type for c in made.root.calls] == ["exp", "relu", "add"]
    assert made.root.calls[1].args == (made.root.inputs[0],)
    prune(made)
    assert [c.type for c in made.root.calls] == ["relu", "add"]


def test_a_result_read_twice_is_not_merged() -> None:
    g, b, x = start()
    y = b.relu(x)
    g.outputs = [b.relu(y), y]
    made = plan(g, RULES, None, TreeDialect())
    assert Tidy(made).only(made.root.calls[1].args[0], "relu") is None
    made.root.outputs.pop()
    assert Tidy(made).only(made.root.calls[1].args[0], "relu") is made.root.calls[0]


def test_a_call_becomes_another_layer() -> None:
    g, b, x = start()
    g.outputs = [b.relu(x)]
    (call,) = plan(g, RULES, None, TreeDialect()).root.calls
    state = State(b.const(1.0).tensor)
    call.become("Scale", {"axis": 1}, [state])
    assert (call.type, call.config, call.states) == ("Scale", {"axis": 1}, (state,)) and isinstance(call.target, Unit)
    call.become("Power", {"power": 2.0})
    assert (call.target, call.config, call.states) == ("Power", {"power": 2.0}, ())


def test_a_tensor_handed_over_twice_is_one_state_of_one_unit():
    """Weights a rule makes itself (no weight of the graph) stay shared between the calls of a layer; an equal tensor does not."""
    from convcore.ir.tensors import as_tensor

    shared, other = as_tensor(np.ones((3, 5), "f4")), as_tensor(np.ones((3, 5), "f4"))

    def rule(e: Any, node: Node) -> None:
        (y,) = e.unit("L", (e.value(node.inputs[0]),), {}, {"w": shared})
        (z,) = e.unit("L", (y,), {}, {"w": shared})
        e.unit("L", (z,), {}, {"w": other}, outputs=node.outputs)

    made = one(rule)
    first, second, third = (c.target for c in made.root.calls)
    assert first is second and first is not third
    assert [s.tensor for s in made.states] == [shared, other]


@pytest.mark.parametrize(
    ("config", "why"),
    [({"body": Block("body")}, "a region of control flow, body"), ({"at": [Ref(None)]}, "a value of the model in its")],
)
def test_a_list_of_layers_has_no_place_for_regions_and_values_in_configurations(config: dict[str, Any], why: str) -> None:
    g, b, x = start()
    g.outputs = [b.relu(x)]
    made = plan(g, RULES, None, TreeDialect())
    assert [layer.type for layer in flatten(made).layers] == ["relu"]
    made.root.calls[0].kwargs.update(config)
    with pytest.raises(UnsupportedError, match="a list of layers has no place") as e:
        flatten(made)
    assert why in e.value.problems[0].why


def test_a_list_of_layers_has_no_place_for_blocks_and_numbers_as_arguments() -> None:
    g, b, x = start()
    g.outputs = [b.relu(x)]
    for change, why in (("args", "an argument 7"), ("target", "a block of its own")):
        made = plan(g, RULES, None, TreeDialect())
        call = made.root.calls[0]
        setattr(call, change, (7,) if change == "args" else Block("body"))
        with pytest.raises(UnsupportedError, match="a list of layers has no place") as e:
            flatten(made)
        assert why in e.value.problems[0].why


def rejected(rule: Any, dialect: Dialect | None = None) -> str:
    """Why the one node that ``rule`` writes cannot be written."""
    with pytest.raises(UnsupportedError) as e:
        one(rule, dialect)
    return e.value.problems[0].why


def test_what_rules_ask_for_in_vain() -> None:
    _, b, x = start()
    stranger = b.exp(x)
    assert "has not been emitted" in rejected(lambda e, node: e.value(stranger))
    assert "'x' is not a constant" in rejected(lambda e, node: e.state(x))
    for value, dtype in ((300, "uint8"), (1.5, "int32"), (float("nan"), "int64")):
        assert f"the constant {value} is no {dtype}" in rejected(lambda e, node, v=value, d=dtype: e.const(v, d))
    assert "its input is missing" in rejected(lambda e, node: (node.set_input(0, None), e.pass_on(node, "noise")))


def test_a_target_without_sizes_as_data_and_an_op_without_a_body() -> None:
    class Plain(Dialect):
        title = "Plain"

    g = Graph("net")
    b = Builder(g)
    g.outputs = [b.relu(b.input("x", "float32", (Dim("N"), 3)))]
    rules = RuleSet("t")
    rules.emit("relu")(lambda e, node: e.size(Dim("N")))
    with pytest.raises(UnsupportedError, match="Plain has no sizes as data"):
        plan(g, rules, None, Plain())
    with pytest.raises(ShapeError, match="op relu has no body"):
        expand(g, g.nodes[0])
