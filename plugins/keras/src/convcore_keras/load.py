"""Reading a Keras source into a graph: the loader the host calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convcore.plugin import BadFileError, Graph, LoadRequest, ask_option, passing

from .custom_objects import rules_of_objects, source_of_objects
from .files.config import UserNames
from .files.model import KerasModel
from .files.reader import read
from .files.variables import own_variables
from .load_graph import GraphLoader
from .load_live import read_copied, read_live
from .plugin import is_live

if TYPE_CHECKING:
    from .code.source.custom import CustomCode

__all__ = ["load"]


def load(request: LoadRequest) -> Graph:
    """The graph of a ``.keras``, ``.h5`` or ``.json`` + weights source, or of a live Keras model.

    Layers without a rule become opaque nodes. Raises BadFileError when files are broken, do not belong together, or hold no
    weights where the architecture needs them; UsageError for input shapes that do not fit the model's inputs.
    """
    custom = _custom(request)
    model = _read(request, UserNames() if custom is None else UserNames(custom.library.classes, custom.library.functions))
    rules_of_objects(model, request)
    if not model.has_weights:
        needy = [path for path, layer in model.walk() if own_variables(layer)]
        if needy:
            raise BadFileError(
                f"{model.paths[0]}: holds only the architecture, and {len(needy)} layers ({', '.join(needy[:3])}"
                f"{', ...' if len(needy) > 3 else ''}) have weights: give the weights file too ({ask_option('weights')})"
            )
    return GraphLoader(model, request, custom).run()


def _custom(request: LoadRequest) -> CustomCode | None:
    """The source that the user gives, if any; the machine that reads it is loaded only then."""
    paths, objects = request.options.get("custom"), request.options.get("custom_objects")
    named = source_of_objects(objects) if objects else []
    if not paths and not named:
        return None
    from .code.source.custom import custom_code

    return custom_code(paths, named)


def _read(request: LoadRequest, custom: UserNames) -> KerasModel:
    source: Any = request.source
    given = request.options.get("run_custom_code")
    if given:
        from .run_code import ran

        run = [given] if isinstance(given, str) or hasattr(given, "__fspath__") else list(given)
        with passing(), ran(source, request.weights, run) as path:
            model = read_copied(path, custom)
        model.paths = (str(source),)
        model.notes.append(
            "custom layers are what their code computed when it was run "
            f"({ask_option('run_custom_code', ', '.join(map(str, run)))})"
        )
        return model
    if is_live(source):
        return read_live(source, request.input_shapes, custom)
    return read(source, request.weights, kernels=request.options.get("kernels"), custom=custom)
