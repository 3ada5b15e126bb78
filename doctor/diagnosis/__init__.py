"""The diagnosis: what Kafka, Druid and the windows job report, and what is wrong with it.

Pure checks take what was seen and return findings. A finding is one sentence: the cause, the value seen, the remedy.
"""
