import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/**
 * Keeps each host's stack in a persistent store with a change log, up to where the topic ends at the start:
 * BROKER TOPIC APPLICATION_ID STATE_DIRECTORY THREADS CACHE_BYTES (0: no caching). Prints JSON. Its time begins with
 * the first record; it is that to the last one, and that of a close: caches flushed, change log sent, offsets committed.
 */
public final class HostStacks {
    private static final String STORE = "stacks";

    private static final AtomicLong events = new AtomicLong();
    private static final AtomicLong startNs = new AtomicLong();
    private static final AtomicLong startCpuNs = new AtomicLong();
    private static final OperatingSystemMXBean system =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private static final class Fold implements Processor<byte[], byte[], Void, Void> {
        private final Map<Integer, Long> ends;
        private final CountDownLatch partitionsLeft;
        private ProcessorContext<Void, Void> context;
        private KeyValueStore<Bytes, byte[]> store;
        private long lastOffset = -1;
        private long folded;

        Fold(Map<Integer, Long> ends, CountDownLatch partitionsLeft) {
            this.ends = ends;
            this.partitionsLeft = partitionsLeft;
        }

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            this.context = context;
            store = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (lastOffset < 0) begin();
            byte[] value = record.value();
            Proto batch = new Proto(value, 0, value.length);
            while (batch.next()) {
                Event event = new Event(batch.message());
                Bytes host = Bytes.wrap(event.hostId);
                byte[] state = HostState.after(store.get(host), event);
                if (state != null) store.put(host, state);
                folded++;
            }
            if (context.recordMetadata().orElseThrow().offset() == lastOffset) {
                events.addAndGet(folded);
                partitionsLeft.countDown();
            }
        }

        private void begin() {
            lastOffset = ends.get(context.taskId().partition()) - 1;
            if (startNs.compareAndSet(0, System.nanoTime())) startCpuNs.set(system.getProcessCpuTime());
        }
    }

    public static void main(String[] arguments) throws Exception {
        String broker = arguments[0];
        String topic = arguments[1];
        long cacheBytes = Long.parseLong(arguments[5]);
        Map<Integer, Long> ends = endsOf(broker, topic);
        CountDownLatch partitionsLeft = new CountDownLatch((int) ends.values().stream().filter(end -> end > 0).count());

        var store = Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore(STORE), Serdes.Bytes(), Serdes.ByteArray())
                .withLoggingEnabled(Map.of());
        Topology topology = new Topology();
        topology.addSource(
                "events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic);
        topology.addProcessor("fold", () -> new Fold(ends, partitionsLeft), "events");
        topology.addStateStore(cacheBytes > 0 ? store.withCachingEnabled() : store.withCachingDisabled(), "fold");

        KafkaStreams streams = new KafkaStreams(topology, settings(broker, arguments, cacheBytes));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        partitionsLeft.await();
        long ns = System.nanoTime() - startNs.get();
        long cpuNs = system.getProcessCpuTime() - startCpuNs.get();
        String state = digest(streams);
        ns -= System.nanoTime();
        cpuNs -= system.getProcessCpuTime();
        streams.close();
        ns += System.nanoTime();
        cpuNs += system.getProcessCpuTime();
        System.out.printf(
                "{\"events\":%d,\"seconds\":%f,\"cpu_seconds\":%f,%s,\"change_log_bytes\":%d}%n",
                events.get(), ns / 1e9, cpuNs / 1e9, state, changeLogBytes(broker, arguments[2]));
    }

    /** What is not here has Kafka's default: at least once, a commit every 30 s, RocksDB as Kafka Streams sets it up. */
    private static Properties settings(String broker, String[] arguments, long cacheBytes) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", broker);
        settings.put("application.id", arguments[2]);
        settings.put("state.dir", arguments[3]);
        settings.put("num.stream.threads", arguments[4]);
        settings.put("statestore.cache.max.bytes", cacheBytes);
        settings.put("replication.factor", 1);
        settings.put("auto.offset.reset", "earliest");
        settings.put("consumer.max.poll.records", 5000);
        settings.put("producer.batch.size", 128 * 1024);
        return settings;
    }

    private static Map<Integer, Long> endsOf(String broker, String topic) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
            for (var partition : admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()) {
                latest.put(new TopicPartition(topic, partition.partition()), OffsetSpec.latest());
            }
            Map<Integer, Long> ends = new HashMap<>();
            admin.listOffsets(latest).all().get().forEach((of, info) -> ends.put(of.partition(), info.offset()));
            return ends;
        }
    }

    /** Of the first broker, which is the only one. */
    private static long changeLogBytes(String broker, String applicationId) throws Exception {
        String topic = applicationId + "-" + STORE + "-changelog";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            int id = admin.describeCluster().nodes().get().iterator().next().id();
            return admin.describeLogDirs(List.of(id)).allDescriptions().get().get(id).values().stream()
                    .flatMap(directory -> directory.replicaInfos().entrySet().stream())
                    .filter(replica -> replica.getKey().topic().equals(topic))
                    .mapToLong(replica -> replica.getValue().size())
                    .sum();
        }
    }

    /** The registry's digest: the sum modulo 2^256 of SHA-256 of each host's canonical HostState. */
    private static String digest(KafkaStreams streams) throws Exception {
        MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        BigInteger sum = BigInteger.ZERO;
        long hosts = 0;
        var query = StoreQueryParameters.fromNameAndType(
                STORE, QueryableStoreTypes.<Bytes, byte[]>keyValueStore());
        try (var all = streams.store(query).all()) {
            while (all.hasNext()) {
                var host = all.next();
                byte[] id = host.key.get();
                sha256.update((byte) (1 << 3 | 2));
                sha256.update((byte) id.length);
                sha256.update(id);
                sum = sum.add(new BigInteger(1, sha256.digest(host.value)));
                hosts++;
            }
        }
        return String.format(
                "\"hosts\":%d,\"digest\":\"%064x\"", hosts, sum.mod(BigInteger.ONE.shiftLeft(256)));
    }
}
