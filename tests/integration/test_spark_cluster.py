"""The job on a Spark cluster, with a broker and its checkpoint on HDFS, all of the test's own."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyspark.sql
import pytest
import recompute
from generator.fleet import Fleet
from kafka import KafkaProducer
from local_stack.java import java
from pipeline import poll_until
from processes import Start, free_ports, kill
from repository import ROOT

pytestmark = pytest.mark.timeout(900)
SPARK_HOME = Path(pyspark.sql.__file__).parent.parent
WINDOW_SECONDS = 5
VEHICLES, READINGS = 100, 200  # of each vehicle
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
DEFAULTS = """
spark.app.name         on-the-cluster
spark.driver.host      127.0.0.1
spark.executor.memory  512m
"""


@pytest.fixture
def hdfs(start: Start, tmp_path: Path) -> str:
    """The URL of an HDFS with a name node and a data node."""
    if not shutil.which("mvn"):
        pytest.skip("HDFS comes by Maven, and there is no mvn on the PATH")
    jars = ROOT / ".local/hdfs-jars"
    if not jars.exists():
        pom = str(Path(__file__).parent / "hdfs.pom.xml")
        fetched = tmp_path / "hdfs-jars"
        assert start("mvn", "mvn", "-q", "-B", "-f", pom, COPY, f"-DoutputDirectory={fetched}").wait(timeout=300) == 0
        shutil.copytree(fetched, jars)
    [port] = free_ports(1)
    start(
        "hdfs", java(), "-Xmx256m", f"-Dtest.build.data={tmp_path}/hdfs", "-cp", f"{jars}/*:{SPARK_HOME}/jars/*",
        "org.apache.hadoop.test.MiniDFSClusterManager",
        "-format", "-datanodes", "1", "-nnport", str(port), "-writeDetails", str(tmp_path / "hdfs.json"),
    )  # fmt: skip
    return f"hdfs://127.0.0.1:{port}"


class Cluster:
    """A Spark master and two workers with one core each."""

    def __init__(self, start: Start) -> None:
        [port] = free_ports(1)
        self.master = f"spark://127.0.0.1:{port}"
        spark_class, package = str(SPARK_HOME / "bin/spark-class"), "org.apache.spark.deploy"
        here = {"SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
        address = ["--host", "127.0.0.1", "--webui-port", "0"]
        start("master", spark_class, f"{package}.master.Master", *address, "--port", str(port), **here)
        limits = ["--cores", "1", "--memory", "600m", "--work-dir", "work"]
        self.workers = [
            start(f"worker{number}", spark_class, f"{package}.worker.Worker", *address, *limits, self.master, **here)
            for number in (1, 2)
        ]


def send(kafka: str, topic: str) -> None:
    """A reading of each vehicle for each second, in the order of their times."""
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=50)
    fleet, begin = Fleet(VEHICLES), datetime.now(UTC) - timedelta(seconds=READINGS)
    for second in range(READINGS):
        time_of_all = (begin + timedelta(seconds=second)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for key, value in fleet.records(time_of_all):
            producer.send(topic, key=key, value=value)
    producer.flush()
    producer.close()


def test_nothing_is_lost_or_doubled_when_the_job_an_executor_and_a_worker_are_killed(
    start: Start, kafka: str, hdfs: str, tmp_path: Path
) -> None:
    cluster = Cluster(start)
    state_file = tmp_path / "windows-job.json"
    (tmp_path / "spark-defaults.conf").write_text(DEFAULTS)
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SPARK_MASTER": cluster.master,
        "SPARK_CONF_DIR": str(tmp_path),
        "CHECKPOINT_LOCATION": f"{hdfs}/sensor-data/checkpoint",
        "WINDOWS_JOB_STATE_FILE": str(state_file),
        "WINDOW_DURATION": f"{WINDOW_SECONDS} seconds",
        "WATERMARK_DURATION": "5 seconds",
        "MAX_OFFSETS_PER_TRIGGER": "1000",
        "TRIGGER_INTERVAL": "1 millisecond",
    }
    created = start("topics", sys.executable, str(ROOT / "kafka/create_topics.py"), **settings)
    assert created.wait(timeout=120) == 0
    poll_until("HDFS", (tmp_path / "hdfs.json").exists, 60)
    send(kafka, "sensor-data-raw")

    def job(**changed: str) -> "subprocess.Popen[bytes]":
        return start("job", sys.executable, str(ROOT / "pyspark/pyspark.py"), **settings | changed)

    def has_read(records: int) -> bool:
        if running.poll() is not None:
            pytest.fail((tmp_path / "job.log").read_text()[-3000:])
        totals = json.loads(state_file.read_text())["totals"] if state_file.exists() else None
        return bool(totals) and totals["records"] >= records

    def in_the_middle_of(share: float) -> None:
        poll_until(f"{share:.0%} of the readings", lambda: has_read(int(share * VEHICLES * READINGS)), 240)

    running = job()
    in_the_middle_of(0.2)
    kill(running)
    running = job(SHUFFLE_PARTITIONS="5")
    in_the_middle_of(0.4)
    [executor, *_] = [
        each for worker in cluster.workers for each in psutil.Process(worker.pid).children(recursive=True)
    ]
    executor.kill()
    in_the_middle_of(0.6)
    kill(cluster.workers[0])
    in_the_middle_of(1)
    running.terminate()
    assert running.wait(timeout=120) == 0

    tokens: list[dict[str, Any]] = recompute.records(kafka, "sensor-data-progress")
    assert [token["batch_id"] for token in tokens] == list(range(len(tokens)))
    on_time = recompute.on_time(recompute.messages(kafka, "sensor-data-raw"), tokens, WINDOW_SECONDS, VEHICLES)
    windows = recompute.windows(on_time, WINDOW_SECONDS)
    closed = {each for each in windows if each[0] + WINDOW_SECONDS * 1000 <= tokens[-1]["watermark"]}
    assert len(closed) > VEHICLES * READINGS / WINDOW_SECONDS * 0.8
    emitted = recompute.emitted(recompute.records(kafka, "sensor-data-aggregated"), VEHICLES)
    assert emitted == {each: windows[each] for each in closed}
    output = (tmp_path / "job.log").read_text()
    assert "Spark's own configuration, which wins over this job's, has spark.app.name\n" in output
    assert f"The checkpoint in {settings['CHECKPOINT_LOCATION']} has 2 shuffle partitions, which stay" in output

    # another user, who may not write there
    refused = job(SPARK_MASTER="local[1]", HADOOP_USER_NAME="nobody")
    assert refused.wait(timeout=120) == 1
    output = (tmp_path / "job.log").read_text()
    assert f"The checkpoint in {settings['CHECKPOINT_LOCATION']} can't be used: org.apache.hadoop" in output
    assert "Permission denied: user=nobody" in output
