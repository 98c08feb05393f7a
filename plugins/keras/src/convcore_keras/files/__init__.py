"""Keras files of every era, read without Keras or TensorFlow into plain data.

>>> from convcore_keras.files.reader import read
>>> model = read("model.keras")                     # .keras, legacy .h5, or a folder
>>> model = read("model.json", "model.weights.h5")  # architecture and weights apart

Nothing in a file is executed or imported; Lambda code and unknown functions come out as :class:`.model.OpaqueObject`. The package
itself imports nothing: a file of another framework is looked at by :mod:`.sniff` alone.
"""
