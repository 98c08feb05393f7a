"""What all tests share: nothing is remembered in the home of who runs them, and nothing is coloured because of their terminal."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

os.environ["CONVCORE_STATE"] = str(Path(tempfile.gettempdir()) / f"convcore-tests-{os.getuid() if hasattr(os, 'getuid') else 0}")
for _name in ("NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(_name, None)


def pytest_report_header() -> str:
    """The room that the tests have: those that find none fail by the hundred, each for a reason of its own."""
    return f"free in {tempfile.gettempdir()}: {shutil.disk_usage(tempfile.gettempdir()).free / 2**30:.1f} GiB"


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the collector, which failures of commands call, need not search it each time."""
    gc.collect()
    gc.freeze()
