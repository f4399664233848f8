package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

type listed struct {
	Domain string `json:"domain"`
	shiplap.Info
}

func newLsCmd(at *place) *cobra.Command {
	var everywhere bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List objects",
		Long: `List the objects of the domain: kind, bytes of memory (all reserved), how many processes have it open,
and since when it is there. It changes nothing and needs nobody alive.`,
		Example: `  shiplap ls
  shiplap ls --all-domains --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVarP(&everywhere, "all-domains", "a", false, "in all domains below --dir")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		domains := []string{at.domain}
		if everywhere {
			var err error
			if domains, err = shiplap.Domains(at.dir); err != nil {
				return err
			}
		}
		all := []listed{}
		for _, name := range domains {
			objs, err := at.list(name)
			if err != nil && !at.empty(err) {
				return err
			}
			all = append(all, objs...)
		}
		if *asJSON {
			return writeJSON(cmd, all)
		}
		return printList(cmd, all, everywhere)
	}
	return cmd
}

func (p *place) list(domain string) ([]listed, error) {
	d, err := (&place{p.dir, domain}).look()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	objs, err := d.List()
	var all []listed
	for _, o := range objs {
		all = append(all, listed{domain, o})
	}
	return all, err
}

func printList(cmd *cobra.Command, all []listed, domains bool) error {
	if len(all) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "no objects; shiplap queue create NAME makes one")
		return nil
	}
	head := []string{"NAME", "KIND", "SIZE", "USERS", "AGE", "LABEL"}
	if domains {
		head = append([]string{"DOMAIN"}, head...)
	}
	t := newTable(cmd.OutOrStdout(), head...)
	for _, o := range all {
		note := o.Label
		switch {
		case o.Problem != "":
			note = o.Problem
		case o.Removed:
			note = "half-removed: shiplap sweep"
		}
		row := []string{o.Name, dash(o.Kind), formatSize(o.Size), strconv.Itoa(len(o.Users)), ago(o.Created), note}
		if domains {
			row = append([]string{o.Domain}, row...)
		}
		t.row(row...)
	}
	return t.Flush()
}
