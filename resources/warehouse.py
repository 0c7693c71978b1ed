"""Raw tables in PostgreSQL (extra ``warehouse``): tables or views that bear the contract's names.

``PRICING_DATA=postgresql://user@host/database?schema=pricing``: tables of that schema, ``public``
where none is named. Rows come as Arrow, in one read-only transaction, so that all tables are of one
moment. Nothing is ever written.

Belongs here: connecting, reading, and telling that something has changed. What a row must look like
is ``core.ingestion``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pandas as pd
import pyarrow as pa

from pricing_assets.core.errors import InputError, MissingTableError, UnreadableTableError
from pricing_assets.core.tables import RAW_TABLES

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "public"

_KINDS = """
SELECT c.relname, c.relkind, coalesce(s.n_tup_ins, 0), coalesce(s.n_tup_upd, 0),
       coalesce(s.n_tup_del, 0), c.relfilenode
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY c.relname
"""
_ORDINARY = ("r", b"r")


def is_warehouse(address: str) -> bool:
    """Whether an address of raw tables names a PostgreSQL database."""
    return urlsplit(address).scheme in SCHEMES


def read_warehouse(address: str) -> dict[str, pd.DataFrame]:
    """Every raw table of the schema, as it stands in one transaction.

    Raises:
        InputError: the package is not installed, or the database does not answer.
        MissingTableError: the schema holds no ``sales``.
        UnreadableTableError: a table cannot be read.
    """
    with _transaction(address) as (cursor, schema):
        found = [str(row[0]) for row in _relations(cursor, schema)]
        tables = [name for name in RAW_TABLES if name in found]
        if "sales" not in tables:
            names = ", ".join(found[:20]) or "nothing"
            raise MissingTableError(
                f"schema '{schema}' holds no table or view 'sales'; found: {names}. Make a view of "
                "that name with date, product_id, units and price, or name its schema in "
                "PRICING_DATA (?schema=...)"
            )
        return {name: _read(cursor, schema, name) for name in tables}


def warehouse_fingerprint(address: str) -> str:
    """Hash that changes when a raw table does.

    A table's is its counters of rows written, which cost nothing to ask; PostgreSQL brings them up
    to date seconds after a commit. A view has none, and is read and hashed by the server.

    Raises:
        InputError: as ``read_warehouse``.
    """
    digest = hashlib.sha256()
    with _transaction(address) as (cursor, schema):
        for name, kind, *counters in _relations(cursor, schema):
            if name in RAW_TABLES:
                state = counters if kind in _ORDINARY else _content_hash(cursor, schema, name)
                digest.update(f"{name}\x1f{state}\x1f".encode())
    return digest.hexdigest()[:16]


def without_password(address: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username
    return urlunsplit((parts.scheme, f"{user}@{host}" if user else host, parts.path, "", ""))


def _relations(cursor: Any, schema: str) -> list[tuple[Any, ...]]:
    cursor.execute(_KINDS, (schema,))
    return [tuple(row) for row in cursor.fetchall()]


def _read(cursor: Any, schema: str, name: str) -> pd.DataFrame:
    try:
        cursor.execute(f"SELECT * FROM {_quoted(schema)}.{_quoted(name)}")  # noqa: S608 (quoted)
        table: pa.Table = cursor.fetch_arrow_table()
    except (_driver().Error, pa.ArrowException) as failure:
        raise UnreadableTableError(
            f"table '{schema}.{name}' cannot be read ({_first_line(failure)})"
        ) from failure
    return table.to_pandas(ignore_metadata=True, date_as_object=False)


def _content_hash(cursor: Any, schema: str, name: str) -> tuple[Any, ...]:
    """Rows and the sum of their hashes; the order of rows does not count."""
    cursor.execute(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "  # noqa: S608 (quoted)
        f"FROM {_quoted(schema)}.{_quoted(name)} AS t"
    )
    return tuple(cursor.fetchone())


@contextmanager
def _transaction(address: str) -> Iterator[tuple[Any, str]]:
    """A cursor in a read-only transaction of one moment, and the schema to look in."""
    uri, schema = _split(address)
    driver = _driver()
    try:
        connection = driver.connect(uri)
    except driver.Error as failure:
        raise InputError(
            f"the database {without_password(address)} does not answer ({_first_line(failure)}); "
            "see that it runs and that PRICING_DATA names it"
        ) from None
    with closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield cursor, schema


def _split(address: str) -> tuple[str, str]:
    """The driver's address, and the schema that ours names besides."""
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    schema = options.pop("schema", DEFAULT_SCHEMA)
    return urlunsplit(parts._replace(query=urlencode(options))), schema


def _driver() -> Any:
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError as missing:
        raise InputError(
            "raw tables in PostgreSQL need the extra 'warehouse' "
            "(pip install 'pricing-assets[warehouse]')"
        ) from missing
    return driver


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(failure: BaseException) -> str:
    return str(failure).strip().split("\n", maxsplit=1)[0][:200]
