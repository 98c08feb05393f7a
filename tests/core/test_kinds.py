"""The kinds of trouble that outsiders found each have a test (docs/reliability.md lists them); small files made here that ask for
much give one message, under 2 s and 300 MB; no command prints what a terminal would obey."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from convcore.cli import main

onnx = pytest.importorskip("onnx")
from onnx import helper

ROOT = Path(__file__).parents[2]
HOSTILE = ROOT / "tests/data/hostile"


def listed() -> list[tuple[str, str]]:
    """``(kind, test)`` of the table in docs/reliability.md."""
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8").split("## Every kind, and what holds it")[1]
    rows = [line for line in text.splitlines() if line.startswith("| ") and "::" in line]
    return [(row.split("|")[1].strip(), test) for row in rows for test in re.findall(r"`([^`]+::[^`]+)`", row)]


def test_every_kind_has_a_test_of_its_own() -> None:
    found = listed()
    assert len({kind for kind, _ in found}) >= 60
    for kind, test in found:
        path, name = test.split("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert name in functions and name.startswith("test_"), (kind, test)
        assert "assert" in ast.unparse(functions[name]) or "raises" in ast.unparse(functions[name]), (kind, test)


# ---------------------------------------------------------------- tiny files that never end or take gigabytes
DATA = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }\n'


def slice_with_100_000_tops(folder: Path) -> Path:
    tops = " ".join(f'top: "t{i}"' for i in range(100_000))
    (folder / "slice.prototxt").write_text(DATA + f'layer {{ name: "s" type: "Slice" bottom: "x" {tops} }}')
    return folder / "slice.prototxt"


def equal_names_in_a_prototxt(folder: Path) -> Path:
    line = 'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\n'
    (folder / "equal.prototxt").write_text(DATA + line * 20_000)
    return folder / "equal.prototxt"


def equal_names_in_onnx(folder: Path) -> Path:
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name="r") for i in range(20_000)]
    io = [helper.make_tensor_value_info(n, 1, [2]) for n in ("v0", "v20000")]
    graph = helper.make_graph(nodes, "g", io[:1], io[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "equal.onnx")
    return folder / "equal.onnx"


def equal_names_in_keras(folder: Path) -> Path:
    layer = {"class_name": "Activation", "config": {"name": "a", "activation": "relu"}}
    x = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "x"}}
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [x, *[layer] * 20_000]}}
    (folder / "equal.json").write_text(json.dumps({**config, "keras_version": "2.15.0", "backend": "tensorflow"}))
    return folder / "equal.json"


def _archive(path: Path, config: bytes, weights: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("metadata.json", '{"keras_version": "3.5.0"}')
        z.writestr("config.json", config)
        z.writestr("model.weights.h5", weights)
    return path


def sixty_megabytes_of_brackets(folder: Path) -> Path:
    return _archive(folder / "brackets.keras", b"[" + b"[]," * 20_000_000 + b"[]]", b"")


def inflated_weights(folder: Path) -> Path:
    """An HDF5 head, then zeros: 100 MiB in 100 kB."""
    config = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": []}}).encode()
    return _archive(folder / "inflated.keras", config, b"\x89HDF\r\n\x1a\n" + bytes(100 << 20))


def prototxt_escapes(folder: Path) -> Path:
    name = "\\\\" * (1 << 21)
    (folder / "escapes.prototxt").write_text(DATA + f'layer {{ name: "{name}" type: "ReLU" bottom: "x" top: "y" }}')
    return folder / "escapes.prototxt"


def an_unclosed_string_of_escapes(folder: Path) -> Path:
    (folder / "unclosed.prototxt").write_text(DATA + 'layer { name: "' + '\\"' * 500_000)
    return folder / "unclosed.prototxt"


def json_escapes(folder: Path) -> Path:
    """20 MB of them in a name, in 20 kB."""
    config = b'{"class_name": "Sequential", "config": {"name": "' + b"\\\\" * 10_000_000 + b'", "layers": []}}'
    return _archive(folder / "escapes.keras", config, b"")


def a_name_in_a_ccir(folder: Path) -> Path:
    """10 million characters, every second an escape."""
    from convcore.ir.serialize import FORMAT

    text = 'graph "' + "a\\\\" * 3_000_000 + '" {\n}\n'
    header = json.dumps({"__metadata__": {"convcore_ir": text, "convcore_format": FORMAT}}).encode()
    (folder / "name.ccir").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder / "name.ccir"


def comments_of_a_prototxt(folder: Path) -> Path:
    (folder / "comments.prototxt").write_text(DATA + "#\n" * 5_000_000)
    return folder / "comments.prototxt"


def a_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo.onnx")
    return folder / "fifo.onnx"


def functions_that_call_each_other_twice(folder: Path) -> Path:
    def function(i: int) -> Any:
        calls = [helper.make_node(f"f{i + 1}", ["x"], ["h"], domain="d"), helper.make_node(f"f{i + 1}", ["h"], ["y"], domain="d")]
        nodes = calls if i < 40 else [helper.make_node("Relu", ["x"], ["y"])]
        return helper.make_function("d", f"f{i}", ["x"], ["y"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)])

    io = [helper.make_tensor_value_info(n, 1, [2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("f0", ["x"], ["y"], domain="d")], "g", io[:1], io[1:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    functions = [function(i) for i in range(41)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)
    onnx.save(model, folder / "doubling.onnx")
    return folder / "doubling.onnx"


MADE: dict[Callable[[Path], Path], tuple[int, ...]] = {
    slice_with_100_000_tops: (3,), sixty_megabytes_of_brackets: (3,), inflated_weights: (3,), prototxt_escapes: (3,),
    an_unclosed_string_of_escapes: (3,), json_escapes: (2, 3), comments_of_a_prototxt: (0, 3), a_name_in_a_ccir: (3,),
    a_fifo: (2,), functions_that_call_each_other_twice: (3,),
    equal_names_in_a_prototxt: (0, 3), equal_names_in_onnx: (0, 3), equal_names_in_keras: (0, 3),
}  # fmt: skip
"""What makes a file, and the exit codes it may have."""
READ = """
import os, resource, sys, time
from convcore.cli import main
for f in sys.argv[2:]:
    main(["inspect", f])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
code = main(["inspect", sys.argv[1]])
print("RAN", code, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("make", MADE, ids=lambda f: f.__name__)
def test_tiny_files_have_a_budget(make: Callable[[Path], Path], tmp_path: Path) -> None:
    for name in ("convcore_keras", "convcore_caffe"):
        pytest.importorskip(name)
    source = make(tmp_path)
    warm = {".onnx": "onnx_unicode_name.onnx", ".json": "keras_resizing.json", ".keras": "keras_walk.keras"}
    small = tmp_path / "small.prototxt"
    small.write_text(DATA)
    first = HOSTILE / warm[source.suffix] if source.suffix in warm else small
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", READ, str(source), str(first)]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, timeout=120, text=True)
    ran = [line.split() for line in done.stdout.splitlines() if line.startswith("RAN ")]
    assert ran, done.stderr[-500:]
    code, seconds, kilobytes = int(ran[0][1]), float(ran[0][2]), int(ran[0][3])
    assert code in MADE[make] and "Traceback" not in done.stderr, (code, done.stderr[-500:])
    if code:
        assert seconds < 2 and kilobytes < 300 << 10, (seconds, kilobytes)
    else:  # a sound model of 20,000 layers: in proportion to them
        assert seconds < 20 and kilobytes < 300 << 10, (seconds, kilobytes)


# ---------------------------------------------------------------- names in every command
EVIL = "\x1b[2Jgone\r\u202e\x9b31m\x07"


def evil(folder: Path) -> list[Path]:
    """Models whose layers, inputs and domains are named to take over a terminal."""
    x, y = (helper.make_tensor_value_info(n, 1, [1, 3]) for n in (f"x{EVIL}", f"y{EVIL}"))
    mine = helper.make_node(f"Op{EVIL}", [f"h{EVIL}"], [f"y{EVIL}"], name=f"n{EVIL}", domain=f"d{EVIL}")
    nodes = [helper.make_node("Relu", [f"x{EVIL}"], [f"h{EVIL}"], name=f"r{EVIL}")]
    out = []
    for name, more in (("plain.onnx", [helper.make_node("Neg", [f"h{EVIL}"], [f"y{EVIL}"])]), ("custom.onnx", [mine])):
        graph = helper.make_graph([*nodes, *more], f"g{EVIL}", [x], [y])
        imports = [helper.make_opsetid("", 17), helper.make_opsetid(f"d{EVIL}", 1)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name=f"p{EVIL}"), folder / name)
        out.append(folder / name)
    return out


COMMANDS = [
    ["inspect", "{}"], ["inspect", "{}", "--ir"], ["inspect", "{}", "--json"], ["check", "{}", "--to", "caffe"],
    ["check", "{}", "--to", "keras"], ["convert", "{}", "-o", "o.onnx", "--force"],
    ["convert", "{}", "-o", "o.keras", "--force", "--no-check"],
    ["convert", "{}", "-o", "o.prototxt", "--force", "--no-check"], ["convert", "{}", "-o", "o.py", "--force", "--no-check"],
    ["convert", "{}", "-o", "o.onnx", "-v", "--force", "--no-check"],
    ["convert", "{}", "-o", "o.onnx", "--override", f"n{EVIL}=x"],
    ["run", "{}", "-o", "o.npz"], ["run", "{}", "--until", f"q{EVIL}"],
    ["verify", "{}", "plain.onnx"], ["diff", "{}", "plain.onnx"], ["view", "{}", "-o", "o.html"], ["custom", "{}"],
    ["inspect", "{}", "--input-shape", f"z{EVIL}:1,3"], ["inspect", f"none{EVIL}.onnx"], ["convert", "{}", "-o", f"o{EVIL}.zzz"],
    [f"no{EVIL}"], ["inspect", "{}", f"--no{EVIL}"],
]  # fmt: skip


@pytest.mark.parametrize("args", COMMANDS, ids=lambda a: re.sub(r"[^\w .{}-]", "?", " ".join(a)))
def test_no_command_prints_escape_sequences(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for source in evil(tmp_path):
        with suppress(SystemExit):
            main([a.replace("{}", source.name) for a in args])
        said = capsys.readouterr()
        assert not set("\x1b\r\u202e\x9b\x07") & set(said.out + said.err), (args, said)


def test_every_command_that_takes_a_model_is_among_them() -> None:
    from convcore.cli.parser import whole

    commands = set(whole()[1])
    assert commands - {a[0] for a in COMMANDS} == {"batch", "plugins", "ops", "rules", "new-plugin"}, commands


def test_a_fleet_s_report_prints_no_escape_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil(tmp_path)
    main(["batch", str(tmp_path), "--to", "onnx", "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert not set("\x1b\u202e\x9b\x07") & set(said.out + said.err)
