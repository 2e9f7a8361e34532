"""The median of repeated measurements and its interval, for the benchmarks in Python."""
import math
import statistics


def median_interval(values):
    """The median and the narrowest symmetric pair of order statistics that covers it with 95 %; needs 6 values."""
    ordered, n = sorted(values), len(values)
    k = 0
    while 2 * sum(math.comb(n, i) for i in range(k + 2)) / 2**n <= 0.05:
        k += 1
    return statistics.median(ordered), ordered[k], ordered[n - 1 - k]
