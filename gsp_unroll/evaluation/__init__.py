"""Judge: restore images with several methods, and say under which protocol a number holds."""

from __future__ import annotations

from gsp_unroll.evaluation.classical import (
    CLASSICAL,
    MethodError,
    classical_method,
    classical_names,
)
from gsp_unroll.evaluation.export import write_report
from gsp_unroll.evaluation.harness import (
    EvaluationError,
    Report,
    Row,
    Skipped,
    Source,
    Summary,
    builtin_sources,
    evaluate,
    folder_sources,
)
from gsp_unroll.evaluation.methods import (
    METHODS,
    Method,
    module_method,
    network_method,
    resolve_method,
    resolve_methods,
)
from gsp_unroll.evaluation.metrics import mse, psnr, ssim
from gsp_unroll.evaluation.protocols import (
    PROTOCOLS,
    ImageScore,
    Protocol,
    protocols_from_name,
)
from gsp_unroll.evaluation.table import format_report

__all__ = [
    "CLASSICAL",
    "METHODS",
    "PROTOCOLS",
    "EvaluationError",
    "ImageScore",
    "Method",
    "MethodError",
    "Protocol",
    "Report",
    "Row",
    "Skipped",
    "Source",
    "Summary",
    "builtin_sources",
    "classical_method",
    "classical_names",
    "evaluate",
    "folder_sources",
    "format_report",
    "module_method",
    "mse",
    "network_method",
    "protocols_from_name",
    "psnr",
    "resolve_method",
    "resolve_methods",
    "ssim",
    "write_report",
]
