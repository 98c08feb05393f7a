"""Commands that list what is installed: plugins, ops, rules. Results go to stdout."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from ..host import host
from .console import say

__all__ = ["ops", "plugins", "rules"]


def plugins(args: Namespace) -> int:
    """``convcore plugins``."""
    h = host()
    frameworks = h.frameworks
    data = [
        {
            "name": i.name, "distribution": i.distribution, "version": i.version, "loaded": i.loaded, "error": i.error,
            "frameworks": {
                f: {
                    "title": frameworks[f].title, "suffixes": list(frameworks[f].suffixes),
                    "load": h.can(f, "load"), "emit": h.can(f, "emit"),
                    "options": [
                        {"name": o.name, "stage": o.stage, "default": o.default, "help": o.help} for o in h.options(f)
                    ],
                }
                for f in i.frameworks
                if f in h.frameworks
            },
        }
        for i in h.plugins
    ]  # fmt: skip
    if args.json:
        say(json.dumps(data, indent=1, default=str))
        return 0
    if not data:
        say("no plugin is installed: pip install convcore-keras convcore-onnx")
    for p in data:
        state = f"BROKEN: {p['error']}" if p["error"] else "ok"
        say(f"{p['name']}  {p['distribution']} {p['version']}  {state}")
        for name, f in p["frameworks"].items():  # type: ignore[attr-defined]
            does = " and ".join(w for w, on in (("reads", f["load"]), ("writes", f["emit"])) if on) or "adds to it"
            say(f"  {name}: {f['title']}, {does} {' '.join(f['suffixes'])}")
            for o in f["options"]:
                default = "" if o["default"] in (None, "") else f" (default {o['default']})"
                say(f"    --{o['name'].replace('_', '-')}  {o['help']}{default}")
    return 0


def ops(args: Namespace) -> int:
    """``convcore ops``."""
    from ..opset import all_ops, op

    host().load_ops()
    chosen = [op(args.name)] if args.name else [all_ops()[k] for k in sorted(all_ops())]
    if args.json:
        say(json.dumps([_op_data(o) for o in chosen], indent=1, default=str))
    elif args.name:
        d = _op_data(chosen[0])
        say(f"{d['name']}({', '.join(d['inputs'])}) -> {', '.join(d['outputs'])}\n{d['doc']}")
        for name, a in d["attributes"].items():
            say(
                f"  {name}: {a['kind']}"
                + (f" = {a['default']}" if "default" in a else "")
                + (f"  {a['doc']}" if a["doc"] else "")
                + ("  (training only)" if a.get("training") else "")
            )
        for role, names in d["roles"].items():
            say(f"{role}: {', '.join(names)}")
        if d["traits"]:
            say(f"traits: {', '.join(d['traits'])}")
        say(f"axis rule: {d['axis_rule']}" + ("; has a body over simpler ops" if d["composite"] else ""))
    else:
        width = max(len(o.name) for o in chosen)
        for o in chosen:
            say(f"{o.name:<{width}}  {o.family:<12} {o.doc.splitlines()[0] if o.doc else ''}")
    return 0


def _op_data(o: Any) -> dict[str, Any]:
    from ..opset.declare import REQUIRED

    return {
        "name": o.name, "family": o.family, "doc": o.doc, "distribution": o.distribution,
        "inputs": [str(a) for a in o.inputs],
        "outputs": list(o.outputs),
        "attributes": {
            k: {"kind": a.kind, "doc": a.doc, **({} if a.default is REQUIRED else {"default": a.default}),
                **({"choices": list(a.choices)} if a.choices else {}), **({"training": True} if a.training else {})}
            for k, a in o.attrs.items()
        },
        "axis_rule": type(o.axes).__name__, "composite": o.composite,
        "traits": [t.lower() for t in o.traits.names], "roles": o.roles,
    }  # fmt: skip


def rules(args: Namespace) -> int:
    """``convcore rules``."""
    h = host()
    names = [h.framework(args.framework).name] if args.framework else [f.name for f in h.frameworks.values() if f.rules]
    data = {name: h.rules(name).to_json() for name in names}
    if args.json:
        say(json.dumps(data, indent=1, default=str))
        return 0
    for name, entries in data.items():
        table: dict[str, tuple[set[str], set[str]]] = {}
        for r in entries:  # a function says either what it reads or what it writes, a row both
            made, ways = table.setdefault(r.get("foreign", "(by code)"), (set(), set()))
            made.add(r.get("op", "(by code)"))
            ways.update({"load", "emit"} if r["direction"] == "both" else {r["direction"]})
        say(f"{name}: {len(table)} types")
        width = len(max(table, key=len, default=""))
        for f in sorted(table):
            made, ways = table[f]
            say(f"  {f:<{width}}  {'+'.join(sorted(ways, reverse=True)):<9}  {', '.join(sorted(made))}")
    return 0
