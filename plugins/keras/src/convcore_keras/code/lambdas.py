"""A Lambda's function as the file stores it: the forms of every Keras, decoded to one meaning or refused.

Forms (``../../docs`` name the facts): Keras 1 ``[raw marshal as text, defaults, closure]``; Keras 2 and tf.keras
``[base64, defaults, closure]``; Keras 3 ``{"class_name": "__lambda__", "config": {"code", "defaults", "closure"}}``. The bytes do
not say which Python wrote them: every version that fits is tried, and all that make sense must agree.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .bytecode import versions
from .domain import CodeRefused, Misread, Stored
from .machine import CodeFunction
from .marshal import MarshalError, read_code

__all__ = ["StoredFunction", "one_meaning", "stored_function", "wrapped_function"]

T = TypeVar("T")


@dataclass(frozen=True)
class StoredFunction:
    """The bytes of a function, its defaults and the values of its free variables."""

    data: bytes
    defaults: tuple[Any, ...]
    closure: tuple[Any, ...]

    def readings(self) -> list[CodeFunction]:
        """The function in every version of Python that its bytes may be of. Raises CodeRefused if they are of none."""
        try:
            codes = read_code(self.data)
        except MarshalError as e:
            raise CodeRefused(f"is stored as bytes that are no function: {e}") from e
        return [CodeFunction(code, v, self.defaults, {}, self.closure) for code in codes for v in versions(code.layout)]


def stored_function(value: Any) -> StoredFunction:
    """From the configuration of a Lambda. Raises CodeRefused for what is no function."""
    if isinstance(value, Mapping):
        config = value.get("config")
        config = config.get("value", config) if isinstance(config, Mapping) else config
        if isinstance(config, Mapping):
            value = [config.get("code"), config.get("defaults"), config.get("closure")]
        else:
            value = config
    if not isinstance(value, (list, tuple)) or not value or not isinstance(value[0], str):
        raise CodeRefused("is stored in an unknown form")
    defaults, closure = (_values(value[i] if len(value) > i else None) for i in (1, 2))
    return StoredFunction(_bytes(value[0]), defaults, closure)


def _bytes(text: str) -> bytes:
    """Base64, or the bytes themselves as the code points of a text (Keras 1: ``raw_unicode_escape``)."""
    if len(text) > 1 << 20:
        raise CodeRefused("is larger than any function")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        pass
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as e:
        raise CodeRefused("is stored as text that holds no bytes") from e


def _values(x: Any) -> tuple[Any, ...]:
    if x is None:
        return ()
    if not isinstance(x, (list, tuple)):
        raise CodeRefused("has defaults in an unknown form")
    return tuple(_value(v) for v in x)


def _value(x: Any) -> Any:
    """A default or captured value: plain data; lists stand for tuples and arrays too, as JSON has no others."""
    if isinstance(x, (list, tuple)):
        return Stored(_value(v) for v in x)
    if isinstance(x, Mapping):
        if x.get("class_name") == "__tuple__" and isinstance(x.get("items"), list):
            return tuple(_value(v) for v in x["items"])
        return {str(k): _value(v) for k, v in x.items()}
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    raise CodeRefused("captures a value that the file does not hold")


def wrapped_function(reading: CodeFunction) -> str | None:
    """The name of the function where the code is TensorFlow's own wrapper around one, ``Lambda(tf.abs)``; None for other code.

    Until 2.4 the wrapper of ``util/dispatch.py`` captures the function, of which Keras keeps the name; the one of
    ``traceback_utils.py`` (2.5 and newer) captures another wrapper, and the function is lost. Raises CodeRefused for that one.
    """
    code = reading.code
    where = code.filename.replace("\\", "/")
    if code.name == "error_handler" and where.endswith("/util/traceback_utils.py"):
        raise CodeRefused("is TensorFlow's wrapper around a function whose name the file does not hold")
    if code.name != "wrapper" or not where.endswith("/util/dispatch.py") or code.freevars != ("target", "wrapper"):
        return None
    name = reading.closure[0] if reading.closure else None
    return name.removesuffix("_v2") if isinstance(name, str) and reading.closure[0] == reading.closure[-1] else None


def one_meaning(readings: Sequence[CodeFunction], understand: Callable[[CodeFunction], T], same: Callable[[T], Any]) -> T:
    """What the function means under the one version that makes sense, or under all that do, which must be ``same``.

    Raises CodeRefused: the reason of a reading that makes sense where one is refused, whatever others would give; that the
    meanings differ; or why none makes sense (Misread).
    """
    found: list[tuple[T, Any]] = []
    misread: Misread | None = None
    for reading in readings:
        try:
            meaning = understand(reading)
        except Misread as e:
            if misread is None or str(misread).startswith("has "):  # bytes that are no instructions say least
                misread = e
            continue
        found.append((meaning, same(meaning)))
    if not found:
        raise misread or CodeRefused("is empty")
    if any(key != found[0][1] for _, key in found[1:]):
        raise CodeRefused("has another meaning under each version of Python that may have written it")
    return found[0][0]
