package millrace;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What an ordinary Java program does with a broker, checked. Arguments: HOST:PORT; `run` or `after-crash`, which, with the server
 * killed and started again in between, looks for what the first left behind; and the first record's timestamp in ms. Exit status 1,
 * and a message, at the first thing that is not as it should be.
 */
public final class ClientCheck {
  private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
  private static final int PARTITIONS = 4;
  private static final int RECORDS = 2_000;
  private static final Duration POLL = Duration.ofMillis(200);
  private static final long PATIENCE_MS = 60_000;

  private final String bootstrap;
  private final long firstTimestamp;

  private ClientCheck(String bootstrap, long firstTimestamp) {
    this.bootstrap = bootstrap;
    this.firstTimestamp = firstTimestamp;
  }

  public static void main(String[] arguments) throws Exception {
    ClientCheck check = new ClientCheck(arguments[0], Long.parseLong(arguments[2]));
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", check.bootstrap))) {
      if (arguments[1].equals("run")) {
        check.makeTopics(admin);
        for (String codec : CODECS) check.produceAndConsume(codec);
        check.produceWithOtherSettings();
        check.findOffsets(admin);
        check.shareOutPartitions(admin);
        check.listAndDescribeGroups(admin);
        check.deleteTopic(admin);
        new TransactionCheck(check.bootstrap, admin).run();
      } else {
        check.findEverythingAgain(admin);
        new TransactionCheck(check.bootstrap, admin).findAgain();
      }
    }
    System.out.println("ok");
  }

  // Topics.

  private void makeTopics(Admin admin) throws Exception {
    List<NewTopic> topics = new ArrayList<>();
    for (String codec : CODECS) topics.add(new NewTopic(topic(codec), PARTITIONS, (short) 1));
    topics.add(new NewTopic("java-shared", 12, (short) 1));
    topics.add(new NewTopic("java-short-lived", 1, (short) 1));
    topics.add(new NewTopic("java-acks", 1, (short) 1));
    admin.createTopics(topics).all().get();
    expectFailure(TopicExistsException.class, admin.createTopics(List.of(topics.get(0))).all());
    Set<String> names = admin.listTopics().names().get();
    for (NewTopic topic : topics) expect(names.contains(topic.name()), topic.name() + " is listed");
    TopicDescription description = admin.describeTopics(List.of("java-shared")).allTopicNames().get().get("java-shared");
    expect(description.partitions().size() == 12, "java-shared has 12 partitions");
    expect(!description.topicId().equals(org.apache.kafka.common.Uuid.ZERO_UUID), "a topic has an id");
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, "java-shared");
    var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    expect("delete".equals(config.get("cleanup.policy").value()), "cleanup.policy is delete");
    done("topics are made, listed, described");
  }

  private void deleteTopic(Admin admin) throws Exception {
    admin.deleteTopics(List.of("java-short-lived")).all().get();
    expectFailure(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of("java-short-lived")).allTopicNames());
    done("a topic is deleted");
  }

  // Records.

  private static String topic(String codec) {
    return "java-" + codec;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String value(String codec, int i) {
    return codec + " record " + i + " " + "x".repeat(i % 500);
  }

  private void produceAndConsume(String codec) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("compression.type", codec);
    settings.put("linger.ms", "5");
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int i = 0; i < RECORDS; ++i) {
        byte[] key = i % 10 == 0 ? null : bytes("key-" + i);
        byte[] value = i % 100 == 99 ? null : bytes(value(codec, i));
        var record = new ProducerRecord<>(topic(codec), i % PARTITIONS, firstTimestamp + i, key, value);
        record.headers().add("number", bytes(Integer.toString(i)));
        sent.add(producer.send(record));
      }
    }
    for (int i = 0; i < RECORDS; ++i) {
      expect(sent.get(i).get().offset() == i / PARTITIONS, "record " + i + " of " + codec + " has the offset of its place");
    }
    try (var consumer = consumer("java-readers", Map.of())) {
      consumer.subscribe(List.of(topic(codec)));
      Map<Integer, ConsumerRecord<byte[], byte[]>> read = new HashMap<>();
      poll(consumer, "all records of " + codec, records -> {
        for (var record : records) read.put(Integer.parseInt(new String(record.headers().lastHeader("number").value())), record);
      }, () -> read.size() == RECORDS);
      for (int i = 0; i < RECORDS; ++i) compare(codec, i, read.get(i));
      consumer.commitSync();
    }
    done("produced and consumed with compression " + codec);
  }

  private void compare(String codec, int i, ConsumerRecord<byte[], byte[]> record) {
    String what = "record " + i + " of " + codec;
    expect(record.partition() == i % PARTITIONS && record.offset() == i / PARTITIONS, what + " is in its place");
    expect(record.timestamp() == firstTimestamp + i, what + " has its timestamp");
    expect(i % 10 == 0 ? record.key() == null : new String(record.key()).equals("key-" + i), what + " has its key");
    expect(i % 100 == 99 ? record.value() == null : new String(record.value()).equals(value(codec, i)), what + " has its value");
  }

  /** Without idempotence, with each kind of acknowledgement, records up to nearly a megabyte; read as a transactional reader does. */
  private void produceWithOtherSettings() throws Exception {
    int[] sizes = {1, 10_000, 900_000};
    for (String acks : List.of("0", "1", "all")) {
      Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", acks, "enable.idempotence", false);
      try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
        for (int size : sizes) producer.send(new ProducerRecord<>("java-acks", bytes(acks), new byte[size])).get();
      }
    }
    try (var consumer = consumer("java-acks-readers", Map.of("isolation.level", "read_committed"))) {
      consumer.subscribe(List.of("java-acks"));
      List<Integer> seen = new ArrayList<>();
      poll(consumer, "records of every acknowledgement", records -> {
        for (var record : records) seen.add(record.value().length);
      }, () -> seen.size() == 9);
      expect(seen.equals(List.of(1, 10_000, 900_000, 1, 10_000, 900_000, 1, 10_000, 900_000)), "they are in order, not " + seen);
    }
    done("produced with acks 0, 1 and all, and read committed records");
  }

  private void findOffsets(Admin admin) throws Exception {
    TopicPartition partition = new TopicPartition(topic("lz4"), 1);
    try (var consumer = consumer("java-readers", Map.of())) {
      expect(consumer.beginningOffsets(Set.of(partition)).get(partition) == 0, "the first offset is 0");
      expect(consumer.endOffsets(Set.of(partition)).get(partition) == RECORDS / PARTITIONS, "the end is behind the last record");
      var found = consumer.offsetsForTimes(Map.of(partition, firstTimestamp + 1_000)).get(partition);
      expect(found.offset() == 250 && found.timestamp() == firstTimestamp + 1_001, "an offset is found by time");
      OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
      expect(committed.offset() == RECORDS / PARTITIONS, "the committed offset is behind the last record");
    }
    var newest = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
    expect(newest.offset() == RECORDS / PARTITIONS - 1, "the offset of the largest timestamp is found");
    done("offsets are found by time and at the ends");
  }

  // Groups.

  private KafkaConsumer<byte[], byte[]> consumer(String group, Map<String, Object> more) {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("group.id", group);
    settings.put("auto.offset.reset", "earliest");
    settings.put("enable.auto.commit", false);
    settings.putAll(more);
    return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private interface Taker {
    void take(ConsumerRecords<byte[], byte[]> records);
  }

  private static void poll(KafkaConsumer<byte[], byte[]> consumer, String wanted, Taker taker, BooleanSupplier enough) {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PATIENCE_MS);
    while (!enough.getAsBoolean()) {
      expect(System.nanoTime() < end, wanted + " within " + PATIENCE_MS + " ms");
      taker.take(consumer.poll(POLL));
    }
  }

  /** Three members split 12 partitions; one falls silent without leaving, and the others take over. */
  private void shareOutPartitions(Admin admin) throws Exception {
    for (boolean cooperative : new boolean[] {false, true}) {
      String group = cooperative ? "java-cooperative" : "java-eager";
      String assignor = "org.apache.kafka.clients.consumer." + (cooperative ? "CooperativeStickyAssignor" : "RangeAssignor");
      Map<String, Object> settings = Map.of("partition.assignment.strategy", assignor, "session.timeout.ms", 6_000, "heartbeat.interval.ms", 500);
      List<KafkaConsumer<byte[], byte[]>> members = new ArrayList<>();
      for (int i = 0; i < 3; ++i) {
        members.add(consumer(group, settings));
        members.get(i).subscribe(List.of("java-shared"));
      }
      pollUntilSplit(members, 12);
      for (var member : members) expect(member.assignment().size() == 4, "each of three members has 4 partitions");
      ConsumerGroupDescription description = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
      expect(description.members().size() == 3 && description.groupState() == GroupState.STABLE, "the group is stable with 3 members");
      Set<TopicPartition> described = new HashSet<>();
      for (var member : description.members()) described.addAll(member.assignment().topicPartitions());
      expect(described.size() == 12, "its description has all 12 partitions");
      members.remove(0).close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP));
      pollUntilSplit(members, 12);
      for (var member : members) expect(member.assignment().size() == 6, "each of two members has 6 partitions");
      for (var member : members) member.close();
      done("three members, one of them lost, split 12 partitions with " + assignor);
    }
  }

  private static void pollUntilSplit(List<KafkaConsumer<byte[], byte[]>> members, int partitions) {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PATIENCE_MS);
    int share = partitions / members.size();
    while (true) {
      Collection<TopicPartition> all = new ArrayList<>();
      boolean even = true;
      for (var member : members) {
        member.poll(POLL);
        all.addAll(member.assignment());
        even = even && member.assignment().size() == share;
      }
      if (even && new HashSet<>(all).size() == partitions) return;
      expect(System.nanoTime() < end, partitions + " partitions split evenly within " + PATIENCE_MS + " ms");
    }
  }

  private void listAndDescribeGroups(Admin admin) throws Exception {
    Set<String> names = new TreeSet<>();
    for (var listing : admin.listGroups(ListGroupsOptions.forConsumerGroups()).all().get()) names.add(listing.groupId());
    expect(names.containsAll(Set.of("java-readers", "java-eager", "java-cooperative")), "groups are listed, not only " + names);
    ConsumerGroupDescription description = admin.describeConsumerGroups(List.of("java-readers")).all().get().get("java-readers");
    expect(description.groupState() == GroupState.EMPTY, "a group without members is empty");
    expectCommitted(admin);
    done("groups are listed and described");
  }

  private void expectCommitted(Admin admin) throws Exception {
    var offsets = admin.listConsumerGroupOffsets("java-readers").partitionsToOffsetAndMetadata().get();
    for (String codec : CODECS) {
      for (int i = 0; i < PARTITIONS; ++i) {
        OffsetAndMetadata offset = offsets.get(new TopicPartition(topic(codec), i));
        expect(offset != null && offset.offset() == RECORDS / PARTITIONS, "the group's offset in " + topic(codec) + "-" + i + " is kept");
      }
    }
  }

  private void findEverythingAgain(Admin admin) throws Exception {
    expectCommitted(admin);
    for (String codec : CODECS) {
      try (var consumer = consumer("java-second-readers", Map.of())) {
        consumer.subscribe(List.of(topic(codec)));
        Set<String> seen = new HashSet<>();
        poll(consumer, "all records of " + codec + " again", records -> {
          for (var record : records) seen.add(record.partition() + "/" + record.offset());
        }, () -> seen.size() == RECORDS);
      }
    }
    expect(!admin.listTopics().names().get().contains("java-short-lived"), "a deleted topic stays away");
    done("offsets and records survived the crash");
  }

  // Outcomes.

  private static void expect(boolean condition, String what) {
    if (!condition) throw new IllegalStateException("expected: " + what);
  }

  private static void expectFailure(Class<? extends Throwable> type, Future<?> future) throws InterruptedException {
    try {
      future.get();
    } catch (ExecutionException failure) {
      expect(type.isInstance(failure.getCause()), type.getSimpleName() + ", not " + failure.getCause());
      return;
    }
    expect(false, type.getSimpleName());
  }

  private static void done(String what) {
    System.out.println("  " + what);
  }
}
