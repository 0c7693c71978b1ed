"""A model bundle: checksums of its bytes, native formats only."""

from __future__ import annotations

import hashlib

import pytest

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import IntegrityError


def test_manifest_states_sha256_and_size() -> None:
    bundle = ModelBundle({"b.json": b"{}", "a.txt": b"tree"})
    assert bundle.manifest() == {
        "a.txt": {"sha256": hashlib.sha256(b"tree").hexdigest(), "bytes": 4},
        "b.json": {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2},
    }


def test_verify_accepts_its_own_manifest_and_names_what_differs() -> None:
    bundle = ModelBundle({"a.txt": b"tree"})
    bundle.verify(bundle.manifest())
    with pytest.raises(IntegrityError, match=r"a\.txt.*SHA-256"):
        ModelBundle({"a.txt": b"trex"}).verify(bundle.manifest())
    with pytest.raises(IntegrityError, match=r"b\.txt.*missing from the manifest"):
        ModelBundle({"a.txt": b"tree", "b.txt": b""}).verify(bundle.manifest())
    with pytest.raises(IntegrityError, match=r"a\.txt.*missing from the bundle"):
        ModelBundle({"b.txt": b""}).verify({"a.txt": {"sha256": "0", "bytes": 1}})


@pytest.mark.parametrize("name", ["model.pkl", "model.pickle", "model.joblib"])
def test_a_pickle_is_refused(name: str) -> None:
    with pytest.raises(IntegrityError, match="native formats"):
        ModelBundle({name: b""})


def test_an_empty_bundle_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no file"):
        ModelBundle({})


def test_json_is_canonical_and_damage_is_named() -> None:
    assert json_bytes({"b": 1, "a": 2}) == json_bytes({"a": 2, "b": 1})
    assert ModelBundle({"s.json": json_bytes({"a": [1.5]})}).json("s.json") == {"a": [1.5]}
    with pytest.raises(IntegrityError, match="not valid JSON"):
        ModelBundle({"s.json": b"{"}).json("s.json")
    with pytest.raises(IntegrityError, match=r"no file 't\.json'; it holds: s\.json"):
        ModelBundle({"s.json": b"{"}).json("t.json")
