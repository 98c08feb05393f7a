"""The whole file: docstring, names, classes, and how weights are loaded."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from convcore.plugin import (
    Block,
    DType,
    Graph,
    Names,
    Plan,
    Problem,
    State,
    Unit,
    UnsupportedError,
    Value,
    about,
    as_tensor,
    identifier,
    shape_text,
)

from ..dialect import TorchDialect
from ..functions import helpers_of, imports_of
from ..inside import Inside, values_inside
from ..types import HELD, SAFETENSORS, TORCH_TYPES
from .classes import BUFFERS, Classes, Template, is_sequence
from .forward import TAKEN, annotation
from .members import attribute, is_parameter, is_plain
from .text import WIDTH, Bracket, Doc, lay, literal, quoted, tuple_doc

__all__ = ["Code", "print_module"]


@dataclass
class Code:
    """A module as text, the name of its class, and its state_dict in order: dtype, shape and tensor by key. ``tied`` are keys
    that are another key's tensor, ``unsaved`` those of buffers that the source's state_dict does not have, ``inside`` what its
    layers give, ``results`` the types of what it returns."""

    text: str
    class_name: str
    states: dict[str, State] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    unsaved: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    source_names: dict[str, str] = field(default_factory=dict)
    inside: Inside = field(default_factory=dict)
    results: tuple[DType | None, ...] = ()


def print_module(
    plan: Plan, graph: Graph, dialect: TorchDialect, class_name: str, weights: str,
    moved: Mapping[str, Sequence[int]] | None = None,
) -> Code:  # fmt: skip
    """The code of a plan whose scopes are blocks; ``weights`` is the name of the file beside it, ``moved`` says
    which inputs and outputs lie otherwise than in the source."""
    source_names = _members(plan.root, dialect)
    if graph.metadata.get("keys"):
        _ordered(plan.root, "", {k: i for i, k in reversed(list(enumerate(graph.metadata["keys"])))}, set())
    inputs = _inputs([v.name for v in graph.inputs])
    states, tied = _states(plan, graph.metadata.get("counts") or {})
    keys = frozenset(graph.metadata.get("keys") or states)
    beside = {id(m) for block in blocks_of(plan.root) for m in block.members.values() if isinstance(m, State)}
    unsaved = {k: s for k, s in states.items() if k not in keys and id(s) in beside and not is_parameter(s)}
    classes = Classes(plan, dialect, inputs, class_name, frozenset(map(id, unsaved.values())))
    body: list[str] = []
    for t in classes.templates:
        root = plan.root in t.blocks
        body += ["", "", *_class(classes, t, root, states, tied, bool(unsaved))]
    used = "\n".join(body)
    dtypes = dict.fromkeys(s.dtype for s in states.values())
    head = [f'"""{class_name}, converted by convcore{_from(graph)}.', ""]
    for v, name in zip(graph.inputs, inputs):
        said = "" if name == v.name else f" ({v.name})"
        head += _wrapped(f"Input {name}{said}: {_type(v)} {shape_text(v.shape)}{_order(v, moved)}.")
    for v in graph.outputs:
        head += _wrapped(f"Output {v.name}: {_type(v)} {shape_text(v.shape)}{_order(v, moved)}.")
    helpers = helpers_of(used)
    head += ['"""', "", *imports_of("\n".join((*helpers, used))), ""]
    head += lay(f"WEIGHTS = Path(__file__).with_name({quoted(weights)})", 0)
    head += lay(_dict({_tag(d): f"torch.{_torch(d)}" for d in dtypes}), 0, "DTYPES = ")
    if source_names:
        head += ["# What attributes are called in the source, where Python does not allow it.",
                 *lay(_dict({k: quoted(v) for k, v in source_names.items()}), 0, "SOURCE_NAMES = ")]  # fmt: skip
    if tied:
        head += [
            "# Parameters that are one: each is the other.",
            *lay(_dict({k: quoted(v) for k, v in tied.items()}), 0, "TIED = "),
        ]
    if unsaved:
        head += ["# Buffers that are in the file of weights, but not in the state_dict.",
                 *lay(tuple_doc([quoted(k) for k in unsaved]), 0, "UNSAVED = ")]  # fmt: skip
    head += _told(graph)
    tail = ["", "", f"def load(weights: str | Path = WEIGHTS) -> {class_name}:",
            f'    """A {class_name} with its weights, in evaluation mode."""',
            f"    return {class_name}.from_pretrained(weights)"]  # fmt: skip
    given = [line for source in helpers for line in ("", "", *source.splitlines())]
    text = "\n".join([*head, *given, *body, *tail]) + "\n"
    return Code(text, class_name, states, tied, tuple(unsaved), tuple(inputs), source_names, values_inside(plan.root),
                tuple(v.dtype for v in graph.outputs))  # fmt: skip


def _told(graph: Graph) -> list[str]:
    """Labels and preprocessing as constants of the module."""
    said, out = about(graph.metadata), []
    if labels := said.get("labels"):
        out += ["# Names of the classes, by number.", *lay(tuple_doc([quoted(x) for x in labels]), 0, "LABELS = ")]
    if steps := said.get("preprocessing"):
        out += ["# How inputs are made, as the source says; nothing of it is applied unless it says so.",
                *lay(_plain(steps), 0, "PREPROCESSING = ")]  # fmt: skip
    return out


def _type(v: Value) -> str:
    """The element type, and what tensors are of where torch has no such ones."""
    return f"{v.dtype} as {HELD[v.dtype]}" if v.dtype in HELD else str(v.dtype)


def _plain(x: object) -> Doc:
    """Plain data as Python writes it."""
    if isinstance(x, Mapping):
        items = [_keyed(quoted(str(k)), _plain(v)) for k, v in x.items()]
        return Bracket("", items, "{", "}", display=True) if items else "{}"
    if isinstance(x, (list, tuple)):
        return Bracket("", [_plain(v) for v in x], "[", "]", display=True) if x else "[]"
    return literal(x) if x is None or isinstance(x, (bool, int, float, str)) else quoted(str(x))


def _keyed(key: str, value: Doc) -> Doc:
    return f"{key}: {value}" if isinstance(value, str) else replace(value, head=f"{key}: {value.head}")


def blocks_of(block: Block) -> Iterator[Block]:
    """A block and all those in it."""
    yield block
    for m in block.members.values():
        if isinstance(m, Block):
            yield from blocks_of(m)


def _order(v: Value, moved: Mapping[str, Sequence[int]] | None) -> str:
    """How the axes lie, where they lie otherwise than in the source."""
    perm = (moved or {}).get(v.name)
    if perm is None:
        return ""
    letters = {3: "NWC", 4: "NHWC", 5: "NDHWC"}.get(len(perm), "")
    here = "".join(letters[p] for p in perm) if letters else f"axes {list(perm)} of the source's"
    return f", {here} ({letters} in the source)" if letters else f", {here}"


def _class(
    classes: Classes, t: Template, root: bool, states: dict[str, State], tied: dict[str, str], unsaved: bool
) -> list[str]:  # fmt: skip
    f = t.forward
    assert f is not None
    out = [f"class {t.name}(nn.Module):"]
    init = classes.lines(t)
    if root and classes.all_frozen:
        init.append("        self.requires_grad_(False)")
    if root and tied:
        init.append("        self.tie_weights()")
    if t.blocks[0].members or root:
        out += [*init, ""]
    kinds = [annotation(a) for a in f.block.outputs]
    returned = kinds[0] if len(kinds) == 1 else f"tuple[{', '.join(kinds)}]"
    given = [f"{n}: {annotation(a)}" for n, a in zip(f.inputs, f.block.inputs)]
    head = lay(Bracket("def forward", ["self", *given]), 4, "", f" -> {returned}:")
    if len(head[-1]) > WIDTH:
        head[-1:] = lay(Bracket(") -> tuple", list(kinds), "[", "]"), 4, "", ":")
    out += head
    out += f.lines
    if not root:
        return out
    if tied:
        out += ["", "    def tie_weights(self) -> None:", '        """Let parameters that are one in the source be one."""']
        out += _ties(tied, states)
    out += [
        "",
        "    @classmethod",
        f"    def from_pretrained(cls, weights: str | Path = WEIGHTS) -> {t.name}:",
        '        """The model with weights from a .safetensors file, in evaluation mode."""',
        '        with torch.device("meta"):',
        "            model = cls()",
        "        state = read_safetensors(weights)",
    ]
    if tied:
        out.append("        state.update((name, state[first]) for name, first in TIED.items())")
    if unsaved:
        out.append("        unsaved = {name: state.pop(name) for name in UNSAVED}")
    out.append("        model.load_state_dict(state, assign=True)")
    if unsaved:
        out.append("        set_buffers(model, unsaved)")
    if tied:
        out.append("        model.tie_weights()")
    out.append("        return model.eval()")
    return out


def _ties(tied: Mapping[str, str], states: Mapping[str, State]) -> list[str]:
    """Statements that tie parameters: one each, a loop where one would not fit into a line."""
    lines = []
    for other, first in tied.items():
        owner, _, last = other.rpartition(".")
        value = attribute(first, states[first])
        if not is_plain(last):
            at = attribute(owner) if owner else "self"
            lines.append(f"        {at}.register_parameter({quoted(last)}, {value})")
        else:
            lines.append(f"        {attribute(other)} = {value}")
    if all(len(line) <= WIDTH for line in lines):
        return lines
    return [
        "        for other, first in TIED.items():",
        '            owner, _, last = first.rpartition(".")',
        "            tensor = getattr(self.get_submodule(owner), last)",
        '            owner, _, last = other.rpartition(".")',
        "            setattr(self.get_submodule(owner), last, tensor)",
    ]


def _states(plan: Plan, counts: Mapping[str, int]) -> tuple[dict[str, State], dict[str, str]]:
    """The state_dict, and keys that hold what an earlier one of their kind, parameter or buffer, holds. ``counts`` of batches are
    known of sources in PyTorch."""
    states: dict[str, State] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[int, bool], str] = {}
    counted: set[str] = set()
    buffers: set[str] = set()

    def enter(block: Block, prefix: str) -> None:
        for name, m in block.members.items():
            if isinstance(m, Unit) and m.type.startswith("torch.nn.BatchNorm"):
                counted.add(f"{prefix}{name}.")
                buffers.update(f"{prefix}{name}.{k}" for k in BUFFERS)
            elif isinstance(m, State) and not is_parameter(m):
                buffers.add(f"{prefix}{name}")
            if isinstance(m, Block):
                enter(m, f"{prefix}{name}.")

    enter(plan.root, "")
    for key, s in plan.paths().items():
        same = first.setdefault((id(s), key in buffers), key)
        if same == key:
            states[key] = s
        else:
            tied[key] = same
        owner = key.rpartition(".")[0] + "."
        if owner in counted and key.endswith(".running_var"):
            count = f"{owner}num_batches_tracked"
            states[count] = State(as_tensor(counts.get(count, 0), DType.INT64), None, "", "buffer")
    return states, tied


def _members(root: Block, dialect: TorchDialect) -> dict[str, str]:
    """Give members names that Python has; returns what those that changed are called in the source."""
    found: dict[str, set[str]] = {}
    seen: set[Block] = set()

    def enter(block: Block) -> None:
        if block in seen:
            return
        seen.add(block)
        if block is root or not is_sequence(block):
            taken = Names(reserved=[n for n in block.members if not n.isdigit()])
            kept = dialect.of_torch  # keys of the source's own state_dict
            block.members = {(taken.fresh(f"_{n}") if n.isdigit() and not kept else n): m for n, m in block.members.items()}
        for name, m in block.members.items():
            if not isinstance(m, State):
                inside = [s.name for s in m.path[len(block.path) :]]
                if inside and name not in ("/".join(inside), "_".join(inside), ".".join(inside)):
                    found.setdefault(name, set()).add("/".join(inside))
            if isinstance(m, Block):
                enter(m)

    enter(root)
    return {name: names.pop() for name, names in found.items() if len(names) == 1}


def _ordered(block: Block, prefix: str, place: Mapping[str, int], seen: set[int]) -> None:
    """Members in the order the source defines them; those without weights stay behind the ones they follow."""
    if id(block) in seen:
        return
    seen.add(id(block))
    rank: dict[str, tuple[int, int]] = {}
    last = -1
    for i, (name, m) in enumerate(block.members.items()):
        path = f"{prefix}{name}"
        last = min((n for k, n in place.items() if k == path or k.startswith(f"{path}.")), default=last)
        rank[name] = (last, i)
        if isinstance(m, Block):
            _ordered(m, f"{path}.", place, seen)
    if not is_sequence(block):
        block.members = {name: block.members[name] for name in sorted(rank, key=lambda n: rank[n])}


def _inputs(names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return ["x"]
    taken = Names(reserved=TAKEN)
    return [taken.fresh(identifier(n, "x")) for n in names]


def _from(graph: Graph) -> str:
    m = graph.metadata
    source = str(m.get("framework") or "")
    return f" from {' '.join(filter(None, (source, str(m.get('version') or ''))))}" if source else ""


def _wrapped(text: str) -> list[str]:
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\\", "\\\\"))
    text = "".join(shown).replace('"""', "'''")
    return textwrap.wrap(text, 86, subsequent_indent="    ", break_long_words=False) or [""]


def _dict(items: dict[str, str]) -> Doc:
    """A dict of texts to expressions."""
    inner: list[Doc] = [f"{quoted(k)}: {v}" for k, v in items.items()]
    return Bracket("", inner, "{", "}", display=True) if inner else "{}"


def _tag(dtype: DType | None) -> str:
    if dtype not in SAFETENSORS:
        why = f"is {dtype}, which .safetensors files have no tag for"
        raise UnsupportedError(Problem("weights", "tensor", why, "write .pth", "unsupported_dtype"))
    return SAFETENSORS[dtype]


def _torch(dtype: DType | None) -> str:
    assert dtype is not None
    return TORCH_TYPES[dtype]
