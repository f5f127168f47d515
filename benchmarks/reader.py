# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the reader of fio output against ``json.loads`` on the same bytes, and its memory.

    python benchmarks/reader.py [--corpus DIR] [--rounds N]

Wanted: time at most 1.5 x json.loads, memory at most 4 x the file (peak of Python's
allocations while the file is read and its rows are held). CPU time, both in turn, the garbage
collector as it is. The first file is generated from tests/fixtures, the rest is of the corpus.
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.fio_output import (
    output_from_bytes,
    output_from_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
FIXTURE = ROOT / "tests/fixtures/fio/gen-v3.33-randrw-group.jsonplus.json"
CORPUS_FILES = (
    "gen-manyjobs-256-3.33.jsonplus.json.xz",
    "gen-manyjobs-256-2.16.jsonplus.json.xz",
    "gen-manyjobs-1000-3.33.json.xz",
)
HEAD = ("file", "MB", "rows", "json.loads ms", "reader ms", "time ratio", "memory ratio")
JOB_COUNT = 1000


def inputs(corpus: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes): a generated file, status documents, then the corpus files there are."""
    document = json.loads(FIXTURE.read_bytes())
    status = json.dumps(document, indent=2) + "\n"
    yield "status-interval, 300 documents", (status * 300).encode()
    document["jobs"] *= JOB_COUNT
    yield f"json+, {JOB_COUNT} jobs", json.dumps(document, indent=2).encode()
    for name in CORPUS_FILES:
        if (corpus / name).exists():
            yield name, lzma.decompress((corpus / name).read_bytes())
        else:
            print(f"skipped: {name} is not in {corpus}", file=sys.stderr)


def cpu_ms(function: Callable[[], object]) -> float:
    """Return the CPU time of one call, its result still alive when the clock stops."""
    gc.collect()
    start = time.process_time()
    result = function()
    elapsed = (time.process_time() - start) * 1e3
    del result
    return elapsed


def decode_all(data: bytes) -> object:
    """Return what json makes of the bytes; for several documents the least work that it is."""
    try:
        return json.loads(data)
    except json.JSONDecodeError:
        text = data.decode()
        decoder = json.JSONDecoder()
        documents, position = [], 0
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            position += 1  # the newline
            documents.append(document)
        return documents


def memory_ratio(data: bytes) -> float:
    """Return the peak of memory while reading, in sizes of the file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        gc.collect()
        tracemalloc.start()
        output = output_from_file(file.name)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del output
    return peak / len(data)


def spread(values: list[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def measure(name: str, data: bytes, rounds: int) -> tuple[str, ...]:
    """Return a line of the table."""
    plain: list[float] = []
    ours: list[float] = []
    for _ in range(rounds):
        plain.append(cpu_ms(lambda: decode_all(data)))
        ours.append(cpu_ms(lambda: output_from_bytes(data, file=name)))
    ratios = [our / base for our, base in zip(ours, plain, strict=True)]
    row_count = len(output_from_bytes(data, file=name).rows)
    return (
        name,
        f"{len(data) / 1e6:.1f}",
        str(row_count),
        spread(plain),
        spread(ours),
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        f"{memory_ratio(data):.2f}",
    )


def main() -> None:
    """Print the table."""
    default = os.environ.get("NVMELAB_FIO_CORPUS") or ROOT.parent / "shared/fio-corpus"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path(default))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    lines: list[tuple[str, ...]] = [HEAD]
    lines += [measure(*item, arguments.rounds) for item in inputs(arguments.corpus)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {arguments.rounds} rounds")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


if __name__ == "__main__":
    main()
