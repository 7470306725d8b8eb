"""OpenBLAS on one thread: while a block runs, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from edgead import blas


def threads() -> list[int]:
    return [get() for get, _ in blas._loaded()]


def test_one_thread_inside_and_as_before_outside() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    if not before:
        pytest.skip("NumPy has no OpenBLAS here")
    try:
        for _, choose in blas._loaded():
            choose(2)
        with blas.on_one_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {2}
        with pytest.raises(ZeroDivisionError), blas.on_one_thread():
            raise ZeroDivisionError
        assert set(threads()) == {2}
    finally:
        for (_, choose), count in zip(blas._loaded(), before, strict=True):
            choose(count)
