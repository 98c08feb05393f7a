"""Pages that are made when the site is built: nothing of them is kept, so that they cannot be out of date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs with the files of the site."""
    sys.path.insert(0, str(Path(__file__).parent))  # not above: mkdocs takes back what a hook's import changes of it
    from generate import our_frameworks
    from refusals import page, rows_page

    names = our_frameworks()
    files.append(File.generated(config, "support/not-supported.md", content=page(names)))
    files.append(File.generated(config, "reference/rules.md", content=rows_page(names)))
    return files
