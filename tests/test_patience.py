"""Waiting no longer than agreed, at no cost where nothing is waited for."""

from __future__ import annotations

import asyncio

import pytest

from serving.patience import within


async def at_once() -> int:
    return 7


async def after(turns: int, seconds: float = 0.0) -> int:
    for _ in range(turns):
        await asyncio.sleep(seconds)
    return 7


@pytest.mark.parametrize("turns", [0, 1, 5])
@pytest.mark.parametrize("seconds", [0.0, 0.001])
async def test_the_result_comes_through(turns: int, seconds: float) -> None:
    assert await within(5, at_once()) == 7
    assert await within(5, after(turns, seconds)) == 7


async def test_what_waits_too_long_is_cancelled() -> None:
    ended = []

    async def stuck() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await within(0.01, stuck())
    assert ended == [True]


async def test_errors_come_through_before_and_after_a_wait() -> None:
    async def fails(turns: int) -> None:
        await after(turns)
        raise KeyError(turns)

    for turns in (0, 2):
        with pytest.raises(KeyError):
            await within(5, fails(turns))


async def test_a_cancelled_caller_cancels_the_work() -> None:
    ended = []

    async def stuck() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append(True)
            raise

    task = asyncio.create_task(within(60, stuck()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_work_may_recover_from_an_error_it_waited_for() -> None:
    async def recovers() -> str:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, ValueError("late"))
        try:
            await future
        except ValueError:
            await asyncio.sleep(0)
            return "recovered"
        return "not reached"

    assert await within(5, recovers()) == "recovered"
