package topic_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/topic"
)

// benchPublish publishes arg messages of 64 bytes when its standard input ends.
func benchPublish(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	p, err := r.Publisher(bg)
	if err != nil {
		return err
	}
	defer p.Close()
	peertest.Say("here")
	<-peertest.StdinEnds()
	b := make([]byte, 64)
	for range arg {
		if err := p.Publish(bg, b); err != nil {
			return err
		}
	}
	return r.CloseTopic()
}

// benchReceive receives until the topic is closed and says how many there were, and in how many nanoseconds.
func benchReceive(_ *shiplap.Domain, r *topic.Raw, _ int) error {
	s, err := r.Subscribe(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	peertest.Say("here")
	b, err := s.Receive(bg, nil)
	from := time.Now()
	n := 0
	for ; err == nil; n++ {
		b, err = s.Receive(bg, b[:0])
	}
	peertest.Say(n, time.Since(from).Nanoseconds())
	return nil
}

// BenchmarkTwoSubscribers: one publisher and two subscribers, each a process of its own, 64 bytes.
func BenchmarkTwoSubscribers(b *testing.B) {
	for _, subs := range []int{1, 2} {
		b.Run(fmt.Sprintf("subscribers=%d", subs), func(b *testing.B) {
			d, _ := raw(b, nil)
			p := peertest.Start(b, d, "bench publish", b.N)
			p.Says("here")
			var all []*peertest.Peer
			for range subs {
				s := peertest.Start(b, d, "bench receive", 0)
				s.Says("here")
				all = append(all, s)
			}
			b.ResetTimer()
			p.CloseStdin()
			least := 0.0
			for i, s := range all {
				n, ns, _ := strings.Cut(s.Line(), " ")
				k, _ := strconv.ParseFloat(n, 64)
				t, _ := strconv.ParseFloat(ns, 64)
				if rate := k / t * 1e3; i == 0 || rate < least {
					least = rate
				}
				ok(b, s.Wait())
			}
			b.ReportMetric(least, "M/s")
			ok(b, p.Wait())
		})
	}
}

// BenchmarkPublishReceive: both sides in one goroutine; what the calls themselves cost.
func BenchmarkPublishReceive(b *testing.B) {
	for _, policy := range []topic.Policy{topic.Block, topic.Overwrite} {
		b.Run(policy.String(), func(b *testing.B) {
			_, r := raw(b, &topic.Options{Policy: policy})
			p := closing[*topic.RawPublisher](b)(r.Publisher(bg))
			s := subscribe(b, r, 0)
			buf := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				err := p.Publish(bg, buf)
				if err != nil {
					b.Fatal(err)
				}
				if buf, err = s.Receive(bg, buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
