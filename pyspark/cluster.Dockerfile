# The windows job on Spark's official image, for the driver and the executors of a cluster: the entry point is Spark's own,
# as its Kubernetes back end expects. The build context is the repository's root.
ARG SPARK_IMAGE=apache/spark:4.2.0-scala2.13-java21-python3-ubuntu
ARG MAVEN_IMAGE=maven:3.9-eclipse-temurin-17

FROM ${MAVEN_IMAGE} AS connector
COPY pyspark/connector.pom.xml /pom.xml
RUN mvn -q -B -f /pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory=/jars

FROM ${SPARK_IMAGE}
USER root
COPY --from=connector --chmod=644 /jars/*.jar /opt/spark/jars/
COPY pyspark/requirements.txt ./
# The image has PySpark and py4j.
RUN awk '/^[^ ]/ {kept = !/^(pyspark|py4j)==/} kept' requirements.txt > others.txt \
    && pip3 install --require-hashes --no-cache-dir -r others.txt && rm requirements.txt others.txt \
    && install --directory --owner=spark --group=spark /var/lib/sensor-data
COPY --chmod=755 schemas /app/schemas
COPY --chmod=755 common /app/common
COPY --chmod=755 pyspark /app/pyspark
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER spark
