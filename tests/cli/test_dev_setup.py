"""The port of the web server that `evkafka dev` chooses."""

from __future__ import annotations

import contextlib
import socket

from evkafka.cli.impl.dev_setup import choose_web_port
from evkafka.cli.impl.run_options import RunOptions, WebPort
from tests.support.ports import HOST, free_port, free_ports, taken


class TestChoosePort:
    def test_takes_the_apps_own_port(self) -> None:
        own = free_port()
        assert choose_web_port(HOST, own, None) == WebPort(own, own)

    def test_takes_the_next_one_if_another_program_has_it(self) -> None:
        own, other, following = free_ports(3)
        with taken(own, other):
            assert choose_web_port(HOST, own, None) == WebPort(own, following)

    def test_takes_the_port_before_the_reload_although_the_apps_own_is_free_now(self) -> None:
        own, following = free_ports(2)
        assert choose_web_port(HOST, own, WebPort(own, following)) == WebPort(own, following)

    def test_searches_again_if_another_program_has_taken_the_port_before_the_reload(self) -> None:
        own, following, third = free_ports(3)
        with taken(own, following):
            assert choose_web_port(HOST, own, WebPort(own, following)) == WebPort(own, third)

    def test_takes_the_port_that_a_change_of_the_app_has_set(self) -> None:
        own, following, changed = free_ports(3)
        assert choose_web_port(HOST, changed, WebPort(own, following)) == WebPort(changed, changed)

    def test_any_port_stays_the_same_after_a_reload(self) -> None:
        first = choose_web_port(HOST, 0, None)
        assert first.got > 0
        assert choose_web_port(HOST, 0, first) == first

    def test_takes_any_if_no_port_follows(self) -> None:
        with contextlib.suppress(OSError), taken(65_535):
            assert choose_web_port(HOST, 65_535, None).got not in (0, 65_535)

    def test_an_ipv6_address_is_searched_too(self) -> None:
        own, following = free_ports(2)
        with socket.create_server(("::1", own), family=socket.AF_INET6):
            assert choose_web_port("::1", own, None) == WebPort(own, following)


def test_the_port_reaches_the_next_process() -> None:
    options = RunOptions("shop:app", last_web_port=WebPort(8080, 8081))
    assert RunOptions.from_json(options.to_json()) == options
