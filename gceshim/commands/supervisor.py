"""
Several processes that do the same work, and one that looks after them.

The one that looks after them does nothing else: it has no event loop, no thread and no connection, so that it can fork
at any time. A worker that ends is replaced, at once or, if it did not last, after a pause that grows. SIGTERM and
SIGINT are handed on, once; when they come again, or the workers have not ended in time, these are killed. SIGHUP is
handed on each time. Should the supervisor itself be killed, its workers notice by a pipe that closes, and stop as if
told to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from gceshim.commands import hangups
from gceshim.commands.errors import FAILED, USAGE, CommandError
from gceshim.settings import SettingsError

LOG = logging.getLogger("gceshim.server")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_ALL_SIGNALS: Final = (*_SIGNALS, signal.SIGHUP)
_LASTED_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LONGEST_SLEEP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Post:
    """
    What a worker knows of its place.

    :param index: 0 to the number of workers less one; a replacement has that of the one before.
    :param lifeline: file descriptor that can be read, and is at its end, once the supervisor is gone.
    """

    index: int
    lifeline: int
    _ready: int

    def ready(self) -> None:
        """Tell that this worker serves."""
        os.write(self._ready, b"r")


@dataclass(slots=True)
class _Slot:
    """One place, and who fills it: `pid` is 0 while nobody does, and `due` is when somebody is to."""

    index: int
    pid: int = 0
    ready_pipe: int = -1
    is_ready: bool = False
    started: float = 0.0
    due: float = 0.0
    failures: int = 0


class Supervisor:
    """
    Runs `work` in `count` processes.

    :param work: what a worker does, from its beginning to its end; gives its exit status.
    :param stop_seconds: how long the workers may take to stop before they are killed.
    :param ready: called once, when the first worker serves.
    :param stopping: called once, when the workers are told to stop.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Post], int],
        *,
        stop_seconds: float,
        ready: Callable[[], None],
        stopping: Callable[[], None],
    ) -> None:
        self._slots = [_Slot(index) for index in range(count)]
        self._work = work
        self._stop_seconds = stop_seconds
        self._tell_ready = ready
        self._tell_stopping = stopping
        self._ever_ready = False
        self._signalled: list[int] = []
        self._kill_at: float | None = None
        self._status = 0
        self._lifeline, self._lifeline_held = os.pipe()
        self._terminal = hangups.Terminal()

    def run(self) -> int:
        """
        Until a signal comes and all workers have ended.

        Gives 0, or 1 if some had to be killed; and when no worker ever gets as far as to serve, what the first ended
        with.
        """
        with self._woken_by_signals() as woken:
            for slot in self._slots:
                self._start(slot)
            while self._kill_at is None or any(slot.pid for slot in self._slots):
                self._sleep(woken)
                self._reap()
                self._obey()
                self._go_on()
        return self._status

    def _sleep(self, woken: int) -> None:
        """Until something may have happened."""
        moments = [slot.due for slot in self._slots if not slot.pid and self._kill_at is None]
        moments += [self._kill_at] if self._kill_at is not None else []
        seconds = min((moment - time.monotonic() for moment in moments), default=_LONGEST_SLEEP_SECONDS)
        with selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            for slot in self._slots:
                if slot.ready_pipe >= 0:
                    selector.register(slot.ready_pipe, selectors.EVENT_READ, slot)
            for key, _ in selector.select(max(0.0, seconds)):
                if isinstance(key.data, _Slot):
                    self._hear(key.data)
                else:
                    os.read(woken, 1024)

    def _hear(self, slot: _Slot) -> None:
        slot.is_ready = os.read(slot.ready_pipe, 1) != b""  # nothing: it has ended before
        os.close(slot.ready_pipe)
        slot.ready_pipe = -1
        if slot.is_ready and not self._ever_ready:
            self._ever_ready = True
            self._tell_ready()

    def _reap(self) -> None:
        """Take note of the workers that have ended."""
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, wait_status = os.waitpid(slot.pid, os.WNOHANG)
            if not pid:
                continue
            if slot.ready_pipe >= 0:
                self._hear(slot)
            slot.pid = 0
            status = os.waitstatus_to_exitcode(wait_status)
            if self._kill_at is None:
                self._lost(slot, pid, status)

    def _lost(self, slot: _Slot, pid: int, status: int) -> None:
        """A worker has ended though nobody told it to."""
        now = time.monotonic()
        if not self._ever_ready:
            self._status = status if status > 0 else FAILED
            self._stop()
            return
        lasted = slot.is_ready and now - slot.started > _LASTED_SECONDS
        slot.failures = 0 if lasted else slot.failures + 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (slot.failures - 1), _LONGEST_PAUSE_SECONDS) if slot.failures else 0.0
        slot.due = now + pause
        how = f"signal {-status}" if status < 0 else f"status {status}"
        LOG.error("worker %d (process %d) has ended: %s; another begins in %.1f s", slot.index, pid, how, pause)

    def _obey(self) -> None:
        """Hand on what came by signal."""
        signalled, self._signalled = self._signalled, []
        for number in signalled:
            if number == signal.SIGCHLD:
                continue
            again = self._kill_at is not None
            if number == signal.SIGHUP and (again or not self._terminal.is_gone):
                self._send(signal.SIGHUP)
                continue
            LOG.info("%s: %s the workers", signal.Signals(number).name, "killing" if again else "stopping")
            self._kill() if again else self._stop()

    def _stop(self) -> None:
        """Tell all workers to stop."""
        self._kill_at = time.monotonic() + self._stop_seconds
        self._tell_stopping()
        self._send(signal.SIGTERM)

    def _kill(self) -> None:
        """Be done with those that have not stopped."""
        self._kill_at = time.monotonic() + _LONGEST_SLEEP_SECONDS
        self._status = FAILED
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)  # not reaped yet, so it is ours

    def _go_on(self) -> None:
        """Start workers that are due; kill those that are overdue."""
        now = time.monotonic()
        if self._kill_at is None:
            for slot in self._slots:
                if not slot.pid and slot.due <= now:
                    self._start(slot)
        elif now >= self._kill_at:
            LOG.error("killing the workers that have not stopped in time")
            self._kill()

    def _start(self, slot: _Slot) -> None:
        read_end, write_end = os.pipe()
        # A signal in between would be the supervisor's in the one process and nobody's in the other.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
        pid = os.fork()
        if not pid:
            os.close(read_end)
            self._be_worker(Post(slot.index, self._lifeline, write_end))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL_SIGNALS)
        os.close(write_end)
        slot.pid, slot.ready_pipe, slot.is_ready, slot.started = pid, read_end, False, time.monotonic()

    def _be_worker(self, post: Post) -> NoReturn:
        """In the new process, which never returns from here: what is on the stack is the supervisor's."""
        status = FAILED
        try:
            signal.set_wakeup_fd(-1)
            for number in _ALL_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # SIGHUP once the worker can read files anew
            os.close(self._lifeline_held)
            os.setpgid(0, 0)  # Ctrl-C is for the supervisor, which hands it on
            status = self._work(post)
        except (SettingsError, CommandError) as exc:
            status = exc.status if isinstance(exc, CommandError) else USAGE
            print(f"gceshim: {' '.join(str(exc).split())}", file=sys.stderr)
        except BaseException:  # noqa: BLE001 - the outermost edge of a process
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[int]:
        """A file descriptor that can be read after a signal, for the block."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        before = {number: signal.getsignal(number) for number in _ALL_SIGNALS}
        for number in _ALL_SIGNALS:
            signal.signal(number, lambda signum, _frame: self._signalled.append(signum))
        before_fd = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        hangups.let_through()
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (woken, wake, self._lifeline, self._lifeline_held):
                os.close(descriptor)
