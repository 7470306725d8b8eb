from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from edgead import images
from edgead._formats.c_stderr import collected
from edgead.errors import ImageError
from tests.conftest import part
from tests.formats.builders import encoded

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="another C library than glibc"
)


def print_from_c(text: bytes) -> None:
    library = ctypes.CDLL(None)
    library.fputs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    library.fputs(text, ctypes.c_void_p.in_dll(library, "stderr"))


def test_what_c_prints_in_this_thread_is_collected_and_no_more(
    capfd: pytest.CaptureFixture[str],
) -> None:
    inside, done = threading.Event(), threading.Event()

    def print_from_another_thread() -> None:
        inside.wait(10)
        print_from_c(b"from another thread\n")
        done.set()

    other = threading.Thread(target=print_from_another_thread)
    other.start()
    with collected() as lines:
        print_from_c(b"one\ntwo\n")
        inside.set()
        assert done.wait(10)
        os.write(2, b"of Python\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'a child\\n')"], check=True)
    other.join()
    print_from_c(b"afterwards\n")
    assert b"".join(lines) == b"one\ntwo\n"
    assert capfd.readouterr().err == "from another thread\nof Python\na child\nafterwards\n"


@pytest.mark.usefixtures("all_cores")
def test_each_of_several_threads_finds_its_own_damage(tmp_path: object) -> None:
    data = encoded(".jpg", part(0, (240, 320)))
    middle = len(data) // 2
    damaged = data[:middle] + b"\xaa" * 600 + data[middle + 600 :]
    whole_path, damaged_path = f"{tmp_path}/whole.jpg", f"{tmp_path}/damaged.jpg"
    for path, content in ((whole_path, data), (damaged_path, damaged)):
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(content)
    wrong: list[str] = []

    def read(path: str, is_damaged: bool) -> None:
        for _ in range(50):
            try:
                images.read_image(path)
            except ImageError:
                if not is_damaged:
                    wrong.append(path)
            else:
                if is_damaged:
                    wrong.append(path)

    workers = [
        threading.Thread(target=read, args=case)
        for case in ((whole_path, False), (damaged_path, True)) * 3
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_a_child_forked_while_a_photo_is_decoded_prints_and_reads(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with collected():
        child = os.fork()
        if child == 0:
            print_from_c(b"of the child\n")
            with collected() as lines:
                print_from_c(b"collected\n")
            os._exit(0 if lines == [b"collected\n"] else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert capfd.readouterr().err == "of the child\n"
    assert np.array_equal(images.as_bgr(part(0)), part(0))
