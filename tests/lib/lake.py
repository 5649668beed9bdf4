"""The lake's tables as Polars reads them, without Touchline."""

from pathlib import Path

import polars as pl


def table(data_dir: Path, name: str, account_id: str, environment: str) -> pl.LazyFrame:
    """The rows of one account and environment, through the Delta log."""
    rows = pl.scan_delta(str(data_dir / "lake" / name))
    return rows.filter(pl.col("account_id") == account_id, pl.col("environment") == environment)


def files(data_dir: Path, name: str) -> str:
    """The pattern of a table's data files in their hive-style folders."""
    return str(data_dir / "lake" / name / "account_id=*" / "environment=*" / "*" / "*.parquet")
