"""The only module that reaches into PySpark. Written against PySpark 4.2.0; tests/integration would see a change."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pyspark.sql
from py4j.protocol import Py4JJavaError
from pyspark.conf import SparkConf
from pyspark.core.context import SparkContext
from pyspark.sql import SparkSession
from service.settings import BadSetting


class FileSystemError(OSError):
    """A file system refuses, can't be reached or is unknown; the text is its own."""


@contextmanager
def _hadoop_errors() -> Iterator[None]:
    """Errors of Hadoop's file systems as those of Python."""
    try:
        yield
    except Py4JJavaError as error:
        said = error.java_exception.toString().splitlines()[0]
        if said.startswith("java.io.FileNotFoundException"):
            raise FileNotFoundError(said) from error
        if said.startswith("org.apache.hadoop.fs.ChecksumException"):
            raise ValueError(said) from error
        raise FileSystemError(said) from error


class HadoopFolder:
    """A checkpoint.Folder on the file system of its URL, by Hadoop's public classes in Spark's process."""

    def __init__(self, spark: SparkSession, url: str) -> None:
        """Create the folder where there is none. Raises FileSystemError, also when it can't be written to."""
        self.url = url
        jvm: Any = spark._jvm
        self._new_array = spark.sparkContext._gateway.new_array  # type: ignore[union-attr]
        self._configuration = spark._jsc.hadoopConfiguration()
        self._hadoop, self._arrays = jvm.org.apache.hadoop.fs, jvm.org.apache.commons.lang3.ArrayUtils
        self._path_class, self._file_util = self._hadoop.Path, self._hadoop.FileUtil
        with _hadoop_errors():
            self._files = self._path("").getFileSystem(self._configuration)
            if not self._files.mkdirs(self._path("")):
                raise FileSystemError("the folder can't be created")
            self._files.create(self._path("write-test"), True).close()
        self.remove("write-test")

    def read(self, name: str) -> str:
        with _hadoop_errors():
            stream = self._files.open(self._path(name))
            try:
                return bytes(stream.readAllBytes()).decode()
            finally:
                stream.close()

    def write(self, name: str, text: str) -> None:
        new, path = self._path(f"{name}.new"), self._path(name)
        # Hadoop's FileSystem has no rename that replaces a file.
        overwrite = getattr(self._hadoop, "Options$Rename")
        options = self._new_array(overwrite, 1)
        options[0] = overwrite.OVERWRITE
        with _hadoop_errors():
            stream = self._files.create(new, True)
            stream.write(text.encode())
            stream.close()
            self._hadoop.FileContext.getFileContext(path.toUri(), self._configuration).rename(new, path, options)

    def names(self, name: str) -> list[str]:
        path = self._path(name)
        try:
            with _hadoop_errors():
                found = self._files.listStatus(path)
        except FileNotFoundError:
            return []
        # In one text: a call for each of hundreds of files takes long.
        paths = self._arrays.toString(self._file_util.stat2Paths(found))
        folder = self._files.makeQualified(path).toString()
        return [each.rstrip(",}") for each in paths.split(f"{folder}/")[1:]]

    def remove(self, name: str) -> None:
        with _hadoop_errors():
            self._files.delete(self._path(name), True)

    def _path(self, name: str) -> Any:
        return self._path_class(f"{self.url}/{name}")


def observed(spark: SparkSession, query_name: str, observation: str) -> dict[str, Any]:
    """The metrics of an observation by name, in the batch that the query runs now.

    Public interfaces (StreamingQueryProgress.observedMetrics) have them only when the batch is over, and the sink needs
    them before.
    """
    query = next(query for query in spark.streams.active if query.name == query_name)
    metrics = query._jsq.streamingQuery().lastExecution().observedMetrics()
    return dict(json.loads(metrics.apply(observation).json()))


def configured(folder: str) -> dict[str, str]:
    """What is known to Spark before this script sets anything: by spark-submit, or by spark-defaults.conf in `folder`.

    An empty `folder` stands for Spark's default. Raises BadSetting.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit has started this script, and has read the file itself
        SparkContext.getSystemProperty("java.home")  # connects to Spark's process
        return dict(SparkConf().getAll())
    if folder and not Path(folder).is_dir():
        raise BadSetting(f"SPARK_CONF_DIR (or spark_conf_dir) is {folder!r}: it must be a folder that exists.")
    home = os.environ.get("SPARK_HOME") or str(Path(pyspark.sql.__file__).parent.parent)
    path = Path(folder or f"{home}/conf") / "spark-defaults.conf"
    if not path.is_file():
        return {}
    # A line is "name value", "name=value" or "name: value".
    found = re.findall(r"^[ \t]*(spark\.[^\s=:]+)[ \t]*[=: \t][ \t]*(.*?)[ \t\r]*$", path.read_text(), re.MULTILINE)
    return dict(found)


def spark_process() -> "Popen[Any] | None":
    """The process of Spark's driver; None where spark-submit started this script inside it."""
    return getattr(SparkContext._gateway, "proc", None)


def kill_spark() -> None:
    """Kill Spark's process, which may be stopped, if this script has started one."""
    process = spark_process()
    if process:
        process.kill()
