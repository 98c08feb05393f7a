"""What all tests share: nothing is remembered in the home of who runs them, and nothing is coloured because of their terminal."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["CONVCORE_STATE"] = str(Path(tempfile.gettempdir()) / f"convcore-tests-{os.getuid() if hasattr(os, 'getuid') else 0}")
for _name in ("NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(_name, None)
