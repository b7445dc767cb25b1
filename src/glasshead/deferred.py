"""Node functions that are imported when they run, so that a pipeline is known without what it computes with.

Python 3.15 has this as a statement, `lazy from … import …` (PEP 810).
"""

import builtins
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any


class Deferred:
    """A function of a module, which is imported when the function is called.

    Kedro reads the types of a node's parameters through `__wrapped__`, which imports it too.
    """

    def __init__(self, module: str, name: str) -> None:
        self.__module__ = module
        self.__name__ = self.__qualname__ = name
        self._function: Callable[..., Any] | None = None

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        if self._function is None:
            self._function = resolve_name(f"{self.__module__}:{self.__name__}")
        return self._function

    @property
    def __annotations__(self) -> Any:  # type: ignore[override]  # read-only, unlike a plain function's
        # inspect asks for them when Kedro makes a node, which must import nothing
        if self._function is None:
            raise AttributeError("__annotations__")
        return self._function.__annotations__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


@contextmanager
def deferred(importer: str) -> Iterator[None]:
    """Within it, `from module import function` in the module called `importer` gives a `Deferred` and imports nothing.

    Type checkers and editors see the functions themselves.
    """
    imported = builtins.__import__

    def defer(
        name: str,
        namespace: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
        names: tuple[str, ...] = (),
        level: int = 0,
    ) -> Any:
        if names and namespace and namespace.get("__name__") == importer:
            return SimpleNamespace(**{function: Deferred(name, function) for function in names})
        return imported(name, namespace, local, names, level)

    builtins.__import__ = defer  # type: ignore[assignment]
    try:
        yield
    finally:
        builtins.__import__ = imported
