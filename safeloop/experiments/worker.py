"""Train one run, in a process of its own: `python -m safeloop.experiments.worker RUN`. The launcher starts it.

Progress goes to the file descriptor `--report` as one JSON object a line, at most one each `NEWS_EVERY` seconds, or
into the file `--news`, where the launcher is on another machine. What the algorithm prints goes to stdout and stderr,
which the launcher appends to the run's log. `--leash` is a pipe that the launcher holds open: when the launcher dies,
the worker does too, leaving the run as a kill leaves it, ready to be resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from safeloop import activity
from safeloop.data.datasets import read
from safeloop.errors import UsageError
from safeloop.files import disk_fault, write_atomically
from safeloop.recording.reader import open_run
from safeloop.recording.recorder import Recorder
from safeloop.recording.run import Run
from safeloop.recording.trackers import mirrored
from safeloop.registry import find_algorithm, find_env

NEWS_EVERY = 1.0
"""Seconds between two messages about progress."""

Send = Callable[[dict[str, Any]], None]


class News(threading.Thread):
    """Send what a run reported last and what this process is doing, now and then, where either has changed."""

    def __init__(self, send: Send):
        super().__init__(daemon=True)
        self.send, self.latest, self.sent, self.ended = send, dict[str, Any](), "", threading.Event()

    def __enter__(self) -> News:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self.join()
        self.flush()  # the last news: none come after this

    def tell(self, message: dict[str, Any]) -> None:
        """Take a report of the run (`Run.report`). Raises `TypeError` where it can't be sent."""
        json.dumps(message, default=float)
        self.latest = {**self.latest, **message}

    def run(self) -> None:
        """Send until the block ends."""
        while not self.ended.wait(NEWS_EVERY):
            with suppress(OSError):  # the launcher is gone
                self.flush()

    def flush(self) -> None:
        """Send the news, if there are any."""
        message = {**self.latest, "under_way": activity.under_way()}
        text = json.dumps(message, default=float)
        if text != self.sent:
            self.sent = text
            self.send(message)


def train(run: Run, threads: int) -> None:
    """Train `run` to its end, or from its checkpoint to its end."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)  # arithmetic on numbers below 1e-38, as weights become that nothing uses, is slow
    settings = run.settings
    spec, algorithm = find_env(settings.env, settings.env_options), find_algorithm(settings.algo)
    if settings.dataset:
        with activity.doing("reading the dataset"):
            dataset = read(run.dataset)
        if dataset.fingerprint != settings.data["fingerprint"]:
            raise UsageError(f"{run.dataset} has changed since this run began: restore it or start a new run")
        algorithm.train_on(dataset, run)  # type: ignore[attr-defined]
        return
    env = Recorder(spec.make(), spec, run)
    try:
        with activity.doing(activity.TRAINING, settings.steps, "steps", lambda: env.simulator_steps):
            algorithm.train(env, run)  # type: ignore[attr-defined]
    finally:
        env.close()


def work(run: Run, threads: int, send: Send, track: Sequence[str] = ()) -> int:
    """Train `run`, mirror its rows to the trackers `track`, and keep its status.

    Returns 0, or 1 where it failed, or 2 where it can't be trained.
    """

    def notify(notice: str) -> None:
        print(f"safeloop: {notice}", file=sys.stderr, flush=True)
        send({"notice": notice})

    with run.locked():
        before = run.status
        if before["state"] == "finished":  # by another launcher, meanwhile
            return 0
        try:
            run.set_status("running")
            run.repair()
            with mirrored(run, track, notify):
                with News(send) as news:
                    run.report, run.notify = news.tell, notify
                    train(run, threads)
                run.set_status("finished")
            return 0
        except UsageError as error:
            new = before["state"] == "new"
            status = ("failed", str(error)) if new else (before["state"], before["reason"])
            log, message, code = f"safeloop: error: {error}", {"refused": str(error)}, 2
        except Exception as error:
            fault = disk_fault(error, run.path)
            reason = fault or " ".join(f"{type(error).__name__}: {error}".split())
            status, message, code = ("failed", reason), {"failed": reason}, 1
            log = f"safeloop: error: {fault}" if fault else traceback.format_exc()
        with suppress(OSError):  # the disk may be full; the launcher is told in any case
            run.set_status(*status)
        with suppress(OSError):
            print(log, file=sys.stderr, flush=True)
        send(message)
    return code


def _die_with(leash: int) -> None:
    def wait() -> None:
        while os.read(leash, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="python -m safeloop.experiments.worker", description=__doc__)
    parser.add_argument("run", help="run folder")
    parser.add_argument("--threads", type=int, help="threads of this process (default: as recorded)")
    parser.add_argument("--report", type=int, help="file descriptor for progress")
    parser.add_argument("--news", help="file for progress, replaced by each message")
    parser.add_argument("--track", action="append", default=[], help="tracker that rows are mirrored to; repeatable")
    parser.add_argument("--leash", type=int, help="file descriptor that closes when the launcher dies")
    arguments = parser.parse_args()
    for descriptor in (arguments.report, arguments.leash):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    if arguments.leash is not None:
        _die_with(arguments.leash)

    def send(message: dict[str, Any]) -> None:
        text = (json.dumps(message, default=float) + "\n").encode()
        if arguments.report is not None:
            os.write(arguments.report, text)
        if arguments.news is not None:
            with suppress(OSError):
                write_atomically(Path(arguments.news), text)

    try:
        run = open_run(arguments.run)
        return work(run, arguments.threads or run.settings.threads, send, arguments.track)
    except UsageError as error:
        print(f"safeloop: error: {error}", file=sys.stderr)
        send({"refused": str(error)})
        return 2
    except OSError as error:  # the run can't be held
        send({"failed": disk_fault(error, Path(arguments.run)) or str(error)})
        return 1


if __name__ == "__main__":
    sys.exit(main())
