"""Caffe's files, read and written without Caffe and without protobuf.

The wire format and the text format are small enough to speak directly, which keeps weights lazy, bounds hostile input
and works beside every protobuf runtime: none is needed. HDF5 weights need h5py (extra ``hdf5``).

    net = read_net("deploy.prototxt", "net.caffemodel")      # layers of phase TEST, weights memory-mapped
    for layer in net: layer.type, layer.bottoms, layer.param("convolution_param")["num_output"], layer.blob(0, shape)
"""

from .blobs import Blob
from .message import Identifier, Message
from .net import Layer, Net, NetInput, Owner, ParamSpec, pooling_rounding
from .printer import print_text
from .read import layer_of_message, read_net, read_prototxt
from .sniff import sniff
from .text import parse_text
from .weights import LayerWeights, read_mean, read_weights
from .write import message_of_layer, message_of_net, write_caffemodel, write_prototxt

__all__ = [
    "Blob",
    "Identifier",
    "Layer",
    "LayerWeights",
    "Message",
    "Net",
    "NetInput",
    "Owner",
    "ParamSpec",
    "layer_of_message",
    "message_of_layer",
    "message_of_net",
    "parse_text",
    "pooling_rounding",
    "print_text",
    "read_mean",
    "read_net",
    "read_prototxt",
    "read_weights",
    "sniff",
    "write_caffemodel",
    "write_prototxt",
]
