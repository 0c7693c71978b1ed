"""The gRPC peer: grpc.aio and redis.asyncio on the same messages.

``python -m benchmarks.grpc_peer PORT``; PEER_REDIS_URL names the Redis, and without one every
answer is the same message: what grpc.aio costs by itself. The rows are those of ``fastapi_peer``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid

import grpc
import orjson
from redis.asyncio import Redis

from benchmarks.fastapi_peer import ROW_KEY
from serving.protocol import pricing_pb2, pricing_pb2_grpc


class Peer(pricing_pb2_grpc.PricingServiceServicer):
    """Answers from Redis."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(os.environ["PEER_REDIS_URL"])

    async def GetPrice(
        self, request: pricing_pb2.PriceRequest, context: grpc.aio.ServicerContext
    ) -> pricing_pb2.Price:
        """One price, inside its guard rails."""
        row = await self._redis.get(ROW_KEY + request.product_id)
        if row is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown product")
        known = orjson.loads(row or b"")
        if not known["price_floor"] <= known["recommended_price"] <= known["price_ceiling"]:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "outside the guard rails")
        return pricing_pb2.Price(**known, source="redis", quote_id=uuid.uuid4().hex)


class Constant(pricing_pb2_grpc.PricingServiceServicer):
    """Answers the same to all."""

    async def GetPrice(
        self, request: pricing_pb2.PriceRequest, context: grpc.aio.ServicerContext
    ) -> pricing_pb2.Price:
        """A price of nothing."""
        return pricing_pb2.Price(product_id=request.product_id, recommended_price=1.0)


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    answers = Peer() if os.environ.get("PEER_REDIS_URL") else Constant()
    pricing_pb2_grpc.add_PricingServiceServicer_to_server(answers, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
