"""Caffe's files, read and written without Caffe.

Messages are protobuf's, of classes made from the schema's tables; weights never pass through it, which keeps them lazy. The text
reader is our own: protobuf's stops at the first unknown field and knows no lines. HDF5 weights need h5py (extra ``hdf5``).

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
