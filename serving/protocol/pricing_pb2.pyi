from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriceRequest(_message.Message):
    __slots__ = ("product_id", "store_id", "segment", "current_stock", "day_of_week", "comp_price", "is_promo", "current_price", "unit_cost", "objective")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STOCK_FIELD_NUMBER: _ClassVar[int]
    DAY_OF_WEEK_FIELD_NUMBER: _ClassVar[int]
    COMP_PRICE_FIELD_NUMBER: _ClassVar[int]
    IS_PROMO_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PRICE_FIELD_NUMBER: _ClassVar[int]
    UNIT_COST_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    store_id: str
    segment: str
    current_stock: float
    day_of_week: str
    comp_price: float
    is_promo: bool
    current_price: float
    unit_cost: float
    objective: str
    def __init__(self, product_id: _Optional[str] = ..., store_id: _Optional[str] = ..., segment: _Optional[str] = ..., current_stock: _Optional[float] = ..., day_of_week: _Optional[str] = ..., comp_price: _Optional[float] = ..., is_promo: _Optional[bool] = ..., current_price: _Optional[float] = ..., unit_cost: _Optional[float] = ..., objective: _Optional[str] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("product_id", "recommended_price", "confidence", "currency", "price_floor", "price_ceiling", "expected_units", "source", "reasons", "table_version", "model_version", "quote_id")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_PRICE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FLOOR_FIELD_NUMBER: _ClassVar[int]
    PRICE_CEILING_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_UNITS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUOTE_ID_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    recommended_price: float
    confidence: float
    currency: str
    price_floor: float
    price_ceiling: float
    expected_units: float
    source: str
    reasons: _containers.RepeatedScalarFieldContainer[str]
    table_version: str
    model_version: str
    quote_id: str
    def __init__(self, product_id: _Optional[str] = ..., recommended_price: _Optional[float] = ..., confidence: _Optional[float] = ..., currency: _Optional[str] = ..., price_floor: _Optional[float] = ..., price_ceiling: _Optional[float] = ..., expected_units: _Optional[float] = ..., source: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ..., table_version: _Optional[str] = ..., model_version: _Optional[str] = ..., quote_id: _Optional[str] = ...) -> None: ...

class PricesRequest(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PriceRequest]
    def __init__(self, items: _Optional[_Iterable[_Union[PriceRequest, _Mapping]]] = ...) -> None: ...

class Prices(_message.Message):
    __slots__ = ("prices",)
    PRICES_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[PriceOrError]
    def __init__(self, prices: _Optional[_Iterable[_Union[PriceOrError, _Mapping]]] = ...) -> None: ...

class PriceOrError(_message.Message):
    __slots__ = ("price", "error")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    price: Price
    error: ItemError
    def __init__(self, price: _Optional[_Union[Price, _Mapping]] = ..., error: _Optional[_Union[ItemError, _Mapping]] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("product_id", "error")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    error: str
    def __init__(self, product_id: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class DemandCurve(_message.Message):
    __slots__ = ("product_id", "currency", "horizon_days", "points", "current", "recommended", "table_version", "model_version")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    HORIZON_DAYS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_FIELD_NUMBER: _ClassVar[int]
    TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    currency: str
    horizon_days: int
    points: _containers.RepeatedCompositeFieldContainer[CurvePoint]
    current: CurvePoint
    recommended: CurvePoint
    table_version: str
    model_version: str
    def __init__(self, product_id: _Optional[str] = ..., currency: _Optional[str] = ..., horizon_days: _Optional[int] = ..., points: _Optional[_Iterable[_Union[CurvePoint, _Mapping]]] = ..., current: _Optional[_Union[CurvePoint, _Mapping]] = ..., recommended: _Optional[_Union[CurvePoint, _Mapping]] = ..., table_version: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...

class CurvePoint(_message.Message):
    __slots__ = ("price", "units", "units_low_90", "units_high_90", "revenue", "revenue_low_90", "revenue_high_90", "profit", "profit_low_90", "profit_high_90")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    UNITS_LOW_90_FIELD_NUMBER: _ClassVar[int]
    UNITS_HIGH_90_FIELD_NUMBER: _ClassVar[int]
    REVENUE_FIELD_NUMBER: _ClassVar[int]
    REVENUE_LOW_90_FIELD_NUMBER: _ClassVar[int]
    REVENUE_HIGH_90_FIELD_NUMBER: _ClassVar[int]
    PROFIT_FIELD_NUMBER: _ClassVar[int]
    PROFIT_LOW_90_FIELD_NUMBER: _ClassVar[int]
    PROFIT_HIGH_90_FIELD_NUMBER: _ClassVar[int]
    price: float
    units: float
    units_low_90: float
    units_high_90: float
    revenue: float
    revenue_low_90: float
    revenue_high_90: float
    profit: float
    profit_low_90: float
    profit_high_90: float
    def __init__(self, price: _Optional[float] = ..., units: _Optional[float] = ..., units_low_90: _Optional[float] = ..., units_high_90: _Optional[float] = ..., revenue: _Optional[float] = ..., revenue_low_90: _Optional[float] = ..., revenue_high_90: _Optional[float] = ..., profit: _Optional[float] = ..., profit_low_90: _Optional[float] = ..., profit_high_90: _Optional[float] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("quote_id",)
    QUOTE_ID_FIELD_NUMBER: _ClassVar[int]
    quote_id: str
    def __init__(self, quote_id: _Optional[str] = ...) -> None: ...
