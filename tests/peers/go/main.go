// What an ordinary Go program does with a broker, checked with franz-go. Arguments: HOST:PORT; `run` or `after-crash`, which,
// with the server killed and started again in between, looks for what the first left behind; and the first record's timestamp
// in ms. Exit status 1, and a message, at the first thing that is not as it should be.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions = 4
	records    = 2000
	patience   = 60 * time.Second
)

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()},
	{"gzip", kgo.GzipCompression()},
	{"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()},
	{"zstd", kgo.ZstdCompression()},
}

type check struct {
	ctx            context.Context
	bootstrap      string
	firstTimestamp int64
	admin          *kadm.Client
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := check{ctx: ctx, bootstrap: os.Args[1], firstTimestamp: must(strconv.ParseInt(os.Args[3], 10, 64))}
	client := c.client()
	defer client.Close()
	c.admin = kadm.NewClient(client)
	if os.Args[2] == "run" {
		c.makeTopics()
		for _, codec := range codecs {
			c.produceAndConsume(codec.name, codec.codec)
		}
		c.findOffsets()
		c.shareOutPartitions()
		c.describeGroups()
	} else {
		c.findEverythingAgain()
	}
	fmt.Println("ok")
}

func expect(condition bool, format string, arguments ...any) {
	if !condition {
		fmt.Fprintf(os.Stderr, "expected: "+format+"\n", arguments...)
		os.Exit(1)
	}
}

func must[T any](value T, err error) T {
	expect(err == nil, "no error, not %v", err)
	return value
}

func done(format string, arguments ...any) { fmt.Printf("  "+format+"\n", arguments...) }

func (c *check) client(options ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap)}, options...)...))
}

func topic(codec string) string { return "go-" + codec }

func value(codec string, i int) string {
	return fmt.Sprintf("%s record %d %s", codec, i, strings.Repeat("x", i%500))
}

func (c *check) makeTopics() {
	names := []string{}
	for _, codec := range codecs {
		names = append(names, topic(codec.name))
	}
	must(c.admin.CreateTopics(c.ctx, partitions, 1, nil, names...))
	must(c.admin.CreateTopic(c.ctx, 12, 1, nil, "go-shared"))
	again, err := c.admin.CreateTopic(c.ctx, 12, 1, nil, "go-shared")
	if err == nil {
		err = again.Err
	}
	expect(err == kerr.TopicAlreadyExists, "TOPIC_ALREADY_EXISTS, not %v", err)
	// A cluster tells its brokers of a new topic when the client has its answer already.
	listed := must(c.admin.ListTopics(c.ctx, append(names, "go-shared")...))
	for tries := 0; listed.Error() != nil && tries < 50; tries++ {
		time.Sleep(100 * time.Millisecond)
		listed = must(c.admin.ListTopics(c.ctx, append(names, "go-shared")...))
	}
	expect(listed.Error() == nil, "every topic is listed, not %v", listed.Error())
	expect(len(listed["go-shared"].Partitions) == 12, "go-shared has 12 partitions")
	_, err = c.admin.DeleteTopic(c.ctx, "go-no-such-topic")
	expect(err == kerr.UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION, not %v", err)
	done("topics are made and listed")
}

func (c *check) produceAndConsume(name string, codec kgo.CompressionCodec) {
	producer := c.client(kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	batch := make([]*kgo.Record, records)
	for i := range batch {
		batch[i] = &kgo.Record{
			Topic: topic(name), Partition: int32(i % partitions), Timestamp: time.UnixMilli(c.firstTimestamp + int64(i)),
			Key: []byte(fmt.Sprint("key-", i)), Value: []byte(value(name, i)),
			Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(name)}},
		}
	}
	for _, result := range producer.ProduceSync(c.ctx, batch...) {
		expect(result.Err == nil, "a record of %s is taken, not %v", name, result.Err)
	}
	producer.Close()
	for i, record := range batch {
		expect(record.Offset == int64(i/partitions), "record %d of %s has the offset of its place, not %d", i, name, record.Offset)
	}

	consumer := c.client(kgo.ConsumerGroup("go-readers"), kgo.ConsumeTopics(topic(name)), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	c.readAll(consumer, name)
	expect(consumer.CommitUncommittedOffsets(c.ctx) == nil, "offsets are committed")
	consumer.Close()
	done("produced and consumed with compression %s", name)
}

// readAll reads a codec's topic to its end and compares every record.
func (c *check) readAll(consumer *kgo.Client, name string) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	seen := map[int]bool{}
	for len(seen) < records {
		fetches := consumer.PollFetches(ctx)
		expect(fetches.Err() == nil, "all records of %s are read, not %d and then %v", name, len(seen), fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			i := int(record.Offset)*partitions + int(record.Partition)
			what := fmt.Sprintf("record %d of %s", i, name)
			expect(!seen[i], "%s comes once", what)
			expect(string(record.Key) == fmt.Sprint("key-", i), "%s has its key", what)
			expect(string(record.Value) == value(name, i), "%s has its value", what)
			expect(record.Timestamp.UnixMilli() == c.firstTimestamp+int64(i), "%s has its timestamp", what)
			expect(len(record.Headers) == 1 && string(record.Headers[0].Value) == name, "%s has its header", what)
			seen[i] = true
		})
	}
}

func (c *check) findOffsets() {
	name := topic("lz4")
	start := must(c.admin.ListStartOffsets(c.ctx, name))
	end := must(c.admin.ListEndOffsets(c.ctx, name))
	byTime := must(c.admin.ListOffsetsAfterMilli(c.ctx, c.firstTimestamp+1000, name))
	expect(start[name][1].Offset == 0 && end[name][1].Offset == records/partitions, "the partition's ends are found")
	expect(byTime[name][1].Offset == 250, "an offset is found by time, not %d", byTime[name][1].Offset)
	done("offsets are found by time and at the ends")
}

// shares is what each member of a group holds, kept by the members' callbacks.
type shares struct {
	mutex   sync.Mutex
	held    map[int]map[int32]bool
	changed chan struct{}
}

func (s *shares) update(member int, partitions map[string][]int32, held bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, partition := range partitions["go-shared"] {
		if held {
			s.held[member][partition] = true
		} else {
			delete(s.held[member], partition)
		}
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// even tells whether the members split the partitions evenly.
func (s *shares) even(members, partitions int) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	all := map[int32]bool{}
	for _, mine := range s.held {
		if len(mine) != partitions/members {
			return false
		}
		for partition := range mine {
			all[partition] = true
		}
	}
	return len(s.held) == members && len(all) == partitions
}

func (s *shares) await(members, partitions int) {
	deadline := time.After(patience)
	for !s.even(members, partitions) {
		select {
		case <-s.changed:
		case <-deadline:
			expect(false, "%d members split %d partitions evenly, not %v", members, partitions, s.held)
		}
	}
}

// member reads go-shared until it is closed. As a static member it leaves nothing behind but its silence.
func (c *check) member(number int, s *shares) *kgo.Client {
	s.mutex.Lock()
	s.held[number] = map[int32]bool{}
	s.mutex.Unlock()
	lose := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { s.update(number, lost, false) }
	client := c.client(kgo.ConsumerGroup("go-sharers"), kgo.ConsumeTopics("go-shared"), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.InstanceID(fmt.Sprint("go-", number)), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { s.update(number, got, true) }),
		kgo.OnPartitionsRevoked(lose), kgo.OnPartitionsLost(lose))
	go func() {
		for !client.PollFetches(c.ctx).IsClientClosed() {
		}
	}()
	return client
}

// shareOutPartitions lets three static members split 12 partitions, and takes one of them away.
func (c *check) shareOutPartitions() {
	s := &shares{held: map[int]map[int32]bool{}, changed: make(chan struct{}, 1)}
	members := []*kgo.Client{}
	for number := range 3 {
		members = append(members, c.member(number, s))
	}
	s.await(3, 12)
	described := must(c.admin.DescribeGroups(c.ctx, "go-sharers"))["go-sharers"]
	expect(described.State == "Stable" && len(described.Members) == 3, "the group is stable with 3 members")
	assigned := described.AssignedPartitions()
	expect(len(assigned["go-shared"]) == 12, "its description has all 12 partitions")

	members[0].Close()
	s.mutex.Lock()
	delete(s.held, 0)
	s.mutex.Unlock()
	s.await(2, 12)
	for _, member := range members[1:] {
		member.Close()
	}
	done("three static members, one of them lost, split 12 partitions")
}

func (c *check) describeGroups() {
	listed := must(c.admin.ListGroups(c.ctx))
	_, readers := listed["go-readers"]
	_, sharers := listed["go-sharers"]
	expect(readers && sharers, "groups are listed, not only %v", listed.Groups())
	described := must(c.admin.DescribeGroups(c.ctx, "go-readers"))["go-readers"]
	expect(described.State == "Empty", "a group without members is empty, not %s", described.State)
	c.expectCommitted()
	done("groups are listed and described")
}

func (c *check) expectCommitted() {
	offsets := must(c.admin.FetchOffsets(c.ctx, "go-readers"))
	for _, codec := range codecs {
		for partition := range int32(partitions) {
			offset, ok := offsets.Lookup(topic(codec.name), partition)
			expect(ok && offset.At == records/partitions, "the group's offset in %s-%d is kept", topic(codec.name), partition)
		}
	}
}

func (c *check) findEverythingAgain() {
	c.expectCommitted()
	for _, codec := range codecs {
		consumer := c.client(kgo.ConsumeTopics(topic(codec.name)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		c.readAll(consumer, codec.name)
		consumer.Close()
	}
	done("offsets and records survived the crash")
}
