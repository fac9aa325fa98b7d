"""Tables in S3 as a program, configured by their environment alone.

    frame_clients.py polars|deltalake BUCKET PREFIX

Writes a table, adds to it where the library can, reads it and prints the sum of a column.
"""

from __future__ import annotations

import os
import sys


def with_polars(place: str) -> int:
    """Write Parquet and scan it."""
    import polars as pl

    path = f"{place}/odd é name/part 1.parquet"
    pl.DataFrame({"number": list(range(1000))}).write_parquet(path)
    return int(pl.scan_parquet(path).select(pl.col("number").sum()).collect().item())


def with_deltalake(place: str) -> int:
    """Write two versions of a Delta table, by conditional puts, and read the second."""
    import polars as pl
    from deltalake import DeltaTable, write_deltalake

    write_deltalake(place, pl.DataFrame({"number": list(range(500))}))
    more = pl.DataFrame({"number": list(range(500, 1000))})
    write_deltalake(place, more, mode="append", storage_options={"conditional_put": "etag"})
    table = DeltaTable(place)
    return int(pl.from_arrow(table.to_pyarrow_table())["number"].sum())


def main() -> None:
    """Do what the arguments say."""
    library, bucket, prefix = sys.argv[1:]
    work = {"polars": with_polars, "deltalake": with_deltalake}[library]
    print(work(f"s3://{bucket}/{prefix}"), flush=True)
    # Not by the interpreter's end: threads of deltalake's are then torn down while they
    # run, and now and then that ends in an abort, with all work done.
    os._exit(0)


if __name__ == "__main__":
    main()
