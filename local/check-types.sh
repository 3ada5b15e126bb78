#!/bin/sh
# Types, room by room: the rooms share no code, and pyspark/ would hide PySpark from a run over all of them.
cd "$(dirname "$0")/.." || exit
for room in kafka sensor-data-generator supervisor-specs local; do
  (cd "$room" && ../.local/venv/bin/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache/"$room" ./*.py) || failed=1
done
exit ${failed:-0}
