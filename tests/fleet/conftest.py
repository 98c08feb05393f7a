"""A plugin that crashes, hangs and eats memory, installed for child processes only; and a folder of models of every fate."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from plugin_folders import installed

_PYPROJECT = """
[project]
name = "convcore-boom"
version = "1.0"

[project.entry-points.convcore]
boom = "convcore_boom"
"""
_PLUGIN = """
import ctypes, time
from convcore.plugin import Framework, Identified, RuleSet, hookimpl

CONVCORE_API = (2, 0)
RULES = RuleSet("boom", "convcore-boom")

@hookimpl
def convcore_frameworks():
    return [Framework("boom", title="Boom", distribution="convcore-boom", suffixes=(".boom",), rules="convcore_boom:RULES")]

@hookimpl
def convcore_identify(source):
    return Identified("boom", 90, "the suffix") if str(source).endswith(".boom") else None

@hookimpl
def convcore_load(framework, request):
    what = request.source.read_text()
    if what == "crash":
        ctypes.string_at(0)
    if what == "exit":
        import os
        os._exit(7)
    if what == "eat":
        held = [bytearray(1 << 20) for _ in range(1 << 20)]
    while what == "hang":
        time.sleep(1)
    raise RuntimeError("nobody foresaw this")
"""


@pytest.fixture(scope="session")
def boom(tmp_path_factory):
    """The environment in which convcore-boom is installed."""
    folder = tmp_path_factory.mktemp("boom")
    (folder / "pyproject.toml").write_text(_PYPROJECT)
    (folder / "convcore_boom.py").write_text(_PLUGIN)
    return installed(tmp_path_factory.mktemp("site"), folder)


@pytest.fixture
def models(tmp_path):
    """A model of every fate: names say which."""
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    data = ROOT / "tests/data/zoo"
    shutil.copy(data / "keras2-fer-minixception/emotion_model.hdf5", folder / "good.hdf5")
    shutil.copy(data / "keras2-textgenrnn/architecture.json", folder / "deep/custom.json")
    shutil.copy(data / "keras2-textgenrnn/textgenrnn_weights.hdf5", folder / "deep/custom.weights.h5")
    (folder / "damaged.keras").write_bytes(b"PK\3\4 and no more")
    for what in ("crash", "hang", "eat", "bug", "exit"):
        (folder / f"{what}.boom").write_text(what)
    return folder
