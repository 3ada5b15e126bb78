#!/bin/sh
# Types, room by room: the rooms share no code. pyspark.py is checked under another name, or it would hide PySpark.
cd "$(dirname "$0")/.." || exit
mypy="$PWD/.local/venv/bin/mypy --config-file $PWD/pyproject.toml --cache-dir $PWD/.mypy_cache"
for room in kafka sensor-data-generator supervisor-specs ledger local; do
  (cd "$room" && $mypy/"$room" ./*.py) || failed=1
done
# The benchmark is made of parts of the others.
(cd benchmarks && MYPYPATH=../local:../sensor-data-generator $mypy/benchmarks ./*.py) || failed=1
copy=$(mktemp -d)
cp pyspark/*.py sensor-data-generator/batch.py "$copy" && mv "$copy/pyspark.py" "$copy/windows_job.py"
(cd "$copy" && $mypy/pyspark ./*.py) || failed=1
rm -r "$copy"
exit ${failed:-0}
