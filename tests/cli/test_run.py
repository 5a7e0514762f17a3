"""`evkafka run` as a process: finding the app, errors, logging and exit codes."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import Call, environment

Evkafka = Callable[..., subprocess.CompletedProcess[str]]

# Anything with run() and serve() is an app to the command line.
APP_CLASS = """
    import sys

    class App:
        def __init__(self, code=0):
            self.code = code

        def run(self):
            print("ran")
            if self.code:
                sys.exit(self.code)

        async def serve(self):
            self.run()
"""


@pytest.fixture
def evkafka(tmp_path: Path) -> Evkafka:
    """Runs `evkafka ARGUMENTS` in the temporary directory."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "evkafka.cli", *arguments],
            cwd=tmp_path,
            env=environment(**env),
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., None]:
    """Writes a module that knows the class App: `module("app = App()", name="orders/main.py")`."""

    def write(source: str, *, name: str = "shop.py", preamble: str = APP_CLASS) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(preamble) + textwrap.dedent(source), encoding="utf-8")

    return write


@pytest.fixture
def refused(call_here: Call) -> Callable[..., str]:
    """Runs `evkafka ARGUMENTS` in the temporary directory and in this process; returns the one line that it says."""

    def run(*arguments: str) -> str:
        ended = call_here(*arguments)
        assert (ended.code, ended.out) == (2, "")
        lines = ended.err.splitlines()
        assert len(lines) == 1, ended.err
        assert lines[0].startswith("evkafka: ")
        return lines[0]

    return run


class TestFinding:
    def test_runs_the_app_of_the_module(self, evkafka, module):
        module("app = App()")
        answer = evkafka("run", "shop:app")
        assert (answer.stdout, answer.stderr, answer.returncode) == ("ran\n", "", 0)

    def test_excludes_what_it_has_loaded_from_garbage_collections(self, evkafka, module):
        preamble = APP_CLASS.replace('print("ran")', "import gc; print(gc.get_freeze_count() > 10_000)")
        module("app = App()", preamble=preamble)
        assert evkafka("run", "shop:app").stdout == "True\n"

    def test_passes_the_apps_exit_code_on(self, evkafka, module):
        module("app = App(code=3)")
        assert evkafka("run", "shop:app").returncode == 3

    def test_looks_into_packages_and_dotted_names(self, evkafka, module):
        module("class services:\n    billing = App()\n", name="orders/main.py")
        assert evkafka("run", "orders.main:services.billing").stdout == "ran\n"

    def test_looks_in_the_app_dir(self, evkafka, module):
        module("app = App()", name="src/shop.py")
        assert evkafka("run", "shop:app", "--app-dir", "src").stdout == "ran\n"

    def test_calls_a_factory(self, evkafka, module):
        module("def make():\n    return App()\n")
        assert evkafka("run", "shop:make", "--factory").stdout == "ran\n"

    def test_takes_its_options_from_the_environment(self, evkafka, module):
        module("def make():\n    return App()\n", name="src/shop.py")
        answer = evkafka("run", EVKAFKA_APP="shop:make", EVKAFKA_APP_DIR="src", EVKAFKA_FACTORY="1")
        assert answer.stdout == "ran\n"

    def test_finds_a_real_app_and_gives_its_exit_code(self, evkafka, module):
        module("from evkafka.app import EVKafkaApp\napp = EVKafkaApp()\napp.stop()\n", preamble="")
        assert evkafka("run", "shop:app").returncode == 0

    def test_a_configuration_that_only_the_start_finds_invalid_exits_with_2(self, evkafka, module):
        """As one that the import finds: a supervisor does not restart after 2, because that would not help."""
        module(
            "from evkafka import EVKafkaApp, Handler\n"
            "app = EVKafkaApp()\n"
            "app.add_consumer({'topics': ['t']}, Handler())\n"
        )
        answer = evkafka("run", "shop:app")
        assert "group_id" in answer.stderr
        assert answer.returncode == 2

    def test_a_port_in_use_exits_with_3(self, evkafka, module):
        """No configuration is invalid: a restart helps when the port is free."""
        module("from evkafka import EVKafkaApp\napp = EVKafkaApp()\n", preamble="")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            answer = evkafka("run", "shop:app", "--web", "--port", str(taken.getsockname()[1]))
        assert "the port is in use" in answer.stderr
        assert answer.returncode == 3


class TestRefusing:
    @pytest.mark.parametrize("target", ["shop", ":app", "shop:", "a:b:c", "shop:app()"])
    def test_a_target_without_module_and_app(self, refused, target):
        assert f"{target!r} is not MODULE:APP" in refused("run", target)

    def test_a_file_in_place_of_a_module(self, refused, module):
        module("app = App()", name="orders/main.py")
        assert "write orders.main:app" in refused("run", "./orders/main.py:app")

    def test_a_module_that_is_not_there(self, refused, module):
        module("app = App()")
        line = refused("run", "nothing_like_it:app")
        assert "no module 'nothing_like_it' in " in line
        assert "--app-dir" in line

    def test_a_misspelt_module(self, refused, module):
        module("app = App()")
        assert "did you mean 'shop'?" in refused("run", "shpo:app")

    def test_an_app_dir_that_is_not_there(self, refused):
        assert "--app-dir nowhere is not a directory" in refused("run", "shop:app", "--app-dir", "nowhere")

    def test_a_misspelt_name(self, refused, module):
        module("billing = App()")
        assert "'shop' has no 'biling': did you mean 'billing'?" in refused("run", "shop:biling")

    def test_another_name_than_those_of_its_apps(self, refused, module):
        module("billing = App()\nmailing = App()\n")
        assert "its apps are 'billing', 'mailing'" in refused("run", "shop:zzz")

    def test_an_app_made_under_the_main_guard(self, refused, module):
        module('if __name__ == "__main__":\n    app = App()\n    app.run()\n')
        line = refused("run", "shop:app")
        assert 'under `if __name__ == "__main__"`' in line
        assert "move it out of there" in line

    def test_a_failing_import_with_file_and_line(self, refused, module):
        module("x = 1\nboom = 1 / 0\n", preamble="")
        line = refused("run", "shop:app")
        assert "shop.py:2: module 'shop' cannot be imported: ZeroDivisionError" in line

    def test_a_module_that_imports_a_missing_module(self, refused, module):
        module("import not_installed_here\n", preamble="")
        assert "shop.py:1: module 'shop' cannot be imported: ModuleNotFoundError" in refused("run", "shop:app")

    def test_a_module_with_a_syntax_error(self, refused, module):
        module("x = (\n", preamble="")
        assert "shop.py:1: module 'shop' cannot be imported: SyntaxError" in refused("run", "shop:app")

    def test_an_invalid_config_with_its_own_error(self, refused, module):
        module("from evkafka.exceptions import ConfigError\nraise ConfigError('topics: name one')\n", preamble="")
        line = refused("run", "shop:app")
        assert line.endswith("shop.py:2: topics: name one")

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("app = 5", "is an int, not an EVKafkaApp"),
            ("def app():\n    return App()\n", "add --factory"),
            ("app = App", "is the class App, not an EVKafkaApp"),
        ],
    )
    def test_what_is_no_app(self, refused, module, source, says):
        module(source)
        assert says in refused("run", "shop:app")

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("app = App()", "omit --factory"),
            ("app = 5", "is an int, not a function"),
            ("async def app():\n    return App()\n", "is an async function"),
            ("def app(settings):\n    return App()\n", "missing a required argument: 'settings'"),
            ("def app():\n    App()\n", "returned None, not an EVKafkaApp"),
            ("def app():\n    raise KeyError('HOME')\n", "'shop:app' cannot create the app: KeyError: 'HOME'"),
        ],
    )
    def test_what_is_no_factory(self, refused, module, source, says):
        module(source)
        assert says in refused("run", "shop:app", "--factory")


class TestLogging:
    SAYS = """
        import logging

        class Talkative(App):
            def run(self):
                logging.getLogger("evkafka").debug("fine print")
                logging.getLogger("evkafka").warning("large print")

        app = Talkative()
    """

    def test_level_decides_what_is_logged(self, evkafka, module):
        module(self.SAYS)
        assert "fine print" not in evkafka("run", "shop:app").stderr
        assert "fine print" in evkafka("run", "shop:app", "--log-level", "debug").stderr
        assert "large print" not in evkafka("run", "shop:app", EVKAFKA_LOG_LEVEL="ERROR").stderr

    def test_module_that_sets_up_logging_keeps_its_handlers(self, evkafka, module):
        module(textwrap.dedent(self.SAYS) + "logging.basicConfig(format='mine: %(message)s')\n")
        assert evkafka("run", "shop:app").stderr == "mine: large print\n"

    def test_debug_shows_the_traceback_of_a_failed_import(self, evkafka, module):
        module("boom = 1 / 0\n", preamble="")
        answer = evkafka("run", "shop:app", "--log-level", "debug")
        assert answer.returncode == 2
        assert "Traceback" in answer.stderr


class TestCommandLine:
    def test_shows_its_version(self, evkafka):
        assert evkafka("--version").stdout.startswith("evkafka ")

    def test_help_lists_the_commands(self, evkafka):
        answer = evkafka("--help")
        assert answer.returncode == 0
        assert {"run", "broker"} <= set(answer.stdout.split())

    def test_help_imports_neither_engine_nor_broker(self, tmp_path):
        code = (
            "import sys; sys.argv = ['evkafka', '--help']\n"
            "from evkafka.cli.typer_app import run_command_line_for_exit_code\n"
            "run_command_line_for_exit_code()\n"
            "print([name for name in ('jgo', 'evkafka.broker', 'evkafka.cli.impl.run') if name in sys.modules])\n"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
        assert answer.stdout.endswith("[]\n")

    @pytest.mark.parametrize("arguments", [["nothing"], ["run"], ["run", "--nothing"], ["broker", "--port", "x"]])
    def test_wrong_usage_ends_with_2(self, call, arguments):
        assert call(*arguments).code == 2

    def test_missing_extra_is_one_sentence(self, tmp_path):
        code = "import sys; sys.modules['typer'] = None\nfrom evkafka.cli import main\nmain()\n"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
        assert answer.returncode == 2
        assert answer.stderr.splitlines() == [
            "evkafka: the command line needs an extra that is not installed: pip install 'evkafka[cli]'"
        ]

    def test_is_installed_as_a_command(self):
        command = Path(sys.executable).with_name("evkafka")
        answer = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=240)
        assert answer.returncode == 0
