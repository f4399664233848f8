package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// finding is one line of the doctor's.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // "ok", "warn" or "fail"
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

func good(check, detail string, a ...any) finding {
	return finding{check, "ok", fmt.Sprintf(detail, a...), ""}
}

func warn(check, next, detail string, a ...any) finding {
	return finding{check, "warn", fmt.Sprintf(detail, a...), next}
}

func bad(check, next, detail string, a ...any) finding {
	return finding{check, "fail", fmt.Sprintf(detail, a...), next}
}

func newDoctorCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this host: memory, limits, kernel, leftovers",
		Long: `Check what Shiplap needs of this host and user, and look for what may surprise later. It changes nothing.
Exit code 1 if anything fails; warnings do not count.`,
		Example: `  shiplap doctor
  shiplap doctor --json | jq '.[] | select(.status != "ok")'`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all := examine(at)
		failed := 0
		for _, f := range all {
			if f.Status == "fail" {
				failed++
			}
		}
		if *asJSON {
			if err := writeJSON(cmd, all); err != nil {
				return err
			}
		} else {
			t := newTable(cmd.OutOrStdout())
			for _, f := range all {
				t.row(f.Status, f.Check, f.Detail)
				if f.Next != "" {
					t.row("", "", "next: "+f.Next)
				}
			}
			if err := t.Flush(); err != nil {
				return err
			}
		}
		if failed > 0 {
			return exitError{error: fmt.Errorf("%d checks failed", failed), code: exitFailure}
		}
		return nil
	}
	return cmd
}

func examine(at *place) []finding {
	var all []finding
	all = append(all, examineMount(at)...)
	all = append(all, examineLimits()...)
	all = append(all, examineKernel()...)
	all = append(all, examineRemoveIPC("/"))
	return append(all, examineLeftovers(at)...)
}

func examineLeftovers(at *place) []finding {
	const check = "leftovers"
	d, err := at.look()
	if errors.Is(err, errNoDomain) {
		return []finding{good("domain", "%q is not there yet; whoever joins makes it", at.domain)}
	}
	if err != nil {
		what, next, _ := strings.Cut(err.Error(), "\n")
		return []finding{bad("domain", next, "%s", what)}
	}
	defer d.Close()
	all := []finding{}
	objs, err := d.List()
	if err != nil {
		return append(all, bad("domain", "", "%v", err))
	}
	var bytes int64
	for _, o := range objs {
		bytes += o.Size
		if o.Problem != "" {
			all = append(all, warn("object", at.remedy(d, o.Name), "%q: %s", o.Name, o.Problem))
		}
	}
	all = append(all, good("domain", "%s: %d objects, %s", d, len(objs), formatSize(bytes)))
	members, err := at.members()
	if err != nil {
		return append(all, bad("members", "", "%v", err))
	}
	all = append(all, good("members", "%d of at most 1024", len(members)))
	left, err := d.Sweep(context.Background(), true)
	if err != nil {
		return append(all, bad(check, "", "%v", err))
	}
	if len(left) == 0 {
		return append(all, good(check, "none"))
	}
	count := map[string]int{}
	for _, l := range left {
		count[l.What]++
	}
	found := fmt.Sprintf("%d dead members, %d temporaries, %d unused, %d half-removed", count["member"],
		count["temporary"], count["unused"], count["half-removed"])
	next := "shiplap sweep (the next process that joins does the same)"
	if n := len(left) - count["member"] - count["temporary"] - count["unused"] - count["half-removed"]; n > 0 {
		found += fmt.Sprintf(", %d that are no objects", n)
		next = "shiplap sweep"
	}
	return append(all, warn(check, next, "%s", found))
}

// remedy is how what has that name is taken away.
func (p *place) remedy(d *shiplap.Domain, name string) string {
	if file, err := segment.FileName(name); err == nil && stranger(d, name) == "a directory" {
		path := filepath.Join(d.Dir(), file)
		if in, err := os.ReadDir(path); err == nil && len(in) > 0 {
			return "look what is in it, then: rm -r " + segment.ShellQuote(path)
		}
	}
	flags := ""
	if p.dir != "" {
		flags += " --dir " + segment.ShellQuote(p.dir)
	}
	if p.domain != ownDomain() {
		flags += " --domain " + segment.ShellQuote(p.domain)
	}
	return "shiplap rm" + flags + " " + segment.ShellQuote(name) + ", if nobody needs it"
}
