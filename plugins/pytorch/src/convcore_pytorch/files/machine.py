"""What opcodes of pickles work on: the bytes, the stack, marks and memo, objects made of plain data, all of it bounded.

It never imports and never calls what a file names: see :mod:`.pickles`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from convcore.plugin import BadFileError

from . import limits
from .objects import Array, Global, Instance
from .storage import StoredTensor
from .table import CALLS, INERT, array_of, call_by_table, named, numpy_dtype

__all__ = ["Machine", "Source"]

Source = Any  # bytes or mmap.mmap: slices give bytes, find(byte, start, end) gives a position

# a class of these modules is never kept as data, even when making it takes no call
_NEVER = {"os", "posix", "nt", "subprocess", "sys", "builtins", "importlib", "runpy", "socket", "shutil", "ctypes", "code", "pty"}
_PLAIN = (str, int, float, bytes, bool, type(None))


class Machine:
    """One pickle of ``data`` from ``pos`` at work.

    ``persistent`` resolves persistent ids. ``foreign`` keeps objects of unknown functions as data, too.
    """

    def __init__(self, data: Source, pos: int, persistent: Callable[[Any], Any], where: str, *, foreign: bool) -> None:
        self.data, self.pos, self.end = data, pos, len(data)
        self.persistent, self.where, self.foreign = persistent, where, foreign
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.memory = 0

    # ---- reading
    def bad(self, why: str) -> BadFileError:
        return BadFileError(f"{self.where}: {why}")

    def charge(self, n: int) -> None:
        self.memory += n
        if self.memory > limits.MEMORY:
            raise self.bad(f"the pickle asks for more than {limits.MEMORY >> 20} MiB of objects")

    def take(self, n: int) -> bytes:
        start = self.pos
        if n > self.end - start:
            raise self.bad("the pickle is truncated")
        self.pos = start + n
        found: bytes = self.data[start : self.pos]
        return found

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        return self.decoded(self.line_bytes())

    def line_bytes(self) -> bytes:
        stop = self.data.find(b"\n", self.pos, min(self.end, self.pos + limits.TEXT_LINE))
        if stop < 0:
            raise self.bad("the pickle has a line without an end")
        text = self.take(stop - self.pos)
        self.pos += 1
        return text

    def decoded(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as e:
            raise self.bad("text that is not UTF-8") from e

    def counted(self, form: str) -> bytes:
        n = self.number(form)
        if n < 0:
            raise self.bad("a negative length")
        self.charge(n + 50)
        return self.take(n)

    def integer(self, text: str) -> int:
        try:
            return int(text) if len(text) <= 2 * limits.INTEGER else self._huge()
        except ValueError as e:
            raise self.bad("a number that is none") from e

    def long(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little", signed=True) if 0 <= n <= limits.INTEGER else self._huge()

    def real(self, text: str) -> float:
        try:
            return float(text)
        except ValueError as e:
            raise self.bad("a number that is none") from e

    def _huge(self) -> int:
        raise self.bad(f"an integer of more than {limits.INTEGER} bytes")

    # ---- the stack
    def push(self, value: Any) -> None:
        self.stack.append(value)

    def made(self, value: Any) -> None:
        self.charge(192)
        self.stack.append(value)

    def top(self) -> Any:
        if not self.stack:
            raise self.bad("the pickle's stack is empty")
        return self.stack[-1]

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.bad("the pickle's stack is empty")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise self.bad("the pickle has no mark")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def remember(self, key: int) -> None:
        self.charge(40)
        self.memo[key] = self.top()

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise self.bad("the pickle refers to an object that it has not made")
        self.stack.append(self.memo[key])

    # ---- containers
    def key(self, key: Any, depth: int) -> Any:
        """A key of a dict: plain, or a tuple of plain values; integers small enough that no two collide by design."""
        if isinstance(key, tuple) and depth < limits.NESTED_KEY:
            self.charge(16 * len(key))
            return tuple(self.key(k, depth + 1) for k in key)
        if isinstance(key, int) and abs(key) >= 1 << 60:
            raise self.bad("an integer key of more than 60 bits")
        if isinstance(key, StoredTensor):
            return key
        if not isinstance(key, _PLAIN):
            raise self.bad(f"a key that is a {type(key).__name__}")
        return key

    def update(self, target: Any, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise self.bad("a dict with a key without a value")
        self.charge(40 * len(pairs))
        for k, v in zip(pairs[::2], pairs[1::2]):
            if isinstance(target, Instance):
                target.pairs.append((k, v))
            elif isinstance(target, dict):
                target[self.key(k, 0)] = v
            else:
                raise self.bad(f"items are set in a {type(target).__name__}")

    def extend(self, target: Any, values: list[Any]) -> None:
        into = target.items if isinstance(target, Instance) else target
        if not isinstance(into, list):
            raise self.bad(f"items are appended to a {type(target).__name__}")
        self.charge(8 * len(values))
        into.extend(values)

    # ---- objects
    def global_(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.bad("a class whose name is no text")
        self.made(named(module, name))

    def call(self, function: Any, args: Any) -> None:
        """REDUCE: by the table, or a refusal."""
        if not isinstance(args, tuple):
            raise self.bad("arguments that are no tuple")
        self.charge(
            200 + sum(100 * len(a) if isinstance(a, (list, dict, tuple)) else len(a) for a in args if hasattr(a, "__len__"))
        )
        if not isinstance(function, Global):
            raise self.bad("something that is no class or function is called")
        if function.path in CALLS:
            self.push(call_by_table(function, args))
        elif function.path == "copyreg._reconstructor" and args and isinstance(args[0], Global):
            self.new(args[0], ())
        elif function.path == "copyreg.__newobj__" and args and isinstance(args[0], Global):
            self.new(args[0], args[1:])
        elif function.path in INERT or self.foreign:
            self.push(Instance(function, args))
        else:
            raise self.refused(function)

    def new(self, cls: Any, args: Any) -> None:
        """NEWOBJ: by the table, or inert data."""
        if not isinstance(args, tuple) or not isinstance(cls, Global):
            raise self.bad("an object of something that is no class")
        self.charge(200)
        if cls.path in CALLS:
            self.push(call_by_table(cls, args))
        elif cls.module.partition(".")[0] in _NEVER and not self.foreign:
            raise self.refused(cls)
        else:
            self.push(Instance(cls, args))

    def refused(self, what: Global) -> BadFileError:
        return self.bad(
            f"the file asks to call {what.path}, which is no part of a checkpoint; nothing was run. "
            "If the file is yours, save the state_dict alone: torch.save(model.state_dict(), ...)"
        )

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, Instance):
            target.state = state
        elif isinstance(target, Array):
            if not isinstance(state, tuple) or len(state) != 5:
                raise self.bad("a numpy array with an unknown state")
            _, shape, dtype, fortran, raw = state
            self.charge(len(raw) if isinstance(raw, bytes) else 0)
            target.values = array_of(numpy_dtype(dtype), shape, raw, fortran)
        elif not isinstance(target, dict):  # an OrderedDict's is {"_metadata": versions of the modules}: nothing to keep
            raise self.bad(f"state for a {type(target).__name__}")

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def frame(self) -> None:
        if self.number("<Q") > self.end - self.pos:
            raise self.bad("the pickle is truncated")

    def protocol(self) -> None:
        if self.number("B") > 5:
            raise self.bad("an unknown pickle protocol")

    def dict_(self) -> None:
        made: dict[Any, Any] = {}
        self.update(made, self.since_mark())
        self.made(made)

    def obj(self) -> None:
        values = self.since_mark()
        if not values:
            raise self.bad("the pickle's stack is empty")
        self.call(values[0], tuple(values[1:]))

    def inst(self) -> None:
        cls = named(self.line(), self.line())
        self.call(cls, tuple(self.since_mark()))

    def newobj_ex(self) -> None:
        keywords, args, cls = self.pop(), self.pop(), self.pop()
        if keywords:
            raise self.bad("an object made with named arguments")
        self.new(cls, args)

    def tuple_of(self, n: int) -> None:
        values = [self.pop() for _ in range(n)]
        self.charge(8 * n)
        self.made(tuple(reversed(values)))

    def quoted(self) -> str:
        """STRING of protocol 0: a Python 2 literal in quotes, escapes by hand."""
        text = self.line()
        if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
            raise self.bad("text without quotes")
        try:
            return text[1:-1].encode("latin1").decode("unicode_escape")
        except (UnicodeDecodeError, UnicodeEncodeError) as e:
            raise self.bad("text that is damaged") from e

    def unicode_line(self) -> str:
        """UNICODE of protocol 0: characters up to U+00FF are bytes, others and line ends are escapes."""
        try:
            return self.line_bytes().decode("raw_unicode_escape")
        except UnicodeDecodeError as e:
            raise self.bad("text that is damaged") from e

    def int_line(self) -> int | bool:
        text = self.line()
        return text == "01" if text in ("00", "01") else self.integer(text)
