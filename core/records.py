"""``dataclass`` of the standard library for two thirds of the time that it takes to define one.

Starting a command defines a hundred of them, and ``dataclasses.dataclass`` (up to Python 3.12) compiles every method of each.
Here ``__repr__``, ``__eq__`` and ``__hash__`` are closures that do the same; the rest is the standard library's, so
``fields``, ``replace``, ``asdict`` and subclasses by either decorator work as they do for any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from operator import attrgetter
    from reprlib import recursive_repr

    def dataclass(cls=None, /, *, eq=True, frozen=False, **options):
        """``dataclasses.dataclass`` with its options ``init``, ``eq``, ``frozen``, ``slots`` and ``kw_only``."""

        def made(cls):
            own = vars(cls)
            hashes = own.get("__hash__") is not None or ("__hash__" in own and "__eq__" not in own)
            cls = dataclasses.dataclass(repr=False, eq=False, frozen=frozen, **options)(cls)
            cls.__dataclass_params__.repr, cls.__dataclass_params__.eq = True, eq
            fields = dataclasses.fields(cls)
            methods = [_repr([f.name for f in fields if f.repr])]
            if eq:
                key = _key([f.name for f in fields if f.compare])
                methods.append(_eq(key))
                if not hashes:
                    cls.__hash__ = None
                    methods += [_hash(key)] if frozen else []
            for m in methods:
                if vars(cls).get(m.__name__) is None:
                    m.__qualname__, m.__module__ = f"{cls.__qualname__}.{m.__name__}", cls.__module__
                    setattr(cls, m.__name__, m)
            return cls

        return made if cls is None else made(cls)

    def _key(names):
        """What tells one from another: the values of these fields."""
        if len(names) > 1:
            return attrgetter(*names)
        if not names:
            return lambda x: ()
        one = attrgetter(*names)
        return lambda x: (one(x),)

    def _repr(names):
        @recursive_repr()
        def __repr__(self):
            return f"{type(self).__qualname__}({', '.join([f'{n}={getattr(self, n)!r}' for n in names])})"

        return __repr__

    def _eq(key):
        def __eq__(self, other):
            return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

        return __eq__

    def _hash(key):
        def __hash__(self):
            return hash(key(self))

        return __hash__
