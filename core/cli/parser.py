"""Arguments of every command. Options of plugins' loaders and emitters become flags of the commands that load or emit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from ..errors import meant
from .console import printable

__all__ = ["parse", "plugin_options", "whole"]

_EPILOG = """exit codes: 0 done, 2 wrong usage, 3 bad file, 4 something has no exact counterpart, 5 outputs differ,
            6 written but not verified, 70 a bug, 1 other

examples:
  convcore convert model.keras -o model.onnx
  convcore convert architecture.json -w weights.h5 --to onnx --opset 17
  convcore check model.h5 --to onnx
  convcore run model.keras --input x.npy --until conv1 -o y.npz
"""


class _Parser(argparse.ArgumentParser):
    """argparse with our defaults, and with what may have been meant by a word it does not know."""

    def __init__(self, **kw: Any) -> None:
        kw.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kw)

    def error(self, message: str) -> NoReturn:
        """One line: the usage of some commands fills a screen, and would hide what is wrong."""
        self.exit(2, printable(f"convcore: {message} ({self.prog} --help)") + "\n")

    @property
    def arguments(self) -> list[argparse.Action]:
        return list(self._actions)

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Refuse words that the command does not know, with the flags that look like them."""
        flags = {s.strip("-"): s for a in self._actions for s in a.option_strings}  # dashes make all flags alike
        said = [w + meant(w.partition("=")[0].strip("-"), flags, flags.__getitem__) if w.startswith("-") else w for w in words]
        self.error(f"unrecognized arguments: {' '.join(said)}")


def parse(args: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; wrong usage exits with code 2 as argparse does."""
    if any(a == "--plugin" or a.startswith("--plugin=") for a in args):
        from .code import named_plugins, use_plugins

        use_plugins(named_plugins(args))
    chosen = next((a for a in args if not a.startswith("-")), "")
    top, parsers = _made(chosen)
    if not args:
        top.error(f"name a command: {', '.join(_COMMANDS)}")
    if chosen and chosen not in _COMMANDS:
        top.error(f"there is no command {chosen!r}{meant(chosen, _COMMANDS)}")
    parsed, unknown = top.parse_known_args(args)
    if unknown:
        parsers[parsed.command].unknown(unknown)
    for flag, name in (("-o", "output"), ("--out", "out")):
        if getattr(parsed, name, None) == "-":
            parsers[parsed.command].error(
                f"{flag} -: results are files that belong together and are moved into place when they are whole: name one"
            )
    parsed.flags = frozenset(s for a in parsers[parsed.command].arguments for s in a.option_strings)
    from . import commands

    parsed.run = getattr(commands, parsed.command.replace("-", "_"))
    return parsed


def whole() -> tuple[argparse.ArgumentParser, dict[str, list[argparse.Action]]]:
    """The parser with every command's arguments, and these by command."""
    top, parsers = _made("")
    return top, {name: p.arguments for name, p in parsers.items()}


def _made(chosen: str) -> tuple[_Parser, dict[str, _Parser]]:
    """The parser and those of its commands; of these only the chosen one has its arguments, all where none is chosen."""
    top = _Parser(prog="convcore", description="Convert trained deep-learning models between frameworks.", epilog=_EPILOG)
    top.add_argument("-V", "--version", action="version", version=f"convcore {__version__}")
    sub = top.add_subparsers(title="commands", dest="command", required=True, parser_class=_Parser)
    parsers = {}
    for name, (make, text) in _COMMANDS.items():
        parsers[name] = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == chosen or not chosen:
            make(parsers[name])
    return top, parsers


def plugin_options(p: argparse.ArgumentParser, *stages: str) -> None:
    """Add the options of all plugins for the given stages; values arrive in ``args.plugin_<name>``."""
    from ..host import EVERY, host

    group = None
    seen: dict[str, str] = {}
    for framework in host().frameworks:
        for o in host().options(framework):
            if o.stage not in stages or o.type is object:  # an object cannot be said on a command line
                continue
            if o.name in seen:
                continue
            seen[o.name] = framework
            group = group or p.add_argument_group("options of plugins")
            flags = ["--" + n.replace("_", "-") for n in (o.name, *o.aliases)]
            whose = "any source" if o.name in EVERY else framework
            text = f"{whose}: {o.help}" + (f" (default {o.default})" if o.default not in (None, "") else "")
            kw: dict[str, Any] = {"dest": f"plugin_{o.name}", "default": None, "help": text.replace("%", "%%")}
            if o.type is bool:
                group.add_argument(*flags, action=argparse.BooleanOptionalAction, **kw)
            elif o.type is list:
                group.add_argument(*flags, action="append", metavar=o.name.upper(), **kw)
            else:
                group.add_argument(
                    *flags, type=o.type, choices=o.choices or None, metavar=None if o.choices else o.name.upper(), **kw
                )


def _source(p: argparse.ArgumentParser, name: str = "source") -> None:
    _meanings(p)
    p.add_argument(name, metavar="IN", help="model file")
    p.add_argument("-w", "--weights", metavar="FILE", help="weights file, when the architecture is in another")
    p.add_argument("--from", dest="format", metavar="FORMAT", help="source format, when content and suffix do not tell")
    _shapes(p)


def _shapes(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--input-shape", action="append", default=[], metavar="NAME:D,D,...",
        help="fix or name the sizes of an input, e.g. x:batch,3,224,224; may be repeated",
    )  # fmt: skip


def _entry(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--entry",
        metavar="KEYS",
        help="of a file of weights alone: which of several state dicts in it, e.g. ema or model.state_dict",
    )


def _fusing(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--no-fuse", dest="fuse", action="store_false", help="leave primitives as they are: find no gelu, layer_norm..."
    )


_OVERRIDE: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME=FILE.py:FUNCTION"}


def _meanings(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--override", **_OVERRIDE,
        help="let this function say what a layer (its name or type) computes: FUNCTION(g, node) builds it with g.b and returns "
        "its output; imports and runs FILE.py; emit:OP=... says how an op is written; may be repeated",
    )  # fmt: skip
    _plugin(p)


def _plugin(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--plugin", action="append", default=[], metavar="FILE.py",
        help="a plugin that is not installed: a module with hooks, which is imported and run; may be repeated",
    )  # fmt: skip


def _two(p: argparse.ArgumentParser) -> None:
    """What is said of how each of two models is read."""
    for side in "ab":
        p.add_argument(f"--weights-{side}", metavar="FILE", help=f"weights file of {side.upper()}")
    for side in "ab":
        p.add_argument(f"--from-{side}", metavar="FORMAT", help=f"format of {side.upper()}, when content and suffix do not tell")
    for side in "ab":
        p.add_argument(
            f"--override-{side}",
            **_OVERRIDE,
            help=f"what a layer of {side.upper()} computes: as --override of convert",
        )
    _shapes(p)
    _plugin(p)


def _loudness(p: argparse.ArgumentParser, quiet: str = "") -> None:
    """-v, and -q where a command says anything that need not be."""
    group = p.add_mutually_exclusive_group()
    group.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is done, how long it took, peak memory")
    if quiet:
        group.add_argument("-q", "--quiet", action="store_true", help=quiet)


_QUIET = "print no report and no progress, only what is wrong"


def _report(p: argparse.ArgumentParser) -> None:
    p.add_argument("--report", choices=("text", "json", "none"), default=None, help="what to print (default text)")
    _loudness(p, _QUIET)


def _tolerance(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--rtol", type=float, default=None, help="tolerance relative to an output's range (default 1e-4; half precision 5e-3)"
    )
    p.add_argument("--atol", type=float, default=None, help="absolute tolerance, added to it (default 0)")


def _convert(p: argparse.ArgumentParser) -> None:
    _source(p)
    p.add_argument("-o", "--output", metavar="OUT", help="file to write (default: the source's name with the target's suffix)")
    p.add_argument("--to", metavar="FORMAT", help="target format (default: by the suffix of OUT)")
    p.add_argument(
        "--io-layout", choices=("source", "target"), default=None,
        help="order of the axes of inputs and outputs: as in the source (default) or as the target prefers (default for Keras); "
        "the batch stays first",
    )  # fmt: skip
    p.add_argument(
        "--check", choices=("native", "interpreter"), default="interpreter", help="what runs the source side of the check"
    )
    p.add_argument("--no-check", action="store_true", help="do not compare source and result: the report says NOT VERIFIED")
    p.add_argument(
        "--input", action="append", default=[], metavar="[NAME=]FILE", help=".npy or .npz to check with, instead of seeded data"
    )
    p.add_argument("--keep", action="store_true", help="keep the output even when the check fails")
    _force(p)
    p.add_argument(
        "--hub", action="store_true",
        help="OUT is a folder, written as Hugging Face's hub has models: files under the usual names, config.json, and a "
        "model card README.md with provenance, licence, labels and the check",
    )  # fmt: skip
    _fusing(p)
    p.add_argument(
        "--simplify", action=argparse.BooleanOptionalAction,
        help="fewer nodes of the same meaning: constants computed, what has no effect left out, batch norm put into convolutions "
        "(default: where operators are written as operators of the same format, ONNX to ONNX)",
    )  # fmt: skip
    _tolerance(p)
    p.add_argument(
        "--report", type=_report_kind, action="append", default=[], metavar="{text,json,none,FILE.html}",
        help="what to print (default text); FILE.html: also write a page with both graphs, errors by layer and problems",
    )  # fmt: skip
    _loudness(p, _QUIET)
    plugin_options(p, "load", "emit")


def _force(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--force", action="store_true",
        help="write over files that are there already and are no earlier result of the same source; without it they are kept",
    )  # fmt: skip


def _report_kind(text: str) -> str:
    """A kind of report, or the name of a page."""
    if text in ("text", "json", "none") or text.lower().endswith((".html", ".htm")):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is none of text, json, none and no FILE.html")


def _check(p: argparse.ArgumentParser) -> None:
    _source(p)
    p.add_argument("--to", metavar="FORMAT", required=True, help="target format")
    _fusing(p)
    p.add_argument("--report", choices=("text", "json"), default="text", help="what to print (default text)")
    _loudness(p, "print nothing when nothing is in the way")
    plugin_options(p, "load", "emit")


def _inspect(p: argparse.ArgumentParser) -> None:
    _source(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    p.add_argument("--ir", action="store_true", help="print the intermediate representation instead")
    _entry(p)
    _fusing(p)
    _loudness(p)
    plugin_options(p, "load")


def _run(p: argparse.ArgumentParser) -> None:
    _source(p)
    p.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        required=True,
        help=".npy, or .npz with arrays by input name",
    )
    p.add_argument("--until", metavar="LAYER", help="stop after this layer and give its output")
    p.add_argument("-o", "--output", metavar="FILE", help=".npy (one output) or .npz to write; otherwise a summary is printed")
    _force(p)
    _fusing(p)
    _loudness(p)
    plugin_options(p, "load")


def _verify(p: argparse.ArgumentParser) -> None:
    p.add_argument("a", metavar="A", help="reference model file")
    p.add_argument("b", metavar="B", help="model file to compare with it")
    _two(p)
    p.add_argument(
        "--input", action="append", default=[], metavar="[NAME=]FILE", help=".npy or .npz to run on, instead of seeded data"
    )
    p.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="NAME[=NAME]",
        help="compare this layer or tensor of A (with that of B) instead of the outputs; may be repeated",
    )
    p.add_argument("--interpreter", action="store_true", help="run both by convcore's interpreter, not by native runtimes")
    _tolerance(p)
    _report(p)
    plugin_options(p, "load")


def _diff(p: argparse.ArgumentParser) -> None:
    p.add_argument("a", metavar="A", help="model file")
    p.add_argument("b", metavar="B", help="model file to compare with it, node by node, or weights with weights")
    _entry(p)
    _two(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    _loudness(p)
    plugin_options(p, "load")


def _plugins(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print JSON")


def _ops(p: argparse.ArgumentParser) -> None:
    p.add_argument("name", metavar="OP", nargs="?", help="show one op in full")
    p.add_argument("--json", action="store_true", help="print JSON")


def _rules(p: argparse.ArgumentParser) -> None:
    p.add_argument("--framework", metavar="F", help="only this framework's rules")
    p.add_argument("--json", action="store_true", help="print every rule as data")


def _new_plugin(p: argparse.ArgumentParser) -> None:
    p.add_argument("kind", choices=("layer", "framework"), help="a layer (an op and its rule), or a framework (files in and out)")
    p.add_argument("name", metavar="NAME", help="its name, e.g. ScaledTanh or mlp; the distribution is convcore-NAME")
    p.add_argument("-o", "--output", metavar="DIR", help="folder to write (default: convcore-NAME here)")


def _batch(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "sources", nargs="+", metavar="SOURCE", help='files, folders, quoted patterns ("models/**/*.h5") or fsspec URLs'
    )
    p.add_argument("--to", metavar="FORMAT", required=True, help="target format")
    p.add_argument("--out", metavar="DIR", required=True, help="folder or fsspec URL to write to")
    p.add_argument("--workers", type=int, metavar="N", help="processes at once (default: one for each core)")
    p.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="limit of each model; 0: none (default 600)")
    p.add_argument(
        "--memory", metavar="SIZE", help="memory limit of each model, e.g. 4G (default: the machine's, shared by the workers)"
    )
    p.add_argument("--scheduler", metavar="URL", help="let the workers of this dask.distributed cluster convert: tcp://host:8786")
    p.add_argument(
        "--again", action="append", default=[], metavar="STATUS",
        help="do finished models of this status again (timeout, crashed, unsupported..., or all); may be repeated",
    )  # fmt: skip
    p.add_argument(
        "--report-each", action="append", default=[], choices=("json", "html"), dest="each",
        help="also write a report of each model beside its result: NAME.report.json, or the page NAME.html; may be repeated",
    )  # fmt: skip
    p.add_argument("--reports", metavar="DIR", help="folder of report.html, .json and .csv (default: that of --out)")
    p.add_argument("--no-check", action="store_true", help="do not compare sources and results")
    _force(p)
    p.add_argument("--simplify", action=argparse.BooleanOptionalAction, help="as for convert")
    p.add_argument("--io-layout", choices=("source", "target"), default=None, help="as for convert")
    _fusing(p)
    _report(p)
    plugin_options(p, "load", "emit")


def _view(p: argparse.ArgumentParser) -> None:
    _source(p)
    p.add_argument("-o", "--output", metavar="FILE.html", help="page to write (default: the model's name with .html, here)")
    _force(p)
    p.add_argument("--open", action="store_true", help="open it in the browser")
    _fusing(p)
    _loudness(p)
    plugin_options(p, "load")


def _custom(p: argparse.ArgumentParser) -> None:
    p.add_argument("paths", nargs="+", metavar="PATH", help="Python file or folder, which is read and never run; or a model file")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.add_argument("--stub", action="store_true", help="of a model: write a plugin with a rule to fill in for each unknown type")
    p.add_argument("-o", "--output", metavar="DIR", help="folder of the plugin (default: convcore-NAME of the model here)")
    _meanings(p)
    p.add_argument("-w", "--weights", metavar="FILE", help="weights of the model, where they are in a file of their own")
    p.add_argument(
        "--from", "--format", dest="format", metavar="FORMAT", help="format of the model, when content and suffix do not tell"
    )
    _shapes(p)
    plugin_options(p, "load")


_COMMANDS: dict[str, tuple[Any, str]] = {
    "convert": (_convert, "convert a model, check the result and report"),
    "check": (_check, "list everything that would be missing in the target, without converting"),
    "inspect": (_inspect, "describe a model: kind, inputs, layers, parameters, versions"),
    "run": (_run, "run a model, or a part of it, in the reference interpreter"),
    "verify": (_verify, "compare two models numerically"),
    "view": (_view, "write a page with a picture of a model, for a browser"),
    "diff": (_diff, "show what is different between two models, node by node"),
    "batch": (_batch, "convert many models, each in a process of its own with limits, and report on all"),
    "plugins": (_plugins, "list the plugins found and their options"),
    "ops": (_ops, "list the op set"),
    "rules": (_rules, "list the mapping rules (the support table)"),
    "custom": (_custom, "list the custom layers of source files, or the layers of a model that nothing maps"),
    "new-plugin": (_new_plugin, "write a plugin that works, with tests, to be changed into one's own"),
}
