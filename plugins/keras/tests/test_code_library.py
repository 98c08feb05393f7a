"""Which of a user's files defines a name, and which file an import means: as Python and Keras's registration have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from convcore.errors import UsageError
from convcore_keras.code.domain import CodeRefused
from convcore_keras.code.source import library as module
from convcore_keras.code.source.library import Library, SourceFile, library

FILES = {
    "one.py": "class A: pass\nasync def g(): pass\ndef f(x): return x\n  \nif True:\n    class Hidden: pass\n",
    "pack/__init__.py": "from .inner import B\n",
    "pack/inner.py": "class B: pass\ndef only(): pass\n",
    "pack/deep/__init__.py": "",
    "pack/deep/more.py": "from ..inner import B\nclass B: pass\nclass C: pass\n",
    ".hidden/one.py": "class A: pass\n",
    "__pycache__/one.py": "class A: pass\n",
    "notes.txt": "class A: pass\n",
    "registered.py": "@register_keras_serializable()\nclass Plain: pass\n"
    "@register_keras_serializable(package='mine')\nclass Named: pass\n"
    "@keras.saving.register_keras_serializable('pos', 'Other')\n@deco\nclass Both: pass\n"
    '@register_keras_serializable(name="Kept")\ndef act(x): return x\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "src"


def found(made: Library, name: str, of: str = "") -> tuple[str, str] | None:
    d = made.define(name, of)
    return None if d is None else (d.file.path.name, d.name)


def test_names_are_found_where_they_are_defined(folder: Path) -> None:
    made = library([folder])
    assert {str(p.relative_to(folder)) for p in made.files} == {
        "one.py", "pack/__init__.py", "pack/inner.py", "pack/deep/__init__.py", "pack/deep/more.py", "registered.py",
    }  # fmt: skip
    assert found(made, "A") == ("one.py", "A") and found(made, "g") == ("one.py", "g") and found(made, "C") == ("more.py", "C")
    assert found(made, "Hidden") is None and found(made, "Nobody") is None
    assert made.define("A").is_class and not made.define("f").is_class  # type: ignore[union-attr]
    assert set(made.classes) == {"A", "B", "C", "Plain", "Named", "Both"} and set(made.functions) == {"f", "g", "only", "act"}
    both = {str(folder / "pack/inner.py"), str(folder / "pack/deep/more.py")}
    assert set(made.classes["B"].split(", ")) == both and made.classes["A"] == str(folder / "one.py")


def test_registered_names(folder: Path) -> None:
    made = library([folder])
    assert found(made, "Custom>Plain") == ("registered.py", "Plain") and found(made, "mine>Named") == ("registered.py", "Named")
    assert found(made, "pos>Other") == ("registered.py", "Both") and found(made, "Custom>Kept") == ("registered.py", "act")
    assert found(made, "elsewhere>A") == ("one.py", "A") and found(made, "pos>Nobody") is None


def test_a_name_of_several_files(folder: Path) -> None:
    made = library([folder])
    with pytest.raises(CodeRefused, match=r"is defined in several files \(.*inner.py, .*more.py\)|\(.*more.py, .*inner.py\)"):
        made.define("B")
    assert found(made, "B", "pack.inner") == ("inner.py", "B") and found(made, "B", "project.pack.deep.more") == ("more.py", "B")
    with pytest.raises(CodeRefused, match="is defined in several files"):
        made.define("B", "other.module")
    one = library([folder / "pack/inner.py", folder / "one.py"])
    assert found(one, "B") == ("inner.py", "B") and found(one, "only") == ("inner.py", "only")


def test_imports(folder: Path) -> None:
    made = library([folder])
    files = {str(p.relative_to(folder)): f for p, f in made.files.items()}

    def means(by: str, name: str, level: int) -> str | None:
        file = made.imported(files[by], name, level)
        return None if file is None else str(file.path.relative_to(folder))

    assert (
        means("pack/deep/more.py", "inner", 2) == "pack/inner.py" and means("pack/deep/more.py", "", 1) == "pack/deep/__init__.py"
    )
    assert means("pack/deep/more.py", "inner", 1) is None and means("pack/deep/more.py", "one", 3) == "one.py"
    assert means("pack/inner.py", "deep.more", 1) == "pack/deep/more.py" and means("pack/inner.py", "one", 0) == "one.py"
    assert means("one.py", "pack", 0) == "pack/__init__.py" and means("one.py", "pack.inner", 0) == "pack/inner.py"
    assert means("one.py", "src.pack.inner", 0) == "pack/inner.py" and means("one.py", "numpy", 0) is None
    assert means("one.py", "", 0) is None and means("pack/deep/more.py", "more", 0) == "pack/deep/more.py"
    assert files["pack/deep/more.py"].dotted == ("pack", "deep", "more") and files["pack/__init__.py"].dotted == ("pack",)


def test_what_stands_for_a_name_opens_its_package(folder: Path) -> None:
    made = library([], [("my>Layer", "B", folder / "pack/deep/more.py"), ("act", "f", folder / "one.py")])
    assert found(made, "my>Layer") == ("more.py", "B") and made.define("my>Layer").is_class  # type: ignore[union-attr]
    assert found(made, "act") == ("one.py", "f") and not made.define("act").is_class  # type: ignore[union-attr]
    assert set(made.classes) >= {"my>Layer"} and "act" in made.functions
    by = made.files[folder / "pack/deep/more.py"]
    inner = made.imported(by, "inner", 2)
    assert inner is not None and inner.path == folder / "pack/inner.py" and inner.dotted == ("pack", "inner")


def test_limits_and_what_is_no_source(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"nobody.py.*: no such file or folder"):
        library([tmp_path / "nobody.py"])
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="holds no Python file"):
        library([tmp_path / "none"])
    monkeypatch.setattr(module, "MAX_FILES", 6)
    assert len(library([folder]).files) == 6
    monkeypatch.setattr(module, "MAX_FILES", 5)
    with pytest.raises(UsageError, match="holds more than 5 Python files; name the folder of the layers"):
        library([folder])
    size = (folder / "one.py").stat().st_size
    monkeypatch.setattr(module, "MAX_BYTES", size)
    assert found(library([folder / "one.py"]), "A") == ("one.py", "A")
    monkeypatch.setattr(module, "MAX_BYTES", size - 1)
    assert found(library([folder / "one.py"]), "A") is None
    for text, why in (("def f(:\n", "is no Python that this version reads"), ("x = '\0'", "cannot be parsed|is no Python")):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(CodeRefused, match=why) as e:
            _ = SourceFile(tmp_path / "bad.py", tmp_path).tree
        assert str(tmp_path / "bad.py") in str(e.value)
    with pytest.raises(CodeRefused, match="cannot be read: No such file"):
        _ = SourceFile(tmp_path / "gone.py", tmp_path).tree
