"""The card of a result: where it comes from, how it is used, what its inputs are, whether it was checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..host import host
from ..ir.about import about
from ..ir.dims import shape_text
from ..ir.graph import Value
from ..job import Job
from ..writing import moved_axes

__all__ = ["MARK", "card"]

MARK = "tags:\n- convcore\n"
"""What the front matter of a card of ours has."""

_KNOWN_LICENSES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear cc
    cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 afl-3.0 artistic-2.0 bsl-1.0 ecl-2.0
    epl-1.0 epl-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc ms-pl mpl-2.0 ofl-1.1 osl-3.0
    postgresql ncsa unlicense wtfpl zlib gemma
    """.split()  # noqa: SIM905 - a list of these is a screen long
)
"""Identifiers that the hub takes (its documentation, "Licenses"); another licence is "other" with a name."""
_SHOWN_LABELS = 50


def card(job: Job, license_file: str = "") -> str:
    """The model card of a finished conversion as Markdown with front matter. ``license_file`` is the name of the licence's text
    in the folder, "" where there is none."""
    h, said = host(), about(job.graph.metadata)
    target, source = h.framework(job.target), h.frameworks.get(job.framework)
    was = source.title if source else job.framework
    title = job.graph.name or (job.source.stem if isinstance(job.source, Path) else type(job.source).__name__)
    out = ["---", *_front(job, said, license_file), "---", "", f"# {_line(title)}", ""]
    version = _line(job.report.source.get("version", ""))
    out += [f"Converted from {was}{f' ({version})' if version else ''} to {target.title} by convcore {__version__}.", ""]
    if "description" in said:
        out += [*(f"> {line}".rstrip() for line in str(said["description"]).splitlines()), ""]
    if target.hub is not None:
        out += ["## Use", "", "```python", target.hub.usage, "```", ""]
    out += ["|  | name | type | shape |", "|---|---|---|---|", *_values(job), ""]
    out += _preprocessing(said.get("preprocessing", {}))
    out += _labels(said.get("labels", []))
    out += ["## Where it comes from", "", "|  |  |", "|---|---|", *_provenance(job), ""]
    out += ["## Licence", "", _license(said.get("license", ""), license_file), "", *_verification(job)]
    if properties := said.get("properties"):
        out += ["## What else the source says", "", "|  |  |", "|---|---|"]
        out += [_row(k, _code(v, 300)) for k, v in properties.items()] + [""]
    return "\n".join(out)


def _front(job: Job, said: Mapping[str, Any], license_file: str) -> Iterator[str]:
    license = str(said.get("license", "")).strip()
    if license.lower() in _KNOWN_LICENSES:
        yield f"license: {license.lower()}"
    elif license or license_file:
        yield "license: other"
        yield f"license_name: {re.sub(r'[^a-z0-9.]+', '-', license.lower()).strip('-')[:80] or 'of-the-source'}"
        if license_file:
            yield f"license_link: {license_file}"
    hub = host().framework(job.target).hub
    if hub is not None:
        yield f"library_name: {hub.library}"
    if _classifies_images(job, said):
        yield "pipeline_tag: image-classification"
    yield MARK + f"- {job.framework}"


def _classifies_images(job: Job, said: Mapping[str, Any]) -> bool:
    """One image in, a number for each label out."""
    inputs, outputs = job.graph.inputs, job.graph.outputs
    if len(inputs) != 1 or len(outputs) != 1 or not said.get("labels"):
        return False
    image, out = inputs[0].shape, outputs[0].shape
    return image is not None and len(image) == 4 and out is not None and len(out) == 2 and out[1] == len(said["labels"])


def _values(job: Job) -> Iterator[str]:
    moved = moved_axes(job.layout)

    def told(kind: str, v: Value) -> str:
        perm = moved.get(v.name)
        axes = f"; axis i is axis {', '.join(map(str, perm))} of the source's" if perm else ""
        return _row(kind, _code(v.name), str(v.dtype), shape_text(v.shape) + axes)

    yield from (told("input", v) for v in job.graph.inputs)
    yield from (told("output", v) for v in job.graph.outputs)


def _preprocessing(steps: Mapping[str, Any]) -> Iterable[str]:
    if not steps:
        return
    yield from ("## Preprocessing", "", "What the source says of how its inputs are made:", "")
    yield from ("| input |  |  |", "|---|---|---|")
    for name, facts in steps.items():
        for k, v in facts.items() if isinstance(facts, Mapping) else (("", facts),):
            yield _row(_code(name), k, _code(v if isinstance(v, str) else json.dumps(v, default=str), 300))
    yield ""


def _labels(labels: Sequence[str]) -> Iterable[str]:
    if not labels:
        return
    shown = ", ".join(_code(x, 80) for x in labels[:_SHOWN_LABELS])
    left = len(labels) - _SHOWN_LABELS
    yield from ("## Labels", "", f"{len(labels)}, by number from 0: {shown}{f' and {left} more' if left > 0 else ''}", "")


def _provenance(job: Job) -> Iterator[str]:
    read = [p for p in (job.source, job.weights) if isinstance(p, Path)]
    if not read:
        yield _row("source", f"a live object, `{type(job.source).__name__}`")
    for path in read:
        for file in [path] if path.is_file() else sorted(Path(f.path) for f in job.files.files if path in Path(f.path).parents):
            yield _row("source", f"{_code(file.name)}, {file.stat().st_size:,} bytes, sha256 `{_sha256(file)}`")
    facts = {k: v for k, v in job.report.source.items() if k in ("kind", "version", "layers", "parameters") and v}
    yield from (_row(k, _line(v)) for k, v in facts.items())
    versions = {i.distribution: i.version for i in host().plugins}
    ours = dict.fromkeys(f.distribution for n in (job.framework, job.target) if (f := host().frameworks.get(n)))
    yield _row("converted by", ", ".join([f"convcore {__version__}", *(f"{d} {versions[d]}" for d in ours if d in versions)]))
    options = [o for o in host().options(job.target) if o.stage == "emit" and o.type is not object]
    given = {o.name: v for o in options if (v := job.emit_options.get(o.name)) not in (None, o.default)}
    asked = {**given, **{k: getattr(job, k) for k in ("io_layout", "simplify") if getattr(job, k)}}
    if asked:
        yield _row("options", ", ".join(f"{k} {_code(v)}" for k, v in asked.items()))


def _license(license: str, file: str) -> str:
    said = f"The source says: {_code(license, 300)}." if license else ""
    copy = f"`{file}` is a copy of the file that lay beside the source." if file else ""
    return " ".join(filter(None, (said, copy))) or (
        "The source does not say under which licence it is. Conversion does not change that: ask its authors."
    )


def _verification(job: Job) -> Iterator[str]:
    report = job.report
    yield from ("## Verification", "", f"Verdict: **{report.verdict}**.")
    if report.verified:
        yield f"The source ({_line(report.runtimes[0])}) and this model ({_line(report.runtimes[1])}) ran on the same inputs."
        yield from ("", "| output | shape | largest error | relative to range |  |", "|---|---|---|---|---|")
        for d in report.differences:
            good = "ok" if d.ok else "**differs**"
            yield _row(_code(d.name), str(list(d.shape)), f"{d.max_abs:.2e}", f"{d.max_rel:.2e}", good)
        if report.layers:
            n = report.layers
            yield ""
            yield f"Values compared inside: {n['compared']}; weights that would show there: {n['covered']} of {n['weights']}."
    elif report.unverified:
        yield f"Nothing was compared: {_line(report.unverified)}"
    remarks = [*(f"weak: {w}" for w in report.weak), *report.notes]
    yield from (*([""] if remarks else ()), *(f"* {_line(n)}" for n in remarks), "")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(os.fspath(path), "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _line(x: Any) -> str:
    """A text as one line of Markdown, without what would be markup of HTML."""
    return " ".join(str(x).split()).replace("<", "&lt;")


def _code(x: Any, most: int = 120) -> str:
    """A text of the source's as code, which is no markup."""
    text = " ".join(str(x).split()).replace("`", "'")
    return f"`{text if len(text) <= most else text[: most - 1] + '…'}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
