"""What surrounds torch.export while it traces: silence, and recurrent operators that stay whole."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["quiet", "recurrent"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """torch's exporter prints partial graphs and logs guards: not to the user's terminal."""
    logger = logging.getLogger("torch")
    level = logger.level
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


# ---------------------------------------------------------------- recurrent layers
_RESULTS = {"lstm": 3, "gru": 2, "rnn_tanh": 2, "rnn_relu": 2}


@contextlib.contextmanager
def recurrent(torch: Any) -> Iterator[None]:
    """LSTM, GRU and RNN as one operator each while a module is traced: torch's own are unrolled over the time of the example."""
    rnn = torch.nn.modules.rnn
    real = rnn._VF
    rnn._VF = _Traced(real, _operators(torch))
    try:
        yield
    finally:
        rnn._VF = real


class _Traced:
    """torch's table of recurrent functions, those over a batch of whole sequences replaced."""

    def __init__(self, real: Any, ops: Mapping[str, Any]) -> None:
        self._real, self._ops = real, ops

    def __getattr__(self, name: str) -> Any:
        op = self._ops.get(name)
        real = getattr(self._real, name)
        if op is None:
            return real

        def call(*args: Any) -> Any:
            if len(args) != 9 or not isinstance(args[3], bool):  # packed sequences: (data, batch_sizes, ...)
                return real(*args)
            x, hx, *rest = args
            return tuple(op(x, list(hx) if isinstance(hx, (list, tuple)) else [hx], list(rest[0]), *rest[1:]))

        return call


_made: dict[str, Any] = {}


def _operators(torch: Any) -> Mapping[str, Any]:
    if _made:
        return _made
    library = torch.library.Library("convcore", "DEF")
    for name, results in _RESULTS.items():
        returns = ", ".join(["Tensor"] * results)
        library.define(
            f"{name}(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
            f"bool bidirectional, bool batch_first) -> ({returns})"
        )

        def fake(
            x: Any,
            hx: Any,
            params: Any,
            has_biases: bool,
            layers: int,
            drop: float,
            train: bool,
            both: bool,
            first: bool,
            n: int = results,
        ) -> Any:
            features = hx[0].shape[-1] * (2 if both else 1)
            return (x.new_empty((x.shape[0], x.shape[1], features)), *(torch.empty_like(h) for h in hx[: n - 1]))

        def real(x: Any, hx: Any, params: Any, *rest: Any, fn: str = name) -> Any:
            call = getattr(torch._VF, fn)
            return call(x, tuple(hx) if fn == "lstm" else hx[0], params, *rest)

        torch.library.impl(library, name, "CompositeExplicitAutograd")(real)
        torch.library.register_fake(f"convcore::{name}", fake, lib=library)
        _made[name] = getattr(torch.ops.convcore, name).default
    _made["library"] = library
    return _made
