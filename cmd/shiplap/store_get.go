package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreGetCmd(at *place) *cobra.Command {
	var raw bool
	var def string
	cmd := &cobra.Command{
		Use:   "get NAME KEY",
		Short: "Write the value of a key",
		Long: `Write the value of a key to standard output with a newline; with --raw, exactly as it is. A value that a program stored in CBOR is
written as JSON, unless --raw. A key that is not there is exit code 3, or the --default.

With --json: the value (as JSON if it is JSON or CBOR, in "value_base64" if it is no text), the revision of its last change, when it expires, its
format and size. It waits for nobody.`,
		Example: `  shiplap store get config color
  shiplap store get config color --default green
  shiplap store get images logo.png --raw >logo.png
  rev=$(shiplap store get config color --json | jq .revision)`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: at.storeAndKey,
	}
	cmd.Flags().StringVarP(&def, "default", "d", "", "`value` to write if there is no such key")
	cmd.Flags().BoolVar(&raw, "raw", false, "add no newline, convert nothing")
	asJSON := jsonFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("raw", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withStore(args[0], func(s *store.Store) error {
			e, err := s.Entry(args[1])
			if errors.Is(err, shiplap.ErrNotExist) && cmd.Flag("default").Changed {
				e, err = store.Entry{Key: args[1], Value: []byte(def)}, nil
			}
			if err != nil {
				k := keyed{cmd: cmd, store: s, key: args[1]}
				return k.explain(cmd.Context(), err)
			}
			if *asJSON {
				return writeJSON(cmd, entryOf(&e, true))
			}
			b := e.Value
			if !raw {
				if b, err = textOf(&e); err != nil {
					return exitError{err, exitFailure, "--raw writes it as it is"}
				}
				b = append(b, '\n')
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		})
	}
	return cmd
}
