"""What a conversion or verification did, for people (``str(report)``) and machines (``report.to_dict()``)."""

from .compare import OutputDifference, compare_outputs
from .report import Report, Section

__all__ = ["OutputDifference", "Report", "Section", "compare_outputs"]
