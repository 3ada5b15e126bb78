import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The windows as Kafka Streams computes them, exactly once.
 *
 * <p>Arguments: bootstrap servers, topic, output topic, application id, folder of the state, a file to create at the
 * start.
 */
public class KafkaStreamsWindows {
    static final ObjectMapper JSON =
            new ObjectMapper()
                    .setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
                    .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

    public static void main(String[] arguments) throws IOException {
        KafkaStreams streams =
                new KafkaStreams(
                        topology(arguments[1], arguments[2]),
                        configuration(arguments[0], arguments[3], arguments[4]));
        streams.setUncaughtExceptionHandler(
                error -> {
                    error.printStackTrace();
                    return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
                });
        streams.setStateListener(
                (now, before) -> {
                    if (now == KafkaStreams.State.ERROR) Runtime.getRuntime().halt(1);
                });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        Files.createFile(Path.of(arguments[5]));
        streams.start();
    }

    static Properties configuration(String servers, String application, String folder) {
        Properties properties = new Properties();
        properties.putAll(
                Map.of(
                        "bootstrap.servers", servers,
                        "application.id", application,
                        "state.dir", folder,
                        "processing.guarantee", "exactly_once_v2",
                        "commit.interval.ms", "1000",
                        "num.stream.threads", "2",
                        "auto.offset.reset", "earliest",
                        "main.consumer.max.partition.fetch.bytes", String.valueOf(16 * 1024 * 1024),
                        // An update that is still in the cache at the next one reaches neither store nor changelog.
                        "statestore.cache.max.bytes", String.valueOf(64 * 1024 * 1024)));
        return properties;
    }

    static Topology topology(String topic, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                        topic,
                        Consumed.with(Serdes.String(), json(Reading.class))
                                .withTimestampExtractor((record, before) -> ((Reading) record.value()).time.millis))
                .groupByKey()
                .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofMinutes(3)))
                // In memory: four minutes of windows are small, and the changelog restores them as it would RocksDB's.
                .aggregate(
                        Sums::none,
                        (key, reading, sums) -> sums.and(reading),
                        Materialized.<String, Sums, WindowStore<Bytes, byte[]>>with(Serdes.String(), Sums.serde())
                                .withStoreType(BuiltInDslStoreSuppliers.IN_MEMORY))
                // EmitStrategy.onWindowClose() looks for closed windows once a second, and only when a record comes.
                .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                .toStream()
                .map((key, sums) -> new KeyValue<>(key.key(), Emitted.of(key, sums)))
                .to(output, Produced.with(Serdes.String(), json(Emitted.class)));
        return builder.build();
    }

    record Reading(Time time, int entity, double temp, double humidity, long seq) {}

    record Time(long millis) {
        @JsonCreator
        static Time of(String text) {
            return new Time(Instant.parse(text).toEpochMilli());
        }
    }

    /** Of the readings so far: how many, their temperatures, and of the latest one time (ms), seq and humidity. */
    record Sums(long count, double total, double min, double max, long latest, long seq, double humidity) {
        static Sums none() {
            return new Sums(0, 0, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, Long.MIN_VALUE, 0, 0);
        }

        Sums and(Reading reading) {
            long time = reading.time.millis;
            boolean newer = time > latest || time == latest && reading.seq > seq;
            return new Sums(
                    count + 1,
                    total + reading.temp,
                    Math.min(min, reading.temp),
                    Math.max(max, reading.temp),
                    newer ? time : latest,
                    newer ? reading.seq : seq,
                    newer ? reading.humidity : humidity);
        }

        byte[] bytes() {
            ByteBuffer buffer = ByteBuffer.allocate(7 * 8).putLong(count).putDouble(total).putDouble(min);
            return buffer.putDouble(max).putLong(latest).putLong(seq).putDouble(humidity).array();
        }

        static Sums from(byte[] bytes) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return new Sums(
                    buffer.getLong(), buffer.getDouble(), buffer.getDouble(), buffer.getDouble(),
                    buffer.getLong(), buffer.getLong(), buffer.getDouble());
        }

        static Serde<Sums> serde() {
            return Serdes.serdeFrom(
                    (topic, sums) -> sums == null ? null : sums.bytes(),
                    (topic, bytes) -> bytes == null ? null : from(bytes));
        }
    }

    /** As it is in the output topic, in the order of pyspark.py's. */
    record Emitted(
            String window, String windowStart, String windowEnd, int entity,
            long count, double avgTemp, double minTemp, double maxTemp, double lastHumidity) {
        static Emitted of(Windowed<String> key, Sums sums) {
            String start = key.window().startTime().toString(), end = key.window().endTime().toString();
            // Rounded twice, as in pyspark.py: the order of adding doubles must not decide how a half is rounded.
            BigDecimal average = new BigDecimal(sums.total / sums.count).setScale(6, RoundingMode.HALF_UP);
            return new Emitted(
                    start + "-" + end, start, end, Integer.parseInt(key.key()),
                    sums.count, average.setScale(2, RoundingMode.HALF_UP).doubleValue(),
                    sums.min, sums.max, sums.humidity);
        }
    }

    static <T> Serde<T> json(Class<T> type) {
        var reader = JSON.readerFor(type);
        var writer = JSON.writerFor(type);
        return Serdes.serdeFrom(
                (topic, value) -> {
                    try {
                        return writer.writeValueAsBytes(value);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                },
                (topic, bytes) -> {
                    try {
                        return reader.readValue(bytes);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                });
    }
}
