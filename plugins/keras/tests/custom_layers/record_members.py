"""Print the names that layers of the installed Keras have, as JSON: ``layer_members.json`` of ``code/source`` is their union over
Keras 1.2.2, 2.2.5 (``keras``), tf_keras 2.21 (``tf_keras``) and Keras 3.15.1.

``python record_members.py [keras|tf_keras] [FILE of names found before]``
"""

import importlib
import inspect
import json
import sys


def main():
    keras = importlib.import_module(sys.argv[1] if len(sys.argv) > 1 else "keras")
    found = set(json.load(open(sys.argv[2]))) if len(sys.argv) > 2 else set()
    layers = importlib.import_module(keras.__name__ + ".layers")
    base = getattr(layers, "Layer", None) or importlib.import_module(keras.__name__ + ".engine.topology").Layer
    for kind in vars(layers).values():
        if inspect.isclass(kind) and issubclass(kind, base):
            for c in kind.__mro__:
                found.update(n for n in vars(c) if not n.startswith("__") and c is not object)
    names = sorted(found)
    lines = []
    for n in names:
        text = json.dumps(n)
        if lines and len(lines[-1]) + len(text) < 124:
            lines[-1] += ", " + text
        else:
            lines.append(text)
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
