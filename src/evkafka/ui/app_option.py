"""How the commands that the page shows name the app: `--app shop:app`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from evkafka.ui.operated_app import OperatedApp

UNKNOWN = "--app MODULE:APP"


def app_option_text(app: OperatedApp) -> str:
    """As `evkafka run` started it, otherwise the first module that has it; a placeholder if there is none."""
    if app.started_as is not None:
        return app.started_as
    for module in list(sys.modules.values()):
        name = next((name for name, value in vars(module).items() if value is app), None)
        if name is not None and (importable := _importable_module_name(module)) is not None:
            return f"--app {importable}:{name}"
    return UNKNOWN


def _importable_module_name(module: ModuleType) -> str | None:
    if module.__name__ != "__main__":
        return module.__name__
    if module.__spec__ is not None:  # python -m
        return module.__spec__.name
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).stem
