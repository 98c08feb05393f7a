"""Pages in a real browser: ``make view`` (playwright from PyPI, Chromium from the system; skipped where either is missing)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import convcore

playwright = pytest.importorskip("playwright.sync_api")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
ROOT = Path(__file__).parents[2]
SHOTS = os.environ.get("CONVCORE_SHOTS")

FRAMES = """mode => new Promise(done => {
  const p = convcore.pictures.source, frames = []; let last = performance.now(), k = 0; const begin = last;
  if (mode === "near") { p.scale = .8; p.x = 100; p.y = -500; } else p.fit();
  const step = t => { frames.push(t - last); last = t; k++;
    if (mode === "zoom") p.zoom(k % 60 < 30 ? 1.08 : 1 / 1.08); else { p.y -= 30; p.x += Math.sin(k) * 5; p.place(); }
    if (k < 90) requestAnimationFrame(step); else done(1000 * k / (performance.now() - begin)); };
  requestAnimationFrame(step); })"""


OVERLAPS = """() => {
  const bad = [], apart = (a, b) => a.x + 1 > b.x + b.w || b.x + 1 > a.x + a.w || a.y + 1 > b.y + b.h || b.y + 1 > a.y + a.h;
  for (const p of Object.values(convcore.pictures)) {
    const top = p.flat.boxes.filter(b => b.depth === 0);
    top.forEach((a, i) => top.slice(i + 1, i + 200).forEach(b => { if (!apart(a, b)) bad.push([a.i, b.i]); }));
  }
  return bad; }"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield b
        b.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "tests").symlink_to(ROOT / "tests")
    here = Path.cwd()
    os.chdir(folder)  # so that the page shows paths as README has them
    try:
        convcore.convert("tests/data/zoo/keras2-fer-minixception/emotion_model.hdf5", "onnx", "emotion.onnx", page="cnn.html")
    finally:
        os.chdir(here)
    vit, x = _vit()
    convcore.convert(vit, "onnx", folder / "vit.onnx", example_inputs=[x], page=folder / "vit.html")
    convcore.view(_blocks(folder / "blocks.onnx", 8), folder / "blocks.html")
    convcore.view(_chain(folder / "big.onnx", 500), folder / "big.html", fuse=False)
    ssd = _ssd(folder)
    convcore.convert(ssd, "onnx", folder / "ssd.onnx", page=folder / "ssd.html")
    return folder


def _chain(path: Path, n: int) -> Path:
    """2,000 nodes for n = 500, with a residual sum in every fourth."""
    rng = np.random.default_rng(0)
    nodes, weights, at = [], [], "x"
    for i in range(n):
        weights.append(numpy_helper.from_array((rng.standard_normal((7, 7)) * 0.1).astype(np.float32), f"w{i}"))
        nodes += [helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"]), helper.make_node("Relu", [f"m{i}"], [f"r{i}"])]
        nodes += [helper.make_node("Add", [f"r{i}", at], [f"a{i}"]), helper.make_node("Tanh", [f"a{i}"], [f"t{i}"])]
        at = f"t{i}"
    return _save(path, nodes, at, weights)


def _blocks(path: Path, n: int) -> Path:
    """Attention blocks, nested by slashed names as torch's exporter writes them."""
    rng = np.random.default_rng(0)
    nodes, weights, at = [], [], "x"
    for i in range(n):
        for w in "qkvo":
            weights.append(numpy_helper.from_array((rng.standard_normal((7, 7)) * 0.3).astype(np.float32), f"{w}{i}"))
        b = f"/encoder/layers.{i}"
        nodes += [helper.make_node("MatMul", [at, f"{w}{i}"], [f"{w}_{i}"], name=f"{b}/attn/{w}/MatMul") for w in "qkv"]
        nodes += [
            helper.make_node("Transpose", [f"k_{i}"], [f"kt_{i}"], perm=[1, 0], name=f"{b}/attn/Transpose"),
            helper.make_node("MatMul", [f"q_{i}", f"kt_{i}"], [f"s_{i}"], name=f"{b}/attn/MatMul"),
            helper.make_node("Softmax", [f"s_{i}"], [f"p_{i}"], name=f"{b}/attn/Softmax"),
            helper.make_node("MatMul", [f"p_{i}", f"v_{i}"], [f"c_{i}"], name=f"{b}/attn/MatMul_1"),
            helper.make_node("MatMul", [f"c_{i}", f"o{i}"], [f"o_{i}"], name=f"{b}/out/MatMul"),
            helper.make_node("Add", [f"o_{i}", at], [f"y_{i}"], name=f"{b}/Add"),
        ]
        at = f"y_{i}"
    return _save(path, nodes, at, weights)


def _vit():
    """A vision transformer of three blocks, as a module with an image."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 24, 4, stride=4)
            self.cls = nn.Parameter(torch.randn(1, 1, 24) * 0.2)
            self.places = nn.Parameter(torch.randn(1, 17, 24) * 0.2)
            layer = nn.TransformerEncoderLayer(24, 3, 56, activation="gelu", batch_first=True, norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(24)
            self.head = nn.Linear(24, 10)

        def forward(self, image):
            x = self.patches(image).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.places
            return self.head(self.norm(self.blocks(x))[:, 0])

    torch.manual_seed(0)
    return ViT().eval(), torch.randn(2, 3, 16, 16)


def _save(path: Path, nodes: list, out: str, weights: list) -> Path:
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 7]) for n in ("x", out)]
    g = helper.make_graph(nodes, "net", io[:1], io[1:], weights)
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def _ssd(folder: Path) -> Path:
    """A head as SSD has it in Caffe: class scores and boxes of two maps, flattened and joined."""
    layers = ['name: "ssd" input: "data" input_shape { dim: 1 dim: 3 dim: 24 dim: 24 }']
    at = "data"
    for n, c in enumerate((8, 12), 1):
        layers.append(_conv(f"conv{n}", at, c, 3, 2))
        layers.append(f'layer {{ name: "relu{n}" type: "ReLU" bottom: "conv{n}" top: "conv{n}" }}')
        at = f"conv{n}"
        for kind, k in (("loc", 16), ("conf", 12)):
            layers.append(_conv(f"{at}_{kind}", at, k, 3, 1))
            layers.append(f'layer {{ name: "{at}_{kind}_flat" type: "Flatten" bottom: "{at}_{kind}" top: "{at}_{kind}_flat" }}')
    for kind in ("loc", "conf"):
        bottoms = " ".join(f'bottom: "conv{n}_{kind}_flat"' for n in (1, 2))
        layers.append(f'layer {{ name: "mbox_{kind}" type: "Concat" {bottoms} top: "mbox_{kind}" concat_param {{ axis: 1 }} }}')
    (folder / "ssd.prototxt").write_text("\n".join(layers))
    model = convcore.load(folder / "ssd.prototxt", init_weights=True)
    convcore.convert(model, "caffe", folder / "head.prototxt", check=False)
    return folder / "head.prototxt"


def _conv(name: str, bottom: str, n: int, k: int, stride: int) -> str:
    param = f'num_output: {n} kernel_size: {k} pad: 1 stride: {stride} weight_filler {{ type: "xavier" }}'
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ {param} }} }}'


@pytest.fixture
def opened(browser, pages):
    """Opens a page at a width; at the end nothing was complained of and nothing fetched."""
    open_pages = []

    def do(name: str, width: int, height: int = 800):
        page = browser.new_page(viewport={"width": width, "height": height})
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: said.append(r.url) if not r.url.startswith(("file://", "blob:", "data:")) else None)
        page.goto((pages / f"{name}.html").as_uri())
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        open_pages.append((page, said, name, width))
        return page

    yield do
    for page, said, name, width in open_pages:
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS) / f"{name}-{width}.png"), full_page=True)
        page.close()
        assert said == [], (name, width)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["cnn", "vit", "ssd", "big", "blocks"])
def test_every_page_is_drawn(name, width, opened):
    page = opened(name, width)
    paint = page.evaluate("performance.getEntriesByType('paint').find(e => e.name === 'first-contentful-paint').startTime")
    assert paint < 1000
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate("Object.values(convcore.pictures).map(p => p.flat.boxes.length)")
    assert all(n > 0 for n in boxes), boxes
    if name == "big":
        assert boxes == [2002]
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("mode", ["near", "far", "zoom"])
def test_two_thousand_nodes_move_smoothly(mode, opened):
    assert opened("big", 1280).evaluate(FRAMES, mode) >= 30


def test_a_counterpart_is_shown(opened):
    page = opened("cnn", 1280)
    item = page.locator("#graph-source svg .item", has_text="conv2d_2").first
    item.click()
    assert page.locator("#graph-source .item.picked").count() == 1
    page.wait_for_selector("#graph-result .item.pair")
    assert "conv2d_2" in page.locator("#graph-result .item.pair").first.text_content()
    assert "in the result:" in page.locator("#graph-source .detail").text_content()
    assert "in the source: conv2d_2" in page.locator("#graph-result .detail").text_content()
    assert page.locator("#verdict").text_content() == "ok" and page.locator("#errors button").count() == 15


def test_values_that_do_not_differ_are_no_chart(opened):
    page = opened("ssd", 1280)
    assert (
        page.locator("#errors").count() == 0
        and page.get_by_text("All 14 values between are the same to the last bit").count() == 1
    )


def test_pictures_for_the_readme(opened):
    """The part of a page that README shows: kept where CONVCORE_SHOTS names a folder, no larger than a page may be."""
    page = opened("cnn", 1280)
    page.locator("#graph-source svg .item", has_text="conv2d_2").first.click()
    page.wait_for_selector("#graph-result .item.pair")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(300)
    box = page.locator(".graphs").bounding_box()
    image = page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": box["y"] + box["height"] + 12}, full_page=True)
    assert 20_000 < len(image) < 150_000
    if SHOTS:
        (Path(SHOTS) / "report.png").write_bytes(image)


def test_boxes_open_and_close(opened):
    page = opened("blocks", 1280)
    count = "convcore.pictures.source.flat.boxes.length"
    before = page.evaluate(count)
    assert before > 10  # the one box that holds all is open
    page.locator("#graph-source [data-toggle]").nth(1).click()
    page.wait_for_function(f"{count} > {before}")
    page.get_by_label("open every box").click()
    page.wait_for_function(f"{count} > 60")
    page.get_by_label("close every box").click()
    page.wait_for_function(f"{count} < 20")
    page.locator("#graph-source input").fill("layers.3")
    page.locator("#graph-source input").press("Enter")
    page.wait_for_selector("#graph-source .item.picked")
    assert "layers.3" in page.locator("#graph-source .item.picked").first.text_content()


def test_moved_by_hand_and_by_keys(opened):
    page = opened("cnn", 400)
    place = "[convcore.pictures.source.x, convcore.pictures.source.y, convcore.pictures.source.scale]"
    x, y, s = page.evaluate(place)
    box = page.locator("#graph-source svg").bounding_box()
    page.locator("#graph-source svg").scroll_into_view_if_needed()
    box = page.locator("#graph-source svg").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 90, steps=4)
    page.mouse.up()
    nx, ny, _ = page.evaluate(place)
    assert (round(nx - x), round(ny - y)) == (50, 70)
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"convcore.pictures.source.scale > {s}")
    page.locator("#graph-source svg").focus()
    page.keyboard.press("0")
    page.keyboard.press("ArrowDown")
    assert round(page.evaluate(place)[1]) == round(y) - 60
