package segment

import (
	"os"
	"path/filepath"
	"strconv"
)

// DefaultBase is where the memory of a Linux host lies.
const DefaultBase = "/dev/shm"

// Layout is the version of the layout on disk; it is part of the path.
const Layout = 2

// Base is the directory under which domains lie: dir if given, else $SHIPLAP_DIR, else /dev/shm.
func Base(dir string) string {
	if dir != "" {
		return dir
	}
	if d := os.Getenv("SHIPLAP_DIR"); d != "" {
		return d
	}
	return DefaultBase
}

// DomainsPath is the directory that holds this user's domains under base.
func DomainsPath(base string) string {
	return filepath.Join(base, userDir(), layoutDir())
}

// TempPrefix begins the names of files that are not published.
const TempPrefix = "#tmp."

func userDir() string { return "shiplap-" + strconv.Itoa(os.Geteuid()) }

func layoutDir() string { return "v" + strconv.Itoa(Layout) }
