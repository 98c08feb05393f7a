"""What stands beside a source and says something about it: labels, and what folders of Hugging Face's hub and timm hold.

Nothing here is needed to convert: what cannot be read or does not fit the model is left out, except for what the user named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import BadFileError, UsageError
from .files import watched
from .ir.about import take_about
from .ir.graph import Graph

__all__ = ["license_beside", "read_labels", "tell_beside"]

_MOST = 1 << 24
"""Bytes that a file which is only told about may have."""
_LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


def read_labels(path: Any) -> list[str]:
    """Class names, one a line (a leading WordNet id, ``n01440764 tench``, stays part of it).

    UsageError for what cannot be read, BadFileError for more than 16 MiB or what is no text.
    """
    try:
        raw = Path(watched(path)).read_bytes()[: _MOST + 1]
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror or e}") from e
    if len(raw) > _MOST:
        raise BadFileError(f"{path}: a labels file of more than {_MOST} bytes")
    try:
        return [line.strip() for line in raw.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as e:
        raise BadFileError(f"{path}: the labels are not UTF-8 ({e.reason})") from e


def tell_beside(graph: Graph, source: Any, weights: Any, labels: Any) -> None:
    """Put into a graph's metadata what the user's file of ``labels`` and the files beside the source say, where the source itself
    says nothing; the report's notes name the file."""
    meta = graph.metadata
    if labels:
        meta["labels"] = read_labels(labels)
    for path in dict.fromkeys(p for p in (source, weights) if isinstance(p, Path)):
        folder = path if path.is_dir() else path.parent
        for name, found in _told(folder, graph):
            new = {k: v for k, v in found.items() if k not in meta}
            if new:
                take_about(meta, new)
                meta["notes"] = [*meta.get("notes", ()), f"{', '.join(new)}: from {name} beside the source"]
    if meta.get("labels") and not _fits(graph, len(meta["labels"])):
        odd = f"there are {len(meta['labels'])} labels, and no output has an axis of that size"
        meta["notes"] = [*meta.get("notes", ()), odd]


def license_beside(source: Any) -> Path | None:
    """The file of a licence that lies beside a source; None where there is none."""
    if not isinstance(source, Path):
        return None
    folder = source if source.is_dir() else source.parent
    return next((folder / n for n in _LICENSE_FILES if (folder / n).is_file()), None)


def _told(folder: Path, graph: Graph) -> Iterator[tuple[str, dict[str, Any]]]:
    """Files by name with what they say under the keys of :data:`convcore.ir.about.ABOUT`."""
    config = _json(folder / "config.json")
    labels = _labels(config)
    image = next((v.name for v in graph.inputs if v.shape is not None and len(v.shape) == 4), "")
    timm = config.get("pretrained_cfg") if isinstance(config.get("pretrained_cfg"), dict) else {}
    said: dict[str, Any] = {}
    if labels and _fits(graph, len(labels)):
        said["labels"] = labels
    if image and isinstance(timm, dict) and timm.get("mean"):
        said["preprocessing"] = {image: timm_facts(timm)}
    if isinstance(timm, dict) and isinstance(timm.get("license"), str):
        said["license"] = timm["license"]
    yield "config.json", said
    steps = _json(folder / "preprocessor_config.json")
    if image and steps:
        yield "preprocessor_config.json", {"preprocessing": {image: steps}}
    for name in ("README.md", "readme.md"):
        if license := _front_matter_license(folder / name):
            yield name, {"license": license}


def timm_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of timm's ``pretrained_cfg`` says how an image becomes the input (``timm.data.resolve_data_config``)."""
    names = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
    facts: dict[str, Any] = {k: config[k] for k in names if config.get(k) is not None}
    return {**facts, "order": "RGB", "formula": "(x / 255 - mean) / std"}


def _labels(config: Mapping[str, Any]) -> list[str]:
    """``id2label`` of transformers, ``label_names`` of timm; [] where they are none or made up."""
    named = config.get("label_names")
    if isinstance(named, list) and named:
        return [str(x) for x in named]
    by_number = config.get("id2label")
    if not isinstance(by_number, dict) or not by_number:
        return []
    numbers = {str(k): str(v) for k, v in by_number.items()}
    keys = [str(i) for i in range(len(numbers))]
    made_up = all(re.fullmatch(r"LABEL_\d+", v) for v in numbers.values())  # the default of every configuration
    return [] if made_up or set(keys) != set(numbers) else [numbers[k] for k in keys]


def _fits(graph: Graph, count: int) -> bool:
    """Whether an output has an axis of this size, or one that is not known."""
    shapes = [v.shape for v in graph.outputs]
    return any(s is None or any(not isinstance(d, int) or d == count for d in s[1:] or s) for s in shapes)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    """The text of a file; "" where there is none to read. It is not watched: that it changes later changes no number."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _front_matter_license(path: Path) -> str:
    """The licence that the front matter of a card names (the hub's cards, and readme.md of Caffe's model zoo)."""
    head = re.match(r"---\s*\n(.*?)\n---\s*\n", _text(path)[:65536], re.DOTALL)
    said = dict(re.findall(r"^(license(?:_name)?):[ \t]*['\"]?([^'\"\n#]+)", head[1], re.MULTILINE)) if head else {}
    license = said.get("license", "").strip()
    return str(said.get("license_name", "")).strip() if license == "other" else str(license)
