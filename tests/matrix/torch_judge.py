"""One PyTorch network through every way: the interpreter, the ONNX file, the module, and modules of what torch itself exports."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matrix_kit import LIMIT, error_of_range, orders, ort_session, permuted
from torch_networks import Network, built

import convcore
from convcore.errors import ConvcoreError, MismatchError

EXAMPLE = (2, 9)
"""Batch and length of the example that is traced."""
Row = dict[str, Any]
Run = Callable[[list[np.ndarray]], list[np.ndarray]]
Pairs = list[tuple[tuple[Any, ...], list[np.ndarray]]]
"""Inputs and what is wanted."""


def flat(values: Any) -> list[np.ndarray]:
    """The tensors of a result, in torch's order."""
    leaves = torch.utils._pytree.tree_leaves(values)
    return [t.detach().numpy() for t in leaves if isinstance(t, torch.Tensor)]


EXACT = 1e-6
"""Of the range, in float64: what is further off is no rounding (exporters fold weights in float32)."""


class Judge:
    """A network with eager torch's numbers, and the steps that are held against them."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.module = built(network)
        self.example = network.inputs(*EXAMPLE)
        self.names = list(inspect.signature(self.module.forward).parameters)[: len(self.example)]
        self.pairs = self.computed(network.sizes)
        self._model: Any = None

    def computed(self, sizes: Sequence[tuple[int, int]]) -> Pairs:
        """Inputs of each (batch, length), with what eager torch makes of them."""
        with torch.no_grad():
            return [(fed, flat(self.module(*fed))) for fed in (self.network.inputs(*size) for size in sizes)]

    def symbolic(self, free: Collection[str]) -> tuple[dict[int, Any], ...]:
        """The axes of those names, as torch.export takes them."""
        return tuple({i: torch.export.Dim.DYNAMIC for i, name in a.items() if name in free} for a in self.network.axes)

    @property
    def model(self) -> Any:
        if self._model is None:
            shapes = {
                name: [axes.get(i, n) for i, n in enumerate(x.shape)]
                for name, x, axes in zip(self.names, self.example, self.network.axes, strict=True)
            }
            self._model = convcore.load(self.module, example_inputs=self.example, input_shapes=shapes)
        return self._model

    def error(self, run: Run, pairs: Pairs | None = None) -> float:
        """The largest at every size."""
        return max(error_of_range(run([x.numpy() for x in fed]), want) for fed, want in pairs or self.pairs)

    # ------------------------------------------------ the steps
    def ir(self) -> Row:
        """The interpreter."""
        model = self.model
        if model.problems:
            return refusal(model.problems)
        from convcore.model import as_list

        return {"error": self.error(lambda given: as_list(model(*given)))}

    def onnx(self) -> Row:
        """The ONNX file in onnxruntime."""
        done = convcore.convert(self.model, "onnx", self.folder / "made.onnx", check=False)
        return {"error": self.error(of_file(self.folder / "made.onnx", done.report))}

    def torch(self) -> Row:
        """The module: its numbers, keys, weights and gradients."""
        done = convcore.convert(self.model, "pytorch", self.folder / "made.py", check=False)
        made, row = done.model, {}
        row["error"] = self.error(of_module(made, done.report))
        mine, theirs = list(made.state_dict()), list(self.module.state_dict())
        row["keys"] = "same" if mine == theirs else differing(mine, theirs)
        held, own = made.state_dict(), self.module.state_dict()
        moved = [k for k in mine if k in own and not torch.equal(held[k], own[k])]
        row["weights"] = "same" if not moved else f"{len(moved)} differ: {moved[0]}"
        row["gradients"] = self.gradients(made)
        row["lines"] = sum(1 for line in (self.folder / "made.py").read_text().splitlines() if line.strip())
        return row

    def program(self) -> Row:
        """The module exported with symbolic axes, and compiled in one graph."""
        made = convcore.convert(self.model, "pytorch", check=False).model
        compiles = either(lambda m: torch.compile(m, fullgraph=True, backend="eager")(*self.example), made, self.module)
        return {"exports": self.exports(made), "compiles": compiles}

    def dynamo18(self) -> Row:
        """torch's own export by torch.export at opset 18, as a module; of the batch alone where torch fixes the length."""
        path, row = self.folder / "dynamo.onnx", {}
        for free in self.freedoms():
            axes = self.symbolic(free)
            row = self.of_export(
                path,
                lambda axes=axes: torch.onnx.export(
                    self.module, self.example, path, dynamo=True, opset_version=18, dynamic_shapes=axes, verbose=False,
                    external_data=False,
                ),
                self.pairs if free == self.freedoms()[0] else self.computed([(n, EXAMPLE[1]) for n, _ in self.network.sizes]),
            )  # fmt: skip
            if "not exported" not in row:
                break
        return row

    def script17(self) -> Row:
        """torch's own export by TorchScript at opset 17, as a module; without the fused encoder layers that ONNX lacks."""
        path = self.folder / "script.onnx"
        axes = dict(zip(self.names, self.network.axes, strict=True))
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            return self.of_export(
                path,
                lambda: torch.onnx.export(
                    self.module,
                    self.example,
                    str(path),
                    dynamo=False,
                    opset_version=17,
                    input_names=self.names,
                    dynamic_axes=axes,
                ),
                self.pairs,
            )
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    # ------------------------------------------------ parts of them
    def freedoms(self) -> list[set[str]]:
        """Names of symbolic axes to try: torch.export fixes the length of a recurrent layer."""
        names = {n for a in self.network.axes for n in a.values()}
        return [names] if names == {"batch"} else [names, {"batch"}]

    def of_export(self, path: Path, export: Callable[[], Any], pairs: Pairs) -> Row:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
                export()
        except ImportError:  # of onnxscript: a fault of the run
            raise
        except Exception as e:  # noqa: BLE001 - a network that torch's exporter cannot write is no finding here
            return {"not exported": first_line(e)}
        try:
            theirs = self.error(of_file(path, None), pairs)
        except Exception as e:  # noqa: BLE001 - nor is a file that onnxruntime cannot run at these sizes
            return {"not exported": "the file does not run: " + first_line(e)}
        if theirs > LIMIT:
            return {"not exported": f"the file is {theirs:.1e} from the network in onnxruntime"}
        done = convcore.convert(path, "pytorch", self.folder / f"from_{path.stem}.py", check=False)
        error = self.error(of_module(done.model, done.report), pairs)
        if error <= LIMIT:
            return {"error": error}
        wide, source = (copy.deepcopy(m).double() for m in (done.model, self.module))  # which tells rounding from a fault
        fed = [[x.double() if x.is_floating_point() else x for x in given] for given, _ in pairs]
        with torch.no_grad():
            exact = [([torch.from_numpy(x.numpy()) for x in given], flat(source(*given))) for given in fed]
        exact_error = self.error(of_module(wide, done.report), exact)
        return {"error": exact_error, "float32": error} if exact_error < EXACT else {"error": error}

    def gradients(self, made: Any) -> str:
        """The same as the source's, parameter by parameter; what differs in float32 is looked at in float64, which tells rounding
        (of sums in another order, that cancel) from a fault."""
        bad = self.differing_gradients(made, self.module, self.example, 1e-3, 1e-5)
        if bad:
            wide = [copy.deepcopy(m).double() for m in (made, self.module)]
            example = torch.utils._pytree.tree_map(lambda t: t.double() if t.is_floating_point() else t, self.example)
            bad = self.differing_gradients(*wide, example, 1e-7, 1e-9)
        return "same" if not bad else f"{len(bad)} differ: {bad[0]}"

    @staticmethod
    def differing_gradients(made: Any, source: Any, example: Any, relative: float, absolute: float) -> list[str]:
        """Parameters whose gradients are further from the source's than that part of their largest, and of the largest of all."""
        for m in (source, made):
            m.zero_grad()
            leaves = [t for t in torch.utils._pytree.tree_leaves(m(*example)) if t.is_floating_point()]
            sum((t - 0.1).square().mean() for t in leaves).backward()
        mine, bad = dict(made.named_parameters()), []
        whole = max((float(p.grad.abs().max()) for p in source.parameters() if p.grad is not None), default=0.0)
        for name, p in source.named_parameters():
            if p.grad is None or name not in mine:
                continue
            got = mine[name].grad
            off = float("inf") if got is None else float((got - p.grad).abs().max())
            if not off <= relative * float(p.grad.abs().max()) + absolute * whole:
                bad.append(f"{name} ({off:.1e})")
        return bad

    def exports(self, made: Any) -> str:
        """With its axes symbolic, or with the batch alone where the source's length is fixed, too."""
        said = ""
        for axes in map(self.symbolic, self.freedoms()):

            def export(m: Any, axes: Any = axes) -> Any:
                return torch.export.export(m, self.example, dynamic_shapes=axes, strict=False)

            said = either(export, made, self.module)
            if not said.startswith("nor"):
                break
        return said


def judged(network: Network, steps: tuple[str, ...], folder: Path) -> Iterator[tuple[str, Row]]:
    """Each step's row, as soon as it is there."""
    judge = Judge(network, folder)
    for step in steps:
        try:
            row = getattr(judge, step)()
        except MismatchError as e:
            row = {"wrong": first_line(e)}
        except ConvcoreError as e:
            row = refusal(getattr(e, "problems", None) or [e])
        except Exception as e:  # noqa: BLE001 - the sweep goes on; what is no ConvcoreError is a finding
            at = traceback.extract_tb(e.__traceback__)[-1]
            row = {"failed": f"{first_line(e)} ({Path(at.filename).name}:{at.lineno})"}
        if row.get("error", 0) > LIMIT:
            row["wrong"] = f"{row['error']:.1e} of the range"
        yield step, row


def refusal(problems: Any) -> Row:
    texts = [f"{p.type}: {p.why}" if hasattr(p, "why") else first_line(p) for p in problems]
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return {"refused": " ".join(texts[0].split())[:200] + more}


def first_line(e: Any) -> str:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(e).strip() or type(e).__name__).splitlines()
    text = lines[0]
    if isinstance(e, torch.onnx.errors.OnnxExporterError) and e.__cause__ is not None:
        text = f"{type(e.__cause__).__name__}: {str(e.__cause__).strip().splitlines()[0]}"
    return f"{type(e).__name__}: {' '.join(text.split())[:160]}"


def either(run: Callable[[Any], Any], made: Any, source: Any) -> str:
    """Whether torch can do something with a module; where it cannot, whether it can with the source."""
    said = attempted(lambda: run(made))
    return said if said == "yes" or attempted(lambda: run(source)) == "yes" else f"nor does the source, {said}"


def attempted(run: Callable[[], Any]) -> str:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()
    except Exception as e:  # noqa: BLE001 - what torch says is the finding
        return "no: " + first_line(e)
    return "yes"


def differing(mine: list[str], theirs: list[str]) -> str:
    gone, new = [k for k in theirs if k not in mine], [k for k in mine if k not in theirs]
    if not gone and not new:
        return "another order"
    return "; ".join(f"{len(ks)} {what}: {ks[0]}" for what, ks in (("missing", gone), ("more", new)) if ks)


def of_file(path: Path, report: Any) -> Run:
    session = ort_session(path)
    ins, outs = orders(report) if report is not None else (None, None)

    def run(given: list[np.ndarray]) -> list[np.ndarray]:
        wanted = [i.name for i in session.get_inputs()]
        laid = permuted(given, ins) if ins is not None else given
        got = session.run(None, dict(zip(wanted, laid, strict=True)))
        return permuted(got, outs, back=True) if outs is not None else got

    return run


def of_module(module: Any, report: Any) -> Run:
    ins, outs = orders(report)

    def run(given: list[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            made = flat(module(*(torch.from_numpy(a) for a in permuted(given, ins))))
        return permuted(made, outs, back=True)

    return run
