"""The built distributions: what is in them, and that they install and work from the wheel alone."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import convcore

ROOT = Path(__file__).parents[2]
PROJECTS = {"convcore": ROOT, **{f"convcore_{p.parent.name}": p.parent for p in sorted(ROOT.glob("plugins/*/pyproject.toml"))}}
MODEL = ROOT / "tests/data/zoo/keras2-fer-minixception"

pytestmark = pytest.mark.packaging


def _run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels and sdists of every project and the wheel of a plugin made by ``convcore new-plugin``."""
    out = tmp_path_factory.mktemp("dist")
    for folder in PROJECTS.values():
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, folder, cwd=out)
    template = tmp_path_factory.mktemp("template") / "plugin"
    _run(sys.executable, "-m", "convcore", "new-plugin", "layer", "ScaledTanh", "-o", template, cwd=out)
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, template, cwd=out)
    return out


def _clean_env() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.fixture(scope="module")
def venv(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with only the wheels (and what they ask for) in it."""
    folder = tmp_path_factory.mktemp("venv")
    _run(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin/python"
    wheels = [w for w in dist.glob("convcore*.whl") if "scaled_tanh" not in w.name]
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wheels, cwd=folder, env=_clean_env())
    return folder


def test_the_index_takes_them(dist: Path):
    """``twine check --strict``: long descriptions and metadata render."""
    pytest.importorskip("twine")
    files = sorted(p for p in dist.iterdir() if p.name.startswith("convcore") and "scaled_tanh" not in p.name)
    assert len(files) == 2 * len(PROJECTS)
    _run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=dist)


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_metadata(dist: Path, name: str):
    """A long description without links that lead nowhere, URLs, classifiers, bounds between our distributions."""
    (wheel,) = dist.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as z:
        text = z.read(next(n for n in z.namelist() if n.endswith(".dist-info/METADATA"))).decode()
    head, _, body = text.partition("\n\n")
    assert len(body) > 300 and "](" not in body.replace("](https://", "")
    assert head.count("Project-URL:") >= 2 and "Development Status ::" in head
    ours = [line for line in head.splitlines() if line.startswith("Requires-Dist: convcore")]
    assert ours and all("<0.2" in line and ">=0.1" in line for line in ours)
    if name == "convcore":
        assert {f"convcore-{p.parent.name}" for p in ROOT.glob("plugins/*/pyproject.toml")} == {
            line.split()[1].split("<")[0].split(">")[0] for line in ours
        }
        assert {"all", "caffe", "dask", "keras", "onnx", "pytorch"} <= {
            line.split()[1] for line in head.splitlines() if line.startswith("Provides-Extra:")
        }


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_wheel_contents(dist: Path, name: str):
    (wheel,) = dist.glob(f"{name}-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    code = [n for n in names if n.endswith(".py")]
    source = ROOT / "core" if name == "convcore" else PROJECTS[name] / "src" / name
    assert set(code) == {f"{name}/{p.relative_to(source).as_posix()}" for p in source.rglob("*.py")}
    assert len(code) > 5
    assert f"{name}/py.typed" in names
    if name == "convcore":
        assert "convcore/build/methods.pyi" in names  # the builder's types, for mypy in plugins
        skeletons = {p.relative_to(ROOT / "core").as_posix() for p in (ROOT / "core/cli/skeletons").rglob("*.txt")}
        assets = {p.relative_to(ROOT / "core").as_posix() for p in (ROOT / "core/viewing/assets").iterdir()}
        assert len(assets) > 4 and {f"convcore/{p}" for p in assets} <= set(names)
        assert len(skeletons) > 10 and {f"convcore/{p}" for p in skeletons} <= set(names)
    assert all(n.startswith((f"{name}/", f"{name}-")) for n in names)


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_sdist_builds_the_same_wheel(dist: Path, name: str, tmp_path: Path):
    (sdist,) = dist.glob(f"{name}-*.tar.gz")
    with tarfile.open(sdist) as t:
        t.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "again", folder, cwd=tmp_path)
    (first,), (second,) = dist.glob(f"{name}-*.whl"), (tmp_path / "again").glob("*.whl")
    assert sorted(zipfile.ZipFile(first).namelist()) == sorted(zipfile.ZipFile(second).namelist())


def test_works_from_the_wheels_alone(venv: Path, tmp_path: Path):
    out = _run(venv / "bin/convcore", "plugins", cwd=tmp_path, env=_clean_env())
    assert "convcore-keras" in out and "convcore-onnx" in out and "BROKEN" not in out
    source = MODEL / "emotion_model.hdf5"
    out = _run(venv / "bin/convcore", "convert", source, "-o", tmp_path / "m.onnx", cwd=tmp_path, env=_clean_env())
    assert "verified" in out
    np.save(tmp_path / "x.npy", np.load(MODEL / "inputs.npz")[np.load(MODEL / "inputs.npz").files[0]])
    _run(venv / "bin/convcore", "run", tmp_path / "m.onnx", "--input", "x.npy", "-o", "y.npy", cwd=tmp_path, env=_clean_env())
    ref = np.load(MODEL / "ref_old.npz")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), ref[ref.files[0]], atol=1e-4)


@pytest.mark.slow
def test_everything_by_its_extra_runs_the_readme(dist: Path, tmp_path: Path):
    """``pip install "convcore[all]"`` in an empty environment: README's first command converts and checks, in less than a minute,
    and its page is there."""
    _run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    pip = [tmp_path / "venv/bin/python", "-m", "pip"]
    where = ["--quiet", "--disable-pip-version-check", "--find-links", dist]
    _run(*pip, "install", *where, f"convcore[all]=={convcore.__version__}", cwd=tmp_path, env=_clean_env())
    held = {d["name"] for d in json.loads(_run(*pip, "list", "--format", "json", cwd=tmp_path, env=_clean_env()))}
    ours = {n.replace("_", "-") for n in PROJECTS}
    assert ours | {"onnxruntime"} <= held and not held & {"torch", "keras", "tensorflow"}
    _run(*pip, "check", cwd=tmp_path, env=_clean_env())
    found = re.search(r"<!-- run -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    env = {**_clean_env(), "PATH": f"{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    start = time.monotonic()
    said = _run("sh", "-ec", found[1].strip() + " --report report.html --report text", cwd=tmp_path, env=env)
    assert time.monotonic() - start < 60
    assert "verdict: ok" in said and (tmp_path / "emotion.onnx").stat().st_size > 200_000
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    formats = _run("sh", "-ec", "convcore plugins --json", cwd=tmp_path, env=env)
    assert {n for n in ("keras", "onnx", "caffe", "pytorch") if f'"{n}"' in formats} == {"keras", "onnx", "caffe", "pytorch"}


def test_python_m(venv: Path, tmp_path: Path):
    assert _run(venv / "bin/python", "-m", "convcore", "--version", cwd=tmp_path, env=_clean_env()).startswith("convcore ")


def test_third_party_plugin(venv: Path, dist: Path, tmp_path: Path):
    """What ``convcore new-plugin layer`` writes adds a layer that goes to the target without touching ours."""
    sys.path.insert(0, str(ROOT / "tests/support"))
    import keras_files as kf

    rng = np.random.default_rng(0)
    w, k = rng.standard_normal(3).astype("f4"), rng.standard_normal((3, 5)).astype("f4")
    model = kf.write(
        tmp_path / "custom.keras",
        [
            kf.input_layer("x", (None, 3)),
            kf.layer(
                "ScaledTanh",
                "tanh",
                {"scale": 1.5},
                [kf.tensor("x", (None, 3))],
                module="mine",
                registered="Custom>ScaledTanh",
            ),
            kf.layer("Dense", "out", {"units": 5, "use_bias": False}, [kf.tensor("tanh", (None, 3))]),
        ],
        ["out"],
        {"layers/scaled_tanh/vars/0": w, "layers/dense/vars/0": k},
    )
    python = venv / "bin/python"
    command = [venv / "bin/convcore", "convert", model, "-o", tmp_path / "custom.onnx"]
    before = subprocess.run([str(c) for c in command], cwd=tmp_path, env=_clean_env(), capture_output=True, text=True)
    assert before.returncode == 4 and "'tanh'" in before.stderr and "ScaledTanh" in before.stderr
    assert not (tmp_path / "custom.onnx").exists()
    (wheel,) = dist.glob("convcore_scaled_tanh-*.whl")
    _run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        wheel,
        cwd=tmp_path,
        env=_clean_env(),
    )
    _run(*command, cwd=tmp_path, env=_clean_env())
    x = rng.standard_normal((2, 3)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    _run(venv / "bin/convcore", "run", "custom.onnx", "--input", "x.npy", "-o", "y.npy", cwd=tmp_path, env=_clean_env())
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), 1.5 * np.tanh(x * w) @ k, rtol=1e-5, atol=1e-5)
    _run(python, "-m", "pip", "uninstall", "--yes", "convcore-scaled-tanh", cwd=tmp_path, env=_clean_env())


def test_core_folder_is_not_a_package():
    done = subprocess.run([sys.executable, "-c", "import core"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "imported as convcore" in done.stderr


def test_no_absolute_imports_inside_core():
    """They would split types for checkers; ``core`` under its folder's name must not be imported at all."""
    for path in (ROOT / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            bad = [n for n in names if n.split(".")[0] in ("convcore", "core")]
            assert not bad, f"{path}:{node.lineno}: {bad}"


def test_version_is_quick():
    """``convcore --version`` imports neither numpy nor any framework."""
    code = "import sys; from convcore.cli import main; main(['--version']); print(sorted(m for m in sys.modules if m in "
    code += "('numpy', 'h5py', 'onnx', 'keras', 'torch', 'tensorflow', 'google.protobuf')))"
    assert _run(sys.executable, "-c", code, cwd=ROOT.parent).splitlines()[-1] == "[]"


@pytest.mark.parametrize(("kind", "name"), [("layer", "WheelTanh"), ("framework", "wheelmlp")])
def test_a_new_plugin_made_by_the_wheels(venv: Path, kind: str, name: str, tmp_path: Path):
    """``convcore new-plugin`` of an installed convcore: its plugin builds, installs, and passes the tests that come with it."""
    python, folder = venv / "bin/python", tmp_path / "new"
    _run(venv / "bin/convcore", "new-plugin", kind, name, "-o", folder, cwd=tmp_path, env=_clean_env())
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "made", folder, cwd=tmp_path)
    (wheel,) = (tmp_path / "made").glob("*.whl")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, "pytest"]
    _run(*install, cwd=tmp_path, env=_clean_env())
    out = _run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", cwd=folder, env=_clean_env())
    assert "2 passed" in out or "1 passed, 1 skipped" in out


TORCHLESS = """
import sys, importlib.util, pathlib
import numpy as np
import convcore
assert importlib.util.find_spec("torch") is None
folder = pathlib.Path(sys.argv[1])
x = np.load(folder / "x.npy")
for name in ("exported.pt2", "traced.pt"):
    shapes = {"input": ("batch", 3, 11, 13)} if name == "traced.pt" else {}
    model = convcore.load(folder / name, input_shapes=shapes)
    np.save(folder / (name + ".npy"), model(x))
    made = convcore.convert(folder / name, to="onnx", out=folder / (name + ".onnx"), input_shapes=shapes)
    assert made.report.verdict in ("ok", "weak"), str(made.report)
from convcore_pytorch.files.checkpoint import read_checkpoint
for name in ("weights.pth", "legacy.pth"):
    np.save(folder / (name + ".npy"), read_checkpoint(folder / name).tensors["0.weight"].numpy())
"""


def test_files_of_torch_where_torch_is_not_installed(venv: Path, tmp_path: Path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(495, 7)).eval()
    x, example = torch.randn(4, 3, 11, 13), torch.randn(2, 3, 11, 13)
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=({0: batch},)), tmp_path / "exported.pt2")
    torch.jit.trace(model, example).save(str(tmp_path / "traced.pt"))
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    torch.save(model.state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    np.save(tmp_path / "x.npy", x.numpy())
    (tmp_path / "run.py").write_text(TORCHLESS)
    _run(venv / "bin/python", tmp_path / "run.py", tmp_path, cwd=tmp_path, env=_clean_env())
    with torch.no_grad():
        want = model(x).numpy()
    for name in ("exported.pt2", "traced.pt"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), want, rtol=1e-4, atol=1e-5)
        assert (tmp_path / f"{name}.onnx").stat().st_size > 4 * 495 * 7
    for name in ("weights.pth", "legacy.pth"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), model[0].weight.detach().numpy())
