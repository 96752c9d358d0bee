"""Progress on the terminal: one bar per task, drawn by rich."""

from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining


@final
class Bars:
    """A context whose instances are called as `(task, done, total)`; without a terminal, finished tasks are lines."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        name = TextColumn("{task.description}")
        columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, task: str, done: int, total: int) -> None:
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=total)
        self._progress.update(self._tasks[task], completed=done, total=total)
        if done >= total and task not in self._finished:
            self._finished.add(task)
            if not self._console.is_terminal:
                self._console.print(f"{task}: done ({total})")
