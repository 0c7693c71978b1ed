"""The home: where state lives, and how the environment and the YAML become settings.

Belongs here: folder names, the ``PRICING_*`` environment and the configuration file. Nothing is
read at import; each function looks when it is called. Parameters themselves are ``core.settings``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from pricing_assets.core.errors import InputError, InvalidSettingError, UnknownKeyError
from pricing_assets.core.settings import PricingSettings

DEFAULT_HOME = ".pricing"


class Environment(BaseSettings):
    """The ``PRICING_*`` variables as they are now; an empty one counts as unset."""

    model_config = SettingsConfigDict(env_prefix="PRICING_", env_ignore_empty=True, frozen=True)

    home: Path = Path(DEFAULT_HOME)
    data: str | None = None
    config: str | None = None
    redis_url: str | None = None
    api_token: SecretStr | None = None
    user_tokens: SecretStr | None = None


def read_environment() -> Environment:
    """Read the environment now."""
    return Environment()


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one home; ``root`` is absolute. Nothing is created by asking."""

    root: Path

    @classmethod
    def at(cls, root: str | Path | None = None) -> Home:
        """The home at ``root``, or at ``PRICING_HOME`` where none is given."""
        chosen = Path(root) if root is not None else read_environment().home
        return cls(chosen.expanduser().resolve())

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME of this home."""
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        """Folder of the MLflow database and artifacts."""
        return self.root / "mlflow"

    @property
    def mlflow_database(self) -> Path:
        """The MLflow SQLite file."""
        return self.mlflow / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Root of the MLflow artifacts."""
        return self.mlflow / "artifacts"

    @property
    def assets(self) -> Path:
        """What the IO manager writes."""
        return self.root / "assets"

    @property
    def tables(self) -> Path:
        """Published price tables, the pointer and the freeze."""
        return self.root / "tables"

    @property
    def models(self) -> Path:
        """Model bundles unpacked for this home."""
        return self.root / "models"

    @property
    def checkpoints(self) -> Path:
        """Where a training that is under way leaves its state."""
        return self.root / "checkpoints"

    @property
    def tuning(self) -> Path:
        """Searches for forecast parameters, and what the last one found."""
        return self.root / "tuning"

    @property
    def shards(self) -> Path:
        """Shards of a catalogue too large for one table, and their prices."""
        return self.root / "shards"

    @property
    def streams(self) -> Path:
        """Events as they landed, and the embedded Redis that carries them."""
        return self.root / "streams"

    @property
    def reports(self) -> Path:
        """Evaluation reports, one HTML and one JSON a run."""
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        """Logs of the service and of the embedded Redis."""
        return self.root / "logs"

    @property
    def audit(self) -> Path:
        """The log of every served price."""
        return self.logs / "audit"


def load_settings(path: str | Path | None = None) -> PricingSettings:
    """Settings from a YAML file; None takes ``PRICING_CONFIG``, and the defaults without one.

    Raises:
        InputError: the file is absent, unreadable, not YAML or not a mapping.
        UnknownKeyError: a key, at any depth, that does not exist; names the nearest.
        InvalidSettingError: a value of the wrong type or outside its bounds.
    """
    chosen = path if path is not None else read_environment().config
    if chosen is None:
        return PricingSettings()
    return settings_from_mapping(_read_mapping(Path(chosen)))


def settings_from_mapping(values: Mapping[str, Any]) -> PricingSettings:
    """Validate ``values`` strictly (no text for numbers); errors as in ``load_settings``."""
    try:
        return PricingSettings.model_validate_json(_as_json(values), strict=True)
    except ValidationError as failure:
        raise _setting_error(failure) from None


def _as_json(values: Mapping[str, Any]) -> str:
    return json.dumps(_finite(values, ""), default=str)


def _finite(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v, f"{key}.{k}" if key else str(k)) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidSettingError(f"configuration key '{key}' is {value}: it must be finite")
    return value


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader that refuses a key given twice, where YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise InvalidSettingError(f"configuration key '{repeated}' is given twice; keep one")
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-05 as text; YAML 1.2 and JSON, which is written here too, mean a number.
_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _read_mapping(path: Path) -> Mapping[str, Any]:
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise InputError(f"configuration file '{path}' is not there") from None
    except (OSError, UnicodeDecodeError) as failure:
        raise InputError(f"configuration file '{path}' cannot be read: {failure}") from None
    except yaml.YAMLError as failure:
        reason = " ".join(str(failure).split())
        raise InputError(f"configuration file '{path}' is not YAML: {reason}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping):
        raise InputError(
            f"configuration file '{path}' holds a {type(loaded).__name__}; "
            "it must be a mapping such as 'objective: revenue'"
        )
    return loaded


def _setting_error(failure: ValidationError) -> InputError:
    error = failure.errors(include_url=False)[0]
    names = tuple(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        parent = _model_at(names[:-1])
        prefix = "".join(f"{name}." for name in names[:-1])
        return UnknownKeyError(
            key=prefix + names[-1], allowed=[prefix + name for name in parent.model_fields]
        )
    field = _field_at(names)
    allowed = f"; allowed: {_allowed(field)}" if field is not None else ""
    key = ".".join(names[:2] if field is not None else names[:1])
    return InvalidSettingError(
        f"configuration key '{key}' is {error['input']!r}: {error['msg']}{allowed}"
    )


def _model_at(names: tuple[str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = PricingSettings
    for name in names:
        annotation = model.model_fields[name].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation
    return model


def _field_at(names: tuple[str, ...]) -> FieldInfo | None:
    """The field that an error's location points at; None inside a free-form mapping."""
    model: type[BaseModel] = PricingSettings
    for depth, name in enumerate(names):
        field = model.model_fields.get(name)
        if field is None or depth == len(names) - 1:
            return field
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        model = field.annotation
    return None


_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def _allowed(field: FieldInfo) -> str:
    bounds = [
        f"{word} {getattr(rule, name)}"
        for rule in field.metadata
        for name, word in _BOUNDS
        if getattr(rule, name, None) is not None
    ]
    patterns = [f"matching {rule.pattern}" for rule in field.metadata if hasattr(rule, "pattern")]
    return ", ".join([_type_name(field.annotation), *bounds, *patterns])


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_type_name(choice) for choice in get_args(annotation))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if annotation is type(None):
        return "null"
    return names.get(annotation, "a mapping")
