"""One camera, one detector and its outputs: the loop that judges."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edgead.errors import EdgeadError
from edgead.images import Image
from edgead.line import judging
from edgead.line.config import StationConfig
from edgead.line.control import Remembered
from edgead.line.delivery import Delivery
from edgead.line.errors import ConfigError
from edgead.line.health import Health
from edgead.line.in_use import InUse
from edgead.line.mailbox import Mailbox, Ticket
from edgead.line.outputs.base import Output
from edgead.line.reader import Reader
from edgead.line.recipes import Recipes
from edgead.line.records import Records
from edgead.line.sources.base import Grabbed, Source
from edgead.line.sources.iterable import Frames
from edgead.line.state import StateFile, settings_fault
from edgead.line.status import PartStatus, StationStatus
from edgead.line.triggers.base import Trigger
from edgead.line.verdict import Judged
from edgead.runtimes.base import RuntimeInfo

_STOP_S = 5.0  # a camera that hangs, or a detector, must not keep the outputs from closing
_SLACK = 0.1
"""A frame may come so much of a period early, and is judged all the same."""


class Station:
    """Judges the frames of one source, in a thread of its own, from :meth:`start` to :meth:`stop`.

    Whatever fails, what the outputs get is "reject": a verdict ``failure`` for a frame or trigger,
    and :meth:`~edgead.line.outputs.base.Output.fail` while nothing can be judged.

    Args:
        config: The configuration; it may lack the source and outputs that are given here.
        source: Frames, in place of the configured source.
        outputs: More outputs.
        trigger: In place of the configured trigger.
        state: Where what is set while running is kept; nowhere by default.
        limit: Stop after so many verdicts.

    Raises:
        EdgeadError: The artifact cannot be opened or is for another product, or there is no source.

    Example:
        >>> config = StationConfig(artifact=Path("bottle.onnx"))  # doctest: +SKIP
        >>> with Station(config, source=frames, outputs=[my_output]) as station:  # doctest: +SKIP
        ...     station.wait()
    """

    def __init__(
        self,
        config: StationConfig,
        *,
        source: Source | Iterable[Image] | None = None,
        outputs: Sequence[Output] = (),
        trigger: Trigger | None = None,
        state: StateFile | None = None,
        limit: int | None = None,
    ) -> None:
        if source is None and config.source is None:
            raise ConfigError(f"station '{config.name}' has no source")
        self._config = config
        self._state = state or StateFile(None)
        self._limit = limit
        given = source if isinstance(source, Source) or source is None else Frames(source)
        self._source: Source = given or config.source.make()  # type: ignore[union-attr]
        self._trigger: Trigger | None = trigger
        if trigger is None and config.trigger is not None:
            self._trigger = config.trigger.make(config.name)
        if self._trigger is not None and not self._source.can_be_triggered:
            raise ConfigError(
                f"station '{config.name}' has a trigger, and a source whose frames are judged when "
                "they come: leave out the trigger, or use a camera"
            )
        kinds = [one.kind for one in config.outputs] + [type(one).__name__ for one in outputs]
        made = [one.make(config.name) for one in config.outputs] + list(outputs)
        self._deliveries = [
            Delivery(output, f"output {count} ({kind})", kind)
            for count, (output, kind) in enumerate(zip(made, kinds, strict=True), 1)
        ]
        self._mailbox = Mailbox(self._source.is_live, config.camera_ms / 1e3)
        self._reader = Reader(
            self._source,
            config.name,
            config.source.kind if config.source is not None else type(self._source).__name__,
            self._mailbox,
            stale_s=config.stale_s,
            frozen_frames=config.frozen_frames,
            check=self._check_settings,
        )
        self._thread = threading.Thread(target=self._run, name=f"edgead-{config.name}", daemon=True)
        self._ended = threading.Event()
        self._records = Records()
        self._number = 0
        self._late = self._missed = self._fired = 0
        self._due = 0.0
        self._in_use = InUse(config, self._state)
        self._health = Health(
            config,
            self._in_use,
            self._reader,
            self._deliveries,
            is_live=self._source.is_live,
            is_triggered=self._trigger is not None,
        )
        self._recipes = Recipes(config, self._in_use, self._last_picture, self._state)
        for delivery in self._deliveries:
            delivery.output.bind(self)

    # Starting and stopping

    def start(self) -> None:
        """Open everything and begin to judge.

        Raises:
            EdgeadError: The trigger cannot be opened. A source or an output that cannot be is
                tried again, and shown.
        """
        self._health.begin()
        try:
            for delivery in self._deliveries:
                delivery.start()
            self._reader.start()
            self._recipes.start()
            self._thread.start()
            if self._trigger is not None:
                self._trigger.start(self.fire)
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end: no more frames, or as many verdicts as were asked for.

        Args:
            timeout: Seconds.

        Returns:
            Whether it has ended.
        """
        return self._ended.wait(timeout)

    def wait_for_source(self, timeout: float) -> EdgeadError | None:
        """Wait until the source was opened; return why it could not be, the first time."""
        self._reader.tried.wait(timeout)
        return self._reader.first_error

    def stop(self) -> None:
        """End all threads; the outputs reject at the end. It may be called twice."""
        if self._trigger is not None:
            with contextlib.suppress(Exception):  # the outputs must be closed all the same
                self._trigger.stop()
        self._mailbox.close()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
        self._ended.set()
        for delivery in self._deliveries:
            delivery.stop()
        self._reader.stop(_STOP_S)
        self._recipes.stop()
        if not self._thread.is_alive():  # a detector that hangs cannot be closed
            self._in_use.close()

    def __enter__(self) -> Station:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What others may see and ask: edgead.line.control.Controlled

    @property
    def name(self) -> str:
        """The station's name."""
        return self._config.name

    @property
    def runtime(self) -> RuntimeInfo:
        """What really runs the detector."""
        return self._in_use.info

    def status(self) -> StationStatus:
        """Return counts, health and latency."""
        now, judged_at, in_use = time.monotonic(), self._health.judged_at, self._in_use
        return StationStatus(
            name=self.name,
            artifact=in_use.artifact,
            artifact_sha256=in_use.seal,
            runtime=in_use.runtime,
            threshold=in_use.threshold,
            recipes=self._config.recipe_names(),
            verdicts=self._records.counts(),
            late=self._late,
            missed=self._missed,
            fault=self._health.problem(now),
            judged_ago_s=None if judged_at is None else now - judged_at,
            latency_ms=self._records.latency_ms(),
            parts=self._parts(),
        )

    def newest(self) -> Judged | None:
        """Return the last verdict with its frame."""
        return self._records.newest

    def history(self) -> Sequence[Remembered]:
        """Return the last verdicts, oldest first."""
        return self._records.history()

    def defects(self) -> Sequence[Judged]:
        """Return the last rejected frames, newest first."""
        return self._records.defects()

    def set_threshold(self, value: float) -> None:
        """Judge with another threshold from the next frame on, and after a restart."""
        self._in_use.set_threshold(value)

    def switch(self, recipe: str) -> None:
        """Begin to change to another artifact; the old one works until the new one has scored."""
        self._recipes.want(recipe)

    def fire(self) -> bool:
        """Trigger once; ``False`` when too many triggers wait."""
        self._fired += 1
        return self._mailbox.fire()

    def look(self) -> str | None:
        """Tell the outputs when parts begin to be rejected or judged again; return why."""
        return self._health.look()

    @property
    def broken(self) -> str | None:
        """Why it ended by itself though it should not have, a sentence."""
        return self._health.broken

    # The loop

    def _run(self) -> None:
        try:
            each = self._triggered if self._trigger is not None else self._freely
            while not self._mailbox.is_closed and each() and not self._is_done():
                continue
        except BaseException as error:  # or the last verdict would stand, and nobody be told
            self._health.broken = f"the station ended by {type(error).__name__}: {error}"
            self._health.look()
        finally:
            self._health.has_ended = True
            self._ended.set()

    def _is_done(self) -> bool:
        return self._limit is not None and self._number >= self._limit

    def _triggered(self) -> bool:
        """Give a trigger its verdict; ``False`` when there will be no more."""
        ticket = self._mailbox.take()
        if ticket is None:
            return False
        if ticket.missed:
            for _ in range(ticket.missed):
                self._missed += 1
                self._fail("too many triggers waited", ticket)
            return True
        late_s = self._config.late_ms / 1e3
        frame = self._mailbox.wait(ticket, ticket.after + late_s)
        waited_ms = (time.monotonic() - ticket.after) * 1e3
        if frame is None:
            self._late += 1
            why = self._reader.fault or f"no frame came within {self._config.late_ms:g} ms"
            self._fail(f"the trigger has no frame: {why}", ticket)
        elif waited_ms > self._config.late_ms:
            self._late += 1
            self._fail(f"the trigger waited {waited_ms:.0f} ms", ticket, frame)
        else:
            self._judge(frame, ticket)
        return True

    def _freely(self) -> bool:
        """Judge the next frame; ``False`` when there will be no more."""
        period = 0.0 if self._config.rate is None else 1 / self._config.rate
        if period and self._due > time.monotonic():
            self._mailbox.sleep(self._due)
        ticket = self._mailbox.expect(self._due - _SLACK * period)
        frame = self._mailbox.wait(ticket, None)
        if frame is None:
            return False
        # On schedule while frames come in time, so that the rate is met on average.
        start = self._due if frame.at - self._due < period else frame.at
        self._due = start + period
        self._judge(frame, None)
        return True

    def _judge(self, frame: Grabbed, ticket: Ticket | None) -> None:
        """Score a frame and hand its verdict to the outputs."""
        taken = self._health.busy_since = time.monotonic()
        if frame.picture is None:
            self._fail(frame.problem or "it cannot be read", ticket, frame)
            return
        try:
            scored = self._in_use.score(frame.picture)
            verdict = judging.decided(self.name, self._number + 1, frame, taken, scored)
        except Exception as error:
            known = isinstance(error, EdgeadError)
            what = str(error) if known else f"{type(error).__name__}: {error}"
            self._fail(f"the detector failed: {what}", ticket, frame)
            return
        self._health.judged_at = now = time.monotonic()
        problem = self._health.look()
        if problem is None and ticket is not None:
            took_ms = (now - ticket.after) * 1e3
            if took_ms > self._config.late_ms:
                self._late += 1
                problem = f"the verdict came {took_ms:.0f} ms after the trigger"
        if problem is not None:
            verdict = replace(verdict, state="failure", reason=problem)
        since = frame.at if ticket is None else ticket.after
        self._hand_over(Judged(verdict, frame.picture, scored.detection, since))

    def _fail(self, reason: str, ticket: Ticket | None, frame: Grabbed | None = None) -> None:
        """Reject a part that could not be judged."""
        verdict = judging.failed(self.name, self._number + 1, reason, self._in_use, frame)
        self._health.look()
        since = time.monotonic() if ticket is None else ticket.after
        self._hand_over(Judged(verdict, None if frame is None else frame.picture, None, since))

    def _hand_over(self, judged: Judged) -> None:
        self._number += 1
        for delivery in self._deliveries:
            delivery.put(judged)
        self._health.busy_since = None
        self._mailbox.judged()
        self._records.add(judged)

    # Parts

    def _last_picture(self) -> Image | None:
        newest = self._records.newest
        return None if newest is None else newest.picture

    def _check_settings(self, settings: Mapping[str, float | str]) -> str | None:
        if not self._source.is_live:
            return None
        return settings_fault(self._state, self.name, repr(self._source.options), settings)

    def _parts(self) -> tuple[PartStatus, ...]:
        parts = [self._reader.status()]
        if self._trigger is not None:
            configured = self._config.trigger
            parts.append(
                PartStatus(
                    name="trigger",
                    kind=type(self._trigger).__name__ if configured is None else configured.kind,
                    fault=self._trigger.fault(),
                    done=self._fired,
                    lost=self._missed,
                    waiting=self._mailbox.waiting,
                )
            )
        if self._config.recipes is not None:
            parts.append(self._recipes.status())
        return (*parts, *(delivery.status() for delivery in self._deliveries))
