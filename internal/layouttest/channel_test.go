package layouttest

import (
	"strconv"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

func TestChannelObject(t *testing.T) {
	d := join(t, shmDir(t))
	open := func(c *channel.Channel[int64], err error) *channel.Channel[int64] {
		t.Helper()
		ok(t, err)
		t.Cleanup(func() { ok(t, c.Close()) })
		return c
	}
	a := open(channel.Set[int64](d, "c", &channel.Options{Capacity: 4096, Label: "l"}))
	ref, err := a.Ref(channel.SideB)
	ok(t, err)
	b := open(channel.Get[int64](d, "c", nil))
	b2 := open(ref.Open(d, nil))
	own, err := channel.GetOwn[int64](d, "c", nil)
	ok(t, err)
	ok(t, own.Close())
	ok(t, a.Send(bg, 11))
	ok(t, a.Send(bg, 12))
	ok(t, b2.Send(bg, 21))
	if v, err := b.Receive(bg); v != 11 || err != nil {
		t.Errorf("%d, %v", v, err)
	}

	img := file(t, d, "c")
	me := self(t, d)
	compare(t, "header", img, 0, object.HeaderSize, 0, headerWant(me, want{"kind": 14, "size": 16384 + 2*4096, "label": "l", "label length": 1,
		"descriptor": "fixed:<i8", "descriptor length": 9, "descriptor hash": skip{}, "lock count": 4, "event count": 4}))
	r0, r1 := at(t, "channel", "ring 0").off, at(t, "channel", "ring 1").off
	pl, cl := at(t, "ring", "producer lock").off, at(t, "ring", "consumer lock").off
	ne, nf := at(t, "ring", "not empty").off, at(t, "ring", "not full").off
	id, err := strconv.ParseUint(ref.ID, 16, 64)
	ok(t, err)
	entries(t, img, map[string]int{"A send": r0 + pl, "A receive": r1 + cl, "B send": r1 + pl, "B receive": r0 + cl},
		[]string{"A send", "A receive", "B send", "B receive"}, []int{r0 + ne, r0 + nf, r1 + ne, r1 + nf}, "channelparams",
		map[string]int{"area": 4096, "id": int(id)})
	if id == 0 || ref.Domain != d.Name() || ref.Name != "c" || ref.Side != "B" {
		t.Errorf("%+v", ref)
	}
	clear(img[:object.HeaderSize])
	compare(t, "channel", img, 0, len(img), 4096, want{"ring 0": skip{}, "ring 1": skip{}, "opens A": 2, "lost A": 0, "opens B": 2, "lost B": 0,
		"dropped 0": 0, "dropped 1": 0, "handles used": skip{}, "handles": skip{},
		"area 0": u64s(8|1<<32|1<<40, 11, 8|1<<32|2<<40, 12), "area 1": u64s(8|1<<32|1<<40, 21)})
	entry(t, d, img, "channel", "handles used", "handles", 8, 2<<16|1)
	quiet := want{"producer lock": "", "consumer lock": "", "not empty": 0, "not empty sleeps": 0, "not empty entries": "", "not full": 0,
		"not full sleeps": 0, "not full entries": "",
		"tail": 32, "puts": 2, "bytes": 16, "high": skip{}, "seen": 0, "busy": 0, "taken": 16, "gets": 1,
		"partial": 0, "cursor": 0, "leases": 0, "again": 0, "repeats": 0, "worn": 0, "moving": 0, "buried": 0, "dropped": 0}
	compare(t, "ring", img, r0, 768, 0, quiet)
	quiet["tail"], quiet["puts"], quiet["bytes"], quiet["taken"], quiet["gets"] = 16, 1, 8, 0, 0
	compare(t, "ring", img, r1, 768, 0, quiet)
}

// A death with a side open is noted where the page says, when the slot of the dead is needed for the other side.
func TestChannelLost(t *testing.T) {
	dir := shmDir(t)
	p := goPeer(t, dir, "c", "channel", 0) // the first member: it makes the channel, in slot 0
	p.says("held")
	p.kill()
	sweeper, err := shiplap.Join("", &shiplap.Options{Dir: dir})
	ok(t, err)
	_, err = sweeper.Sweep(bg, false)
	ok(t, err)
	ok(t, sweeper.Close())
	d := join(t, dir) // in the slot of the dead
	if self(t, d).Token&1023 != 0 {
		t.Fatal("the slot of the dead was not claimed again")
	}
	b, err := channel.Get[int64](d, "c", nil)
	ok(t, err)
	img := file(t, d, "c")
	lost := at(t, "channel", "lost A")
	if got := word(img[lost.off:][:lost.size]); got != 1 {
		t.Errorf("lost A is %d", got)
	}
	entry(t, d, img, "channel", "handles used", "handles", 8, 1<<16)
	ok(t, b.Close())
	entry(t, d, file(t, d, "c"), "channel", "handles used", "handles", 8, 0)
}
