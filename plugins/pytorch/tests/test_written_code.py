"""The code of every sample of every op, to the letter (``code_record.py``); ``test_samples.py`` has torch run it."""

from __future__ import annotations

import numpy as np
import pytest

from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.testing.samples import same, sample_graph
from convcore_pytorch.functions import HELPERS
from convcore_pytorch.layout import CONVENTION
from convcore_pytorch.runtime import open_runtime

from .code_record import FUNCTIONS, calls_functions, check, classes_of, held, text_of, with_functions
from .torch_kit import emit_model

OPS = {name: decl for name, decl in all_ops().items() if decl.samples and decl.family != "text"}


@pytest.mark.parametrize("name", OPS)
def test_samples_are_written_to_the_letter(name: str) -> None:
    decl, found = OPS[name], dict[str, str]()
    for i, sample in enumerate(decl.samples):
        for batch in (False, True):
            g, _ = sample_graph(decl, sample, batch)
            assign(g, CONVENTION, io="source")
            try:
                code = classes_of(text_of(emit_model(g)))
            except UnsupportedError as e:
                code = "".join(f"# {p.why}\n" for p in e.problems)
            if not batch or code != found[f"{name} {i}"]:
                found[f"{name} {i}{' batch' if batch else ''}"] = code
    check(decl.family, found, f"{name} ")


CALLING = sorted({k.split()[0] for f in {d.family for d in OPS.values()} for k, code in held(f).items() if calls_functions(code)})


def test_all_functions_are_here() -> None:
    assert FUNCTIONS.keys() == HELPERS and len(CALLING) >= 40


@pytest.mark.parametrize("name", CALLING)
@pytest.mark.filterwarnings("ignore")
def test_functions_that_are_copied(name: str) -> None:
    """What code calls of ``written.py`` and its likes, imported: their text is copied, so nothing else runs the modules."""
    for sample in OPS[name].samples:
        g, feeds = sample_graph(OPS[name], sample, False)
        with np.errstate(all="ignore"):
            want = Interpreter(g).run(feeds)
        assign(g, CONVENTION, io="source")
        try:
            made = emit_model(g)
        except UnsupportedError:
            continue
        got = open_runtime(with_functions(made.model())).run(feeds)
        for a, b in zip(got, want, strict=True):
            assert not (why := same(a, np.asarray(b), 1e-4, 1e-5)), why
