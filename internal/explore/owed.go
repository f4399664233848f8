//go:build explore

package explore

// A process that dies may take a wake-up with it: one that it had to give, because it changed a word that a
// sleeper has looked at, or one that it got instead of another sleeper. That is what the bounds of sleeps are
// for, so such a sleeper may use its bound once, also where sleeps have none (Options.Watch).

// debts are the wake-ups that processes may owe a sleeper.
type debts struct {
	read    map[uintptr]uint // words that it has read: bit i, process i changed it since
	count   [32]int          // words with bit i
	instead uint             // bit i: process i was woken on the word that it sleeps on
	owed    bool             // one of those died
}

// to is the mask of those that owe it something.
func (d *debts) to() (mask uint) {
	for i, n := range d.count {
		if n > 0 {
			mask |= 1 << i
		}
	}
	return mask | d.instead
}

// looked: p has read the word at addr.
func (p *Proc) looked(addr uintptr) {
	if !p.run.x.opt.Watch || p.run.at(addr) == nil {
		return
	}
	d := &p.debts
	if d.read == nil {
		d.read = map[uintptr]uint{}
	}
	addr &^= 7
	for i, mask := 0, d.read[addr]; mask != 0; i, mask = i+1, mask>>1 {
		d.count[i] -= int(mask & 1)
	}
	d.read[addr] = 0
}

// wrote: p has changed the word at addr.
func (p *Proc) wrote(addr uintptr) {
	if !p.run.x.opt.Watch {
		return
	}
	addr &^= 7
	i := p.process()
	for _, q := range p.run.procs {
		if mask, ok := q.debts.read[addr]; ok && q != p && mask>>i&1 == 0 {
			q.debts.read[addr] = mask | 1<<i
			q.debts.count[i]++
		}
	}
}

// died: a process is dead, and what it owed becomes due.
func (r *run) died(process int) {
	for _, q := range r.procs {
		q.debts.owed = q.debts.owed || q.debts.to()>>process&1 != 0
	}
}
