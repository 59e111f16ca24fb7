import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.FileInputStream;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes a file of records, in the form of records_file.ts, to a topic: BROKER TOPIC FILE. */
public final class Produce {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", arguments[0],
                "acks", "all",
                "linger.ms", 20,
                "batch.size", 128 * 1024,
                "buffer.memory", 128L * 1024 * 1024);
        AtomicReference<Exception> failure = new AtomicReference<>();
        var serializer = new ByteArraySerializer();
        try (var producer = new KafkaProducer<>(settings, serializer, serializer);
                var in = new DataInputStream(new BufferedInputStream(new FileInputStream(arguments[2]), 1 << 20))) {
            for (int partition = in.read(); partition >= 0; partition = in.read()) {
                byte[] key = new byte[in.readUnsignedByte()];
                byte[] value = new byte[in.readInt()];
                in.readFully(key);
                in.readFully(value);
                var record = new ProducerRecord<>(arguments[1], partition, key.length == 0 ? null : key, value);
                producer.send(record, (metadata, error) -> {
                    if (error != null) failure.compareAndSet(null, error);
                });
            }
        }
        if (failure.get() != null) throw failure.get();
    }
}
