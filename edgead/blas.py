"""NumPy's matrix products on one thread.

OpenBLAS splits even products of microseconds over all cores, and its threads wait for each other in
a loop. On two cores with other work, 160 products of 256x16 by 16x256 took 2.6 CPU seconds in place
of 0.006, and 500 of 3840x304 by a vector 2.3 to 3.4 in place of 0.10.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

_PREFIXES, _SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "_64", "")


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """Let OpenBLAS use one thread inside of the block, in all threads of this process.

    Where NumPy has another library, nothing changes.
    """
    with contextlib.ExitStack() as restored:
        for get, choose in _loaded():
            restored.callback(choose, get())
            choose(1)
        yield


def _loaded() -> Iterator[tuple[Callable[[], int], Callable[[int], None]]]:
    """Yield how to get and how to set the number of threads of each OpenBLAS in this process."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return
    lines = (line.split(maxsplit=5) for line in maps.splitlines())
    paths = {words[5] for words in lines if len(words) == 6}
    for path in sorted(path for path in paths if "openblas" in Path(path).name):
        with contextlib.suppress(OSError):  # replaced by an update since it was loaded
            library = ctypes.CDLL(path)
            for prefix in _PREFIXES:
                for suffix in _SUFFIXES:
                    get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                    choose = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                    if get is not None and choose is not None:
                        yield get, choose
