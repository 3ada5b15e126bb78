"""The windows job: validation of readings, windows by event time, and their exactly-once way into Kafka."""
