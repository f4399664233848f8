package table

import (
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// What is read many times while the clock goes around once stays, however many other entries come and go.
func TestEvictionSparesWhatIsRead(t *testing.T) {
	for _, tt := range []struct {
		name      string
		hot       int // bytes of a value
		cold      func(i int) int
		readEvery int // so many new keys
	}{
		{"one size", 1000, func(int) int { return 1000 }, 20},
		{"one size, read all the time", 1000, func(int) int { return 1000 }, 1},
		{"mixed sizes", 1000, func(i int) int { return 100 + i*7919%3000 }, 20},
		{"now and then a large one", 1000, func(i int) int { return 1000 + 8000*(i%20/19) }, 20},
		{"small ones beside large ones", 100, func(int) int { return 10_000 }, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newWorld(Geometry{Buckets: 256, Size: 1 << 20, Evict: true}).open(1)
			set := func(key string, n int) {
				t.Helper()
				_, err := tb.Set(bg, key, make([]byte, n), Change{})
				must(t, err)
			}
			const hot, cold = 50, 6000
			for i := range hot {
				set(fmt.Sprint("hot", i), tt.hot)
			}
			lost := 0
			for i := range cold {
				set(fmt.Sprint("cold", i), tt.cold(i))
				if i%tt.readEvery != 0 {
					continue
				}
				for h := range hot {
					key := fmt.Sprint("hot", h)
					if _, _, err := getOf(tb, nil, key); errors.Is(err, errs.ErrNotExist) {
						lost++
						set(key, tt.hot)
					} else if err != nil {
						t.Fatal(err)
					}
				}
			}
			st, err := tb.Stats()
			must(t, err)
			if st.Evicted < cold/2 {
				t.Fatalf("%d entries were evicted: there was room", st.Evicted)
			}
			if lost > 0 {
				t.Errorf("entries that were read %d times were evicted %d times", cold/tt.readEvery, lost)
			}
			must(t, tb.Check(bg))
		})
	}
}
