"""Every op's own samples: laid out, written as a module, run by torch: equal to the interpreter, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.testing.samples import Summary, same, sample_graph
from convcore_pytorch.functions import HELPERS
from convcore_pytorch.layout import CONVENTION

from .code_record import FUNCTIONS, check, classes_of, text_of, with_functions
from .torch_kit import emit_model

torch = pytest.importorskip("torch")
from convcore_pytorch.runtime import open_runtime

_PADDED = [f"max_pool_with_indices[{i}]" for i in (0, 1, 2, 3, 5, 6)]  # positions in an input that had to be padded in front
REFUSED = {
    *_PADDED, *(f"{k} batch" for k in _PADDED),
    "prior_box[0] batch", "prior_box[1] batch",  # of an image whose size is not known
    "pad[2] batch", "pad[3] batch",  # edges of an axis whose size is not known
    "mel_weight_matrix[0]", "mel_weight_matrix[0] batch",  # of a size that is only known when it runs
}  # fmt: skip
"""Samples that are refused; all others are not, and none of these is written."""
WITHOUT = {"text"}
"""Families none of whose ops is written: strings."""
OPS = {name: decl for name, decl in all_ops().items() if decl.samples}


@pytest.mark.parametrize("name", OPS)
def test_samples_are_written_right(name: str) -> None:
    """To the letter (``code_record.py``); those with a free batch run the functions of ``written.py`` themselves."""
    summary, found, decl = Summary(), dict[str, str](), OPS[name]
    for i, sample in enumerate(decl.samples):
        for batch in (False, True):
            key = f"{name}[{i}]{' batch' if batch else ''}"
            g, feeds = sample_graph(decl, sample, batch)
            want = Interpreter(g).run(feeds)
            assign(g, CONVENTION, io="source")
            try:
                made = emit_model(g)
                code = classes_of(text_of(made))
            except UnsupportedError as e:
                summary.add("unsupported", key, str(e))
                code = "".join(f"# {p.why}\n" for p in e.problems)
            else:
                model = with_functions(made.model()) if batch else made.model()
                got = open_runtime(model).run(feeds)
                why = next((w for w in (same(a, np.asarray(b), 1e-4, 1e-5) for a, b in zip(got, want, strict=True)) if w), "")
                summary.add("wrong" if why else "right", key, why)
            if not batch or code != found[f"{name} {i}"]:
                found[f"{name} {i}{' batch' if batch else ''}"] = code
    assert not summary.detail.get("wrong"), summary.detail["wrong"]
    if decl.family in WITHOUT:
        assert set(summary.counts) == {"unsupported"}, str(summary.detail)
        return
    refused = {key for key, _ in summary.detail.get("unsupported", [])}
    assert refused == {k for k in REFUSED if k.partition("[")[0] == name}, summary.detail["unsupported"]
    check(decl.family, found, f"{name} ")


def test_every_family_is_written() -> None:
    told = {k.partition("[")[0] for k in REFUSED}
    assert (
        FUNCTIONS.keys() == HELPERS
        and {d.family for n, d in OPS.items() if n not in told} >= {d.family for d in OPS.values()} - WITHOUT
    )
