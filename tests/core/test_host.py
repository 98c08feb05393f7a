"""Discovery, conflicts, broken plugins, API versions and the three distinct errors of the plugin host."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace

import importlib_metadata
import numpy as np
import pytest

from convcore.errors import (
    BrokenPluginError,
    FrameworkMissingError,
    PluginConflictError,
    PluginNotInstalledError,
    UnknownFrameworkError,
    UsageError,
)
from convcore.hookspecs import CONVCORE_API, Framework, Identified, hookimpl
from convcore.host import Host
from convcore.requirements import unmet


class _Dist(SimpleNamespace):
    def __init__(self, name: str, version: str = "1.0") -> None:
        super().__init__(metadata={"Name": name}, version=version)


def _point(name: str, value: str, dist: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, value=value, dist=_Dist(dist))


def _module(name: str, api: object = CONVCORE_API, **functions: object) -> types.ModuleType:
    m = types.ModuleType(name)
    if api is not None:
        m.CONVCORE_API = api
    for k, v in functions.items():
        setattr(m, k, v if hasattr(v, "convcore_impl") else hookimpl(v))
    sys.modules[name] = m
    return m


@pytest.fixture(autouse=True)
def _clean():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def _framework(name: str, dist: str, **kw: object) -> Framework:
    return Framework(name, title=name.title(), distribution=dist, **kw)  # type: ignore[arg-type]


def test_sorted_and_deduplicated_discovery():
    points = [_point("b", "fake_b", "dist-b"), _point("a", "fake_a", "Dist_A"), _point("a", "fake_a", "dist-a")]
    assert [(p.name, p.distribution) for p in Host(entry_points=points).plugins] == [("a", "dist-a"), ("b", "dist-b")]


def test_same_name_from_two_distributions_names_both():
    points = [_point("keras", "fake_a", "one"), _point("keras", "fake_b", "two")]
    with pytest.raises(PluginConflictError, match=r"'keras'.*one and two"):
        _ = Host(entry_points=points).plugins


def test_same_framework_from_two_plugins_names_both():
    _module("fake_a", convcore_frameworks=lambda: [_framework("x", "dist-a")])
    _module("fake_b", convcore_frameworks=lambda: [_framework("x", "dist-b")])
    host = Host(entry_points=[_point("a", "fake_a", "dist-a"), _point("b", "fake_b", "dist-b")])
    with pytest.raises(PluginConflictError, match=r"dist-a and dist-b|dist-b and dist-a"):
        _ = host.frameworks


def test_broken_plugin_is_recorded_and_quoted_when_needed():
    host = Host(entry_points=[_point("keras", "fake_does_not_exist", "convcore-keras")])
    assert host.frameworks == {}
    assert "fake_does_not_exist" in host.plugins[0].error
    with pytest.raises(BrokenPluginError, match="fake_does_not_exist"):
        host.framework("keras")


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ((3, 0), "3.0"),
        ((2, 99), "upgrade convcore"),
        ((1, 0), "written for plugin API 1.0, this convcore has 2.0; upgrade convcore-keras"),
        (None, "CONVCORE_API"),
        ("1.0", "CONVCORE_API"),
    ],
)
def test_api_version(api: object, words: str):
    _module("fake_api", api, convcore_frameworks=lambda: [_framework("x", "dist-a")])
    host = Host(entry_points=[_point("keras", "fake_api", "convcore-keras")])
    assert host.frameworks == {}
    with pytest.raises(BrokenPluginError, match=words):
        host.framework("keras")


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("numpy~=1.0", "but numpy .* is installed"),
        ("numpy>=1.0,!=1.5,<2", "but numpy .* is installed"),
        ("numpy==0.1.*", "but numpy .* is installed"),
        ("packaging>=9999.0a1", "but packaging"),
        ("no-such-package; python_version>='3'", "not installed"),
        ("h5py[no_such_extra]>=999", "but h5py"),
    ],
)
def test_requirements_that_are_not_met(requirement: str, words: str):
    with pytest.raises(FrameworkMissingError, match=words):
        Host(entry_points=[]).require((requirement,), "it")


def test_requirements_that_are_met():
    Host(entry_points=[]).require(
        ("numpy~=" + ".".join(np.__version__.split(".")[:2]), "no-such-package; python_version<'3'", "numpy[no-such-extra]"), "it"
    )


def test_what_is_no_requirement_is_the_plugins_fault():
    with pytest.raises(BrokenPluginError, match="no requirement"):
        Host(entry_points=[]).require(("numpy>>1",), "it")


@pytest.mark.parametrize(
    ("version", "requirement", "met"),
    [
        ("2.5.0rc1", "torch>=2.4", True),
        ("2.5.0rc1", "torch>=2.5", False),
        ("2.5.0+cpu", "torch==2.5.0", True),
        ("2.10", "torch<2.9", False),
        ("not-a-version", "torch", True),
        ("not-a-version", "torch>=1", False),
    ],
)
def test_installed_versions_compare_as_packaging_says(monkeypatch, version: str, requirement: str, met: bool):
    monkeypatch.setattr("importlib_metadata.version", lambda name: version)
    assert (unmet(requirement) == "") is met


def test_extras_are_followed(monkeypatch):
    needs = {"a": ["b>=2; extra == 'fast'", "c; extra == 'other'", "a[fast]; extra == 'fast'"], "b": []}
    versions = {"a": "1", "b": "1"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib_metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr("importlib_metadata.version", version)
    monkeypatch.setattr("importlib_metadata.requires", needs.get)
    assert unmet("a") == ""
    assert unmet("a[fast]") == "whose extra 'fast' needs b>=2, but b 1 is installed"
    assert unmet("a[other]") == "whose extra 'other' needs c, which is not installed"
    versions["b"] = "2"
    assert unmet("a[fast]") == ""


def test_unknown_hook_arguments_break_the_plugin_only():
    def convcore_identify(nonsense: object) -> None: ...

    _module("fake_hook", convcore_identify=convcore_identify)
    host = Host(entry_points=[_point("p", "fake_hook", "dist-p")])
    assert host.frameworks == {}
    assert "nonsense" in host.plugins[0].error


def test_three_distinct_errors():
    _module("fake_k", convcore_frameworks=lambda: [_framework("keras", "convcore-keras", requires=("no-such-package>=1",))])
    host = Host(entry_points=[_point("keras", "fake_k", "convcore-keras")])
    with pytest.raises(UnknownFrameworkError, match="did you mean keras"):
        host.framework("kers")
    with pytest.raises(PluginNotInstalledError, match="pip install convcore-onnx"):
        host.framework("onnx")
    with pytest.raises(FrameworkMissingError, match="pip install 'no-such-package>=1'"):
        host.require(host.framework("keras").requires, "Keras")
    with pytest.raises(FrameworkMissingError, match="is installed"):
        host.require(("numpy>=999",), "Keras")
    host.require(("numpy>=1.0", "pluggy>=1,<99"), "Keras")


def test_identify_takes_the_best_claim_and_refuses_ties():
    _module("fake_a", convcore_identify=lambda source: Identified("a", 50, "suffix"))
    _module("fake_b", convcore_identify=lambda source: Identified("b", int(source), "content"))
    host = Host(entry_points=[_point("a", "fake_a", "dist-a"), _point("b", "fake_b", "dist-b")])
    assert host.identify("60") == "b"
    assert host.identify("40") == "a"
    with pytest.raises(UsageError, match=r"could be .*format="):
        host.identify("50")


def test_identify_by_nobody_says_what_was_tried():
    with pytest.raises(UsageError, match="no plugin is installed"):
        Host(entry_points=[]).identify("x.bin")


def test_blocked_plugins_are_not_loaded():
    _module("fake_a", convcore_frameworks=lambda: [_framework("x", "dist-a")])
    host = Host(entry_points=[_point("a", "fake_a", "dist-a")], blocked=["a"])
    assert host.plugins == [] and host.frameworks == {}
