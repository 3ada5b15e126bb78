"""Registration of Druid's ingestion supervisors: rendered specs, checks, and the calls to Druid."""
