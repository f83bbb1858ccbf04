"""Reads what io-models wrote with hdrh, the HdrHistogram of Python, and prints it as JSON.

read_with_hdrh.py log FILE              every interval of a .hlog
read_with_hdrh.py distribution UNIT_NS  the percentile distribution of the histogram on standard input
"""
import io
import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.iterators import PercentileIterator
from hdrh.log import HistogramLogReader


def next_level_as_in_java(self):
    """hdrh does not round the number of halvings down, so its levels are its own."""
    self.percentile_to_iterate_from = self.percentile_to_iterate_to
    gap = 100.0 - self.percentile_to_iterate_to
    if gap:
        halvings = int(math.log(100.0 / gap) / math.log(2))
        ticks = self.percentile_ticks_per_half_distance * 2 ** (halvings + 1)
        self.percentile_to_iterate_to += 100.0 / ticks


PercentileIterator.increment_iteration_level = next_level_as_in_java


def interval(histogram):
    """What a test compares."""
    return {
        "tag": histogram.get_tag(),
        "start_ms": histogram.get_start_time_stamp(),
        "end_ms": histogram.get_end_time_stamp(),
        "count": histogram.get_total_count(),
        "p50": histogram.get_value_at_percentile(50),
        "p99": histogram.get_value_at_percentile(99),
        "max": histogram.get_max_value(),
        "recorded": [[it.value_iterated_to, it.count_at_value_iterated_to]
                     for it in histogram.get_recorded_iterator()],
    }


def intervals(path):
    """Everything that the reader finds."""
    reader = HistogramLogReader(path, HdrHistogram(1, 3_600_000_000_000, 3))
    while (histogram := reader.get_next_interval_histogram()) is not None:
        yield interval(histogram)


def distribution(encoded, unit_ns):
    """The text, and what its foot should say: hdrh forgets to scale the deviation."""
    histogram = HdrHistogram.decode(encoded)
    text = io.BytesIO()
    histogram.output_percentile_distribution(text, unit_ns)
    return {"text": text.getvalue().decode(), "deviation": histogram.get_stddev() / unit_ns}


if sys.argv[1] == "log":
    print(json.dumps(list(intervals(sys.argv[2]))))
else:
    print(json.dumps(distribution(sys.stdin.read(), float(sys.argv[2]))))
