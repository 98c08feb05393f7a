"""The closed table of what a pickle may call: names that torch and numpy write, each with our own constructor.

A constructor takes the arguments of the file and makes plain data; it never looks anything up by name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from convcore.plugin import BadFileError, Problem, UnsupportedError

from .elements import BY_NAME, BY_STORAGE, Element, element
from .objects import Array, Global, Instance
from .storage import Slice, Storage, StoredTensor, tensor

__all__ = ["CALLS", "INERT", "array_of", "call_by_table", "element_of", "named", "numpy_dtype", "storage_element"]


def storage_element(name: Global) -> Element | None:
    """The element type of a storage class; None for the untyped one. BadFileError for others."""
    short = name.name
    if name.module in ("torch", "torch.storage", "torch.cuda") and short == "UntypedStorage":
        return None
    if name.module not in ("torch", "torch.storage", "torch.cuda") or short not in BY_STORAGE:
        raise BadFileError(f"storage class {name.path} is not read")
    return BY_STORAGE[short]


def element_of(value: Any) -> Element:
    """The element type a ``torch.float32`` in the file means."""
    if not isinstance(value, Global) or value.module != "torch":
        raise BadFileError("a tensor's element type is not a torch dtype")
    return element(value.name)


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any = False, _hooks: Any = None, bits: Any = None
) -> StoredTensor:
    """torch._utils._rebuild_tensor_v2; backward hooks are code and dropped."""
    source = storage.storage if isinstance(storage, Slice) else storage
    if not isinstance(source, Storage):
        raise BadFileError("a tensor without a storage")
    return _view(storage, source.element or BY_NAME["uint8"], offset, shape, strides, grad, bits)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, _hooks: Any, dtype: Any, bits: Any = None
) -> StoredTensor:
    """torch._utils._rebuild_tensor_v3: untyped bytes seen as elements of ``dtype``."""
    if not isinstance(storage, Storage):
        raise BadFileError("a tensor without a storage")
    return _view(storage, element_of(dtype), offset, shape, strides, grad, bits)


def _view(source: Any, kind: Element, offset: Any, shape: Any, strides: Any, grad: Any, bits: Any) -> StoredTensor:
    lazy = bits if isinstance(bits, dict) else {}
    if (bits is not None and not isinstance(bits, dict)) or set(lazy) - {"conj", "neg"}:
        raise BadFileError("a tensor has metadata that is not known")
    conj, neg = lazy.get("conj") is True, lazy.get("neg") is True
    return tensor(source, kind, shape, strides, offset, requires_grad=grad is True, conj=conj, neg=neg)


def _parameter(data: Any, grad: Any = True, _hooks: Any = None, _state: Any = None) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise BadFileError("a parameter without a tensor")
    return data.with_facts(parameter=True, requires_grad=grad is True)


def _subclassed(function: Any, _cls: Any, args: Any, _state: Any) -> Any:
    """torch._tensor._rebuild_from_type_v2: the plain tensor of a subclass that only adds attributes."""
    name = _cls.path if isinstance(_cls, Global) else "?"
    if name not in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer", "torch._tensor.Tensor"):
        raise _refused("_rebuild_from_type_v2", f"a tensor subclass, {name}")
    if not isinstance(function, Global) or not isinstance(args, tuple) or "_rebuild_tensor" not in function.name:
        raise BadFileError("a tensor of a subclass is built in an unknown way")
    return call_by_table(function, args)


def _ordered(items: Any = ()) -> OrderedDict[Any, Any]:
    out: OrderedDict[Any, Any] = OrderedDict()
    for pair in items:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], (str, int, float, bytes, type(None))):
            raise BadFileError("an OrderedDict of something that is no pair")
        out[pair[0]] = pair[1]
    return out


def _size(values: Any = ()) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or not all(type(n) is int for n in values):
        raise BadFileError("a torch.Size of something that is no integer")
    return tuple(values)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise BadFileError("bytes in an unknown encoding")
    try:
        return text.encode("latin1" if encoding == "latin-1" else encoding)
    except UnicodeEncodeError as e:
        raise BadFileError(f"bytes that are not {encoding}") from e


def _bytes(text: Any = b"", encoding: Any = "latin1") -> bytes:
    return text if isinstance(text, bytes) else _encode(text, encoding)


def _counted(values: Any = ()) -> list[Any]:
    """set, frozenset and deque as a list in the file's order."""
    if not isinstance(values, (list, tuple)):
        raise BadFileError("a set of something that is no list")
    return list(values)


def _mapping(*args: Any) -> dict[Any, Any]:
    """Counter and defaultdict as dicts; a factory is a name."""
    found = [a for a in args if isinstance(a, dict)]
    return dict(found[0]) if found else {}


def _complex(real: Any, imag: Any) -> complex:
    if not isinstance(real, (int, float)) or not isinstance(imag, (int, float)) or abs(real) > 1e308 or abs(imag) > 1e308:
        raise BadFileError("a complex number of something that is no number")
    return complex(real, imag)


_NUMPY = {f"{k}{w}" for k, widths in (("f", (2, 4, 8)), ("i", (1, 2, 4, 8)), ("u", (1, 2, 4, 8)), ("c", (8, 16))) for w in widths}


def _dtype(code: Any = "", *_flags: Any) -> Instance:
    if not isinstance(code, str) or code.lstrip("<>|=") not in _NUMPY | {"b1"}:
        raise BadFileError("a numpy array whose element type is no number")
    return Instance(Global("numpy", "dtype"), (code,))


def numpy_dtype(value: Any) -> np.dtype[Any]:
    """The numpy dtype that a ``numpy.dtype`` of the file means, byte order included."""
    if not isinstance(value, Instance) or value.cls.path != "numpy.dtype":
        raise BadFileError("a numpy value without an element type")
    code = str(value.args[0])
    order = code[0] if code[0] in "<>|=" else "<"
    if isinstance(value.state, tuple) and len(value.state) > 1 and value.state[1] in ("<", ">", "|"):
        order = value.state[1]
    return np.dtype(order + code.lstrip("<>|="))


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    kind = numpy_dtype(dtype)
    if not isinstance(raw, bytes) or len(raw) != kind.itemsize:
        raise BadFileError("a numpy scalar of the wrong length")
    return np.frombuffer(raw, kind)[0].item()


def array_of(kind: np.dtype[Any], shape: Any, raw: Any, fortran: Any) -> Any:
    """A numpy array from its parts, checked."""
    count = 1
    sizes = _size(shape)
    for n in sizes:
        count *= n
    if (
        not isinstance(raw, (bytes, bytearray))
        or any(n < 0 for n in sizes)
        or len(sizes) > 32
        or count * kind.itemsize != len(raw)
    ):
        raise BadFileError("a numpy array whose bytes do not fit its shape")
    values = np.frombuffer(bytes(raw), kind).reshape(sizes, order="F" if fortran else "C")
    return values.astype(kind.newbyteorder("="))


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    return Array(array_of(numpy_dtype(dtype), shape, raw, order == "F"))


def _same(value: Any, *_rest: Any) -> Any:
    return value


def _refused(name: str, what: str) -> UnsupportedError:
    return UnsupportedError(
        Problem(name, what, "is not read", "convert it to plain tensors in torch first", "unsupported_tensor")
    )


def _refuse(what: str, name: str) -> Callable[..., Any]:
    def refuse(*_args: Any) -> Any:
        raise _refused(name, what)

    return refuse


_UTILS = "torch._utils."
CALLS: dict[str, Callable[..., Any]] = {
    _UTILS + "_rebuild_tensor": _tensor,
    _UTILS + "_rebuild_tensor_v2": _tensor,
    _UTILS + "_rebuild_tensor_v3": _tensor_v3,
    _UTILS + "_rebuild_parameter": _parameter,
    _UTILS + "_rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    **{
        _UTILS + name: _refuse(what, name)
        for name, what in (
            ("_rebuild_sparse_tensor", "a sparse tensor"),
            ("_rebuild_sparse_csr_tensor", "a sparse tensor"),
            ("_rebuild_nested_tensor", "a nested tensor"),
            ("_rebuild_qtensor", "a quantised tensor"),
            ("_rebuild_meta_tensor_no_storage", "a tensor on the meta device, without values"),
            ("_rebuild_wrapper_subclass", "a tensor subclass that wraps others"),
            ("_rebuild_device_tensor_from_numpy", "a tensor of a device that torch cannot save"),
            ("_rebuild_device_tensor_from_cpu_tensor", "a tensor of a device that torch cannot save"),
        )
    },
    "torch.serialization._get_layout": lambda name: Instance(Global("torch", "layout"), (name,)),
    "torch.Size": _size,
    "torch.device": lambda *a: Instance(Global("torch", "device"), a),
    "collections.OrderedDict": _ordered,
    "collections.Counter": _mapping,
    "collections.defaultdict": _mapping,
    "collections.deque": lambda values=(), _most=None: _counted(values),
    "builtins.set": _counted,
    "builtins.frozenset": _counted,
    "builtins.list": _counted,
    "builtins.complex": _complex,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _encode,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_a: Array() for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
    "numpy.dtype": _dtype,
    # TorchScript's pickles: lists tagged with their static types (torch/jit/_pickle.py)
    **{
        f"torch.jit._pickle.{name}": _same for name in ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
    },
    "torch.jit._pickle.restore_type_tag": _same,
}

# Classes of ordinary checkpoints whose objects are made by a call. Kept as data: the class's name and the arguments.
INERT = {
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"pathlib._local.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    "argparse.Namespace",
    "types.SimpleNamespace",
    "uuid.UUID",
    "fractions.Fraction",
    "decimal.Decimal",
    "torch.torch_version.TorchVersion",
    "torch.random.Generator",
}

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}


def named(module: str, name: str) -> Global:
    """A name of the file, Python 2's modules under their Python 3 names."""
    return Global(_RENAMED.get(module, module), name)


def call_by_table(function: Global, args: tuple[Any, ...]) -> Any:
    """The result of a constructor of the table; BadFileError when the arguments are not those it takes."""
    try:
        return CALLS[function.path](*args)
    except TypeError as e:
        raise BadFileError(f"{function.path} is called with other arguments than torch gives it ({e})") from e
