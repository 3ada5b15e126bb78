"""What the job sets of Spark's configuration, and what wins over it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JJavaError
from repository import job_settings
from windows_job import spark
from windows_job.spark import COMPILER, LOG4J, RESULTS, configuration
from windows_job.spark_internals import configured

CLUSTER = {"spark.master": "spark://10.0.0.1:7077"}
LOCAL_ONLY = {"spark.driver.host", "spark.driver.bindAddress", "spark.authenticate"}
FILES = "spark.sql.streaming.checkpointFileManagerClass"


def test_on_one_machine_without_a_configuration_of_sparks_own_it_is_this() -> None:
    assert configuration(job_settings(), {}) == {
        "spark.app.name": "sensor-data",
        "spark.master": "local[2]",
        "spark.driver.memory": "768m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.authenticate": "true",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError -XX:GCTimeLimit=90"
        f" -XX:GCHeapFreeLimit=5 -Dlog4j2.configurationFile={LOG4J.as_uri()}",
        "spark.driver.defaultJavaOptions": COMPILER,
        "spark.executor.defaultJavaOptions": COMPILER,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.chunkBase64String.enabled": "false",
        "spark.sql.legacy.codingErrorAction": "true",
        "spark.sql.variant.allowDuplicateKeys": "true",
        "spark.kafka.consumer.cache.capacity": "8",
        "spark.kafka.consumer.fetchedData.cache.timeout": "5s",
        "spark.kafka.consumer.fetchedData.cache.evictorThreadRunInterval": "1s",
        "spark.sql.streaming.statefulOperator.allowMultiple": "false",
        "spark.sql.streaming.stateStore.formatValidation.enabled": "false",
        "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming.checkpointing"
        ".FileSystemBasedCheckpointFileManager",
        "spark.sql.shuffle.partitions": "2",
    }


def test_what_spark_has_from_elsewhere_wins() -> None:
    usual = configuration(job_settings(), {})
    for name in usual.keys() - RESULTS.keys():
        assert name not in configuration(job_settings(), {name: "local[4]"})


def test_what_decides_the_content_of_the_windows_can_not_be_changed() -> None:
    berlin = dict.fromkeys(RESULTS, "Europe/Berlin")
    assert configuration(job_settings(), berlin).items() >= RESULTS.items()


@pytest.mark.parametrize(("master", "elsewhere"), [(CLUSTER["spark.master"], {}), ("local[2]", CLUSTER)])
def test_for_a_cluster_the_address_of_the_driver_is_as_spark_finds_it(master: str, elsewhere: dict[str, str]) -> None:
    usual, cluster = (configuration(job_settings(spark_master=each), {}) for each in ("local[2]", master))
    assert not LOCAL_ONLY & configuration(job_settings(spark_master=master), elsewhere).keys()
    assert usual.keys() - cluster.keys() == (LOCAL_ONLY if master != "local[2]" else set())


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/data/a b", "file:///data/a b"),
        ("/data/a b/", "file:///data/a b"),
        ("data", f"file://{Path.cwd()}/data"),
        ("file:/data", "file:/data"),
        ("file:///data/", "file:///data"),
        ("hdfs://namenode:8020/sensor-data", "hdfs://namenode:8020/sensor-data"),
        ("s3a://bucket/sensor-data/", "s3a://bucket/sensor-data"),
    ],
)
def test_a_checkpoint_is_a_path_on_this_machine_or_a_url(location: str, url: str) -> None:
    settings = job_settings(checkpoint_location=location)
    assert settings.checkpoint_url == url
    # Hadoop's rename on other file systems replaces no file: Spark's default knows the way there.
    assert (FILES in configuration(settings, {})) == url.startswith("file:")


def test_spark_defaults_of_the_configuration_folder_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    assert configured("") == configured(str(tmp_path)) == {}
    text = """# spark.ui.enabled true
spark.master            spark://10.0.0.1:7077
  spark.driver.memory = 4g
spark.app.name: a = b
spark.local.dir=/data/a b
other.name              value
spark.eventLog.enabled
"""
    expected = {
        "spark.master": "spark://10.0.0.1:7077",
        "spark.driver.memory": "4g",
        "spark.app.name": "a = b",
        "spark.local.dir": "/data/a b",
    }
    (tmp_path / "spark-defaults.conf").write_text(text)
    assert configured(str(tmp_path)) == expected
    assert configured("") == {}
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text(text)
    assert configured("") == expected


def test_the_message_of_an_error_in_java_is_not_the_one_of_py4j() -> None:
    error = Exception("An error occurred while calling None.org.apache.X.\n: java.io.IOException: disk full\n\tat a.b")
    assert spark.first_line(error) == "java.io.IOException: disk full"


class Refused(Py4JJavaError):
    """An error as of a call of py4j, without a Java."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)

    def __str__(self) -> str:
        return str(self.args[0])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\n", "it doesn't answer, or"),
        (
            "java.net.UnknownHostException: k8s\n\tat a.b\nCaused by: java.io.IOException: no route",
            "java.io.IOException",
        ),
    ],
)
def test_a_master_that_does_not_answer_or_refuses_is_named(
    said: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Builder:
        def config(self, *_: str) -> "Builder":
            return self

        def getOrCreate(self) -> None:
            raise Refused(f"An error occurred while calling None.org.apache.spark.X.\n: {said}")

    monkeypatch.setattr(spark, "SparkSession", SimpleNamespace(builder=Builder()))
    monkeypatch.setattr(spark, "configured", lambda _: CLUSTER)
    with pytest.raises(spark.SparkNotStarted) as error:
        spark.spark_session(job_settings())
    assert str(error.value).startswith(f"Spark can't start with the master {CLUSTER['spark.master']}: {reason}")
    assert "\n" not in str(error.value)
