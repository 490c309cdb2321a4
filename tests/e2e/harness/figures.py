"""What is said of measured seconds."""

import math


def percentile(values: list[float], part: float) -> float:
    """The least of `values` that so large a part of them does not exceed."""
    return sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]


def spread(values: list[float]) -> str:
    """For people."""
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, max {max(values):.2f} s"
