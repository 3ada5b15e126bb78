"""Case ledger: the time and the memory of `make verify` over a long topic, and when it goes on from its state.

Druid is a stand-in without any rows: the ledger verifies Kafka, and then says that Druid has rows left to read.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from broker import SERVERS, TOPICS, broker, create_topic
from kafka import KafkaConsumer, TopicPartition
from live_figures import Row
from live_stack import say
from local_stack.paths import ROOT, STACK
from measure import WrongResult
from readings import WATERMARK, Shape, deliver, records
from service import contract

# The readings that are sent before each verification. All but the first one go on from a state.
LONG, SHORT = 20_000_000, 1_000_000
PARTS = (SHORT, LONG, SHORT)
VEHICLES = 200
LIMIT = 3600  # seconds that the windows job may take for a part
UNDER_WAY = 3  # exit code of the ledger
FOLDER = STACK / "ledger"
RESULT, STATE = FOLDER / "result.json", FOLDER / "ledger.json"


def ledger() -> list[Row]:
    """A row for each part."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    rows, sent = [], 0
    readings = (record for _, record in records(Shape(sum(PARTS), VEHICLES)))
    with broker(), no_druid() as url:
        names = {role: create_topic(f"ledger-{role}", role, topic.partitions) for role, topic in TOPICS.items()}
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": SERVERS,
            **{contract.setting(role): name for role, name in names.items()},
            "DRUID_URL": url,
        }
        for number in PARTS:
            say(f"ledger: sending {number:,} readings")
            with windows_job(environment) as job:
                deliver(SERVERS, names["raw"], itertools.islice(readings, number))
                wait_until_read(names, job)
            sent += number
            rows.append(verified(environment, sent))
    return rows


@contextmanager
def windows_job(environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the windows job, which goes on from where it ended before."""
    own = {
        "CHECKPOINT_LOCATION": str(FOLDER / "checkpoint"),
        "WINDOWS_JOB_STATE_FILE": str(FOLDER / "windows-job.json"),
        "WINDOW_DURATION": "60 seconds",
        "WATERMARK_DURATION": f"{WATERMARK} seconds",
    }
    with (FOLDER / "windows-job.log").open("ab") as log:
        command = [sys.executable, str(ROOT / "pyspark/pyspark.py")]
        process = subprocess.Popen(command, env={**os.environ, **environment, **own}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def wait_until_read(names: dict[str, str], job: "subprocess.Popen[bytes]") -> None:
    """Wait until the job's progress tokens cover the raw topic. Raises WrongResult."""
    partition = TopicPartition(names["progress"], 0)
    places = [TopicPartition(names["raw"], number) for number in range(TOPICS["raw"].partitions)]
    tokens = KafkaConsumer(bootstrap_servers=SERVERS, isolation_level="read_committed", auto_offset_reset="earliest")
    try:
        tokens.assign([partition])
        wanted = {str(place.partition): end for place, end in tokens.end_offsets(places).items()}
        read: dict[str, int] = {}
        deadline = time.monotonic() + LIMIT
        while any(read.get(number, 0) < end for number, end in wanted.items()):
            if job.poll() is not None or time.monotonic() > deadline:
                raise WrongResult(f"the windows job has read up to {read} of {wanted}: see {FOLDER}/windows-job.log")
            for token in tokens.poll(timeout_ms=500).get(partition, []):
                read = json.loads(token.value)["offsets"].get(names["raw"], read)
    finally:
        tokens.close()


def verified(environment: dict[str, str], sent: int) -> Row:
    """Run the ledger over `sent` readings in all. Raises WrongResult when it finds something wrong."""
    own = {"RESULT_FILE": str(RESULT), "LEDGER_STATE_FILE": str(STATE)}
    start = time.monotonic()
    with (FOLDER / "verify.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "ledger/verify.py")],
            env={**os.environ, **environment, **own},
            stdout=log,
            stderr=log,
        )
    _, _, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    figures = result.get("figures", {})
    if result.get("exit_code") != UNDER_WAY or (figures["records"], figures["unread"]) != (sent, 0):
        raise WrongResult(f"the ledger of {sent:,} readings says: {result.get('sentence')} See {FOLDER}/verify.log")
    row = {
        "verified before": figures["verified_before"],
        "readings": sent - figures["verified_before"],
        "seconds": round(seconds, 1),
        "CPU s/M": round((used.ru_utime + used.ru_stime) / (sent - figures["verified_before"]) * 1e6, 2),
        "memory MiB": round(used.ru_maxrss / 1024),
        "state KiB": round(STATE.stat().st_size / 1024),
    }
    say(f"ledger: {row}")
    return row


class _NoRows(BaseHTTPRequestHandler):
    """Answers as Druid does as long as it doesn't know a datasource."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"errorMessage": "Object not found"}'
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def no_druid() -> Iterator[str]:
    """The address of a Druid without any rows."""
    with HTTPServer(("127.0.0.1", 0), _NoRows) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
