"""Prototxt parser and printer: the text format's forms, errors with positions, bounds, and what comes back after printing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.errors import BadFileError, ConvcoreError, UnsupportedError
from convcore_caffe.files import Identifier, Message, parse_text, print_text
from convcore_caffe.files.schema import enum_values, message_names, message_type

DATA = Path(__file__).parents[3] / "tests" / "data"
PROTOTXTS = sorted((DATA / "caffe_conformance").glob("*/*/deploy.prototxt")) + sorted((DATA / "zoo").glob("caffe-*/*.prototxt"))


def layer(text: str) -> Message:
    return parse_text(f"layer {{ {text} }}".encode()).get("layer")[0]


@pytest.mark.parametrize("path", PROTOTXTS, ids=lambda p: "/".join(p.parts[-3:-1]))
def test_print_parse_equal(path: Path) -> None:
    first = parse_text(path.read_bytes(), name=str(path))
    printed = print_text(first)
    assert parse_text(printed.encode()) == first
    assert print_text(parse_text(printed.encode())) == printed


def test_there_are_prototxts() -> None:
    assert len(PROTOTXTS) > 200


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("convolution_param { num_output: 0x1F }", "num_output", 31),
        ("convolution_param < num_output: 017 >", "num_output", 15),
        ("convolution_param: { axis: - 2 }", "axis", -2),
        ("convolution_param { kernel_size: [3, 0x5,7] }", "kernel_size", [3, 5, 7]),
        ("convolution_param { kernel_size: 3 kernel_size: 5; kernel_size: 7, }", "kernel_size", [3, 5, 7]),
        ("convolution_param { kernel_size: [] }", "kernel_size", []),
        ("convolution_param { bias_term: f }", "bias_term", False),
        ("convolution_param { bias_term: 1 }", "bias_term", True),
        ("convolution_param { engine: CUDNN }", "engine", "CUDNN"),
        ("convolution_param { engine: 1 }", "engine", "CAFFE"),
        ("power_param { shift: 1.f }", "shift", 1.0),
        ("power_param { shift: -.5e1 }", "shift", -5.0),
        ("power_param { shift: -inf }", "shift", -math.inf),
        ("power_param { shift: Infinity }", "shift", math.inf),
        ("power_param { shift: 1e300 }", "shift", math.inf),
        ("power_param { shift: 0.1 }", "shift", 0.1),
        ("power_param { shift: 0.1000000014901161 }", "shift", 0.1),
        ("python_param { module: 'a' \"b\" 'c\"' }", "module", 'abc"'),
        (r'python_param { module: "\x41\102\n\t\"\\\u00e9" }', "module", 'AB\n\t"\\é'),
        ('python_param { module: "a#b" # comment "\n }', "module", "a#b"),
        ("power_param { shift: 0 }", "shift", 0.0),
        ("power_param { shift: -0.5F }", "shift", -0.5),
        ("power_param { shift: -nAn }", "shift", pytest.approx(math.nan, nan_ok=True)),
        ("convolution_param { engine: 0 }", "engine", "DEFAULT"),
        ("convolution_param { engine: 0x2 }", "engine", "CUDNN"),
        ("convolution_param { axis: 0 }", "axis", 0),
        ("convolution_param { axis: -017 }", "axis", -15),
        ("concat_param { axis: -2147483648 }", "axis", -(1 << 31)),
        ("concat_param { axis: 2147483647 }", "axis", (1 << 31) - 1),
        ("concat_param { axis: 0x7FFFFFFF }", "axis", (1 << 31) - 1),
        ("concat_param { concat_dim: 0 }", "concat_dim", 0),
        ("concat_param { concat_dim: 4294967295 }", "concat_dim", (1 << 32) - 1),
        ('python_param { module: "\\303\\251\\7\\12" }', "module", "é\a\n"),
        (r'python_param { module: "\uD7FF\uE000\U0010FFFF" }', "module", "\ud7ff\ue000\U0010ffff"),
        ("python_param { module: \"\\\\\" '\\'' }", "module", "\\'"),
        ('python_param { module: ""}', "module", ""),
    ],
)
def test_forms(text: str, name: str, value: object) -> None:
    ((_, message),) = layer(text).fields()
    assert message.get(name) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-9223372036854775808", -(1 << 63)), ("9223372036854775807", (1 << 63) - 1), ("0x10", 16), ("-1", -1), ("010", 8),
        ("9223372036854775808", None), ("-9223372036854775809", None), ("0xFFFFFFFFFFFFFFFF", None),
    ],
)  # fmt: skip
def test_sizes_are_int64(text: str, value: int | None) -> None:
    """BlobShape: ``repeated int64 dim = 1 [packed = true]``."""
    if value is None:
        with pytest.raises(BadFileError, match=r"<text>:1:12: dim: -?\d+ does not fit int64"):
            parse_text(f"dim: [1,   {text}]".encode(), "BlobShape")
    else:
        assert parse_text(f"dim: {text}".encode(), "BlobShape")["dim"] == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("0x1F", 31), ("-017", -15), ("1.5f", 1.5), ("-.5", -0.5), ("2F", 2.0), ("1e3", 1000.0),
        ("inf", math.inf), ("-inf", -math.inf), ("-Infinity", -math.inf), ("true", Identifier("true")), ("0", 0), ('"é"', "é"),
        ("9223372036854775808", 1 << 63),
    ],
)  # fmt: skip
def test_numbers_of_fields_that_no_schema_knows(text: str, value: object) -> None:
    """In a message of an unknown type, which is printed as it was read."""
    for said, want in ((text, value), (f"[{text}, 7]", [value, 7])):
        m = parse_text(f"foo {{ x: {said} }}".encode())
        (found,) = m.unknown["foo"][0]["x"] if want is value else [m.unknown["foo"][0]["x"]]
        assert (found, type(found)) == (want, type(want))
        assert parse_text(print_text(m).encode()) == m
    nan = parse_text(b"foo { x: -nan }").unknown["foo"][0]["x"][0]
    assert math.isnan(nan)


def test_how_unknown_fields_are_printed() -> None:
    text = 'name: "n"\nfoo {\n  a: -2\n  b: "é\\n"\n  c: FAST\n  d: 2.0\n  e {\n    f: 1\n    g {\n    }\n  }\n}\n'
    assert print_text(parse_text(text.encode())) == text
    known = 'layer {\n  name: "n"\n  relu_param {\n    negative_slope: 2\n    odd: 3\n  }\n  odd: "x"\n}\n'
    assert print_text(parse_text(known.encode())) == known
    m = Message("NetParameter")
    m.unknown = {"a": [True, False]}
    assert print_text(m) == "a: true\na: false\n"


@pytest.mark.parametrize("value, shown", [(2.0, "2"), (-1234567.0, "-1234567"), (12345678.0, "12345678.0"), (0.5, "0.5")])
def test_whole_floats_are_printed_short(value: float, shown: str) -> None:
    assert print_text(Message("PowerParameter", shift=value)) == f"shift: {shown}\n"


def test_floats_are_float32_and_doubles_are_not() -> None:
    m = parse_text(b"data: 0.1234567890123 double_data: 0.1234567890123", "BlobProto")
    assert (m["data"], m["double_data"]) == ([0.12345679], [0.1234567890123])


def test_nan_is_read_and_comes_back() -> None:
    m = layer("power_param { shift: nan }")
    assert math.isnan(m["power_param"]["shift"])
    assert parse_text(print_text(m).encode(), "LayerParameter") == m


def test_defaults_and_has() -> None:
    p = layer("lrn_param { alpha: 2 }")["lrn_param"]
    assert (p["local_size"], p["alpha"], p["beta"], p["k"], p["norm_region"]) == (5, 2.0, 0.75, 1.0, "ACROSS_CHANNELS")
    assert p.has("alpha")
    assert not p.has("beta")
    with pytest.raises(KeyError):
        p["gamma"]


def test_default_that_forks_disagree_about_is_not_assumed() -> None:
    p = layer("prior_box_param { min_size: 30 }")["prior_box_param"]
    with pytest.raises(UnsupportedError, match="clip"):
        p["clip"]


def test_unknown_fields_are_kept_by_name_with_their_line() -> None:
    m = parse_text(b'layer {\n type: "Foo"\n foo_param {\n  mode: FAST x: -2 y: 2.0 s: "t" s: "u" deep < z: [1, 2] >\n }\n}')
    (found,) = m["layer"]
    (foo,) = found.unknown["foo_param"]
    assert found.lines["foo_param"] == 3
    assert not foo.known
    assert foo.unknown["mode"] == [Identifier("FAST")]
    assert foo["x"] == [-2]
    assert foo["y"] == [2.0]
    assert foo["s"] == ["t", "u"]
    assert foo["deep"][0]["z"] == [1, 2]
    again = parse_text(print_text(m).encode())
    assert again == m
    assert isinstance(again["layer"][0].unknown["foo_param"][0]["y"][0], float)
    assert "mode: FAST" in print_text(m)


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ('name: "a"\nlayer { name: 3 }', "2:15", "string"),
        ("layer {\n  type: 'x\n}", "2:9", "not closed"),
        ("layer { bottom: 'a' ", "1:21", "ends inside LayerParameter opened on line 1"),
        ("layer }", "1:7", "expected ':'"),
        ("}", "1:1", "field name"),
        ("layer { phase: DEPLOY }", "1:16", "TRAIN, TEST"),
        ("layer { relu_param { negative_slope: 010 } }", "1:38", "decimal"),
        ("layer { relu_param { negative_slope: x } }", "1:38", "float"),
        ("layer { relu_param: 3 }", "1:21", "message"),
        ("layer { name { } }", "1:14", "not a message"),
        ("layer { top: 'a' top: 'b' name: 'a' name: 'b' }", "1:37", "twice"),
        ("layer { lrn_param { } lrn_param { } }", "1:23", "twice"),
        ("layer { concat_param { axis: 2147483648 } }", "1:30", "int32"),
        ("layer { concat_param { concat_dim: -1 } }", "1:36", "uint32"),
        ("layer { concat_param { axis: 1.0 } }", "1:30", "integer"),
        ("layer { concat_param { axis: 089 } }", "1:30", "integer"),
        ("layer { concat_param { axis: 3abc } }", "1:30", "malformed"),
        ("layer { slice_param { slice_point: [1 2] } }", "1:39", "',' or ']'"),
        (r'layer { name: "\q" }', "1:15", "escape"),
        (r'layer { name: "\ud800" }', "1:15", "not a character"),
        (r'layer { name: "\377" }', "1:15", "UTF-8"),
        ("name: \0", "1:7", "unexpected character"),
        ("layers { type: FOO }", "1:16", "no value 'FOO'"),
        ("input_dim: " + "9" * 5000, "1:12", "integer"),
        ("input_dim: " + "9" * 65, "1:12", "expected an integer, found '" + "9" * 40 + "'"),
        ("input_dim: " + "9" * 64, "1:12", "input_dim: " + "9" * 40 + " does not fit int32"),
        ("input_dim: 0x" + "0" * 62, "", ""),
        ("input_dim: 1e3", "1:12", "input_dim is int32: expected an integer, found '1e3'"),
        ("input_dim: TEN", "1:12", "input_dim is int32: expected an integer, found 'TEN'"),
        ("input_dim: 12", "", ""),
        ("layer", "1:6", "expected ':' or '{' after layer, found the end of the file"),
        ("layer {", "1:8", "the file ends inside LayerParameter opened on line 1"),
        ("\nodd {\nx: 1", "3:5", "the file ends inside a message opened on line 2"),
        ("layer { 3 }", "1:9", "expected a field name or '}', found '3'"),
        ("3", "1:1", "expected a field name, found '3'"),
        ("layer: ;", "1:8", "layer is a message (LayerParameter): expected '{', found ';'"),
        ("odd: ;", "1:6", "expected a value, found ';'"),
        ("odd: ", "1:6", "expected a value, found the end of the file"),
        ("odd: -'x'", "1:7", "expected a value, found \"'x'\""),
        ("name: [ 'a' ]", "1:7", "name is a string: expected quotes, found '['"),
        ("name: ", "1:7", "found the end of the file"),
        ("layer { relu_param { negative_slope: 'a' } }", "1:38", "negative_slope is float: found \"'a'\""),
        ("layer { concat_param { axis: ] } }", "1:30", "axis is int32: found ']'"),
        ("layer { concat_param { axis: -2147483649 } }", "1:30", "axis: -2147483649 does not fit int32"),
        ("layer { concat_param { concat_dim: 4294967296 } }", "1:36", "concat_dim: 4294967296 does not fit uint32"),
        ("layer { phase: -TEST }", "1:17", "phase is Phase: found 'TEST'"),
        ("layer { phase: 'TEST' }", "1:16", "phase is Phase: found"),
        ("layer { phase: 7 }", "1:16", "phase: Phase has no value '7'; it has TRAIN, TEST"),
        ("layer { phase: " + "X" * 50 + " }", "1:16", "no value '" + "X" * 40 + "'; it has"),
        ("layer { propagate_down: -1 }", "1:26", "propagate_down is bool: found '1'"),
        ("layer { propagate_down: 2 }", "1:25", "propagate_down is a bool: found '2'"),
        ("layer { relu_param { negative_slope: 01 } }", "1:38", "expected a decimal number, found '01'"),
        ("layer { relu_param { negative_slope: 0x1F } }", "1:38", "expected a decimal number, found '0x1F'"),
        ("layer { relu_param { negative_slope: none } }", "1:38", "negative_slope is float: found 'none'"),
        (r'name: "\400"', "1:7", "escape \\400 is more than a byte"),
        (r'name: "\U00110000"', "1:7", "is not a character"),
        (r'name: "\udfff"', "1:7", "escape \\udfff is not a character"),
        (r'name: "\u12"', "1:7", "unknown escape '\\\\u'"),
        ('name: "a\\', "1:7", "string is not closed on its line"),
        ('name: "a\\\n"', "1:7", "string is not closed on its line"),
        ('name: "a', "1:7", "string is not closed on its line"),
        ("input_dim: 1\u00e9", "1:12", "malformed number '1é'"),
        (r'name: "\303"', "1:7", "string is not UTF-8 (unexpected end of data at byte 0)"),
        ('odd: "\\377"', "1:6", "string is not UTF-8"),
        ("\n\n  layer { axis: }", "3:17", "expected a value"),
        ("x: " + "1" * 50 + "z", "1:4", "malformed number '" + "1" * 40 + "'"),
    ],
)
def test_errors_say_where(text: str, where: str, why: str) -> None:
    """ "" is no error."""
    if not why:
        assert parse_text(text.encode(), name="net.prototxt").names() == ["input_dim"]
        return
    with pytest.raises(BadFileError) as e:
        parse_text(text.encode(), name="net.prototxt")
    assert str(e.value).startswith(f"net.prototxt:{where}: ")
    assert why in str(e.value)
    assert len(str(e.value)) < 2000


def test_depth_and_size_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadFileError, match="nested deeper than 100"):
        parse_text(b"layer{" * 100_000)
    deep = b"x { " * 99 + b"}" * 99
    assert parse_text(deep).unknown["x"]
    with pytest.raises(BadFileError, match="nested deeper than 100"):
        parse_text(b"x { " * 100 + b"}" * 100)
    from convcore_caffe.files import text

    limits = (text.MAX_BYTES, text.MAX_DEPTH, text.MAX_TOKENS, text.MAX_STRING)
    assert limits == (16 * 1024 * 1024, 100, 2_000_000, 1024 * 1024)
    monkeypatch.setattr(text, "MAX_STRING", 9)
    assert parse_text(b"name: '123456789'")["name"] == "123456789" and parse_text(rb"name: '1\n345678'")
    for longer in (b"name: '1234567890'", rb"name: '12345678\n'", b"name: '1234567890"):
        with pytest.raises(BadFileError, match="1:7: a string of more than 9 characters"):
            parse_text(longer)
    monkeypatch.setattr(text, "MAX_TOKENS", 31)  # the end of the file is one
    assert parse_text(b"input_dim:1 " * 10)["input_dim"] == [1] * 10
    with pytest.raises(BadFileError, match="more than 31 tokens; weights of this size belong in a caffemodel"):
        parse_text(b"input_dim:1 " * 10 + b";")
    monkeypatch.setattr(text, "MAX_BYTES", 10)
    assert parse_text(b"          ").names() == []
    with pytest.raises(BadFileError, match="11 bytes of prototxt, more than the 10 accepted"):
        parse_text(b"           ")
    assert parse_text(b"#\n" * 5) == parse_text(b" \n" * 5)


def test_comments_and_space_without_end() -> None:
    assert parse_text(b"# c\n \t" * 30_001 + b"name: 'a'" + b"\n#" * 2001)["name"] == "a"


def test_broken_bytes_in_a_comment_do_not_matter() -> None:
    assert parse_text(b"# \xff\xfe \x80\nname: 'a'")["name"] == "a"
    assert parse_text(b"\xef\xbb\xbfname: 'a'")["name"] == "a"


def test_printed_names_show_no_control_or_bidi_characters() -> None:
    m = Message("NetParameter", name='a\u202eb\x00\n"c')
    printed = print_text(m)
    assert not any(ord(c) < 32 and c != "\n" for c in printed)
    assert "\u202e" not in printed
    assert printed.count("\n") == 1
    assert parse_text(printed.encode()) == m


# ---- generated messages and garbage
_FLOATS = st.floats(width=32, allow_nan=True)
_SCALARS = {
    "float": _FLOATS,
    "double": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "string": st.text(st.characters(codec="utf-8"), max_size=8),
    "bytes": st.binary(max_size=8),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint64": st.integers(0, (1 << 64) - 1),
}


@st.composite
def messages(draw: st.DrawFn, type_name: str, depth: int = 0, wire_only: bool = False) -> Message:
    m = Message(type_name)
    fields = [f for f in message_type(type_name).by_name.values() if f.type != "BlobProto"]
    fields = [f for f in fields if (f.number or not wire_only) and (depth < 3 or f.kind != "message")]
    for f in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda f: f.name)) if fields else []:
        if f.kind == "message":
            value = messages(f.type, depth + 1, wire_only)
        elif f.kind == "enum":
            value = st.sampled_from([n for n, k in enum_values(f.type).items() if k >= 0 or not wire_only])
        else:
            value = _SCALARS[f.kind]
        m.set(f.name, draw(st.lists(value, min_size=1, max_size=3) if f.repeated else value))
    return m


@settings(max_examples=200, deadline=None)
@given(messages("NetParameter"))
def test_any_message_comes_back_from_text(m: Message) -> None:
    assert parse_text(print_text(m).encode()) == m


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_bytes_end_in_a_typed_error(data: bytes) -> None:
    try:
        parse_text(data)
    except ConvcoreError as e:
        assert "<text>:" in str(e)


_WORDS = ["layer", "{", "}", "<", ">", "[", "]", ":", ";", ",", "-", "name", "type", '"a"', "'b'", "3", "0x", "0x1", "1e5", ".5"]
_WORDS += [
    "relu_param",
    "nan",
    "foo",
    "true",
    "phase",
    "TEST",
    "input_dim",
    "\\",
    '"',
    "#",
    "\n",
    "blobs",
    "data",
    "shape",
    "dim",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=40))
def test_garbage_words_end_in_a_typed_error(words: list[str]) -> None:
    try:
        m = parse_text(" ".join(words).encode())
    except BadFileError:
        return
    assert parse_text(print_text(m).encode()) == m


def test_every_declared_message_is_readable() -> None:
    for name in message_names():
        for field in message_type(name).by_name.values():
            if field.default not in (None, "?"):
                assert Message(name)[field.name] == pytest.approx(field.default)
