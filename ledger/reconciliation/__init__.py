"""The reconciliation: every record of the raw topic against the windows, the rejected records and Druid's rows.

It shares no code with the windows job: it derives from the job's progress tokens what must have become of a record.
"""
