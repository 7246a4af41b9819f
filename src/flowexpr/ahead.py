"""Doing the next step of a pipeline in a thread while the last one's result is used."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(items: Iterable[T], n: int = 8) -> Generator[T, None, None]:
    """Yield items that a thread makes in advance, in order; its error is raised here.

    Parameters
    ----------
    items : iterable
        What is made in the thread.
    n : int, default=8
        Items that may wait.

    Yields
    ------
    item : object
        Of `items`.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(n)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put((kind, value), timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # raised where the items are used
            put("error", error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "item":
                yield value
            elif kind == "error":
                raise value
            else:
                return
    finally:
        stopped.set()
        thread.join()
