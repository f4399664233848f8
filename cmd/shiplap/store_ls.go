package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreLsCmd(at *place) *cobra.Command {
	var values, keys bool
	cmd := &cobra.Command{
		Use:     "ls NAME [PATTERN]",
		Aliases: []string{"list"},
		Short:   "List keys",
		Long: `List the keys of a store, sorted, all as of one moment: bytes of the value, what these are, the revision of the last change, and for how long
the value will be there. --values shows the values too, the beginning of long ones.

` + patternHelp,
		Example: `  shiplap store ls config --values
  shiplap store ls sessions 'user:*' --keys | wc -l
  shiplap store ls config --json --values | jq -r '.[] | "\(.key)=\(.value)"'`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: at.storeAndKey,
	}
	cmd.Flags().BoolVarP(&values, "values", "v", false, "show the values too")
	cmd.Flags().BoolVarP(&keys, "keys", "k", false, "write the keys alone, a line each")
	asJSON := jsonFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("keys", "json")
	cmd.MarkFlagsMutuallyExclusive("keys", "values")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pattern := "*"
		if len(args) > 1 {
			pattern = args[1]
		}
		return at.withStore(args[0], func(s *store.Store) error {
			all, err := matching(cmd.Context(), s, pattern)
			switch {
			case err != nil:
				return err
			case *asJSON:
				list := make([]entryJSON, len(all))
				for i := range all {
					list[i] = entryOf(&all[i], values)
				}
				return writeJSON(cmd, list)
			case keys:
				return printKeys(cmd, all)
			case len(all) == 0 && pattern != "*":
				fmt.Fprintf(cmd.ErrOrStderr(), "no key fits %s; a * at its end stands for any\n", inQuotes(pattern))
				return nil
			case len(all) == 0:
				fmt.Fprintf(cmd.ErrOrStderr(), "no keys; shiplap store set%s %s KEY VALUE makes one\n", sameDomain(cmd), s.Name())
				return nil
			}
			return printEntries(cmd, all, values)
		})
	}
	return cmd
}

// matching is the entries that fit a pattern.
func matching(ctx context.Context, s *store.Store, pattern string) ([]store.Entry, error) {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return s.All(ctx, prefix)
	}
	e, err := s.Entry(pattern)
	if errors.Is(err, shiplap.ErrNotExist) {
		return nil, nil
	}
	return []store.Entry{e}, err
}

func printKeys(cmd *cobra.Command, all []store.Entry) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	for _, e := range all {
		w.WriteString(e.Key)
		w.WriteByte('\n')
	}
	return w.Flush()
}

func printEntries(cmd *cobra.Command, all []store.Entry, values bool) error {
	head := []string{"KEY", "SIZE", "FORMAT", "REVISION", "TTL"}
	if values {
		head = append(head, "VALUE")
	}
	t := newTable(cmd.OutOrStdout(), head...)
	for i := range all {
		e := &all[i]
		row := []string{shortCell(e.Key), formatSize(int64(len(e.Value))), e.Format.String(), fmt.Sprint(e.Revision), ttl(e.Expires)}
		if values {
			text, err := textOf(e)
			if err != nil {
				text = e.Value
			}
			row = append(row, shortCell(string(text)))
		}
		t.row(row...)
	}
	return t.Flush()
}
