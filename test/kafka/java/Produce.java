import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A producer that does what standard input says, a line each:
 *
 *   send TOPIC PARTITION KEY VALUE   key and value in hexadecimal; - is none, and lets the key choose the partition
 *   zeros TOPIC PARTITION COUNT      one record of so many bytes, all of them zero
 *   begin, commit, abort             with the property transactional.id
 *   flush
 *
 * Arguments: properties, as NAME=VALUE. Prints "PARTITION OFFSET" of every record, in their order, at the end.
 */
public class Produce {
  public static void main(String[] args) throws Exception {
    Properties properties = new Properties();
    for (String arg : args) {
      int at = arg.indexOf('=');
      properties.put(arg.substring(0, at), arg.substring(at + 1));
    }
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    var bytes = new ByteArraySerializer();
    try (var producer = new KafkaProducer<byte[], byte[]>(properties, bytes, bytes)) {
      if (properties.containsKey("transactional.id")) producer.initTransactions();
      var lines = new BufferedReader(new InputStreamReader(System.in));
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] words = line.split(" ");
        switch (words[0]) {
          case "send" -> {
            Integer partition = words[2].equals("-") ? null : Integer.valueOf(words[2]);
            sent.add(producer.send(new ProducerRecord<>(words[1], partition, of(words[3]), of(words[4]))));
          }
          case "zeros" -> {
            byte[] zeros = new byte[Integer.parseInt(words[3])];
            sent.add(producer.send(new ProducerRecord<>(words[1], Integer.valueOf(words[2]), null, zeros)));
          }
          case "begin" -> producer.beginTransaction();
          case "commit" -> producer.commitTransaction();
          case "abort" -> {
            producer.flush();
            producer.abortTransaction();
          }
          case "flush" -> producer.flush();
          default -> throw new IllegalArgumentException(line);
        }
      }
    }
    for (Future<RecordMetadata> one : sent) System.out.println(one.get().partition() + " " + one.get().offset());
  }

  private static byte[] of(String hexadecimal) {
    return hexadecimal.equals("-") ? null : HexFormat.of().parseHex(hexadecimal);
  }
}
