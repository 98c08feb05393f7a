"""Every family of the core's op set."""

from __future__ import annotations

from .activation import ACTIVATION
from .arithmetic import ARITHMETIC
from .attention import ATTENTION
from .blocks import BLOCKS
from .constants import CONSTANTS
from .control import CONTROL
from .conv import CONV
from .detection import DETECTION
from .dynamic import DYNAMIC
from .fourier import FOURIER
from .image import IMAGE
from .indexing import INDEXING
from .integer import INTEGER
from .joining import JOINING
from .linear import LINEAR
from .lrn import LRN
from .norm import NORM
from .pool import POOL
from .quant import QUANT
from .reduce import REDUCE
from .rnn import RNN
from .sampling import SAMPLING
from .scatter import SCATTER
from .sequences import SEQUENCES
from .shape import SHAPE
from .signal import SIGNAL
from .softmax import SOFTMAX
from .sorting import SORTING
from .special_functions import SPECIAL
from .text import TEXT
from .training import TRAINING

__all__ = ["FAMILIES"]

FAMILIES = (
    ARITHMETIC,
    ACTIVATION,
    SOFTMAX,
    LINEAR,
    ATTENTION,
    CONV,
    POOL,
    NORM,
    LRN,
    RNN,
    CONTROL,
    IMAGE,
    DETECTION,
    REDUCE,
    SORTING,
    SHAPE,
    JOINING,
    INDEXING,
    SCATTER,
    BLOCKS,
    CONSTANTS,
    QUANT,
    TRAINING,
    SPECIAL,
    FOURIER,
    INTEGER,
    SAMPLING,
    SIGNAL,
    TEXT,
    SEQUENCES,
    DYNAMIC,
)
