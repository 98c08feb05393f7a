"""docs/framework-plugin.md prints the plugin that ``convcore new-plugin framework mlp`` writes, which other tests run."""

from __future__ import annotations

import re
from pathlib import Path

from convcore.cli.new_plugin import new_plugin

PAGE = Path(__file__).parents[2] / "docs" / "framework-plugin.md"


def test_the_page_shows_what_is_written(tmp_path: Path) -> None:
    new_plugin("framework", "mlp", tmp_path / "mlp")
    shown = dict(re.findall(r"```python\n# ((?:src|tests)/\S+\.py)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    wanted = {p.relative_to(tmp_path / "mlp").as_posix(): p.read_text() for p in (tmp_path / "mlp").rglob("*.py")}
    assert shown == {name: text for name, text in wanted.items() if not name.endswith("__init__.py")}
    pyproject = (tmp_path / "mlp/pyproject.toml").read_text()
    (entry,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert entry in pyproject
