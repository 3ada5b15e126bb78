"""pyspark/cluster.Dockerfile, as text. The image that it is based on is not built in these tests."""

import re
import subprocess

from local_stack.env_file import env_file
from repository import ROOT

TEXT = (ROOT / "pyspark/cluster.Dockerfile").read_text()
SMALL = (ROOT / "pyspark/Dockerfile").read_text()
PACKAGES = (ROOT / "pyspark/requirements.txt").read_text()
PIN = r"^([\w-]+)(?:\[.*\])?==(\S+)"


def test_the_base_is_sparks_official_image_of_pysparks_version() -> None:
    pinned = dict(re.findall(PIN, PACKAGES, re.MULTILINE))["pyspark"]
    assert re.search(rf"^ARG SPARK_IMAGE=apache/spark:{re.escape(pinned)}-scala2.13-java21-python3-ubuntu$", TEXT, re.M)
    assert f"ARG MAVEN_IMAGE={env_file({})['MAVEN_IMAGE']}\n" in TEXT


def test_sparks_entry_point_starts_driver_and_executors_without_root() -> None:
    instructions = re.findall(r"^([A-Z]+) ?(.*)$", TEXT, re.MULTILINE)
    assert not {"ENTRYPOINT", "CMD"} & {name for name, _ in instructions}
    assert instructions[-1] == ("USER", "spark")


def test_it_has_the_connector_and_the_files_of_the_small_image() -> None:
    for pattern in (r"^FROM \$\{MAVEN_IMAGE\} AS connector\n(?:.+\n)+", r"^COPY --chmod=755 (\w+)"):
        assert re.findall(pattern, TEXT, re.MULTILINE) == re.findall(pattern, SMALL, re.MULTILINE)


def test_it_has_the_packages_of_the_small_image_but_pyspark_and_py4j_which_the_base_has() -> None:
    command = re.search(r"^RUN (awk '.*' requirements\.txt) > others\.txt", TEXT, re.MULTILINE)
    assert command
    done = subprocess.run(command[1], shell=True, cwd=ROOT / "pyspark", capture_output=True, text=True, check=True)
    others, all_of_them = (dict(re.findall(PIN, text, re.MULTILINE)) for text in (done.stdout, PACKAGES))
    assert all_of_them.keys() - others.keys() == {"pyspark", "py4j"}
    assert others.items() <= all_of_them.items()
    assert len(re.findall("--hash=", done.stdout)) < len(re.findall("--hash=", PACKAGES))
