"""Imports the app that MODULE:APP names. Errors say the cause and the fix in one sentence, without a traceback."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from evkafka.cli.suggestions import nearest_name
from evkafka.exceptions import ConfigError


@runtime_checkable
class RunnableApp(Protocol):
    """The methods that `evkafka run` needs of an app."""

    def run(self) -> None: ...

    async def serve(self) -> None: ...


def load_app(target: str, app_dir: Path, *, factory: bool = False, show_traceback: bool = False) -> RunnableApp:
    """Import the app that MODULE:APP names. APP may be a dotted path into the module.

    Args:
        app_dir: put first on `sys.path`.
        factory: APP is a function without arguments that returns the app.
        show_traceback: print the traceback if the module or the factory raises.

    Raises:
        ConfigError: there is no such module or name, the import fails, or the object is no app.
    """
    module_name, path = _split_target(target)
    module = _import_module(module_name, app_dir, show_traceback=show_traceback)
    found = _look_up_attribute(module, path)
    if factory:
        found = _call_factory(found, target, show_traceback=show_traceback)
    return _require_app(found, target, from_factory=factory)


def check_module_exists(target: str, app_dir: Path) -> None:
    """Check that there is such a module, without importing anything.

    Raises:
        ConfigError: there is none, or the target is not MODULE:APP.
    """
    name, _ = _split_target(target)
    directory = _app_directory(app_dir)
    search: Sequence[str] | None = [str(directory), *sys.path]
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        spec = _find_spec(part, search) if search is not None else None
        if spec is None:
            raise ConfigError(_no_such_module_text(name, part, directory))
        search = spec.submodule_search_locations


def _find_spec(name: str, search: Sequence[str]) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which would import the packages that contain the module."""
    found = (finder.find_spec(name, search) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def _split_target(target: str) -> tuple[str, str]:
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path or ":" in path:
        hint = f"{_file_path_to_module_name(module_name)}:app" if module_name else "orders.main:app"
        raise ConfigError(f"{target!r} is not MODULE:APP: name the module and the app in it, as in {hint}")
    if _file_path_to_module_name(module_name) != module_name:
        raise ConfigError(
            f"{module_name!r} is a file, not a module: write {_file_path_to_module_name(module_name)}:{path}"
        )
    if not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise ConfigError(f"{target!r} is not MODULE:APP: both are names with dots, as in orders.main:app")
    return module_name, path


def _file_path_to_module_name(name: str) -> str:
    if name.endswith(".py") or "/" in name or "\\" in name:
        return name.removesuffix(".py").replace("\\", "/").strip("./").replace("/", ".")
    return name


# ---------------------------------------------------------------------------- the module


def _import_module(name: str, app_dir: Path, *, show_traceback: bool) -> ModuleType:
    directory = _app_directory(app_dir)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Is the module itself missing, or a module that it imports? Only the first is about the target.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(_no_such_module_text(name, error.name, directory)) from None
        raise _import_error(name, error, show_traceback) from error
    except Exception as error:  # the user's module may raise anything
        raise _import_error(name, error, show_traceback) from error


def _app_directory(app_dir: Path) -> Path:
    directory = app_dir.expanduser().resolve()
    if not directory.is_dir():
        raise ConfigError(f"--app-dir {app_dir} is not a directory")
    return directory


def _no_such_module_text(name: str, missing: str, directory: Path) -> str:
    below = name.startswith(f"{missing}.")
    what = f"no module {name!r}" + (f" (there is no {missing!r} to look in)" if below else "")
    parent, _, last = missing.rpartition(".")
    siblings = directory.joinpath(*parent.split(".")) if parent else directory
    names = {path.stem for path in siblings.glob("*.py")} | {path.parent.name for path in siblings.glob("*/*.py")}
    if near := nearest_name(last, names):
        return f"{what} in {directory}: did you mean {f'{parent}.{near}' if parent else near!r}?"
    return f"{what} in {directory}: run in the directory that contains it, or name that with --app-dir"


def _import_error(name: str, error: Exception, show_traceback: bool) -> ConfigError:
    return _user_code_error(f"module {name!r} cannot be imported", error, show_traceback=show_traceback)


def _user_code_error(what: str, error: Exception, *, show_traceback: bool) -> ConfigError:
    """An error for an exception of the user's code. A ConfigError keeps its text, because it says what to do."""
    if show_traceback:
        traceback.print_exception(error)
    if isinstance(error, ConfigError):
        return ConfigError(f"{_location_of_error(error)}{error}")
    message = str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
    cause = f"{type(error).__name__}: {message}" if message else type(error).__name__
    hint = "" if show_traceback else "; --log-level debug shows the traceback"
    return ConfigError(f"{_location_of_error(error)}{what}: {cause}{hint}")


def _location_of_error(error: Exception) -> str:
    """`file:line: ` of the innermost frame in the user's code, not in the import system or an installed package."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{relative_path(error.filename)}:{error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_user_code(frame.filename)]
    return f"{relative_path(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""


def _is_user_code(filename: str) -> bool:
    ours = str(Path(__file__).resolve().parents[1])
    installed = (ours, sys.prefix, sys.base_prefix)
    under_app_dir = filename.startswith(sys.path[0]) and "site-packages" not in filename
    return under_app_dir or not (filename.startswith("<") or filename.startswith(installed))


def relative_path(filename: str) -> str:
    """The path from the working directory; the file's own outside of it."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


# ---------------------------------------------------------------------------- the name in the module


def _look_up_attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    where = module.__name__
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(_no_such_name_text(module, found, where, name)) from None
        where = f"{where}.{name}" if ":" in where else f"{where}:{name}"
    return found


def _no_such_name_text(module: ModuleType, holder: Any, where: str, name: str) -> str:
    what = f"{where!r} has no {name!r}"
    if holder is module and name in _names_under_main_guard(module):
        return (
            f'{what} when it is imported: it is created under `if __name__ == "__main__"`, '
            f"which runs only as a script; move it out of there, and leave {name}.run() inside"
        )
    apps = [key for key, value in vars(holder).items() if _is_app(value)] if hasattr(holder, "__dict__") else []
    public = [key for key in dir(holder) if not key.startswith("_")]
    if near := nearest_name(name, apps) or nearest_name(name, public):
        return f"{what}: did you mean {near!r}?"
    if apps:
        return f"{what}: its apps are {', '.join(map(repr, sorted(apps)))}"
    return f"{what}, nor any other app: create one at the top level of the module, as in {name} = EVKafkaApp(...)"


def _names_under_main_guard(module: ModuleType) -> set[str]:
    """The names that are bound only when the module runs as a script."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return set()
    tests = ("__name__ == '__main__'", "'__main__' == __name__")
    guards = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) in tests]
    return {
        node.id
        for guard in guards
        for statement in guard.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


# ---------------------------------------------------------------------------- the app


def _call_factory(factory: Callable[[], Any], target: str, *, show_traceback: bool) -> Any:
    if _is_app(factory):
        raise ConfigError(f"{target!r} is an app: omit --factory")
    if not callable(factory):
        raise ConfigError(
            f"{target!r} is {_describe_value(factory)}, not a function: --factory calls a function that returns the app"
        )
    if inspect.iscoroutinefunction(factory):
        raise ConfigError(
            f"{target!r} is an async function: a factory is a plain one, "
            f"and what must be awaited at the start belongs in the app's lifespan"
        )
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ConfigError(f"{target!r} cannot be called without arguments ({error}): --factory passes none") from None
    except ValueError:
        pass  # a builtin without a signature: the call will show
    try:
        return factory()
    except Exception as error:  # the user's function may raise anything
        raise _user_code_error(f"{target!r} cannot create the app", error, show_traceback=show_traceback) from error


def _require_app(found: Any, target: str, *, from_factory: bool) -> RunnableApp:
    if _is_app(found):
        app: RunnableApp = found
        return app
    if from_factory:
        raise ConfigError(f"{target!r} returned {_describe_value(found)}, not an EVKafkaApp: return the app")
    if inspect.isroutine(found):
        raise ConfigError(f"{target!r} is a function, not an EVKafkaApp: if it returns the app, add --factory")
    if inspect.ismodule(found) or inspect.isclass(found):
        raise ConfigError(f"{target!r} is {_describe_value(found)}, not an EVKafkaApp: name the variable of the app")
    raise ConfigError(f"{target!r} is {_describe_value(found)}, not an EVKafkaApp: give it to an app, and name that")


def _is_app(value: object) -> bool:
    return isinstance(value, RunnableApp) and not isinstance(value, (type, ModuleType))


def _describe_value(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
