package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

func newValueCmd(at *place) *cobra.Command {
	return group("value", "Create, read and change shared values",
		`A value is one number, or a record of fixed layout, that processes share by name. It is never seen half written, whoever dies.

`+typeHelp+`

`+literalHelp,
		newValueCreateCmd(at), newValueGetCmd(at), newValueSetCmd(at), newValueAddCmd(at), newValueSwapCmd(at), newValueWatchCmd(at))
}

func newValueCreateCmd(at *place) *cobra.Command {
	var opt shared.Options
	var typ, initial string
	var existOK bool
	cmd := &cobra.Command{
		Use:   "create NAME --type TYPE [--value VALUE]",
		Short: "Make a value",
		Long: `Make a value, with zeros if no --value is given. It stays until it is removed.

` + typeHelp,
		Example: `  shiplap value create visitors --type i64
  shiplap value create limit --type f64 --value 0.75
  shiplap value create origin --type '{X:<f8@0,Y:<f8@8;size=16,align=8}' --value '{"X": 1, "Y": -1}'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			desc, l, err := parseType(typ)
			if err != nil {
				return err
			}
			b := make([]byte, l.Size)
			if cmd.Flag("value").Changed {
				if b, err = parseLiteral(l, initial); err != nil {
					return err
				}
			}
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			v, err := shared.CreateRawValue(d, args[0], desc, b, &opt)
			if existOK && errors.Is(err, shiplap.ErrExist) {
				if v, err = shared.OpenRawValue(d, args[0]); err == nil && v.Type() != desc {
					v.Close()
					err = fmt.Errorf("value %q: %w: it is there as %s", args[0], shiplap.ErrExist, v.Type())
				}
			}
			if err != nil {
				return err
			}
			return v.Close()
		},
	}
	f := cmd.Flags()
	f.StringVar(&typ, "type", "", "`type` of the value")
	f.StringVar(&initial, "value", "", "what it is at first")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&opt.Unlocked, "unlocked", false, "without a lock for its users")
	f.BoolVar(&existOK, "exist-ok", false, "fine if it is there already; it is not changed then")
	return cmd
}

// withValue runs f with an open value and closes it again.
func (p *place) withValue(name string, f func(v *shared.RawValue, l *schema.Layout) error) error {
	d, err := p.find()
	if err != nil {
		return err
	}
	defer d.Close()
	v, err := shared.OpenRawValue(d, name)
	if err != nil {
		return err
	}
	defer v.Close()
	l, err := layoutOf(v.Type())
	if err != nil {
		return err
	}
	return f(v, l)
}
