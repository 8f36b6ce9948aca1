"""docker-compose.yml: valid, and as careful as the documentation says."""

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml
from compose_file import (
    FILE,
    PROJECT,
    MissingVariableError,
    documented_variables,
    interpolate,
    load,
)

OPTIONAL = {"BIND_ADDRESS", "RAY_WORKER_CPUS"}
REQUIRED = set(documented_variables()) - OPTIONAL
SECRETS = dict.fromkeys(REQUIRED, "secret")
COMPOSE = load(SECRETS)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}


def test_the_file_follows_the_compose_specification() -> None:
    vendored = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(vendored.read_text())
    jsonschema.validate(yaml.safe_load(FILE.read_text()), schema)
    jsonschema.validate(COMPOSE, schema)


@pytest.mark.parametrize("name", sorted(REQUIRED))
@pytest.mark.parametrize("value", [None, ""])
def test_compose_refuses_to_start_without_a_secret(name: str, value: str | None) -> None:
    others = {key: value for key, value in SECRETS.items() if key != name}
    with pytest.raises(MissingVariableError, match=name):
        load(others if value is None else others | {name: value})


def test_every_variable_is_documented_and_has_no_value_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
    assert used == set(documented_variables())
    assert set(documented_variables().values()) == {""}


def test_only_harmless_variables_have_defaults() -> None:
    assert set(re.findall(r"\$\{(\w+):-", FILE.read_text())) == OPTIONAL


@pytest.mark.parametrize("name", SERVICES)
class TestService:
    def test_its_image_has_an_exact_version(self, name: str) -> None:
        assert re.fullmatch(r"[\w/]+:\d+(\.\d+)+", SERVICES[name]["image"])

    def test_it_has_few_rights(self, name: str) -> None:
        service = SERVICES[name]
        assert service["user"].split(":")[0] not in ("root", "0")
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
        assert service["init"] is True

    def test_it_is_probed_and_restarted_unless_it_ends_by_itself(self, name: str) -> None:
        service = SERVICES[name]
        if name not in ONE_SHOT:
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["restart"] == "unless-stopped"

    def test_it_waits_until_what_it_needs_is_ready(self, name: str) -> None:
        for needed, how in SERVICES[name].get("depends_on", {}).items():
            ready = "completed_successfully" if needed in ONE_SHOT else "healthy"
            assert how["condition"] == f"service_{ready}"

    def test_its_ports_are_open_to_this_machine_only(self, name: str) -> None:
        for port in SERVICES[name].get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_ports_can_be_opened_to_others() -> None:
    ports = load(SECRETS | {"BIND_ADDRESS": "0.0.0.0"})["services"]["prefect-server"]["ports"]
    assert ports == ["0.0.0.0:4200:4200"]


def test_ray_nodes_reach_neither_prefect_nor_its_database() -> None:
    for name in ("ray-head", "ray-worker", "ray-worker-gpu", "s3"):
        for other in ("postgres", "prefect-server"):
            assert not set(SERVICES[name]["networks"]) & set(SERVICES[other]["networks"])


def test_only_the_worker_holds_the_workspace() -> None:
    volumes = {name: service.get("volumes") for name, service in SERVICES.items()}
    assert {name for name, mounted in volumes.items() if mounted} == {
        "postgres",
        "prefect-worker",
        "s3",
    }


def test_gpus_are_asked_for_only_in_their_profile() -> None:
    asking = {name for name, service in SERVICES.items() if "deploy" in service}
    assert asking == {name for name, service in SERVICES.items() if "profiles" in service}
    assert asking == {"ray-worker-gpu"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${A}", "1"), ("${A:-2}/x", "1/x"), ("${B:-2}", "2"), ("${B}", ""), ("${A:?no}", "1")],
)
def test_variables_are_interpolated(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "1"}) == expected


def test_the_image_has_an_exact_base_and_does_not_run_as_root() -> None:
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    bases = [line for line in lines if line.startswith("FROM ")]
    assert all(re.fullmatch(r"FROM python:3\.11\.\d+-slim-\w+", base) for base in bases)
    assert [line for line in lines if line.startswith("USER ")] == ["USER atcnn"]
