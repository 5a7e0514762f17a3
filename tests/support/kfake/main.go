// A Kafka cluster in one small process that fails on demand: kfake of franz-go, controlled over HTTP.
//
// It prints one line, {"brokers": [...], "control": "..."}, and runs until its standard input is closed, so that it
// ends with the tests that started it. Every command is a POST of one JSON object to /NAME.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The arguments of all commands; each command uses some of them.
type arguments struct {
	Key        int16  // API key of a request
	Code       int16  // error code to answer with
	Count      int    // how many requests
	Group      string
	Txn        string // transactional id
	Topic      string
	Partition  int32
	Partitions int32
	TopLevel   bool
	Node       int32
	ID         int
	DelayMS    int
	Offset     int64
}

type lab struct {
	cluster *kfake.Cluster
	sockets sockets
	mu      sync.Mutex
	faults  []*kfake.FaultHandle
}

func main() {
	l := &lab{sockets: sockets{open: map[net.Conn]struct{}{}}}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(3),
		kfake.DefaultNumPartitions(1),
		kfake.SleepOutOfOrder(),
		kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.AllowAutoTopicCreation(),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100"}),
		kfake.ListenFn(l.sockets.listen),
	)
	exitOn(err)
	l.cluster = cluster
	control, err := net.Listen("tcp", "127.0.0.1:0")
	exitOn(err)
	exitOn(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"brokers": cluster.ListenAddrs(), "control": control.Addr().String(),
	}))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	exitOn(http.Serve(control, l.commands()))
}

func (l *lab) commands() http.Handler {
	mux := http.NewServeMux()
	for name, run := range map[string]func(arguments) (any, error){
		"create":       l.create,
		"fault":        l.fault,
		"hits":         l.hits,
		"heal":         l.heal,
		"never_answer": l.neverAnswer,
		"hang_up":      l.hangUp,
		"delay":        l.delay,
		"coordinator":  l.moveCoordinator,
		"leader":       l.moveLeader,
		"truncate":     l.truncate,
		"group":        l.group,
		"disconnect":   l.disconnect,
	} {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			var a arguments
			err := json.NewDecoder(r.Body).Decode(&a)
			var result any
			if err == nil {
				result, err = run(a)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			_ = json.NewEncoder(w).Encode(result)
		})
	}
	return mux
}

func (l *lab) create(a arguments) (any, error) {
	return nil, l.cluster.CreateTopic(a.Topic, a.Partitions, nil)
}

// Answer this number of requests of a kind with an error code; the result names the fault for hits and heal.
func (l *lab) fault(a arguments) (any, error) {
	var known *kerr.Error
	if err := kerr.ErrorForCode(a.Code); !errors.As(err, &known) {
		return nil, fmt.Errorf("no error has the code %d", a.Code)
	}
	handle := l.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Key(a.Key)}, Group: a.Group, TxnID: a.Txn, Topic: a.Topic,
		TopLevel: a.TopLevel, Err: known, Count: a.Count,
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, handle)
	return len(l.faults) - 1, nil
}

func (l *lab) hits(a arguments) (any, error) {
	return l.handle(a.ID).Hits(), nil
}

func (l *lab) heal(a arguments) (any, error) {
	l.handle(a.ID).Remove()
	return nil, nil
}

func (l *lab) handle(id int) *kfake.FaultHandle {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults[id]
}

func (l *lab) neverAnswer(a arguments) (any, error) {
	return l.control(a, func() error { return nil })
}

func (l *lab) hangUp(a arguments) (any, error) {
	return l.control(a, func() error { return errors.New("hung up on demand") })
}

// A control function that reports a request as handled without a response leaves it unanswered; one that returns an
// error closes the connection.
func (l *lab) control(a arguments, answer func() error) (any, error) {
	for range max(a.Count, 1) {
		l.cluster.ControlKey(a.Key, func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, answer(), true
		})
	}
	return nil, nil
}

func (l *lab) delay(a arguments) (any, error) {
	for range max(a.Count, 1) {
		l.cluster.ControlKey(a.Key, func(kmsg.Request) (kmsg.Response, error, bool) {
			l.cluster.DropControl()
			l.cluster.SleepControl(func() { time.Sleep(time.Duration(a.DelayMS) * time.Millisecond) })
			return nil, nil, false
		})
	}
	return nil, nil
}

// Move the group to another coordinator; the result is the new one.
func (l *lab) moveCoordinator(a arguments) (any, error) {
	was := l.cluster.CoordinatorFor(a.Group)
	for range 1000 {
		l.cluster.RehashCoordinators()
		if now := l.cluster.CoordinatorFor(a.Group); now != was {
			return now, nil
		}
	}
	return nil, errors.New("the coordinator does not move")
}

func (l *lab) moveLeader(a arguments) (any, error) {
	next := (l.cluster.LeaderFor(a.Topic, a.Partition) + 1) % 3
	return next, l.cluster.MoveTopicPartition(a.Topic, a.Partition, next)
}

// Delete the records before an offset, as retention does.
func (l *lab) truncate(a arguments) (any, error) {
	return nil, l.cluster.DeleteRecords(a.Topic, a.Partition, a.Offset)
}

func (l *lab) group(a arguments) (any, error) {
	return l.cluster.GroupInfo(a.Group), nil
}

func (l *lab) disconnect(arguments) (any, error) {
	return l.sockets.closeAll(), nil
}

// sockets stores the connections of all brokers, to close them on demand.
type sockets struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (s *sockets) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return listener{l, s}, err
}

func (s *sockets) closeAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.open)
	for c := range s.open {
		_ = c.Close()
	}
	clear(s.open)
	return n
}

type listener struct {
	net.Listener
	sockets *sockets
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.sockets.mu.Lock()
		l.sockets.open[c] = struct{}{}
		l.sockets.mu.Unlock()
	}
	return c, err
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
