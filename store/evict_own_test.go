package store

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// A change that finds no room beside a large value in a store that evicts leaves the value as it was.
func TestEvictOwn(t *testing.T) {
	old := bytes.Repeat([]byte("o"), 2_500_000)
	for what, change := range map[string]func(s *Store, rev uint64) error{
		"expire":  func(s *Store, _ uint64) error { return s.Expire(bg, "k", time.Hour) },
		"persist": func(s *Store, _ uint64) error { return s.Persist(bg, "k") },
		"update": func(s *Store, rev uint64) error {
			_, err := s.Update(bg, "k", bytes.Repeat([]byte("n"), len(old)), rev)
			return err
		},
		"keep": func(s *Store, _ uint64) error {
			_, err := s.Set(bg, "k", bytes.Repeat([]byte("n"), len(old)), KeepTTL())
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			s, err := Create(domain(t), "s", &Options{MaxBytes: 4 << 20, Evict: true, Ephemeral: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			rev, err := s.Set(bg, "k", old, TTL(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			if err := change(s, rev); !errors.Is(err, shiplap.ErrFull) {
				t.Errorf("%v; %v is wanted", err, shiplap.ErrFull)
			}
			e, err := s.Entry("k")
			if err != nil || !bytes.Equal(e.Value, old) || e.Revision != rev || e.Expires.IsZero() {
				t.Errorf("the value has %d bytes, revision %d, and expires at %v (%v)", len(e.Value), e.Revision, e.Expires, err)
			}
			if err := s.Check(bg); err != nil {
				t.Error(err)
			}
		})
	}
}
