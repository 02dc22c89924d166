// Load by many small requests, which librdkafka's own waits would hide: franz-go sends each at once.
//
//	franz commits BOOTSTRAP TOPIC CLIENTS SECONDS        each client commits one offset of its own group, again and again
//	franz transactions BOOTSTRAP TOPIC CLIENTS SECONDS   each producer: one record and one offset, commit, again
//	franz connections BOOTSTRAP COUNT                    opens them, prints a line, holds them until standard input ends
//
// TOPIC has 16 partitions. Prints one JSON object: operations per second, and the p50 and p99 of one, in ms.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	partitions = 16
	warmUp     = 500 * time.Millisecond
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz:", err)
		os.Exit(1)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

// One client's work: makes it ready, and returns what is to be measured.
type maker func(client int) (operation func(), done func())

// Runs `clients` side by side. What ends before the warm-up is over is not counted.
func measure(clients int, seconds time.Duration, makeClient maker) {
	took := make([][]time.Duration, clients)
	var ready, finished sync.WaitGroup
	gate := make(chan time.Time)
	for i := range clients {
		ready.Add(1)
		finished.Add(1)
		go func() {
			defer finished.Done()
			operation, done := makeClient(i)
			defer done()
			operation()
			ready.Done()
			counted := (<-gate).Add(warmUp)
			for begun := time.Now(); begun.Before(counted.Add(seconds)); {
				operation()
				now := time.Now()
				if begun.After(counted) {
					took[i] = append(took[i], now.Sub(begun))
				}
				begun = now
			}
		}()
	}
	ready.Wait()
	start := time.Now()
	for range clients {
		gate <- start
	}
	finished.Wait()
	all := slices.Concat(took...)
	if len(all) == 0 {
		check(errors.New("nothing ended within the time"))
	}
	slices.Sort(all)
	milliseconds := func(part float64) float64 {
		return float64(all[int(float64(len(all)-1)*part)].Microseconds()) / 1000
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"clients": clients, "per_s": float64(len(all)) / seconds.Seconds(), "p50_ms": milliseconds(0.5), "p99_ms": milliseconds(0.99)}))
}

// Names of groups and producers that no earlier run had.
var run = strconv.FormatInt(time.Now().UnixNano(), 36)

func connect(bootstrap string, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
	check(err)
	return client
}

func topicID(ctx context.Context, client *kgo.Client, topic string) [16]byte {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	answer, err := request.RequestWith(ctx, client)
	check(err)
	check(kerr.ErrorForCode(answer.Topics[0].ErrorCode))
	return answer.Topics[0].TopicID
}

func commits(ctx context.Context, bootstrap, topic string) maker {
	return func(index int) (func(), func()) {
		client := connect(bootstrap)
		id := topicID(ctx, client, topic)
		offset := int64(0)
		return func() {
			offset++
			request := kmsg.NewPtrOffsetCommitRequest()
			request.Group = fmt.Sprintf("commits-%s-%d", run, index)
			request.Generation = -1
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset = int32(index%partitions), offset
			request.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{partition}}}
			answer, err := request.RequestWith(ctx, client)
			check(err)
			check(kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode))
		}, client.Close
	}
}

func transactions(ctx context.Context, bootstrap, topic string) maker {
	return func(index int) (func(), func()) {
		name := fmt.Sprintf("transactions-%s-%d", run, index)
		client := connect(bootstrap, kgo.TransactionalID(name), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConcurrentTransactionsBackoff(time.Millisecond))
		id := topicID(ctx, client, topic)
		value := make([]byte, 40)
		offset := int64(0)
		return func() {
			offset++
			check(client.BeginTransaction())
			check(client.ProduceSync(ctx, &kgo.Record{Partition: int32(index % partitions), Value: value}).FirstErr())
			producer, epoch, err := client.ProducerID(ctx)
			check(err)
			request := kmsg.NewPtrTxnOffsetCommitRequest()
			request.TransactionalID, request.Group, request.Generation = name, name, -1
			request.ProducerID, request.ProducerEpoch = producer, epoch
			partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset = int32(index%partitions), offset
			request.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{partition}}}
			answer, err := request.RequestWith(ctx, client)
			check(err)
			check(kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode))
			check(client.EndTransaction(ctx, kgo.TryCommit))
		}, client.Close
	}
}

// Each connection has asked one thing and had its answer: a broker may make its state for a connection only then.
func connections(bootstrap string, count int) {
	// ApiVersions 0 with the correlation id 1 and the client id "idle".
	request := []byte("\x00\x00\x00\x0e\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04idle")
	open := make([]net.Conn, count)
	for i := range open {
		conn, err := net.Dial("tcp", bootstrap)
		check(err)
		_, err = conn.Write(request)
		check(err)
		size := make([]byte, 4)
		_, err = io.ReadFull(conn, size)
		check(err)
		length := int64(size[0])<<24 | int64(size[1])<<16 | int64(size[2])<<8 | int64(size[3])
		_, err = io.CopyN(io.Discard, conn, length)
		check(err)
		open[i] = conn
	}
	fmt.Printf("{\"connections\": %d}\n", count)
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, conn := range open {
		conn.Close()
	}
}

func main() {
	ctx := context.Background()
	switch arguments := os.Args[1:]; {
	case len(arguments) == 5 && arguments[0] == "commits":
		measure(number(arguments[3]), time.Duration(number(arguments[4]))*time.Second, commits(ctx, arguments[1], arguments[2]))
	case len(arguments) == 5 && arguments[0] == "transactions":
		measure(number(arguments[3]), time.Duration(number(arguments[4]))*time.Second, transactions(ctx, arguments[1], arguments[2]))
	case len(arguments) == 3 && arguments[0] == "connections":
		connections(arguments[1], number(arguments[2]))
	default:
		fmt.Fprintln(os.Stderr, "usage: franz commits|transactions BOOTSTRAP TOPIC CLIENTS SECONDS | connections BOOTSTRAP COUNT")
		os.Exit(2)
	}
}
