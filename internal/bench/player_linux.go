package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/lock"
)

// Places in the raw memory that players share.
const (
	playCounter = 0 // plain, under the mutex
	playReady   = 256
	playSize    = 4096
)

// player is a process that locks and unlocks when it is told to.
type player struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startPlayer starts a peer; the variable of its environment says what it does there, and has the base directory of its domain.
func startPlayer(ctx context.Context, peer []string, variable, base string, files ...*os.File) (*player, error) {
	p := &player{cmd: exec.CommandContext(ctx, peer[0], peer[1:]...)}
	p.cmd.Env = append(os.Environ(), variable+"="+base, "GOGC=off")
	p.cmd.Stderr = os.Stderr
	p.cmd.ExtraFiles = files
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

func (p *player) tell(order string, number int64) error {
	_, err := fmt.Fprintln(p.in, order, number)
	return err
}

func (p *player) answer() (uint64, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the other process ended: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(line), 10, 64)
}

// end closes the player's input, or kills it.
func (p *player) end(kill bool) {
	if kill {
		p.cmd.Process.Kill()
	}
	p.in.Close()
	_ = p.cmd.Wait()
}

// play is the player's side.
func play(base string) error {
	d, err := shiplap.Join("turns", &shiplap.Options{Dir: base})
	if err != nil {
		return err
	}
	defer d.Close()
	m, err := lock.OpenMutex(d, "turns")
	if err != nil {
		return err
	}
	defer m.Close()
	region, err := mem.Map(fdRaw, mem.Part{Len: playSize})
	if err != nil {
		return err
	}
	defer region.Unmap()
	runtime.LockOSThread()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		order, number, _ := strings.Cut(in.Text(), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return err
		}
		var turns uint64
		switch order {
		case "bind":
			bind(int(n))
		case "turns":
			ready := region.Span(0).U32(playReady)
			ready.Add(1)
			for ready.Load() < 2 {
			}
			turns, err = takeTurns(m, region.Span(0), time.Duration(n))
		case "hold":
			err = m.Lock(background)
		default:
			err = fmt.Errorf("cannot %q", order)
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Println(turns); err != nil {
			return err
		}
	}
	return nil
}

// takeTurns locks, counts and unlocks for a while.
func takeTurns(m *lock.Mutex, s *mem.Span, long time.Duration) (n uint64, err error) {
	counter := s.U64(playCounter)
	for start := time.Now(); n%256 != 0 || time.Since(start) < long; n++ {
		if err := m.Lock(background); err != nil {
			return n, err
		}
		counter.StoreRelease(counter.Load() + 1)
		if err := m.Unlock(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// takeOver is how long it takes to get a mutex whose holder is killed, from the signal on.
func takeOver(ctx context.Context, m *lock.Mutex, holder *player) (time.Duration, error) {
	if err := holder.tell("hold", 0); err != nil {
		return 0, err
	}
	if _, err := holder.answer(); err != nil {
		return 0, err
	}
	got := make(chan error, 1)
	var at time.Time
	go func() {
		err := m.Lock(ctx)
		at = time.Now()
		got <- err
	}()
	for { // until it sleeps
		s, err := m.Stats()
		if err != nil {
			return 0, err
		}
		if len(s.Waiters) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	holder.end(true)
	if err := <-got; !errors.Is(err, shiplap.ErrOwnerDied) {
		return 0, fmt.Errorf("not told of the death: %w", err)
	}
	return at.Sub(start), errors.Join(m.Repaired(), m.Unlock())
}
