package millrace;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What a transactional Java producer does with a broker, checked: it negotiates transaction version 2 (KIP-890). */
final class TransactionCheck {
  private static final String ID = "java-tx";
  private static final String TOPIC = "java-transactions";
  private static final String GROUP = "java-tx-readers";
  private static final int PARTITIONS = 3;
  private static final int TRANSACTIONS = 12;
  private static final TopicPartition SOURCE = new TopicPartition("java-none", 0);
  private static final long PATIENCE_MS = 60_000;

  private final String bootstrap;
  private final Admin admin;

  TransactionCheck(String bootstrap, Admin admin) {
    this.bootstrap = bootstrap;
    this.admin = admin;
  }

  /** Commits and aborts, a producer that is fenced, and a transaction that is left open. */
  void run() throws Exception {
    var feature = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version");
    expect(feature != null && feature.maxVersionLevel() == 2, "transaction.version is 2, not " + feature);
    admin.createTopics(List.of(new NewTopic(TOPIC, PARTITIONS, (short) 1))).all().get();
    KafkaProducer<byte[], byte[]> first = producer();
    first.initTransactions();
    for (int i = 0; i < TRANSACTIONS; ++i) transact(first, i);
    var description = admin.describeTransactions(Set.of(ID)).description(ID).get();
    expect(description.producerEpoch() == TRANSACTIONS, "each end raised the epoch: it is " + description.producerEpoch());
    expectCommitted();

    KafkaProducer<byte[], byte[]> second = producer();
    second.initTransactions();
    expectFenced(first);
    second.beginTransaction();
    for (int partition = 0; partition < PARTITIONS; ++partition) second.send(record(partition, "left open"));
    second.flush();
    description = admin.describeTransactions(Set.of(ID)).description(ID).get();
    expect(description.state() == TransactionState.ONGOING, "what batches have added is ongoing");
    expect(description.topicPartitions().size() == PARTITIONS, "all its partitions are in it: " + description.topicPartitions());
    expectCommitted();
    System.out.println("  transactions are committed, aborted, fenced and left open");
  }

  /** What was committed is there, and the next producer of the id aborts what was open. */
  void findAgain() throws Exception {
    expectCommitted();
    try (var producer = producer()) {
      producer.initTransactions();
      producer.beginTransaction();
      for (int partition = 0; partition < PARTITIONS; ++partition) producer.send(record(partition, "after the crash"));
      producer.commitTransaction();
    }
    List<String> expected = committed();
    for (int partition = 0; partition < PARTITIONS; ++partition) expected.add("after the crash");
    expectValues(expected);
    System.out.println("  transactions survived the crash");
  }

  /** Every third one is aborted; all hold records of each partition, and an offset. */
  private static boolean commits(int transaction) {
    return transaction % 3 != 2;
  }

  private void transact(KafkaProducer<byte[], byte[]> producer, int transaction) {
    producer.beginTransaction();
    for (int partition = 0; partition < PARTITIONS; ++partition) producer.send(record(partition, "transaction " + transaction));
    var offsets = Map.of(SOURCE, new OffsetAndMetadata(transaction));
    producer.sendOffsetsToTransaction(offsets, new ConsumerGroupMetadata(GROUP));
    if (commits(transaction)) {
      producer.commitTransaction();
    } else {
      producer.abortTransaction();
    }
  }

  private static List<String> committed() {
    List<String> values = new ArrayList<>();
    IntStream.range(0, TRANSACTIONS).filter(TransactionCheck::commits).forEach(transaction -> {
      for (int partition = 0; partition < PARTITIONS; ++partition) values.add("transaction " + transaction);
    });
    return values;
  }

  private void expectCommitted() throws Exception {
    expectValues(committed());
    int last = IntStream.range(0, TRANSACTIONS).filter(TransactionCheck::commits).max().getAsInt();
    long offset = admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get().get(SOURCE).offset();
    expect(offset == last, "the last committed transaction's offset, " + last + ", not " + offset);
  }

  private void expectFenced(KafkaProducer<byte[], byte[]> producer) throws InterruptedException {
    try {
      producer.beginTransaction();
      producer.send(record(0, "fenced")).get();
    } catch (ProducerFencedException fenced) {
      return;
    } catch (ExecutionException failed) {
      Throwable cause = failed.getCause();
      expect(cause instanceof ProducerFencedException || cause instanceof InvalidProducerEpochException, "a fenced producer, not " + cause);
      return;
    }
    expect(false, "a producer whose id was taken over is fenced");
  }

  /** What read_committed shows, up to its end. */
  private void expectValues(List<String> expected) {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed");
    List<String> seen = new ArrayList<>();
    try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions = IntStream.range(0, PARTITIONS).mapToObj(i -> new TopicPartition(TOPIC, i)).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      var ends = consumer.endOffsets(partitions);
      long deadline = System.currentTimeMillis() + PATIENCE_MS;
      while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
        expect(System.currentTimeMillis() < deadline, "everything committed within " + PATIENCE_MS + " ms");
        for (var record : consumer.poll(Duration.ofMillis(200))) seen.add(new String(record.value(), StandardCharsets.UTF_8));
      }
    }
    expect(seen.stream().sorted().toList().equals(expected.stream().sorted().toList()), "the committed records, not " + seen);
  }

  private KafkaProducer<byte[], byte[]> producer() {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", ID, "linger.ms", 0);
    return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
  }

  private static ProducerRecord<byte[], byte[]> record(int partition, String value) {
    return new ProducerRecord<>(TOPIC, partition, null, value.getBytes(StandardCharsets.UTF_8));
  }

  private static void expect(boolean condition, String what) {
    if (!condition) throw new IllegalStateException("expected: " + what);
  }
}
