"""ZeroGPU's decorator, as far as a generator needs it: schedule, fork, pickle, stop.

It does in this order what `spaces` 0.51 does, and keeps what the GPU was asked for.
"""

import inspect
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.context import LocalContext

assert "torch" not in sys.modules, "spaces comes before torch"

fork: Any = multiprocessing.get_context("fork")
scheduled: list[dict[str, Any]] = []
refusal: list[str] = []


class Worker:
    """A forked process, which is used again."""

    def __init__(self, task: Callable[..., Any]) -> None:
        self.asked, self.told, self.stop = fork.SimpleQueue(), fork.SimpleQueue(), fork.Event()
        fork.Process(target=self._work, args=(task,), daemon=True).start()

    def _work(self, task: Callable[..., Any]) -> None:
        while True:
            arguments = self.asked.get()
            self.stop.clear()
            self._iterate(task(*arguments))
            self.told.put(("end", None))

    def _iterate(self, stream: Any) -> None:
        try:
            for one in stream:
                if self.stop.is_set():
                    stream.close()
                    return
                self.told.put(("ok", one))
        except Exception as error:  # noqa: BLE001 (only its name comes back)
            self.told.put(("error", type(error).__name__))


def GPU(task: Callable[..., Any], *, duration: Callable[..., int], size: str) -> Any:
    assert inspect.isgeneratorfunction(task)
    workers: list[Worker] = []

    def handler(*arguments: Any) -> Iterator[Any]:
        request = LocalContext.request.get(None)
        token = request.headers.get("x-ip-token") if request else None
        if refusal:
            raise gr.Error(refusal[0])
        scheduled.append({"token": token, "seconds": duration(*arguments), "size": size})
        worker = workers.pop() if workers else Worker(task)
        worker.asked.put(arguments)
        ended = False
        try:
            while True:
                kind, value = worker.told.get()
                ended = kind == "end"
                if ended:
                    return
                if kind == "error":
                    raise gr.Error(value)
                yield value
        except GeneratorExit:
            worker.stop.set()
            raise
        finally:
            while not ended:
                ended = worker.told.get()[0] == "end"
            workers.append(worker)

    return handler
