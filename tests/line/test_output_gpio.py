from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgead.errors import EdgeadError
from edgead.line.delivery import Delivery
from edgead.line.errors import OutputError
from edgead.line.outputs.gpio import Gpio, GpioOptions
from tests.line.judged import anomaly, failure, good, until

pytest.importorskip("gpiod")
from tests.line import fake_gpiod

_GOOD, _ANOMALY, _FAILURE = 1, 2, 3
_SIM = Path("/sys/kernel/config/gpio-sim")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> fake_gpiod.FakeKernel:
    return fake_gpiod.install(monkeypatch)


def output(**options: object) -> Gpio:
    given = {"good": _GOOD, "anomaly": _ANOMALY, "failure": _FAILURE, "pulse_ms": 20.0, **options}
    return Gpio(GpioOptions(**given), "left")


def test_each_verdict_is_one_pulse_of_its_line(kernel: fake_gpiod.FakeKernel) -> None:
    gate = output()
    gate.open()
    assert kernel.values == {_GOOD: False, _ANOMALY: False, _FAILURE: True}  # it rejects
    for judged in (good(1), anomaly(2), failure(3), good(4)):
        gate.deliver(judged)
        assert not any(kernel.values.values())
    assert [len(kernel.pulses(line)) for line in (_GOOD, _ANOMALY)] == [2, 1]
    assert len(kernel.pulses(_FAILURE)) == 2  # the start, and the verdict
    assert all(length >= 0.02 for length in kernel.pulses(_GOOD))
    gate.close()
    gate.close()
    assert kernel.values == {_GOOD: False, _ANOMALY: False, _FAILURE: True}
    assert kernel.used == {}


def test_the_line_for_failures_is_active_until_the_station_judges_again(
    kernel: fake_gpiod.FakeKernel,
) -> None:
    gate = output()
    delivery = Delivery(gate, "output 1 (gpio)")
    delivery.start()
    delivery.put(good(1))
    until(lambda: delivery.status().done + delivery.status().lost == 1)
    delivery.fail("no frame came")
    until(lambda: kernel.values.get(_FAILURE))
    delivery.put(failure(2))
    until(lambda: delivery.status().done + delivery.status().lost == 2)
    assert kernel.values[_FAILURE]
    delivery.put(good(2))
    delivery.recover()
    until(lambda: not kernel.values[_FAILURE])
    before = len(kernel.pulses(_GOOD))
    delivery.put(good(3))
    until(lambda: len(kernel.pulses(_GOOD)) == before + 1)
    delivery.stop()
    assert kernel.values == {_GOOD: False, _ANOMALY: False, _FAILURE: True}


def test_the_pulse_waits_for_the_way_of_the_part_and_parts_may_follow_meanwhile(
    kernel: fake_gpiod.FakeKernel,
) -> None:
    gate = output(delay_ms=80.0, pulse_ms=5.0, late_ms=5000.0)
    delivery = Delivery(gate, "output 1 (gpio)")
    delivery.start()
    until(lambda: kernel.values)
    sent = []
    for number in range(3):
        sent.append(time.monotonic() - kernel.began)
        delivery.put(good(number + 1))
        time.sleep(0.02)
    until(lambda: len(kernel.pulses(_GOOD)) == 3)
    begins = [at for at, line, value in kernel.events if line == _GOOD and value]
    assert all(begin - at >= 0.08 for begin, at in zip(begins, sent, strict=True))
    delivery.stop()


def test_active_low_is_left_to_the_kernel(kernel: fake_gpiod.FakeKernel) -> None:
    gate = output(active_low=True)
    gate.open()
    assert all(settings.active_low for settings in kernel.settings.values())
    gate.close()


def test_what_cannot_be_opened_is_said_in_one_sentence(kernel: fake_gpiod.FakeKernel) -> None:
    kernel.used[_ANOMALY] = "lamp\x1b[2J"
    with pytest.raises(OutputError) as busy:
        output().open()
    assert str(busy.value) == (
        "GPIO lines 1 and 2 and 3 of /dev/gpiochip0 in use (2 by lamp\\x1b[2J): stop the other "
        "program, or choose another line"
    )
    with pytest.raises(OutputError, match="line 99 of /dev/gpiochip0: there is no such line"):
        output(good=99, anomaly=None, failure=None).open()


def test_a_chip_that_is_not_there_is_named() -> None:
    with pytest.raises(OutputError, match="there is no GPIO chip /dev/gpiochip77"):
        output(chip="/dev/gpiochip77").open()


def test_a_line_that_cannot_be_set_any_more_is_an_error_and_not_a_pulse(
    kernel: fake_gpiod.FakeKernel,
) -> None:
    gate = output()
    gate.open()
    kernel.error = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(OutputError, match="cannot be set"):
        gate.deliver(good())
    gate.close()
    assert kernel.used == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anomaly": _GOOD}, "different lines"),
        ({"pulse_ms": 0}, "pulse_ms"),
        ({"pulse_ms": 5000}, "pulse_ms"),
        ({"delay_ms": -1}, "delay_ms"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output(**options)


@pytest.fixture
def simulated() -> Iterator[tuple[str, Path]]:
    """A chip of the kernel's gpio-sim: its device, and the folder of its lines."""
    if not os.access(_SIM, os.W_OK):
        pytest.skip("the kernel has no gpio-sim here, or it needs root")
    device = _SIM / f"edgead-{os.getpid()}"
    bank = device / "bank0"
    bank.mkdir(parents=True)
    try:
        (bank / "num_lines").write_text("8")
        (device / "live").write_text("1")
        chip = (bank / "chip_name").read_text().strip()
        name = (device / "dev_name").read_text().strip()
        yield f"/dev/{chip}", Path("/sys/devices/platform") / name / chip
    finally:
        (device / "live").write_text("0")
        bank.rmdir()
        device.rmdir()


def test_the_kernel_sees_the_pulses(simulated: tuple[str, Path]) -> None:
    chip, lines = simulated
    gate = output(chip=chip, pulse_ms=200.0)
    gate.open()
    value = {line: lines / f"sim_gpio{line}/value" for line in (_GOOD, _FAILURE)}
    assert value[_FAILURE].read_text().strip() == "1"
    with pytest.raises(EdgeadError, match="in use"):
        output(chip=chip).open()
    delivery = Delivery(output(chip=chip, good=5, anomaly=6, failure=7), "output 2 (gpio)")
    delivery.start()
    delivery.put(good(1))
    until(lambda: (lines / "sim_gpio5/value").read_text().strip() == "1" or delivery.status().done)
    delivery.stop()
    gate.deliver(good())
    assert value[_GOOD].read_text().strip() == "0"
    gate.close()
