"""What Python code inside or beside a Keras model means, found without running it.

``marshal.py`` reads the bytes of a Lambda's function, ``bytecode.py`` its instructions in every Python that may have
written them, ``machine.py`` works through them on symbolic tensors by the rules of ``domain.py``; ``names.py`` says
which operation of ``keras.ops`` a dotted name (``K.mean``, ``tf.reduce_mean``) stands for. Nothing is executed,
imported or unmarshalled by Python.
"""

from __future__ import annotations
