import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * The windows as Flink SQL computes them, in one process.
 *
 * <p>Arguments: bootstrap servers, topic, output topic, URI of the folder for checkpoints, a file to create at the
 * start of the query.
 */
public class FlinkWindows {
    static final String READINGS = """
            CREATE TABLE readings (
                `time` TIMESTAMP_LTZ(3), entity INT, temp DOUBLE, humidity DOUBLE,
                WATERMARK FOR `time` AS `time` - INTERVAL '3' MINUTE
            ) WITH (
                'connector' = 'kafka', 'properties.bootstrap.servers' = '%s', 'topic' = '%s',
                'properties.group.id' = 'windows', 'scan.startup.mode' = 'earliest-offset',
                'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601'
            )""";
    // At least once, the sink's default: windows are sent as they are emitted, and all are there at a checkpoint.
    static final String WINDOWS = """
            CREATE TABLE windows (
                `key` STRING, `window` STRING, window_start TIMESTAMP_LTZ(3), window_end TIMESTAMP_LTZ(3), entity INT,
                `count` BIGINT, avg_temp DOUBLE, min_temp DOUBLE, max_temp DOUBLE, last_humidity DOUBLE
            ) WITH (
                'connector' = 'kafka', 'properties.bootstrap.servers' = '%s', 'topic' = '%s',
                'key.format' = 'raw', 'key.fields' = 'key', 'value.fields-include' = 'EXCEPT_KEY',
                'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601'
            )""";
    // LAST_VALUE is the one that came last: Flink SQL has no value of the row with the largest time.
    static final String QUERY = """
            INSERT INTO windows
            SELECT
                CAST(entity AS STRING), CAST(window_start AS STRING) || '-' || CAST(window_end AS STRING),
                window_start, window_end, entity,
                COUNT(*), ROUND(AVG(temp), 2), MIN(temp), MAX(temp), LAST_VALUE(humidity)
            FROM TUMBLE(TABLE readings, DESCRIPTOR(`time`), INTERVAL '1' MINUTE)
            GROUP BY window_start, window_end, entity""";

    public static void main(String[] arguments) throws Exception {
        String servers = arguments[0];
        Configuration configuration =
                Configuration.fromMap(
                        Map.of(
                                "parallelism.default", "2",
                                "pipeline.object-reuse", "true", // no copies between operators; safe with SQL
                                // The state, minutes of windows, is on the heap, the default; its copies are files.
                                "execution.checkpointing.interval", "10 s",
                                "execution.checkpointing.dir", arguments[3],
                                "restart-strategy.type", "none", // an error ends the program
                                "table.local-time-zone", "UTC"));
        TableEnvironment tables =
                TableEnvironment.create(EnvironmentSettings.newInstance().withConfiguration(configuration).build());
        tables.executeSql(READINGS.formatted(servers, arguments[1]));
        tables.executeSql(WINDOWS.formatted(servers, arguments[2]));
        Files.createFile(Path.of(arguments[4]));
        tables.executeSql(QUERY).await();
    }
}
