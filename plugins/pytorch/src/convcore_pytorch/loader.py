"""A program in IR: inputs, weights, names and scopes. The nodes of one graph are read by :class:`.frame.Frame`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convcore.plugin import (
    BUFFER,
    CONSTANT,
    PARAMETER,
    Dim,
    DType,
    Graph,
    InputShapes,
    LoadRequest,
    Problem,
    Scope,
    Tensor,
    UnsupportedError,
    UsageError,
    Value,
    ask,
    ask_option,
    take_about,
    take_text,
)

from .arguments import used
from .context import dtype_of
from .files.program import Input, Output, Program, TensorValue, refs
from .files.program import Scope as ModuleUse
from .frame import Frame
from .memory import Handle, Memory
from .recorded import believable
from .scalars import NUMBERS
from .sizes import Symbols

__all__ = ["Loader"]


class Loader:
    """One program being read. ``facts`` are what a live source knows beside the program: ``names`` of symbols, ``notes``."""

    def __init__(self, program: Program, request: LoadRequest, facts: Mapping[str, Any] | None = None) -> None:
        program = believable(program)
        self.program, self.request, self.facts = program, request, dict(facts or {})
        self.notes: list[str] = list(self.facts.get("notes", ()))
        self.given = InputShapes({} if "names" in self.facts else request.input_shapes)  # a live source has used them up
        self.symbols = Symbols(program, self.given, self.facts.get("names"))
        self.script = program.container == "torchscript"
        self.training = bool(request.options.get("training"))
        self._scopes: dict[tuple[Scope, str, int], Scope] = {}
        self._tied: dict[Any, list[str]] = {}
        self._weights: dict[Any, Handle] = {}
        self._read, self._unsaved = set[str](), set[str]()
        """Names of weights that were made because something uses them."""
        self.states: dict[str, Value] = {}
        """Inputs that are attributes which the program sets, by path."""

    def run(self) -> Graph:
        """The whole graph."""
        p = self.program
        if p.versions.get("training") is True and not self.training:
            raise UsageError(
                "the module is in training mode; call module.eval() before it is saved, or say "
                f"{ask_option('training', True)} to convert it as it would behave after eval()"
            )
        graph = Graph(str(self.facts.get("name", "")))
        frame = Frame(self, graph, p.graph)
        self._tie()
        read = self._read_names()
        for i in p.inputs:
            if i.kind != "attribute" or i.name in read:
                self._input(frame, i)
        self.given.refuse_unused(v.name for v in graph.inputs)
        frame.nodes()
        self._outputs(frame)
        frame.finish()
        graph.metadata.update(framework="pytorch", kind=p.container, version=self._version(), notes=self.notes)
        take_text(graph.metadata, p.about)
        if "about" in self.facts:
            take_about(graph.metadata, self.facts["about"]([v.name for v in graph.inputs if v.shape and len(v.shape) == 4]))
        counts = {k: int(t.numpy()) for k, t in p.weights.items() if k.endswith(".num_batches_tracked") and t.size == 1}
        if any(counts.values()):
            graph.metadata["counts"] = counts  # of batches: what an average of all of them goes on from
        keys = self.facts.get("keys") or list(p.weights)  # files: parameters in order of definition, then buffers
        graph.metadata["keys"] = keys
        if self._unsaved:
            graph.metadata["unsaved"] = sorted(self._unsaved)
        self._unread(graph, keys)
        return graph

    def _version(self) -> str:
        v = self.program.versions
        return ", ".join(
            f"{k} {'.'.join(map(str, x)) if isinstance(x, tuple) else x}"
            for k, x in v.items()
            if k in ("torch", "schema", "archive") and x
        )

    # ---- inputs
    def _input(self, frame: Frame, i: Input) -> None:
        if i.kind == "user" and i.name:
            told = frame.known(i.name)
            if not isinstance(told, TensorValue) and not (self.script and told is None):
                hint = f"fix it: {ask_option('fixed', f'{i.name}=...')}" if self.script else "fix it to a value"
                why = "is a number; only tensors can be inputs"
                raise UnsupportedError(Problem(i.name, "input", why, hint, "unsupported_input"))
            shape = self.symbols.shapes.get(i.name)
            if shape is None and self.script:
                raise UsageError(
                    f"a TorchScript file does not say the shapes of its inputs; give that of {i.name!r}: "
                    + ask(f"--input-shape {i.name}:batch,3,224,224", f"input_shapes={{{i.name!r}: ('batch', 3, 224, 224)}}")
                )
            dtype = dtype_of(told.dtype) if isinstance(told, TensorValue) else self._input_type(i.name)
            v = frame.graph.add_input(i.name, dtype, shape)
            frame.driver.named.add(v)
            frame.bind(i.name, Handle(Memory(v, "input", i.name)))
        elif i.kind in ("parameter", "buffer", "constant"):
            frame.defer(i.name, i)
        elif i.kind == "attribute":
            self._state(frame, i)
        elif i.kind == "object":
            raise UnsupportedError(Problem(i.target, "object", "is a custom object", "", "unsupported_input"))
        elif i.kind == "literal" and i.name:
            frame.bind(i.name, i.value)

    def _state(self, frame: Frame, i: Input) -> None:
        """An attribute that the model sets between calls: an input here, and its next value an output."""
        told = frame.known(i.name)
        if isinstance(told, TensorValue):
            dtype, shape = dtype_of(told.dtype), self.symbols.shapes.get(i.name)
        else:
            kind = told.kind if told is not None else "text"
            if kind not in NUMBERS:
                why = "is a text that the model sets between calls"
                raise UnsupportedError(
                    Problem(i.target, "attribute", why, f"fix it: {ask_option('fixed', f'{i.target}=...')}", "stateful")
                )
            dtype, shape = NUMBERS[kind], ()
        v = frame.graph.add_input(i.target, dtype, shape)
        frame.driver.named.add(v)
        frame.bind(i.name, Handle(Memory(v, "input", i.target)))
        self.states[i.target] = v

    def _read_names(self) -> set[str]:
        """Names that nodes or results use; the next value of an attribute counts where it is that of another one."""
        p = self.program
        found = {name for n in p.graph.nodes for name in used(n)}
        own = {i.target: i.name for i in p.inputs if i.kind == "attribute"}
        for o in p.outputs:
            found |= {r.name for r in refs(o.value) if o.kind != "attribute_mutation" or r.name != own.get(o.target)}
        return found

    def _next(self, frame: Frame, o: Output) -> Problem | None:
        """The value of an attribute after a call, as an output beside its input, or why it is none; nothing where nobody reads
        it."""
        value = frame.resolve(o.value)
        state = self.states.get(o.target)
        if state is None:
            first = next((i for i in self.program.inputs if i.kind == "attribute" and i.target == o.target), None)
            if first is not None:
                self.notes.append(f"the model keeps {o.target!r} for others to read, and never reads it; it is left out")
                return None
            fixed = next((i.value for i in self.program.inputs if i.kind == "literal" and i.target == o.target), None)
            if type(value) is type(fixed) and value == fixed:
                return None
            shown = "a value that depends on the data" if isinstance(value, Handle) else repr(value)[:60]
            why = f"is fixed to {fixed!r}, and the model sets it to {shown}"
            return Problem(o.target, "attribute", why, "fix it to what it is from the second call on", "stateful")
        v = value.read() if isinstance(value, Handle) else frame.g.scalar(value, state.dtype)
        if (v.dtype, v.shape) != (state.dtype, state.shape):
            why = f"is {_type(state)} before a call and {_type(v)} after it"
            keeps = ",".join(map(str, v.shape or ("...",)))
            given = ask(f"--input-shape {o.target}:{keeps}", f"input_shapes={{{o.target!r}: ({keeps})}}")
            hint = f"give the shape it keeps: {given}"
            return Problem(o.target, "attribute", why, hint, "stateful")
        graph, name = frame.graph, f"{o.target}_next"
        if not frame.driver.fresh(v) or v in graph.outputs:
            with frame.b.within(graph.root):
                v = frame.driver.own(v) if v not in graph.outputs and not v.is_weight else frame.b.identity(v)
        frame.driver.name(v, name)
        graph.outputs.append(v)
        self.notes.append(f"the model keeps {o.target!r} between calls: it is input {o.target!r} and output {name!r}")
        return None

    def _input_type(self, name: str) -> DType:
        text = str(self.request.options.get("input_dtypes") or "")
        table = dict(part.rpartition(":")[::2] for part in text.split(",") if part)
        return DType.of(table.get(name) or table.get("") or "float32")

    # ---- weights
    def _tie(self) -> None:
        for name, t in self._stored():
            self._tied.setdefault(identity(t), []).append(name)

    def _stored(self) -> Iterator[tuple[str, Tensor]]:
        for name, t in self.program.weights.items():
            yield name, t
        for name, t in self.program.constants.items():
            if isinstance(t, Tensor):
                yield name, t

    def weight(self, frame: Frame, i: Input, user: str) -> Handle:
        """A parameter, buffer or constant, made when it is first used; tied ones are one value.

        ``user`` is the path of the module that uses it: of several names it gets the one in that module.
        """
        p = self.program
        stored = p.constants if i.kind == "constant" or not i.persistent else p.weights
        t = stored.get(i.target)
        t = p.weights.get(i.target, p.constants.get(i.target)) if t is None else t
        if not isinstance(t, Tensor):
            raise UnsupportedError(Problem(i.target, i.kind, "has no values in the program", "", "missing_weight"))
        key = (frame, identity(t))
        if key not in self._weights:
            names = self._tied.get(identity(t), [i.target])
            near = (n for n in names if n.startswith(f"{user}."))
            name = next((n for n in names if n.rpartition(".")[0] == user), None) or next(near, i.target)
            role = {"parameter": PARAMETER, "buffer": BUFFER}.get(i.kind, CONSTANT)
            trainable = role == PARAMETER and getattr(t, "requires_grad", None) is not False
            v = frame.graph.add_weight(name, t, trainable=trainable, source=name, role=role)
            self._weights[key] = Handle(Memory(v, i.kind, name))
            (self._read if i.persistent else self._unsaved).add(name)
        return self._weights[key]

    def _unread(self, graph: Graph, keys: Sequence[str]) -> None:
        """Weights that nothing reads stay in the graph; other names of one that is read are noted."""
        kinds = {i.target: i.kind for i in self.program.inputs}
        read = {identity(self.program.weights[n]): n for n in self._read if n in self.program.weights}
        tied: dict[str, str] = {}
        unread: list[str] = []
        for key in keys:
            t = self.program.weights.get(key)
            owner, _, last = key.rpartition(".")
            if t is None or (last == "num_batches_tracked" and f"{owner}.running_var" in self._read):
                continue
            if identity(t) not in read:
                role = PARAMETER if kinds.get(key) == "parameter" else BUFFER
                trainable = role == PARAMETER and getattr(t, "requires_grad", None) is not False
                graph.add_weight(key, t, trainable=trainable, source=key, role=role)
                read[identity(t)] = key
                unread.append(key)
            elif key not in self._read:
                tied[key] = read[identity(t)]
        if unread:
            graph.metadata["unread"] = unread
        if tied:
            graph.metadata["tied"] = tied

    # ---- outputs
    def _outputs(self, frame: Frame) -> None:
        graph = frame.graph
        keys = self.facts.get("outputs") or []
        n = 0
        states: list[Output] = []
        for o in self.program.outputs:
            if o.kind == "user_input_mutation":
                self.notes.append(f"the model also writes into its input {o.target!r}; the result does not show that")
                continue
            if o.kind == "token":
                continue
            if o.kind == "attribute_mutation":
                states.append(o)
                continue
            if o.kind not in ("user", "loss"):
                if self.training and o.kind == "buffer_mutation":
                    continue
                raise UnsupportedError(
                    Problem(o.target, "output", f"the model changes {o.target!r} between calls ({o.kind})", "", "stateful")
                )
            for value in frame.flat(o.value):
                if value is None:
                    continue
                if not isinstance(value, Handle):
                    if not isinstance(value, (bool, int, float, complex, Dim)):
                        why = f"is {value!r:.60}, no tensor and no number"
                        raise UnsupportedError(Problem(self._output_name(n), "output", why, "", "unsupported_output"))
                    v = frame.g.scalar(value, None)
                else:
                    v = value.read()
                if v in frame.g.unwritten and 0 not in (v.shape or ()):
                    why = "holds memory that nobody has written (torch.empty), so that no two runs are the same"
                    raise UnsupportedError(Problem(self._output_name(n), "output", why, "", "random"))
                name = keys[n] if n < len(keys) else ""
                if not frame.driver.fresh(v) or v in graph.outputs:
                    with frame.b.within(graph.root):
                        v = frame.driver.own(v) if v not in graph.outputs and not v.is_weight else frame.b.identity(v)
                frame.driver.name(v, name or self._output_name(n))
                graph.outputs.append(v)
                n += 1
        problems = [p for p in (self._next(frame, o) for o in states) if p is not None]
        if problems:
            raise UnsupportedError(problems)

    def _output_name(self, n: int) -> str:
        given = [o for o in self.program.outputs if o.kind != "attribute_mutation"]
        return "output" if n == 0 and len(given) == 1 else f"output_{n}"

    # ---- scopes
    def scope(self, frame: Frame, uses: tuple[ModuleUse, ...]) -> Scope:
        """The scope of the innermost module; containers that are only iterated are scopes without a type."""
        at, path = frame.base, frame.base_path
        for use in uses:
            if not use.path or use.path == path:
                continue
            parts = use.path.removeprefix(path + ".").split(".") if path else use.path.split(".")
            for part in parts[:-1]:
                at = self._scope(frame, at, part, "", 0)
            at, path = self._scope(frame, at, parts[-1], _class(use.cls), use.call), use.path
        return at

    def _scope(self, frame: Frame, parent: Scope, name: str, cls: str, call: int) -> Scope:
        key = (parent, name, call)
        found = self._scopes.get(key)
        if found is None:
            count = frame.graph.uses_of((*parent.path, name))
            found = self._scopes[key] = frame.graph.scope(name, cls, parent=parent, call=count)
        return found


def _type(v: Value) -> str:
    return f"{v.dtype}[{', '.join(map(str, v.shape))}]" if v.shape is not None else f"{v.dtype} of any shape"


def _class(path: str) -> str:
    """``torch.nn.modules.conv.Conv2d`` as it is known: ``torch.nn.Conv2d``."""
    parts = path.split(".")
    return f"torch.nn.{parts[-1]}" if parts[:3] == ["torch", "nn", "modules"] else path


def identity(t: Tensor) -> Any:
    """Equal for two names of one tensor."""
    return getattr(t, "identity", id(t))


def is_weight(v: Value) -> bool:
    return v.tensor is not None
