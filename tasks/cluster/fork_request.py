"""How to get a process from a fork server.

`python fork_request.py ... PROGRAM ...` is what Ray runs to start a worker on a node that has one.
"""

import argparse
import json
import os
import socket
from collections.abc import Mapping, Sequence


def server(cluster: str) -> str:
    """The name of the fork server beside the head of a cluster, whose `RAY_ADDRESS` is given."""
    return f"atcnn-fork-server-{cluster}"


def connected(name: str) -> socket.socket:
    """A connection to a fork server, whose socket is in no file.

    Raises:
        OSError: there is no such server.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"\0{name}")
    except OSError:
        connection.close()
        raise
    return connection


def ask(
    connection: socket.socket,
    program: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    context: str = "",
    also: Sequence[int] = (),
) -> None:
    """Let a copy of a fork server run a program, with this process's folder and standard files.

    Args:
        connection: to the server.
        program: a file of Python, or a module of this folder as for `python -m`.
        context: Ray's description of what a worker changes in `environment`.
        also: more descriptors for the program, whose numbers there are its last arguments.
    """
    request = {
        "folder": os.getcwd(),
        "environment": dict(environment),
        "context": context,
        "program": program,
        "arguments": list(arguments),
    }
    data = json.dumps(request).encode()
    sent = socket.send_fds(connection, [data], [0, 1, 2, *also])
    connection.sendall(data[sent:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", default="{}")
    parser.add_argument("--language")
    ours, (program, *arguments) = parser.parse_known_args()
    context = ours.serialized_runtime_env_context
    with connected(os.environ["ATCNN_FORK_SERVER"]) as connection:
        ask(connection, program, arguments, environment=os.environ, context=context)


if __name__ == "__main__":
    main()
