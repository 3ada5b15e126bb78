"""Simulate a fleet of vehicles and send their readings to Kafka: one JSON record per vehicle and iteration."""

import sys

from generator.main import run_generator
from generator.settings import Settings
from service.settings import from_constants

# Script configuration
num_entities = 200  # vehicles, 1 or more; each sends one reading per iteration
sensor_interval = 5  # seconds from one iteration to the next, by the clock (:00, :05, ...); 0 sends without a pause
script_duration = 60 * 15  # seconds that the script runs, after the history
history = ""  # readings of the past to send first, as fast as possible, as in "30 days"; empty: none

# Kafka configuration
kafka_bootstrap_servers = "kafka0:29092"
kafka_client_properties = ""  # a file with Kafka's client properties, such as security.protocol; empty: none
kafka_raw_topic = "sensor-data-raw"
kafka_runs_topic = "sensor-data-runs"  # what each run has sent, for the ledger
kafka_progress_topic = "sensor-data-progress"  # what the windows job has read, which must be all of a history
kafka_generator_group_id = "sensor-data-generator"  # the consumer group in which generators share the vehicles

# Records that may wait for Kafka's acknowledgement at a time. They bound the memory that a broker outage takes.
max_in_flight = 50_000

# Processes that share the vehicles, each with its own producer. More than one helps where one core is the limit.
num_processes = 1

# Faults to inject, each a share (0 to 1) of the readings. A reading gets at most one fault, so their sum is 1 or less.
# The log at the end of the run and the state file give the number of each.
late_share = 0.0
out_of_order_share = 0.0
duplicate_share = 0.0
malformed_share = 0.0
late_by = 300  # seconds that a late reading is held back; more than the job's window plus watermark duration
out_of_order_by = 2  # seconds that an out-of-order one is held back; plus sensor_interval, less than the watermark
fault_seed = 0  # the same seed gives the same faults; process n, from 0, uses the seed plus n

# Replay of a recording instead of the simulated fleet. docs/replay.md describes files and mappings.
replay_file = ""  # a file, a folder or a pattern ("recordings/*.csv"): CSV, JSON lines or Parquet; empty: no replay
replay_map = ""  # a TOML or JSON file that maps columns to signals; empty: the columns have the contract's names
replay_times = "original"  # or "ends now" or "starts now", which shift all times by the same duration
replay_speed = 0.0  # 0: as fast as possible; 1: as recorded; 10: ten times as fast
replay_loop = False  # True begins again at the end, with later times
replay_dry_run = False  # True shows the first readings and what can't be mapped, and sends nothing

# The progress of the run as JSON, written after an iteration, at most once a second
generator_state_file = "/var/lib/sensor-data/generator.json"


def main() -> int:
    """Run with the constants above, or the environment variables that override them; return the exit code."""
    return run_generator(from_constants(Settings, globals()))


if __name__ == "__main__":
    sys.exit(main())
