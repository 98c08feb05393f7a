"""The site is built without a warning or a dead link, and its search, run as the browser runs it, finds what people look for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

import convcore
from convcore import hookspecs, plugin

ROOT = Path(__file__).parents[2]
for _name in ("material", "mkdocstrings"):
    pytest.importorskip(_name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = {"keras", "onnx", "caffe", "pytorch"} - set(convcore.formats())
    if missing:
        pytest.skip(f"plugins not installed: {', '.join(sorted(missing))}")
    out = tmp_path_factory.mktemp("site")
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return out


def test_no_dead_link(site: Path):
    """Every page and place that a page of the site links to is there: mkdocs sees those of Markdown only."""
    pages = {p: p.read_text(encoding="utf-8") for p in site.rglob("*.html")}
    places = {p: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for p, text in pages.items()}
    dead, count = [], 0
    for page, text in pages.items():
        if page.name == "404.html":
            continue
        for link in map(unescape, re.findall(r'<a\b[^>]*?\bhref="([^"]+)"', text)):
            if re.match(r"[a-z]+:", link):
                continue
            count += 1
            path, _, place = link.partition("#")
            to = (page.parent / unquote(path)).resolve() if path else page
            to = to / "index.html" if to.is_dir() else to
            if not to.exists() or (place and to in places and unquote(place) not in places[to]):
                dead.append(f"{page.relative_to(site)}: {link}")
    assert not dead and count > 3000, (dead[:20], count)


def test_what_is_made_of_the_code(site: Path):
    """References name everything public, with its text; rules and refusals are those of the code."""
    text = {n: (site / f"reference/{n}/index.html").read_text(encoding="utf-8") for n in ("python", "hooks", "plugin", "rules")}
    for name in (n for n in convcore.__all__ if n != "__version__"):
        assert f'id="convcore.{name}"' in text["python"], name
    for name in (n for n in vars(hookspecs) if n.startswith("convcore_")):
        assert f'id="convcore.hookspecs.{name}"' in text["hooks"], name
    undocumented = {n for n in plugin.__all__ if f'id="convcore.plugin.{n}"' not in text["plugin"]}
    assert len(undocumented) < 10, undocumented  # constants of types that say it themselves
    assert "run source and result on seeded inputs" in text["python"] and ":class:" not in "".join(text.values())
    assert re.search(r'<code>LeakyRelu</code></td>\s*<td><a href="../../ops/#leaky_relu">', text["rules"])
    refused = (site / "support/not-supported/index.html").read_text(encoding="utf-8")
    for words in (
        "its meaning differs between forks of Caffe",
        "TensorFlow Lite models are not read",
        "From PyTorch",
        "To Keras",
    ):
        assert words in refused, words


SOUGHT = {
    "BatchNormalization": "support/onnx/#reading", "Res2Net": "support/keras-written/", "--io-layout": "cli/#convcore-convert",
    "custom layer": "tasks/custom/", "convcore_emit": "reference/hooks/#convcore.hookspecs.convcore_emit", "hub": "tasks/hub/",
}  # fmt: skip


def test_the_search(site: Path):
    """The worker of the theme (lunr and what is around it) with the index of the site, in node."""
    if shutil.which("node") is None:
        pytest.skip("no node here")
    command = ["node", str(ROOT / "tests/support/search.js"), str(site), *SOUGHT, "zzzzqqqq"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = json.loads(done.stdout)
    for query, place in SOUGHT.items():
        assert place in [x for pages in found[query] for x in pages], (query, found[query][:5])
    assert found["custom layer"][0][0] == "tasks/custom/" and found["zzzzqqqq"] == []
