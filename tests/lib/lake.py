"""The lake's tables as Polars reads them, without Touchline."""

from pathlib import Path

import polars as pl
from deltalake import DeltaTable


def table(data_dir: Path, name: str, account_id: str, environment: str) -> pl.LazyFrame:
    """The rows of one account and environment, through the Delta log."""
    rows = pl.scan_delta(str(data_dir / "lake" / name))
    return rows.filter(pl.col("account_id") == account_id, pl.col("environment") == environment)


def files(data_dir: Path, name: str) -> list[str]:
    """The data files of a table's newest version; its folders hold merged and replaced ones besides."""
    uris = DeltaTable(str(data_dir / "lake" / name)).file_uris()
    return [uri.removeprefix("file://") for uri in uris]
