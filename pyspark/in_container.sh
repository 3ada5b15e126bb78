# Runs the windows job in its container. The exit code 2 means that a restart can't help. The container then stays, and its
# health check fails, instead of being restarted for ever.

# The state file of the run before would count as this one's in the health check.
rm -f "${WINDOWS_JOB_STATE_FILE:-/var/lib/sensor-data/windows-job.json}"

python pyspark/pyspark.py &
job=$!
trap 'kill -TERM "$job"' TERM INT
code=0
while kill -0 "$job" 2> /dev/null; do # a signal ends `wait` before the job has ended
  wait "$job"
  code=$?
done
[ "$code" = 2 ] || exit "$code"

echo 'The windows job is not restarted, because a restart does not help. Correct what it reports above, then run' \
  '`docker compose up` (or, without a change of settings or files, `docker compose restart pyspark`).' >&2
exec sleep infinity
