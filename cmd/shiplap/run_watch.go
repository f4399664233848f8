package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watcher tells which of some sets of files changed. inotify says when to look; what changed is found by looking, so
// that no order of events, and no lost one, matters.
type watcher struct {
	file   *os.File // of inotify
	sets   map[string][]string
	shots  map[string]snapshot
	change chan []string
	want   chan map[string][]string
	quit   chan struct{}
	done   chan struct{}
}

// snapshot is what each file was like.
type snapshot map[string]stamp

type stamp struct {
	size  int64
	time  time.Time
	inode uint64
}

const (
	quietTime = 50 * time.Millisecond // nothing new for so long: whoever changes files is through
	mostQuiet = time.Second           // but look at last

	watchMask = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE | unix.IN_DELETE_SELF |
		unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

// newWatcher watches sets of paths and patterns. Of a directory, all below it counts that is not hidden.
func newWatcher(sets map[string][]string) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	w := &watcher{file: os.NewFile(uintptr(fd), "inotify"), sets: sets, change: make(chan []string), want: make(chan map[string][]string),
		quit: make(chan struct{}), done: make(chan struct{})}
	if w.shots, err = w.look(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	go w.run()
	return w, nil
}

// changes is nil for a nil watcher.
func (w *watcher) changes() <-chan []string {
	if w == nil {
		return nil
	}
	return w.change
}

// watch changes the sets. Call it from where changes are received.
func (w *watcher) watch(sets map[string][]string) { w.want <- sets }

func (w *watcher) close() {
	close(w.quit)
	_ = w.file.SetReadDeadline(time.Unix(1, 0))
	<-w.done
	_ = w.file.Close()
}

func (w *watcher) run() {
	defer close(w.done)
	events := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 64<<10)
		for {
			if _, err := w.file.Read(buf); err != nil {
				return
			}
			select {
			case events <- struct{}{}:
			default:
			}
		}
	}()
	defer func() { <-ended }()
	for {
		select {
		case <-w.quit:
			return
		case sets := <-w.want:
			w.adopt(sets)
		case <-events:
			w.settle(events)
		}
		now, _ := w.look() // what cannot be watched any more cannot be helped
		changed := differences(w.shots, now)
		w.shots = now
		for len(changed) > 0 {
			select {
			case w.change <- changed:
				changed = nil
			case sets := <-w.want: // the receiver is busy with that
				w.adopt(sets)
				now, _ := w.look()
				changed = append(changed, differences(w.shots, now)...)
				w.shots = now
			case <-w.quit:
				return
			}
		}
	}
}

// adopt changes the sets. What is new among them is as it is now; what was there before may have changed meanwhile.
func (w *watcher) adopt(sets map[string][]string) {
	before := w.sets
	w.sets = sets
	now, _ := w.look()
	for name, patterns := range sets {
		if !slices.Equal(before[name], patterns) {
			w.shots[name] = now[name]
		}
	}
}

func (w *watcher) settle(events <-chan struct{}) {
	for end := time.Now().Add(mostQuiet); time.Now().Before(end); {
		select {
		case <-events:
		case <-w.quit:
			return
		case <-time.After(quietTime):
			return
		}
	}
}

// differences names the sets that are known before and after, and changed.
func differences(before, after map[string]snapshot) (names []string) {
	for name, now := range after {
		was, known := before[name]
		if known && !same(was, now) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func same(a, b snapshot) bool {
	if len(a) != len(b) {
		return false
	}
	for path, s := range a {
		if t, ok := b[path]; !ok || s.size != t.size || s.inode != t.inode || !s.time.Equal(t.time) {
			return false
		}
	}
	return true
}

// look takes the picture, and watches all directories on the way: first, so that no change falls in between.
func (w *watcher) look() (map[string]snapshot, error) {
	shots := map[string]snapshot{}
	var problem error
	watch := func(dir string) {
		for { // the nearest one that exists
			_, err := unix.InotifyAddWatch(int(w.file.Fd()), dir, watchMask)
			up := filepath.Dir(dir)
			if errors.Is(err, unix.ENOENT) && up != dir {
				dir = up
				continue
			}
			if errors.Is(err, unix.ENOSPC) {
				problem = fmt.Errorf("watch %s: %w: raise fs.inotify.max_user_watches, or watch less", dir, err)
			}
			return
		}
	}
	for name, patterns := range w.sets {
		shot := snapshot{}
		for _, p := range patterns {
			shot.add(p, watch)
		}
		shots[name] = shot
	}
	return shots, problem
}

func (s snapshot) add(pattern string, watch func(dir string)) {
	for dir := filepath.Dir(pattern); ; dir = filepath.Dir(dir) {
		if !strings.ContainsAny(dir, `*?[\`) {
			watch(dir)
			break
		}
		all, _ := filepath.Glob(dir)
		for _, d := range all {
			watch(d)
		}
	}
	paths := []string{pattern}
	if _, err := os.Lstat(pattern); err != nil {
		paths, _ = filepath.Glob(pattern)
	}
	for _, path := range paths {
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != filepath.Dir(path) {
			watch(filepath.Dir(real))
		}
		s.addTree(path, watch)
	}
}

func (s snapshot) addTree(path string, watch func(dir string)) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return
	case !info.IsDir():
		s[path] = stampOf(info)
		return
	}
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it goes away just now, or is not for us
		}
		if p != path && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			watch(p)
			return nil
		}
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			s[p] = stampOf(info)
		}
		return nil
	})
}

func stampOf(info fs.FileInfo) stamp {
	t := stamp{size: info.Size(), time: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		t.inode = sys.Ino
	}
	return t
}
