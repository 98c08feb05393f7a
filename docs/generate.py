"""Write the generated pages from what is installed and from the test data's manifests. Run it as ``make docs``.

docs/support/<framework>.md, docs/ops.md, docs/cli.md, docs/python.md, docs/surface.txt, core/build/methods.pyi,
tests/data/SOURCE.md, and of the records of the whole sweeps (``sweep_pages.py``) their pages and README's table.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import json
import os
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import convcore
from convcore.cli import main as command_line
from convcore.host import host
from convcore.opset import Trait, all_ops
from convcore.opset.axes import Layout
from convcore.opset.declare import REQUIRED, Op
from convcore.rules.foreign import MISSING
from convcore.rules.rows import Row
from convcore.rules.ruleset import EmitFunction, LoadFunction, RuleSet
from convcore.testing.record import read_record

sys.path.insert(0, str(Path(__file__).parent))
from interfaces import builder_stub, surface
from onnx_operators import older_section, operators_section
from sweep_pages import PAGES as SWEEP_PAGES

ROOT = Path(__file__).parents[1]
MADE = "<!-- Written by docs/generate.py (`make docs`); do not edit. -->\n"

Rule = Row | LoadFunction | EmitFunction


CLI = """`convcore` and `python -m convcore` are the same. Results go to standard output, progress and messages to standard
error. A command that is told something wrong says so in one line, with what may have been meant; what is in the way of a model
is listed whole.

* `-v` says what is done, with times and the peak memory; `-q` nothing but what is wrong. `--report json` is for programs.
* On a terminal a bar moves and verdicts are coloured: `NO_COLOR=1` switches colour off, `FORCE_COLOR=1` on.
* Files that are there already are kept, unless they are earlier results of the same source, or `--force` is given
  ([reports and errors](reports-and-errors.md#files-that-are-there-already)).
* Commands, flags, formats and files are completed by the shell after `pip install "convcore[completion]"` and, for bash and
  zsh, this in its start-up file (argcomplete's manual has the lines for fish and PowerShell):

  ```sh
  eval "$(register-python-argcomplete convcore)"
  ```"""


# ---------------------------------------------------------------- text
def code(x: object) -> str:
    """Inline code that survives in a table."""
    text = str(x).replace("|", "\\|")
    return f"`{text}`" if text else ""


def codes(xs: Iterable[object]) -> str:
    return ", ".join(code(x) for x in xs)


def value(x: object) -> str:
    """A value as a person writes it in Python, sets as alternatives."""
    if x is MISSING or x is None:
        return "unset"
    if isinstance(x, (set, frozenset)):
        return " or ".join(sorted(map(value, x)))
    if isinstance(x, (list, tuple)):
        inner = ", ".join(map(value, x))
        return f"({inner},)" if len(x) == 1 else f"({inner})"
    return repr(x) if isinstance(x, (str, bool, int, float)) else str(x)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(r) + " |" for r in rows]


def versions(rule: Rule) -> str:
    if rule.since is None and rule.until is None:
        return ""
    if rule.until is None:
        return f"version {rule.since} on"
    return f"up to version {rule.until}" if rule.since is None else f"versions {rule.since} to {rule.until}"


def conditions(rule: Rule) -> str:
    when = [code(f"{k} = {value(v)}") for k, v in sorted((rule.when or {}).items())]
    rank = [f"{r.of or 'input'} of {r.n} axes" for r in rule.rank] if isinstance(rule, Row) else []
    return ", ".join(filter(None, (versions(rule), *when, *rank)))


def rule_name(rule: Rule) -> str:
    if isinstance(rule, Row):
        return "row"
    module = rule.fn.__module__.rpartition(".")[2]
    return code(f"{module}.{rule.fn.__qualname__}")


# ---------------------------------------------------------------- support tables
def our_frameworks() -> list[str]:
    """Frameworks whose plugin is part of this repository and installed, in order."""
    folders = {p.parent.name for p in ROOT.glob("plugins/*/pyproject.toml")}
    return sorted(folders & set(host().frameworks))


def made_by(rule: Row | LoadFunction, record: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """A row says what it makes; of a function, what the plugin's tests recorded for its type."""
    return (rule.op_name,) if isinstance(rule, Row) else record.get(rule.foreign, ())


def load_rows(rules: RuleSet[Any, Any], record: Mapping[str, Sequence[str]]) -> Iterable[Sequence[str]]:
    for foreign in sorted(rules.load_rules, key=lambda k: (k.lower(), k)):
        seen: dict[Sequence[str], None] = {}
        for rule in rules.load_rules[foreign]:
            ignored = codes(sorted(rule.ignore)) if isinstance(rule, Row) else ""
            seen[codes(made_by(rule, record)) or "-", rule_name(rule), conditions(rule), ignored] = None
        for i, cells in enumerate(seen):
            yield [code(foreign) if i == 0 else "", *cells]


def emit_rows(rules: RuleSet[Any, Any], record: Mapping[str, Sequence[str]]) -> Iterable[Sequence[str]]:
    for name, found in sorted(rules.emit_rules.items()):
        cells: dict[Sequence[str], None] = {}
        for rule in found:
            made = (rule.foreign,) if isinstance(rule, Row) else record.get(name, ())
            cells[codes(made) or "-", rule_name(rule), conditions(rule)] = None
        for i, c in enumerate(cells):
            yield [code(name) if i == 0 else "", *c]


def without_rule(rules: RuleSet[Any, Any]) -> list[str]:
    """The ops that no rule writes, by what becomes of them."""
    left = [o for n, o in sorted(all_ops().items()) if n not in rules.emit_rules]
    bodies = codes(o.name for o in left if o.composite)
    none = codes(o.name for o in left if not o.composite)
    return [f"Written as their body, as far as that can be: {bodies}.", "", f"Without counterpart, refused: {none}."]


def support_page(name: str) -> str:
    """Everything a framework's rules know."""
    f = host().framework(name)
    rules: RuleSet[Any, Any] = host().rules(name)
    ours = _only(rules, f.distribution)
    tests = ROOT / f"plugins/{name}/tests"
    made, written = read_record(tests / "ops_made.json"), read_record(tests / "types_written.json")
    out = [MADE, f"# {f.title}: what is supported", ""]
    reads, writes = host().can(name, "load"), host().can(name, "emit")
    does = "read and written" if reads and writes else "read; writing is not there yet" if reads else "written"
    out += [
        f"{f.title} models are {does} (distribution `{f.distribution}`). {len(ours.load_rules)} {f.title} types are known.",
        "What is not listed here loads as an opaque layer: the model can be inspected and run up to it, and conversion",
        "refuses it by name, with everything else that is missing.",
        "",
        "## Reading",
        "",
        "*Rule*: a `row` is a declaration that maps one type to one op; everything else is a function, by file and name. What",
        "functions make is what the plugin's tests saw the rules of that type make, all together (`-`: no op). Several lines of",
        "one type: the first that fits the version and the conditions is taken, the most specific first. *Ignored*:",
        "attributes without meaning for inference (functions ignore theirs in code). An attribute that is neither used nor",
        "ignored is an error.",
        "",
    ]
    if ours.ignored:
        out += [f"Ignored everywhere: {codes(sorted(ours.ignored))}.", ""]
    out += table(
        [f"{f.title} type", "becomes", "rule", "versions and conditions", "ignored"],
        load_rows(ours, made),
    )
    if writes:
        out += [
            "",
            "## Writing",
            "",
            "What is written for each op of [the op set](../ops.md). A composite that none of its rules fits is written as its",
            "body, in simpler ops.",
            "",
            *table(["op", f"{f.title} type", "rule", "versions and conditions"], emit_rows(ours, written)),
            "",
            *without_rule(ours),
        ]
    if name == "onnx":
        out += ["", *older_section(), *operators_section(ROOT)]
    return "\n".join(out) + "\n"


def _only(rules: RuleSet[Any, Any], distribution: str) -> RuleSet[Any, Any]:
    """The rules of one distribution: third-party plugins that happen to be installed are left out."""
    out = RuleSet(rules.framework, distribution)
    out.ignored = set(rules.ignored)
    for key, loads in rules.load_rules.items():
        if mine := [r for r in loads if r.distribution == distribution]:
            out.load_rules[key] = mine
    for key, emits in rules.emit_rules.items():
        if mine_too := [r for r in emits if r.distribution == distribution]:
            out.emit_rules[key] = mine_too
    return out


# ---------------------------------------------------------------- op set
def axis_rule(op: Op) -> str:
    """The axis rule with the attributes it names."""
    a = op.axes
    if isinstance(a, Layout):
        forms = "; ".join(f"{k}: " + ", ".join(f"{n} {o}" for n, o in v.items()) for k, v in a.forms.items())
        return f"Layout({a.attr}) {forms}"
    named = [getattr(a, "attr", ""), *getattr(a, "attrs", ())]
    k = getattr(a, "k", None)
    return f"{type(a).__name__}({', '.join(filter(None, named)) or k or ''})"


def trait_texts() -> Iterable[tuple[str, str]]:
    """Every trait with the text under it in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Trait))).body[0]
    assert isinstance(body, ast.ClassDef)
    for line, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(line, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            yield ast.unparse(line.targets[0]), " ".join(str(text.value.value).split())


def op_lines(op: Op) -> list[str]:
    outs = [o + ("*" if op.variadic_outputs and o == op.outputs[-1] else "") for o in op.outputs]
    out = [f"### {op.name}", "", code(f"{op.name}({', '.join(map(str, op.inputs))}) -> {', '.join(outs)}"), ""]
    if op.doc:
        out += [" ".join(op.doc.split()), ""]
    for name, a in op.attrs.items():
        default = "" if a.default is REQUIRED else f" = {'None' if a.default is None else value(a.default)}"
        choices = f"; one of {', '.join(value(c) for c in a.choices)}" if a.choices else ""
        doc = f": {' '.join(a.doc.split())}" if a.doc else ""
        out.append(f"* {code(f'{name}: {a.kind}{default}')}{choices}{doc}{'; training only' if a.training else ''}")
    out += [f"* {role}: {codes(names)}" for role, names in op.roles.items()]
    regions = f", {op.regions} region{'s' if op.regions != 1 else ''}" if op.regions else ""
    out.append(f"* axis rule: {code(axis_rule(op))}{', composite' if op.composite else ''}{regions}")
    if op.traits:
        out.append(f"* traits: {', '.join(t.lower() for t in op.traits.names)}")
    return [*out, ""]


def ops_page() -> str:
    """The op set by family."""
    host().load_ops()
    ours = {"convcore", *(host().framework(n).distribution for n in our_frameworks())}
    ops = [o for o in all_ops().values() if o.distribution in ours]
    families: dict[str, list[Op]] = {}
    for o in sorted(ops, key=lambda o: (o.family, o.name)):
        families.setdefault(o.family, []).append(o)
    out = [
        MADE,
        "# The op set",
        "",
        f"{len(ops)} ops in {len(families)} families; `convcore ops NAME` prints one. Inputs are `name:type`, `?` marks an",
        "optional one, `*` any number. An attribute without `=` is required. The axis rule says how an op behaves when axes",
        "are permuted ([architecture](architecture.md), Layout). A composite has a body over simpler ops: a target without a",
        "rule for it gets that. Inputs are data unless a line says otherwise: a constant given for a parameter was trained, one",
        "for a statistic was measured, an index says where or how many. Traits are facts that hold whatever the attributes are:",
        "",
        *(f"* {t.lower()}: {text}" for t, text in trait_texts()),
        "",
        *table(["family", "ops"], [[f"[{f}](#{f})", codes(o.name for o in os_)] for f, os_ in families.items()]),
        "",
    ]
    for family, members in families.items():
        out += [f"## {family}", ""]
        for o in members:
            out += op_lines(o)
    return "\n".join(out).rstrip() + "\n"


# ---------------------------------------------------------------- command line
def help_of(*args: str) -> str:
    out = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "110"}), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        command_line([*args, "--help"])
    return out.getvalue().rstrip()


def cli_page() -> str:
    """The help text of every command."""
    top = help_of()
    found = re.search(r"\{([\w,-]+)\}", top)
    commands = found[1].split(",") if found else []
    out = [MADE, "# The command line", "", CLI, "", "```text", top, "```", ""]
    for name in commands:
        out += [f"## convcore {name}", "", "```text", help_of(name), "```", ""]
    return "\n".join(out).rstrip() + "\n"


# ---------------------------------------------------------------- Python
def signature(name: str, thing: Callable[..., Any]) -> str:
    """As in the source, without quotes around annotations and without ``self``; long ones have one parameter a line."""
    s = inspect.signature(thing)
    params: list[str] = []
    for p in s.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not any(x.startswith("*") for x in params):
            params.append("*")
        if p.name != "self":
            params.append(str(p))
    short = ", ".join(params)
    inside = short if len(short) <= 90 else "\n" + "".join(f"    {x},\n" for x in params)
    return name + re.sub(r"(: |-> )'([^'\n]*)'", r"\1\2", f"({inside}) -> {s.return_annotation!r}")


def doc_of(thing: object) -> list[str]:
    """The docstring as Markdown: RST roles as code, parameters as a list."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", inspect.getdoc(thing) or "").replace("``", "`")
    text = re.sub(r"^(\w+)\n-+$", r"**\1**\n", text, flags=re.MULTILINE)
    head, found, rest = text.partition("**Parameters**\n")
    if found:
        params, last, after = rest.partition("\n**")
        params = re.sub(r"^(\w[\w, ]*): ", r"* `\1`: ", params, flags=re.MULTILINE)
        text = head + found + params + last + after
    return text.splitlines()


def python_page() -> str:
    """The public functions and classes, from their docstrings."""
    out = [MADE, "# The Python API", "", "Everything public is in `convcore`; importing it imports no framework.", ""]
    classes = (convcore.Model, convcore.Conversion, convcore.Report)
    for f in (convcore.load, convcore.convert, convcore.verify, convcore.formats):
        out += [f"## convcore.{f.__name__}", "", "```python", signature(f.__name__, f), "```", "", *doc_of(f), ""]
    for cls in classes:
        out += [f"## convcore.{cls.__name__}", "", *doc_of(cls), ""]
        for name, member in vars(cls).items():
            if name.startswith("_") or not (isinstance(member, property) or inspect.isfunction(member)):
                continue
            shown = f".{name}" if isinstance(member, property) else f".{signature(name, member)}"
            first = " ".join(" ".join(doc_of(member)).partition(". ")[0].split())
            out.append(f"* `{shown}`" + (f": {first}" if first else ""))
        out.append("")
    return "\n".join(out).rstrip() + "\n"


# ---------------------------------------------------------------- test data
def source_page() -> str:
    """Where the test data comes from and under which licences, from the manifests beside the models."""
    made = "made for this project; its own"
    parts = [
        [
            "`keras_eras/`",
            "small random models written by the Keras versions of each era ([details](keras_eras/SOURCE.md))",
            made,
        ],
        ["`caffe_conformance/`", "small nets with outputs of the real Caffe ([details](caffe_conformance/SOURCE.md))", made],
        [
            "`composites/`",
            "single composites and small blocks as exporters write them, with what the frameworks compute "
            "([details](composites/SOURCE.md))",
            made,
        ],
        ["`pytorch/`", "files of torch as published ([details](pytorch/SOURCE.md))", "per file, there"],
        ["`zoo/`", "trained public models, as published ([layout](zoo/SOURCE.md))", "per model, below"],
    ]
    out = [
        MADE,
        "# Test data: sources and licences",
        "",
        *table(["folder", "what it is", "licence"], parts),
        "",
        "## Trained models",
        "",
        "Each folder of `zoo/` has a `manifest.json` with the sha256 of every file and where it lies in its source.",
        "",
    ]
    rows = []
    for path in sorted(ROOT.glob("tests/data/zoo/*/manifest.json")):
        m = json.loads(path.read_text(encoding="utf-8"))
        s = m["source"]
        if s["kind"] == "github":
            source = f"[{s['repo']}](https://github.com/{s['repo']}) at `{s['commit'][:12]}`"
        else:
            source = f"[{s['package']} {s['version']}](https://pypi.org/project/{s['package']}/{s['version']}/) (PyPI)"
        rows.append([code(path.parent.name), m["task"], source, m["licence"], f"{m['bytes'] / 1e6:.2f} MB"])
    return "\n".join([*out, *table(["model", "task", "source", "licence", "size"], rows)]) + "\n"


# ---------------------------------------------------------------- torch's table of functions
OPINFO = ROOT / "plugins/pytorch/tests/opinfo.json"


MODULES = ROOT / "plugins/pytorch/tests/nn_modules.json"

_OUTSIDE = """Outside of the question
are samples that torch does not run, does not export or exports as something else, and those that draw random numbers
or give memory that nobody has written (in the function, or in the program that is exported). Written by
"""


def opinfo_page() -> str:
    """What became of torch's own samples of its functions, from the record that ``--table`` writes."""
    told = f"""`torch.testing._internal.common_methods_invocations.op_db` is torch's table of public functions with samples of
their arguments: for each up to 3 samples of float32, one of int64 and one of bool, spread over all of them.
A sample is exported by `torch.export.export(strict=False)`, read, and its results compared with the function's, in
number, type, shape and value (1e-4 of the range). An op agrees where every sample of it does.
Where onnx.reference gives the right values for what was written and onnxruntime does not (a mean over nothing, silu near 0), the
sample is disputed and counts as refused. {_OUTSIDE}"""
    ways = {"interpreter": "opinfo --to interpreter", "onnx": "opinfo --to onnx"}
    return _torch_table(OPINFO, "PyTorch's functions, by torch's own samples", told, ways)


def modules_page() -> str:
    """The same of torch's table of modules."""
    told = f"""`torch.testing._internal.common_modules.module_db` is torch's table of `torch.nn`'s modules with samples of their
arguments and inputs: for each up to 4, in evaluation mode, float32. A module is exported by
`torch.export.export(strict=False)`, read, and its results compared with its own, in number, type, shape and value (1e-4 of
the range). A module agrees where every sample of it does. {_OUTSIDE}"""
    ways = {target: f"nn-modules --to {target}" for target in ("interpreter", "onnx", "pytorch")}
    return _torch_table(MODULES, "PyTorch's modules, by torch's own samples", told, ways)


def _torch_table(record: Path, title: str, told: str, ways: Mapping[str, str]) -> str:
    """A page of a record; ``ways`` are the arguments of the command by target."""
    held: dict[str, dict[str, Any]] = json.loads(record.read_text(encoding="utf-8"))
    out = [MADE, f"# {title}", "", told]
    out += [f"    python -m convcore.testing {way} --table {record.relative_to(ROOT)}" for way in ways.values()]
    out += [
        "",
        "| to | ops that count | agree | some samples refused | refused | wrong | samples outside |",
        "|---|---|---|---|---|---|---|",
    ]
    for target, ops in sorted(held.items()):
        verdicts = [_verdict(e) for e in ops.values()]
        n = {k: verdicts.count(k) for k in ("agree", "partly", "refused", "wrong")}
        total = sum(n.values())
        share = f"{n['agree']} ({n['agree'] / max(total, 1):.1%})"
        beside = sum(e.get("outside", 0) for e in ops.values())
        out.append(f"| {target} | {total} | {share} | {n['partly']} | {n['refused']} | {n['wrong']} | {beside} |")
    out += ["", "What does not agree:", "", f"| op | {' | '.join(ways)} | why |", f"|---|{'---|' * len(ways)}---|"]
    for op in sorted(set().union(*held.values())):
        entries = {t: held.get(t, {}).get(op, {}) for t in ways}
        said = {t: _verdict(e) for t, e in entries.items()}
        if set(said.values()) <= {"agree", ""}:
            continue
        whys = dict.fromkeys(w for e in entries.values() for k, v in e.get("why", {}).items() if k != "outside" for w in v)
        reason = "; ".join(whys)[:240].replace("|", "\\|")
        out.append(f"| `{op}` | {' | '.join(said.values())} | {reason} |")
    beside = Counter(
        "does not run in torch" if w.startswith("does not run") else w
        for e in held.get("interpreter", {}).values() for w in e.get("why", {}).get("outside", ())
    )  # fmt: skip
    out += ["", "Why samples are outside (reasons by the ops that have one):", "", "| reason | ops |", "|---|---|"]
    out += [f"| {w} | {n} |" for w, n in beside.most_common()]
    return "\n".join(out) + "\n"


def _verdict(entry: Mapping[str, Any]) -> str:
    agree, refused = entry.get("agree", 0), entry.get("refused", 0) + entry.get("disputed", 0)
    if entry.get("wrong") or entry.get("failed"):
        return "wrong"
    return ("partly" if refused else "agree") if agree else "refused" if refused else ""


def pages() -> Mapping[str, Callable[[], str]]:
    """Every generated page by its path in the repository; the support pages are those of installed plugins."""
    support = {f"docs/support/{n}.md": (lambda n=n: support_page(n)) for n in our_frameworks()}
    return {
        "core/build/methods.pyi": builder_stub,
        "docs/cli.md": cli_page,
        "docs/ops.md": ops_page,
        "docs/python.md": python_page,
        "docs/support/pytorch_modules.md": modules_page,
        "docs/support/pytorch_opinfo.md": opinfo_page,
        "docs/surface.txt": surface,
        "tests/data/SOURCE.md": source_page,
        **support,
        **SWEEP_PAGES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT, help="root to write below (default: the repository)")
    out: Path = parser.parse_args().out
    for name, make in pages().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
