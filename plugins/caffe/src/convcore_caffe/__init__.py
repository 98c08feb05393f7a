"""convcore's plugin for Caffe: prototxt, caffemodel, HDF5 weights and mean files, without Caffe and without
protobuf."""

__version__ = "0.1.0"
