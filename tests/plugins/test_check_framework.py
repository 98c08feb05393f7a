"""What is asked of a framework, step by step, and all that is found: writing, comparing, reading back, a file cut in half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convcore.errors import (
    BadFileError,
    DeclarationError,
    FrameworkMissingError,
    MismatchError,
    PluginBugError,
    Problem,
    UnsupportedError,
)
from convcore.opset import op
from convcore.report import OutputDifference, Report
from convcore.samples import SampleError
from convcore.testing import frameworks
from convcore.testing.frameworks import FrameworkReport, check_framework, targets_of, written_by
from convcore.testing.models import SampleModel, single

OFF = OutputDifference("y", (2,), 1.0, 0.5, False)
FINE = OutputDifference("z", (2,), 0.0, 0.0, True)


def model(name: str = "relu", i: int = 0) -> SampleModel:
    made = single(op(name), op(name).samples[i], frozenset(), f"{name} {i}")
    assert made is not None
    return made


def refused(*whys: str) -> UnsupportedError:
    return UnsupportedError([Problem("l", "T", why) for why in whys])


def mismatch() -> MismatchError:
    return MismatchError("off", SimpleNamespace(differences=[FINE, OFF]))  # type: ignore[arg-type]


class Fake:
    """A framework x, whose parts a test replaces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stages, self.suffix, self.unread = {"load", "emit"}, ".x", (".never",)
        self.options: list[Any] = []
        self.converted: list[Any] = []
        self.loaded: list[tuple[Any, Any, dict[str, Any]]] = []
        self.made: Callable[[Path | None], Any] = self.one_file
        self.read: Callable[[Any], Any] = lambda source: SimpleNamespace(framework="x", problems=[], graph=None)
        self.cut: Callable[[], Any] = lambda: self.raises(BadFileError("half of it"))
        self.verified = SimpleNamespace(ok=True, differences=[FINE])
        self.unverified = ""
        self.models: list[list[SampleModel]] = [[model()]]
        f = SimpleNamespace(default_suffix=".x", unread=self.unread)
        self.framework = f
        h = SimpleNamespace(
            can=lambda name, stage: stage in self.stages, framework=lambda name: f, options=lambda name: self.options,
            rules=lambda name: None, frameworks=["x"],
        )  # fmt: skip
        self.host = h
        for name, fake in {
            "host": lambda: h, "convert": self._convert, "load": self._load, "verify": lambda *a, **k: self._verify(a, k),
            "sample_models": lambda rules: iter(self.models),
        }.items():  # fmt: skip
            monkeypatch.setattr(frameworks, name, fake)

    @staticmethod
    def raises(error: BaseException) -> Any:
        raise error

    def one_file(self, out: Path | None) -> Any:
        assert out is not None
        out.write_bytes(b"0123456789")
        return self.result([out])

    def result(self, paths: list[Path], live: Any = "live") -> Any:
        return SimpleNamespace(paths=paths, model=live, weights="w", report=SimpleNamespace(unverified=self.unverified))

    def _convert(self, source: Any, name: str, out: Any, **how: Any) -> Any:
        self.converted.append((source, name, out, how))
        return self.made(out)

    def _load(self, source: Any, weights: Any = None, **options: Any) -> Any:
        self.loaded.append((source, weights, options))
        if isinstance(source, Path) and source.exists() and source.stat().st_size == 5:
            return self.cut()
        return self.read(source)

    def _verify(self, given: Any, how: Any) -> Any:
        assert how["native"] is False and any(how["inputs"] is m.inputs for ms in self.models for m in ms)
        return self.verified

    def check(self, **how: Any) -> tuple[FrameworkReport, list[str]]:
        said: list[str] = []
        return check_framework("x", said.append, **{"models": 40, **how}), said


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    yield Fake(monkeypatch)


def test_what_is_right(fake: Fake) -> None:
    fake.models = [[model()], [model("tanh")], [model("exp")]]
    report, said = fake.check()
    assert not said and (report.asked, report.written, report.back, report.sources) == (3, 3, 3, 0)
    assert [w for _, w, o in fake.loaded] == ["w"] * 4 and [o for *_, o in fake.loaded][1] == {"format": "x"}  # the first is cut
    assert str(report) == "x: 3 of 3 sample models written, 3 read back"
    assert fake.check(models=2)[0].asked == 2
    assert fake.converted[0][3]["io_layout"] == "source" and fake.converted[0][2].name == "model.x"


@pytest.mark.parametrize(
    ("cut", "why"),
    [
        (lambda: SimpleNamespace(), "x: a file cut in half loads as if nothing were missing"),
        (
            lambda: Fake.raises(ValueError("of mine\nmore")),
            "x: a file cut in half raises ValueError: of mine instead of Bad",
        ),
        (
            lambda: Fake.raises(PluginBugError("d", "w", KeyError("k"))),
            "x: a file cut in half is no BadFileError, but a bug",
        ),
    ],
)
def test_half_a_file(cut: Any, why: str, fake: Fake) -> None:
    fake.cut = cut
    report, said = fake.check()
    assert len(said) == 1 and said[0].startswith(why) and report.back == 1


READ: dict[str, tuple[Any, str]] = {
    "as another format": (lambda s: SimpleNamespace(framework="z", problems=[]), "what x writes for relu 0 is taken for z "),
    "not whole": (
        lambda s: SimpleNamespace(framework="x", problems=refused("no", "never").problems),
        "x does not read what it writes for relu 0: "),
    "refused": (lambda s: Fake.raises(refused("no rule")), "x does not read what it writes for relu 0: "),
    "with an error": (lambda s: Fake.raises(KeyError("k")), "x cannot read back relu 0: KeyError: 'k'"),
}  # fmt: skip


@pytest.mark.parametrize("how", READ)
def test_what_is_read_back(how: str, fake: Fake) -> None:
    fake.read, why = READ[how]
    report, said = fake.check()
    assert said[0].startswith(why) and report.back == 0 and report.written == 1
    assert "never" in said[0] or how != "not whole"


def test_what_is_read_back_as_something_else(fake: Fake) -> None:
    fake.verified = SimpleNamespace(ok=False, differences=[FINE, OFF])
    report, said = fake.check()
    assert said == [f"x reads back relu 0 as something else: {OFF}"] and report.back == 0


def test_a_format_that_is_never_read(fake: Fake) -> None:
    """Its live object is read, with the arrays, and no file is cut; what it refuses is no fault."""
    fake.framework.unread = (".x",)
    report, said = fake.check()
    assert not said and report.back == 1 and fake.loaded == [("live", None, {})]
    fake.options = [SimpleNamespace(name="example_inputs", stage="load"), SimpleNamespace(name="other", stage="load")]
    fake.loaded.clear()
    fake.check()
    assert [list(o) for *_, o in fake.loaded] == [["example_inputs"]]
    fake.options = [SimpleNamespace(name="example_inputs", stage="emit")]
    fake.loaded.clear()
    fake.read = lambda s: Fake.raises(refused("a loop", "a branch"))
    report, said = fake.check()
    assert not said and "a loop" in report.unread["relu 0"] and "; " in report.unread["relu 0"] and fake.loaded[0][2] == {}
    fake.made = lambda out: fake.result([], None)
    assert fake.check()[0].back == 0


def test_what_has_no_file_and_no_reader(fake: Fake) -> None:
    fake.framework.default_suffix, fake.stages = "", {"emit"}
    fake.made = lambda out: fake.result([])
    report, said = fake.check()
    assert not said and report.written == 1 and report.back == 0 and not fake.loaded and fake.converted[0][2] is None
    fake.stages = {"load"}
    assert fake.check()[0].asked == 0


WRITES: dict[str, tuple[Any, str]] = {
    "other values": (mismatch, f"x writes relu 0, which computes something else: {OFF}"),
    "an error": (lambda: ZeroDivisionError("by mine\nand more"), "x cannot write relu 0: ZeroDivisionError: by mine"),
}


@pytest.mark.parametrize("how", WRITES)
def test_what_is_not_written(how: str, fake: Fake) -> None:
    error, why = WRITES[how]
    fake.made = lambda out: Fake.raises(error())
    report, said = fake.check()
    assert said == [why] and (report.asked, report.written, report.refused) == (1, 0, {})


def test_what_is_refused(fake: Fake) -> None:
    """The next of the alternatives is tried; the last reason is told of the first."""
    fake.models = [[model(), model("tanh")]]
    fake.made = lambda out: Fake.raises(refused("one", "two"))
    report, said = fake.check()
    assert not said and report.refused == {"relu 0": "one; two"} and len(fake.converted) == 2
    kept = iter([refused("one"), None])

    def second(out: Path | None) -> Any:
        error = next(kept)
        return fake.one_file(out) if error is None else Fake.raises(error)

    fake.made = second
    report, said = fake.check()
    assert not said and report.refused == {} and report.written == 1
    fake.made = lambda out: Fake.raises(FrameworkMissingError("pip install it"))
    with pytest.raises(FrameworkMissingError, match="pip install it"):
        fake.check()


def test_no_file_and_no_verdict(fake: Fake, tmp_path: Path) -> None:
    fake.made = lambda out: fake.result([])
    said: list[str] = []
    made, why = written_by("x", model(), tmp_path, said.append)
    assert made is not None and why == "" and said == ["x writes no file for relu 0 (Emitted.paths is empty)"]
    fake.made, fake.unverified = fake.one_file, "nothing runs it"
    report, said = fake.check()
    assert report.unverified == {"nothing runs it": 1} and str(report).endswith("1 read back, 1 not verified: nothing runs it")


SOURCES: dict[str, tuple[Any, str]] = {
    "another format": (lambda s: SimpleNamespace(framework="z", problems=[]), "a.x is taken for z, not x (convcore_identify)"),
    "not whole": (
        lambda s: SimpleNamespace(framework="x", problems=refused("no", "never").problems), "a.x does not load whole: "),
    "that does not run": (
        lambda s: SimpleNamespace(framework="x", problems=[], graph=SimpleNamespace()), "a.x does not run: nothing fits"),
    "that cannot be": (lambda s: Fake.raises(OSError("no such file")), "a.x does not load: OSError: no such file"),
}  # fmt: skip


@pytest.mark.parametrize("how", SOURCES)
def test_sources_that_are_not_read(how: str, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.read, why = SOURCES[how]
    fake.models = []
    monkeypatch.setattr(frameworks, "Interpreter", lambda graph: SimpleNamespace(run=None))
    monkeypatch.setattr(frameworks, "candidates", lambda graph, run: Fake.raises(SampleError("nothing fits")))
    report, said = fake.check(sources=["a.x"])
    assert len(said) == 1 and said[0].startswith(why) and report.sources == 0
    assert fake.check(sources=[object()])[1][0].startswith("a object ")


def test_sources_that_are_read_or_written(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.models = []
    fake.read = lambda s: SimpleNamespace(framework="x", problems=[], graph=None)
    monkeypatch.setattr(frameworks, "Interpreter", lambda graph: SimpleNamespace(run=None))
    monkeypatch.setattr(frameworks, "candidates", lambda graph, run: iter([1]))
    report, said = fake.check(sources=["a.x", "b.x"])
    assert not said and report.sources == 2 and str(report).endswith("0 read back, 2 sources read")
    fake.stages = {"emit"}  # a format that is not read writes models of others
    fake.unverified = "no runtime"
    report, said = fake.check(sources=["a.onnx"])
    assert not said and (report.asked, report.written) == (1, 1) and report.unverified == {"no runtime": 1}
    fake.made = lambda out: Fake.raises(refused("no"))
    report, said = fake.check(sources=["a.onnx"])
    assert said[0].startswith("x cannot write a.onnx: UnsupportedError") and report.written == 0


def test_two_in_a_row_and_one_called_twice(fake: Fake) -> None:
    """After every eighth single, of those that were taken."""
    names = ["relu", "tanh", "exp", "abs", "neg", "square", "sqrt", "sign", "ceil", "linear"]
    fake.models = [[m] for m in (single(op(n), op(n).samples[0], frozenset(("w", "b")), n) for n in names) if m is not None]
    asked = [alternatives[0].name for alternatives in frameworks._models("x", [m[0] for m in fake.models])]
    assert asked[:8] == names[:8] and asked[8:10] != names[8:10] and sorted(set(names) - set(asked)) == []
    assert any(", then " in n for n in asked[8:10]) and asked[8:10][-1] == "linear, called twice" and len(asked) == 12
    assert [a[0].name for a in frameworks._models("x", [])] == names


def test_what_targets_make_of_an_op(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(frameworks, "constants_of", lambda decl, rules: [frozenset()])
    assert targets_of("relu", said.append) == {"x": ""} and not said
    fake.made = lambda out: Fake.raises(refused("why not"))
    assert targets_of("relu", said.append) == {"x": "refuses it: why not"}
    fake.made = lambda out: Fake.raises(FrameworkMissingError("pip"))
    assert targets_of("relu", said.append) == {"x": "not verified: pip"}
    assert targets_of("nothing_of_that_name", said.append) == {}
    fake.host.rules = lambda name: Fake.raises(ImportError("rules"))
    assert targets_of("relu", said.append) == {"x": "refuses it: ImportError: rules"}
    fake.host.rules = lambda name: None
    monkeypatch.setattr(frameworks, "single", lambda *a: Fake.raises(DeclarationError("wrong")))
    assert targets_of("relu", said.append) == {} and said == ["op relu: wrong"]
    monkeypatch.setattr(frameworks, "single", lambda *a: None)
    assert targets_of("relu", said.append) == {"x": ""}
    fake.stages = {"load"}
    assert targets_of("relu", said.append) == {} and isinstance(Report("a"), Report)
