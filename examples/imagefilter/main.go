// Imagefilter blurs a picture by four processes over a shared array, and kills one of them in the middle.
// README.md tells the story.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	imagedraw "image/draw"
	_ "image/jpeg"
	"image/png"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/shiplap-ipc/shiplap"
)

const workers = 4

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if args := os.Args[1:]; len(args) == 4 && args[0] == "worker" {
		who, _ := strconv.Atoi(args[2])
		err = work(ctx, args[1], who, args[3] == "true")
	} else {
		in := flag.String("in", "", "PNG or JPEG `file` to blur (default: one is drawn)")
		out := flag.String("out", "", "PNG `file` to write (default: none)")
		kill := flag.Bool("kill", true, "kill one of the processes in the middle")
		flag.Parse()
		err = run(ctx, *in, *out, *kill)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in, out string, kill bool) error {
	picture, err := load(in)
	if err != nil {
		return err
	}
	width, height := picture.Rect.Dx(), picture.Rect.Dy()
	fmt.Printf("a picture of %d × %d pixels, %d processes\n", width, height, workers)
	result, err := blurShared(ctx, picture.Pix, width, height, kill)
	if err != nil {
		return err
	}
	alone := make([]uint8, len(picture.Pix))
	blur(alone, picture.Pix, width, height, 0, height, func(int) {})
	if !bytes.Equal(result, alone) {
		return errors.New("one process alone gets another picture")
	}
	fmt.Println("one process alone gets the same, byte for byte")
	if out == "" {
		return nil
	}
	return save(out, &image.RGBA{Pix: result, Stride: picture.Stride, Rect: picture.Rect})
}

func load(file string) (*image.RGBA, error) {
	if file == "" {
		return draw(1280, 800), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	from, _, err := image.Decode(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p := image.NewRGBA(image.Rect(0, 0, from.Bounds().Dx(), from.Bounds().Dy()))
	imagedraw.Draw(p, p.Rect, from, from.Bounds().Min, imagedraw.Src)
	return p, nil
}

func save(file string, p image.Image) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, p), f.Close())
}

// blurShared has workers blur the picture. All takes place in a domain of its own, which goes with it.
func blurShared(ctx context.Context, picture []uint8, width, height int, kill bool) (result []uint8, err error) {
	// Workers are to die with the parent. The kernel takes that for the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d, err := shiplap.Join(fmt.Sprintf("example-imagefilter-%d", os.Getpid()), nil)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(d.Dir())
	defer d.Close()
	s, err := create(d, width, height)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.source.Replace(ctx, picture); err != nil {
		return nil, err
	}
	n := min(mostBands, height)
	for i := range n {
		b := band{Lo: int32(i * height / n), Hi: int32((i + 1) * height / n), Bit: int32(i)}
		if err := s.bands.Put(ctx, b); err != nil {
			return nil, err
		}
	}
	if err := s.bands.CloseQueue(); err != nil {
		return nil, err
	}
	if err := s.employ(ctx, d.Name(), n, kill); err != nil {
		return nil, err
	}
	result = make([]uint8, len(picture))
	return result, s.result.Snapshot(ctx, result)
}

// employ runs the workers until all n bands are done.
func (s *shop) employ(ctx context.Context, domain string, n int, kill bool) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	var victim *exec.Cmd
	ended := make(chan error, workers)
	working := 0
	defer func() {
		cancel() // which kills those who are left when something failed
		for ; working > 0; working-- {
			<-ended
		}
	}()
	for who := 1; who <= workers; who++ {
		doomed := kill && who == 1
		p := exec.CommandContext(ctx, "/proc/self/exe", "worker", domain, strconv.Itoa(who), strconv.FormatBool(doomed))
		p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		p.Stdout, p.Stderr = w, os.Stderr
		if err := p.Start(); err != nil {
			w.Close()
			return err
		}
		working++
		if doomed {
			victim = p
		}
		go func() {
			err := p.Wait()
			if err != nil && doomed {
				err = nil
			}
			if err != nil {
				err = fmt.Errorf("process %d: %w", who, err)
				cancel() // others may wait for it
			}
			ended <- err
		}()
	}
	w.Close()

	said, steps := make(chan string), make(chan int)
	go lines(r, said)
	go s.watch(ctx, n, steps)
	bar := newBar(n)
	for said != nil {
		select {
		case line, more := <-said:
			switch {
			case !more:
				said = nil // all workers have ended
			case victim != nil:
				bar.say("%s: kill -9", line)
				victim.Process.Kill()
				victim = nil
			default:
				bar.say("%s", line)
			}
		case done := <-steps:
			bar.show(done)
		}
	}
	for ; working > 0; working-- {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return err
	}
	v, err := s.progress.Load()
	if done := bits.OnesCount64(v); err == nil && done < n {
		err = fmt.Errorf("%d of %d bands are done, and nobody works any more", done, n)
	}
	if err == nil {
		bar.show(n)
	}
	return err
}

// lines sends what the workers write.
func lines(r io.Reader, to chan<- string) {
	defer close(to)
	for scan := bufio.NewScanner(r); scan.Scan(); {
		to <- scan.Text()
	}
}

// watch sends how many bands are done, whenever that changes, until all n are.
func (s *shop) watch(ctx context.Context, n int, to chan<- int) {
	for done := 0; done < n; {
		v, err := s.progress.WaitUntil(ctx, func(v uint64) bool { return bits.OnesCount64(v) > done })
		if err != nil {
			return
		}
		done = bits.OnesCount64(v)
		select {
		case to <- done:
		case <-ctx.Done():
			return
		}
	}
}
