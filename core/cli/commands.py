"""The commands. Results go to stdout, progress and logs to stderr."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OutputError, UnsupportedError, UsageError
from ..host import host
from ..ir.dims import shape_text
from ..model import as_list
from ..output import check_output, writing
from ..pipeline import check as find_problems
from ..pipeline import convert as convert_model
from ..pipeline import default_out
from ..pipeline import load as load_model
from ..provenance import claim, remember, sources_of
from ..report.compare import ATOL
from ..sources import split_source
from .console import complain, say, show
from .listings import ops, plugins, rules
from .progress import Progress

if TYPE_CHECKING:
    from ..diff import Change
    from ..hookspecs import Checkpoint

__all__ = [
    "batch",
    "check",
    "convert",
    "custom",
    "diff",
    "inspect",
    "new_plugin",
    "ops",
    "plugins",
    "rules",
    "run",
    "verify",
    "view",
]


def _options(args: Namespace) -> dict[str, Any]:
    """Options of plugins that were given, by name."""
    return {k[7:]: v for k, v in vars(args).items() if k.startswith("plugin_") and v is not None}


def _given(args: Namespace) -> dict[str, Any]:
    """Options of plugins, and the functions that --override names."""
    return {**_options(args), **({"overrides": _overrides(args.override)} if args.override else {})}


def _overrides(specs: Sequence[str], flag: str = "--override") -> dict[str, Any]:
    if not specs:
        return {}
    from .code import overrides

    return overrides(specs, flag)


def _arrays(specs: list[str], names: list[str]) -> dict[str, Any]:
    """``[NAME=]FILE`` arguments as arrays by input name."""
    out: dict[str, Any] = {}
    free = list(names)
    for spec in specs:
        name, sep, file = spec.partition("=")
        if not sep or Path(spec).exists():
            name, file = "", spec
        if not Path(file).is_file():
            raise UsageError(f"{file}: no such file")
        try:
            loaded = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as e:
            raise UsageError(f"{file}: not a .npy or .npz file: {e}") from None
        if isinstance(loaded, np.ndarray):
            items = {name or "": loaded}
        else:
            items = {k: loaded[k] for k in loaded.files}
            if name:
                if len(items) != 1:
                    raise UsageError(f"{file} holds {len(items)} arrays: drop {name}=")
                items = {name: next(iter(items.values()))}
            elif not set(items) <= set(names):
                items = dict(enumerate_names(items, free))
        for key, value in items.items():
            if not key:
                if not free:
                    raise UsageError(f"more inputs than the model has ({', '.join(names)})")
                key = free[0]
            if key not in names:
                raise UsageError(f"no input {key!r}; inputs are {', '.join(names)}")
            if key in out:
                raise UsageError(f"input {key!r} is given twice")
            out[key] = value
            free.remove(key)
    if free:
        raise UsageError(f"missing inputs: {', '.join(free)}")
    return out


def enumerate_names(items: dict[str, Any], free: list[str]) -> list[tuple[str, Any]]:
    """Arrays of a file whose names are not input names, taken in order."""
    if len(items) > len(free):
        raise UsageError(f"the file holds {len(items)} arrays ({', '.join(items)}), inputs left: {', '.join(free) or 'none'}")
    return list(zip(free, items.values()))


def convert(args: Namespace) -> int:
    """``convcore convert``."""
    source = Path(args.source)
    progress = Progress(args)
    out = args.output
    if out is None:
        if args.hub:
            raise UsageError("--hub: name the folder to write (-o)")
        if args.to is None:
            raise UsageError("name the output file (-o) or the target format (--to)")
        out = default_out(source, args.to)
    if args.input and args.no_check:
        raise UsageError("--input is for the check, which --no-check switches off")
    printed = [r for r in args.report if r in ("text", "json", "none")]
    pages = [r for r in args.report if r not in printed]
    if len(printed) > 1 or len(pages) > 1:
        raise UsageError(f"--report is given twice: {' and '.join(printed if len(printed) > 1 else pages)}")
    how, page = printed[0] if printed else "none" if args.quiet else "text", pages[0] if pages else None
    example = None
    model: Any = source
    options = _given(args)
    replaced = options.pop("overrides", {})
    loading = {"weights": args.weights, "format": args.format, "input_shapes": args.input_shape}
    if args.input:
        ours = _load_options(args)
        written = {k: replaced.pop(k) for k in ("emit",) if k in replaced}
        model = load_model(source, **loading, overrides=replaced, fuse=False, **ours)
        replaced = written
        loading, options = {}, {k: v for k, v in options.items() if k not in ours}
        example = _arrays(args.input, [t.name for t in model.inputs])
    try:
        done = convert_model(
            model, args.to, out, example_inputs=example, **loading,
            check=False if args.no_check else "native" if args.check == "native" else True,
            rtol=args.rtol, atol=ATOL if args.atol is None else args.atol,
            io_layout=args.io_layout, keep=args.keep, overwrite=args.force, progress=progress, fuse=args.fuse,
            simplify=args.simplify, page=page, hub=args.hub, overrides=replaced, **options,
        )  # fmt: skip
    except UnsupportedError as e:
        progress.clear()
        if how == "json":
            say(json.dumps({"ok": False, "problems": [p.to_dict() for p in e.problems]}, indent=1))
        raise
    finally:
        progress.clear()
    _print_report(done.report, how)
    if page is not None and how == "text":
        say(f"  page: {page} ({Path(page).absolute().as_uri()})")
    if done.report.unverified:
        complain(f"convcore: written, but not verified: {done.report.unverified}")
    return _code(done.report)


UNVERIFIED = 6
"""Exit code of a conversion that was written, or a comparison that was asked for, where nothing could be compared."""


def _code(report: Any) -> int:
    """The exit code a report stands for."""
    return 5 if not report.ok else UNVERIFIED if report.unverified else 0


def _load_options(args: Namespace) -> dict[str, Any]:
    names = {o.name for f in host().frameworks for o in host().options(f) if o.stage == "load"}
    return {k: v for k, v in _options(args).items() if k in names}


def _print_report(report: Any, how: str) -> None:
    if how == "json":
        say(report.to_json())
    elif how == "text":
        show(str(report))


def check(args: Namespace) -> int:
    """``convcore check``."""
    found = find_problems(
        args.source,
        args.to,
        weights=args.weights,
        format=args.format,
        input_shapes=args.input_shape,
        fuse=args.fuse,
        **_given(args),
    )
    if args.report == "json":
        say(json.dumps({"ok": not found, "problems": [p.to_dict() for p in found]}, indent=1))
    elif found:
        say(f"{len(found)} problem{'s' if len(found) != 1 else ''} on the way to {args.to}:")
        for p in found:
            say(f"  {p}")
    elif not args.quiet:
        say(f"nothing stands in the way of converting {args.source} to {args.to}")
    return UnsupportedError.exit_code if found else 0


def inspect(args: Namespace) -> int:
    """``convcore inspect``."""
    from ..checkpoints import read_checkpoint, to_dict, to_text
    from ..inspection import layer_tree

    if args.weights is None and not _options(args):
        held = read_checkpoint(args.source, args.entry, args.format)
        if held is not None:
            say(json.dumps(to_dict(held), indent=1, default=str) if args.json else to_text(held))
            return 0
    _refuse_entry(args)
    model = load_model(
        args.source, args.weights, format=args.format, input_shapes=args.input_shape, fuse=args.fuse, **_given(args)
    )  # fmt: skip
    if args.ir:
        say(str(model.graph).rstrip("\n"))
        return 0
    meta = model.metadata
    if args.json:
        data = {
            "name": model.name, "framework": model.framework, "kind": model.kind, "version": meta.get("version", ""),
            "inputs": [_tensor(t) for t in model.inputs], "outputs": [_tensor(t) for t in model.outputs],
            "parameters": model.num_params,
            "layers": [
                {"name": x.name, "type": x.type, "outputs": [_tensor(t) for t in x.outputs], "parameters": x.params}
                for x in model.layers
            ],
            "tree": [b.to_dict() for b in layer_tree(model.graph)],
            "weights": [
                {**_tensor(v), "role": v.role, "trainable": v.trainable} for v in model.graph.source_weights()
            ],
            "metadata": meta, "problems": [p.to_dict() for p in model.problems],
        }  # fmt: skip
        say(json.dumps(data, indent=1, default=str))
        return 0
    say(model.summary(nested=True))
    for key, value in meta.items():
        if key not in ("framework", "kind", "notes") and value not in ("", None, [], {}):
            say(f"{key}: {value}" if not isinstance(value, (dict, list)) else f"{key}: {json.dumps(value, default=str)[:500]}")
    for note in meta.get("notes", []):
        say(f"note: {note}")
    if model.problems:
        say(f"{len(model.problems)} layer{'s' if len(model.problems) != 1 else ''} convcore cannot convert:")
        for p in model.problems:
            say(f"  {p}")
    return 0


def _tensor(t: Any) -> dict[str, Any]:
    shape = None if t.shape is None else [d if isinstance(d, int) else None if d is None else str(d) for d in t.shape]
    return {"name": t.name, "dtype": str(t.dtype), "shape": shape}


def run(args: Namespace) -> int:
    """``convcore run``."""
    sources = sources_of(*split_source(args.source, args.weights))
    if args.output is not None:
        out = Path(args.output)
        if out.suffix not in (".npy", ".npz"):
            raise OutputError(f"{out}: write .npy or .npz")
        claim(check_output(out), sources, args.force)
    model = load_model(
        args.source, args.weights, format=args.format, input_shapes=args.input_shape, fuse=args.fuse, **_given(args)
    )  # fmt: skip
    inputs = _arrays(args.input, [t.name for t in model.inputs])
    part = model if args.until is None else model[args.until]
    wanted = {t.name for t in part.inputs}
    arrays = as_list(part({k: v for k, v in inputs.items() if k in wanted}))
    named = {t.name: a for t, a in zip(part.outputs, arrays)}
    if args.output is None:
        for name, a in named.items():
            text = np.array2string(a, threshold=20, edgeitems=3, precision=6)
            say(f"{name}: {a.dtype}{shape_text(a.shape)}\n{text}")
        return 0
    if out.suffix == ".npy":
        if len(arrays) != 1:
            raise OutputError(f"the model has {len(arrays)} outputs: write .npz")
        _save(out, lambda f: np.save(f, arrays[0], allow_pickle=False))
    else:
        _save(out, lambda f: np.savez(f, allow_pickle=False, **named))
    remember([out], sources)
    return 0


def _save(out: Path, write: Any) -> None:
    with writing(out) as (unfinished,), unfinished.open("wb") as f:
        write(f)


def _side(args: Namespace, side: str, **how: Any) -> Any:
    """One of the two models of a command, loaded as was said of it."""
    path, weights, format = (getattr(args, name) for name in (side, f"weights_{side}", f"from_{side}"))
    return load_model(
        path, weights, format=format, input_shapes=args.input_shape, overrides=_of_side(args, side), **how, **_options(args)
    )


def _of_side(args: Namespace, side: str) -> dict[str, Any]:
    """The functions that are named for one of two models, which are read and not written."""
    flag = f"--override-{side}"
    found = _overrides(getattr(args, f"override_{side}"), flag)
    if "emit" in found:
        raise UsageError(f"{flag} emit:...: the two models are read, and none is written")
    return found


def verify(args: Namespace) -> int:
    """``convcore verify``."""
    from ..verification import verify as verify_models

    start, inputs = time.monotonic(), None
    if args.input:
        inputs = _arrays(args.input, [t.name for t in _side(args, "a").inputs])
    pairs = {left: right or left for left, _, right in (o.partition("=") for o in args.output)}
    report = verify_models(
        args.a, args.b, inputs=inputs, outputs=pairs or None, weights_a=args.weights_a, weights_b=args.weights_b,
        format_a=args.from_a, format_b=args.from_b, input_shapes=args.input_shape, rtol=args.rtol,
        atol=ATOL if args.atol is None else args.atol, native=not args.interpreter, overrides_a=_of_side(args, "a"),
        overrides_b=_of_side(args, "b"), **_options(args),
    )  # fmt: skip
    report.seconds = time.monotonic() - start
    _print_report(report, args.report or ("none" if args.quiet else "text"))
    if not report.ok:
        complain("convcore: the outputs differ")
    return _code(report)


def view(args: Namespace) -> int:
    """``convcore view``."""
    from .view import view as write

    return write(args, _given(args))


def diff(args: Namespace) -> int:
    """``convcore diff``."""
    from ..checkpoints import differences as weight_changes
    from ..diff import diff as differences

    held = [_weights_of(args, side) for side in "ab"]
    if held[0] is not None and held[1] is not None:
        sizes = f"{len(held[0].tensors)} tensors and {len(held[1].tensors)}"
        return _say_changes(weight_changes(held[0], held[1]), args.json, sizes)
    if any(held):
        path = args.a if held[0] is not None else args.b
        raise UsageError(f"{path} holds weights alone; compare it with another file of weights")
    _refuse_entry(args)
    a, b = (_side(args, side, fuse=False) for side in "ab")
    return _say_changes(differences(a.graph, b.graph), args.json, f"{len(a.graph)} nodes and {len(b.graph)}")


def _weights_of(args: Namespace, side: str) -> Checkpoint | None:
    """What one of two files holds, where that is weights alone and nothing was said of an architecture."""
    from ..checkpoints import read_checkpoint

    path, weights, format = (getattr(args, name) for name in (side, f"weights_{side}", f"from_{side}"))
    more = weights is not None or getattr(args, f"override_{side}") or _options(args)
    return None if more else read_checkpoint(path, args.entry, format)


def _say_changes(found: Sequence[Change], as_json: bool, sizes: str) -> int:
    if as_json:
        say(json.dumps([{"kind": c.kind, "what": c.what, "why": c.why} for c in found], indent=1))
        return 0
    for c in found:
        say(str(c))
    say(f"{len(found)} difference{'s' if len(found) != 1 else ''}; {sizes}")
    return 0


def _refuse_entry(args: Namespace) -> None:
    if args.entry is not None:
        raise UsageError("--entry is for files that hold weights alone")


def new_plugin(args: Namespace) -> int:
    """``convcore new-plugin``."""
    from .new_plugin import new_plugin as write

    folder = Path(args.output or f"convcore-{args.name}")
    for path in write(args.kind, args.name, folder):
        say(str(path))
    say(f"\nnext: cd {folder} && pip install -e . pytest && python -m pytest")
    return 0


def custom(args: Namespace) -> int:
    """``convcore custom``."""
    from .catalogue import is_source, show

    if all(is_source(p) for p in args.paths) and not args.stub:
        return show(args.paths, args.json)
    from .unknown import show_unknown, unknown_layers, write_stub

    if len(args.paths) != 1 or is_source(args.paths[0]):
        raise UsageError("give one model file, or files and folders of Python source")
    (source,) = args.paths
    found = unknown_layers(
        load_model(source, args.weights, format=args.format, input_shapes=args.input_shape, fuse=False, **_given(args)).graph
    )
    if not args.stub:
        return show_unknown(found, source, args.json)
    folder = Path(args.output or f"convcore-{Path(source).stem}")
    for path in write_stub(found, folder):
        say(str(path))
    say(f"\nnext: cd {folder} && pip install -e . pytest && python -m pytest")
    return 0


def batch(args: Namespace) -> int:
    """``convcore batch``."""
    from .fleet import batch as convert_all

    return convert_all(args, _options(args))
