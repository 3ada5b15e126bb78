"""Every service that reads records can read each codec that Kafka has."""

import re

import pytest
from kafka import codec
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from repository import ROOT

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}  # attribute of a batch, as in Kafka's protocol
READERS = sorted(
    {
        path.relative_to(ROOT).parts[0]
        for folder in ("ledger", "doctor", "pyspark", "sensor-data-generator", "supervisor-specs", "kafka")
        for path in (ROOT / folder).rglob("*.py")
        if "KafkaConsumer" in path.read_text()
    }
)


@pytest.mark.parametrize("folder", READERS)
def test_a_service_that_reads_records_has_the_package_of_every_codec(folder: str) -> None:
    [extras] = re.findall(r"^kafka-python\[(.*)\]==", (ROOT / folder / "requirements.in").read_text(), re.MULTILINE)
    assert {"snappy", "lz4", "zstd"} <= set(extras.split(","))


def test_the_services_that_read_records_are_known() -> None:
    assert {"ledger", "pyspark", "sensor-data-generator"} <= set(READERS)


@pytest.mark.parametrize("name", CODECS)
def test_a_compressed_batch_is_read(name: str) -> None:
    assert getattr(codec, f"has_{name}")()
    batch = MemoryRecordsBuilder(magic=2, compression_type=CODECS[name], batch_size=2**20)
    for number in range(100):
        batch.append(timestamp=0, key=None, value=b"reading %d" % number)
    batch.close()
    records = MemoryRecords(batch.buffer())
    found = []
    while (each := records.next_batch()) is not None:
        assert each.compression_type == CODECS[name]
        found += [record.value for record in each]
    assert found == [b"reading %d" % number for number in range(100)]
