"""How each kind of value that the assets exchange becomes named files, and comes back.

Belongs here: the codecs, bytes in and bytes out (Parquet with page checksums, JSON, a model's
native files; never a pickle). Where the bytes lie is ``resources.parquet_io``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.features import panel_from_frames, panel_to_frames
from pricing_assets.core.panel import Panel

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of value: its Python type, and the two directions."""

    kind: str
    type: type
    encode: Callable[[Any], dict[str, bytes]]
    decode: Callable[[Files], Any]


def frame_to_parquet(frame: pd.DataFrame) -> bytes:
    """The frame as Parquet bytes, each page with a checksum."""
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def frame_from_parquet(content: bytes) -> pd.DataFrame:
    """The frame in Parquet bytes, page checksums verified.

    Raises:
        IntegrityError: the bytes are not Parquet, or a page does not match its checksum.
    """
    try:
        return pq.read_table(io.BytesIO(content), page_checksum_verification=True).to_pandas()
    except (pa.ArrowException, OSError) as failure:
        raise IntegrityError(f"damaged Parquet: {failure}; materialize the asset again") from None


def codec_of(value: object) -> Codec:
    """The codec that stores ``value``.

    Raises:
        TypeError: no codec knows this type.
    """
    codec = next((codec for codec in _CODECS if isinstance(value, codec.type)), None)
    if codec is None:
        known = ", ".join(codec.type.__name__ for codec in _CODECS)
        raise TypeError(f"an asset returned a {type(value).__name__}; it can be stored as: {known}")
    return codec


def codec_named(kind: str) -> Codec:
    """The codec of a stored ``kind``.

    Raises:
        IntegrityError: a kind that this version does not know.
    """
    codec = next((codec for codec in _CODECS if codec.kind == kind), None)
    if codec is None:
        raise IntegrityError(f"stored value of unknown kind '{kind}'; materialize the asset again")
    return codec


def _encode_panel(panel: Panel) -> dict[str, bytes]:
    frames = panel_to_frames(panel)
    return {f"{name}.parquet": frame_to_parquet(frame) for name, frame in frames.items()}


def _decode_panel(files: Files) -> Panel:
    return panel_from_frames(
        {name.removesuffix(".parquet"): frame_from_parquet(data) for name, data in files.items()}
    )


def _encode_json(value: Mapping[str, Any]) -> dict[str, bytes]:
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    return {"value.json": text.encode()}


_CODECS: tuple[Codec, ...] = (
    Codec(
        "frame",
        pd.DataFrame,
        lambda frame: {"table.parquet": frame_to_parquet(frame)},
        lambda files: frame_from_parquet(files["table.parquet"]),
    ),
    Codec("panel", Panel, _encode_panel, _decode_panel),
    Codec("model", ModelBundle, lambda bundle: dict(bundle.files), ModelBundle),
    Codec("json", Mapping, _encode_json, lambda files: json.loads(files["value.json"])),
)
