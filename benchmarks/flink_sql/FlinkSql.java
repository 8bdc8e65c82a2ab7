import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs the statements of a file, separated by semicolons, on an embedded Flink; the last one is a stream without end. */
class FlinkSql {
    public static void main(String[] arguments) throws Exception {
        var environment = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        var settings = environment.getConfig();
        settings.set("parallelism.default", "1");
        settings.set("execution.checkpointing.interval", "5 s");
        // The planner would keep every row as state, to order changes of one key; the topic is append-only.
        settings.set("table.exec.sink.upsert-materialize", "NONE");
        for (var statement : Files.readString(Path.of(arguments[0])).split(";\\s*\n")) {
            if (!statement.isBlank()) {
                environment.executeSql(statement);
            }
        }
        Thread.currentThread().join();
    }
}
