"""The replay of recordings: files of readings, mapped to the contract, sorted by time and sent to one partition."""
