"""The simulated fleet and the sending of its readings to Kafka. producer.py has the constants and starts it."""
