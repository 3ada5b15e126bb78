"""Without Docker: .env, make's command line, and the settings that a stack was started with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from local_stack import env_file, paths, preflight, settings
from local_stack.errors import NotAllowed, StackError
from repository import ROOT


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(env_file, "ROOT", tmp_path)
    return tmp_path / ".env"


@pytest.mark.parametrize("line", ["ROUTER_PORT=9999", 'ROUTER_PORT="9999"', "  ROUTER_PORT='9999'  "])
def test_a_port_may_be_quoted_as_for_compose(env: Path, line: str) -> None:
    env.write_text(f"# ports\n\n{line}\n")
    assert env_file.env_file({}) == {"ROUTER_PORT": "9999"}


@pytest.mark.parametrize(
    "line",
    ["ROUTER_PORT=abc", "ROUTER_PORT=99999", "ROUTER_PORT=0", "ROUTER_PORT=", "ROUTER_PORT=9999 # mine", "ROUTER_PORT"],
)
def test_a_line_of_env_that_is_not_allowed_is_refused(env: Path, line: str) -> None:
    env.write_text(line)
    with pytest.raises(NotAllowed, match="ROUTER_PORT.*it must be"):
        env_file.env_file({})


def test_all_lines_that_are_not_allowed_are_named(env: Path) -> None:
    env.write_text("ROUTER_PORT=0\nKAFKA_PORT=9092\nthis\n")
    with pytest.raises(NotAllowed) as refused:
        env_file.env_file({"KAFKA_PORT": "x"})
    assert [sentence.partition(":")[0] for sentence in refused.value.args] == [
        "ROUTER_PORT, in .env or in the environment, is '0'",
        "KAFKA_PORT, in .env or in the environment, is 'x'",
        ".env has the line 'this'",
    ]


def test_a_port_in_the_environment_is_checked_as_well(env: Path) -> None:
    env.write_text("ROUTER_PORT=8888")
    assert env_file.env_file({"ROUTER_PORT": "9"}) == {"ROUTER_PORT": "9"}
    with pytest.raises(NotAllowed, match="'abc'"):
        env_file.env_file({"ROUTER_PORT": "abc"})


@pytest.mark.parametrize(
    "image", ["name:1.2.3", "host:5000/group/name:1.2.3", "name:1.2.3@sha256:abc1", "host:5000/name:1.2.3@sha256:abc1"]
)
def test_the_version_is_in_the_tag_of_the_image(env: Path, image: str) -> None:
    env.write_text(f"DRUID_IMAGE={image}")
    assert env_file.image_version("DRUID_IMAGE", {}) == "1.2.3"


@pytest.mark.parametrize("image", ["name", "host:5000/name", "name@sha256:abc1", "name:latest", ""])
def test_an_image_without_a_version_is_named(env: Path, image: str) -> None:
    env.write_text("DRUID_IMAGE=name:1.2.3")
    with pytest.raises(NotAllowed, match=rf"DRUID_IMAGE, .*, is '{image}': it must have the version as its tag"):
        env_file.image_version("DRUID_IMAGE", {"DRUID_IMAGE": image})


def test_an_empty_stack_dir_counts_as_not_set() -> None:
    # It would be the current folder, which `make reset` would then take for a stack's.
    output = subprocess.run(
        [sys.executable, "-c", "from local_stack import paths; print(paths.STACK)"],
        cwd=ROOT / "local", env={"STACK_DIR": ""}, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert output.strip() == str(paths.LOCAL / "stack")


@pytest.mark.parametrize(
    ("makeflags", "names"),
    [
        ("", []),
        ("s", []),
        ("--no-print-directory", []),
        (" -- NUM_ENTITIES=7", ["NUM_ENTITIES"]),
        ("-- NUM_ENTITIES=7", ["NUM_ENTITIES"]),
        ("ks -j2 --jobserver-auth=3,4 -- B=2 A=1", ["B", "A"]),
        (r" -- WINDOW_DURATION=10\ seconds\ WAIT=1 X=a\\", ["WINDOW_DURATION", "X"]),
        (" -- X=it's Y:=1 Z+=2", ["X", "Y", "Z"]),
    ],
)
def test_the_variables_of_makes_command_line(makeflags: str, names: list[str]) -> None:
    assert settings.command_line_variables(makeflags) == names


def test_make_hands_on_its_command_line_in_that_form(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text('all:\n\t@printf %s "$$MAKEFLAGS"\n')
    made = subprocess.run(
        ["make", "-sC", str(tmp_path), "NUM_ENTITIES=7", "WINDOW_DURATION=10 seconds WAIT=1", "X=it's a\\b"],
        check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert set(settings.command_line_variables(made.stdout)) == {"NUM_ENTITIES", "WINDOW_DURATION", "X"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("NUM_ENTITES", "NUM_ENTITES is not a setting: did you mean NUM_ENTITIES?"),
        ("num_entities", "num_entities is not a setting: did you mean NUM_ENTITIES?"),
        ("ROUTER_PROT", "ROUTER_PROT is not a setting: did you mean ROUTER_PORT?"),
        ("XYZ", "XYZ is not a setting: README.md"),
    ],
)
def test_a_name_that_is_no_setting_is_refused_with_the_nearest_one(given: str, message: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        preflight.check_command_line({"MAKEFLAGS": f" -- {given}=7"})
    assert str(refused.value).startswith(message)
    assert refused.value.exit_code == 2


def test_the_settings_of_every_service_and_of_make_itself_are_known() -> None:
    known = "NUM_ENTITIES WINDOW_DURATION REPLICATION_FACTOR DRUID_URL KAFKA_RAW_TOPIC WAIT STACK_DIR PYTHON KAFKA_PORT"
    preflight.check_command_line({"MAKEFLAGS": f" -- {' '.join(f'{name}=1' for name in known.split())}"})


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "SETTINGS_FILE", tmp_path / "stack/settings.json")
    return tmp_path / "stack/settings.json"


def test_what_a_stack_was_started_with_holds_unless_the_environment_says_otherwise(saved: Path) -> None:
    assert settings.with_saved({"A": "1"}) == {"A": "1"}
    settings.save({"ROUTER_PORT": "9", "DRUID_URL": "http://druid.test"})
    assert settings.with_saved({"ROUTER_PORT": "8"}) == {"ROUTER_PORT": "8", "DRUID_URL": "http://druid.test"}
    settings.save({})
    assert settings.with_saved({}) == {}


def test_the_settings_file_is_replaced_as_a_whole(saved: Path) -> None:
    settings.save({"A": "1"})
    with saved.open() as before:
        settings.save({"A": "2"})
        assert json.load(before) == {"A": "1"}
    assert [path.name for path in saved.parent.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_settings_file_that_is_damaged_is_named(saved: Path, content: str) -> None:
    saved.parent.mkdir()
    saved.write_text(content)
    with pytest.raises(StackError, match=r"settings\.json can't be read"):
        settings.with_saved({})


def test_a_cluster_is_asked_for_by_1_and_has_its_own_spark() -> None:
    assert [settings.clustered({"CLUSTER": value}) for value in ("1", "0", "")] == [True, False, False]
    assert not settings.clustered({})
    with pytest.raises(
        NotAllowed, match="^CLUSTER is 'yes': it must be 1, for three Kafka brokers and a Spark cluster, or"
    ):
        settings.clustered({"CLUSTER": "yes"})
    with pytest.raises(NotAllowed, match="^CLUSTER=1 starts .* own, and SPARK_MASTER would name another: unset one of"):
        settings.clustered({"CLUSTER": "1", "SPARK_MASTER": "spark://master.test:7077"})
    assert "SPARK_MASTER" not in settings.in_force({})
