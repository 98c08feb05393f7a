"""Whether the installed distributions meet a requirement, from metadata alone: nothing is imported."""

from __future__ import annotations

from .errors import BrokenPluginError

__all__ = ["unmet"]


def unmet(text: str, seen: frozenset[str] = frozenset()) -> str:
    """Why the installed distributions do not meet a requirement; "" where they do, or where its marker excludes it here.

    Versions, extras and markers mean what ``packaging`` says. An installed pre-release counts where it lies in the range
    (2.5rc1 meets ``>=2.4``, not ``>=2.5``). ``seen`` are extras that are being followed. BrokenPluginError for no requirement.
    """
    import importlib_metadata
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    try:
        need = Requirement(text)
    except InvalidRequirement as e:
        raise BrokenPluginError(f"{text!r} is no requirement: {e}") from e
    if need.marker is not None and not need.marker.evaluate():
        return ""
    try:
        version = importlib_metadata.version(need.name)
        fits = need.specifier.contains(version, prereleases=True)
    except importlib_metadata.PackageNotFoundError:
        return "which is not installed"
    except InvalidVersion:  # of before PEP 440: it can be compared with nothing
        fits = not need.specifier
    if not fits:
        return f"but {need.name} {version} is installed"
    for extra in sorted(f"{need.name}[{e}]" for e in need.extras):
        if extra in seen:
            continue
        for inner in importlib_metadata.requires(need.name) or []:
            asked = Requirement(inner)
            name = extra[len(need.name) + 1 : -1]
            if asked.marker is None or asked.marker.evaluate({"extra": ""}) or not asked.marker.evaluate({"extra": name}):
                continue  # needed by the distribution in any case, or by another extra
            asked.marker = None
            why = unmet(str(asked), seen | {extra})
            if why:
                return f"whose extra {name!r} needs {asked}, {why}"
    return ""
