"""``.pt2``: the generated module exported by torch.export, with free sizes where the source has them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from convcore.plugin import Dim, Graph, host

from .files.exported import ABOUT
from .runtime import REQUIRES, not_taken

__all__ = ["exported", "write_program"]


def exported(model: Any, graph: Graph) -> Any:
    """The ExportedProgram of a module that takes the inputs of a graph. UnsupportedError with torch's reason where there is none.

    An axis that has a name there is free, and one of that name; torch keeps free axes at 2 and more apart from 0 and 1, which
    generated code does not.
    """
    host().require(REQUIRES, "writing .pt2 files")
    import torch

    from .fill import examples
    from .tracing import quiet

    dims: dict[str, Any] = {}
    shapes: list[Any] = []
    for v in graph.inputs:
        free: dict[int, Any] = {}
        for i, d in enumerate(v.shape or ()):
            if isinstance(d, Dim):
                name = re.sub(r"\W", "_", str(d))
                known = d.is_name and name.isidentifier()
                free[i] = dims.setdefault(name, torch.export.Dim(name, max=1 << 30)) if known else torch.export.Dim.DYNAMIC
        shapes.append(free or None)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, tuple(examples(graph)), dynamic_shapes=tuple(shapes), strict=False)
    except Exception as e:  # torch has no base class for what an export may raise
        raise not_taken(model, "cannot export it", e, any(shapes)) from e


def write_program(path: Path, program: Any, about: str = "") -> None:
    """``torch.export.save``, with labels and the like as an extra file where there are any."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.export.save(program, path, extra_files={ABOUT: about} if about else None)
        except OSError:
            raise  # the disk's
        except Exception as e:  # torch has no base class for what this may raise
            raise not_taken(program, "cannot save the exported program", e, True) from e
