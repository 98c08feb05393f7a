"""Many models at once: each in a process of its own, with limits; a run that was killed goes on where it stopped."""

from .run import Batch, batch
from .task import Limits, Row, Task

__all__ = ["Batch", "Limits", "Row", "Task", "batch"]
