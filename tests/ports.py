"""Where the tests and benchmarks let their servers listen."""

import socket


def free_port() -> int:
    """A loopback port that nobody listens on. Another process may take it before it is used: port 0, where the server says which it got, is
    surer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
