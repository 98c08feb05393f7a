"""convcore: convert trained deep-learning models between frameworks.

In a few lines:

    import convcore
    model = convcore.load("model.keras")            # any installed framework's file, or a live object
    y = model(x)                                    # run it, or model[:5](x), or model["conv1"](x)
    done = convcore.convert("model.keras", "onnx", "model.onnx")
    print(done.report)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ == "core":
    raise ImportError(
        "this folder is imported as convcore: pip install -e . (the package lies in core/ for the workspace's sake)"
    )

from .errors import (
    BadFileError,
    ConvcoreError,
    InputError,
    MismatchError,
    OutputError,
    Problem,
    ShapeError,
    UnsupportedError,
    UsageError,
)

if TYPE_CHECKING:
    from .fleet import Batch, batch
    from .model import Model
    from .paging import view
    from .pipeline import Conversion, check, convert, formats, load, load_into
    from .report import Report
    from .verification import verify

__version__ = "0.1.0"

__all__ = [
    "BadFileError",
    "Batch",
    "Conversion",
    "ConvcoreError",
    "InputError",
    "MismatchError",
    "Model",
    "OutputError",
    "Problem",
    "Report",
    "ShapeError",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "batch",
    "check",
    "convert",
    "formats",
    "load",
    "load_into",
    "verify",
    "view",
]

_LAZY = {
    "check": "pipeline", "convert": "pipeline", "load": "pipeline", "load_into": "pipeline",
    "formats": "pipeline", "Conversion": "pipeline",
    "verify": "verification", "Model": "model", "Report": "report",
    "batch": "fleet", "Batch": "fleet", "view": "paging",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module 'convcore' has no attribute {name!r}")
