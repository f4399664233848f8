package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/rpc"
)

func newCallCmd(at *place) *cobra.Command {
	c := &caller{at: at}
	cmd := &cobra.Command{
		Use:   "call [SERVICE [METHOD [JSON]]]",
		Short: "Call a function of another process",
		Long: `Call a method of a service with an argument in JSON, and write its result as JSON. Without an argument it is null; "-" reads it from standard
input. The service converts, whatever types and encoding its programs use. Without METHOD, list the methods of the service and their types; without
SERVICE, list the services.

An error that the function returned is exit code 1; its text goes to standard error, its code behind that. --timeout is carried over to the function, and
is exit code 4; Ctrl-C cancels it there. When the process that serves dies, or is not there, the exit code is 5 or 3: the function may have run, or
not. With --json an error of the function is written to standard output as well: {"error": {"code": …, "message": …}}.

An argument that begins with a minus stands behind --.`,
		Example: `  shiplap call                                   which services are there?
  shiplap call calc                              what can it do?
  shiplap call calc add '{"a": 2, "b": 3}'
  shiplap call calc negate -- -5
  jq -c .job job.json | shiplap call jobs start - --timeout 5s`,
		Args:              cobra.MaximumNArgs(3),
		ValidArgsFunction: c.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.timeout < 0 {
				return usagef("--timeout %v: at least 0", c.timeout)
			}
			switch len(args) {
			case 0:
				return c.services(cmd)
			case 1:
				return c.methods(cmd, args[0])
			}
			return c.call(cmd, args[0], args[1], args[2:])
		},
	}
	c.json = jsonFlag(cmd)
	cmd.Flags().DurationVarP(&c.timeout, "timeout", "t", 0, "longest wait for the result, as in 500ms or 10s (default: for ever)")
	cmd.SetFlagErrorFunc(minusFirst("SERVICE METHOD -- -5"))
	return cmd
}

type caller struct {
	at *place
	patience
	json *bool
}

func (c *caller) services(cmd *cobra.Command) error {
	all := []rpc.Service{}
	d, err := c.at.look()
	if err == nil {
		defer d.Close()
		all, err = rpc.Services(d)
	}
	switch {
	case err != nil && !c.at.empty(err):
		return err
	case *c.json:
		return writeJSON(cmd, all)
	case len(all) == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no services; programs serve with package rpc")
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "SERVICE", "PID", "AGE", "COMMAND")
	for _, s := range all {
		t.row(s.Name, fmt.Sprint(s.Pid), ago(s.Since), s.Command)
	}
	return t.Flush()
}

// with runs f with a connection to a service.
func (c *caller) with(cmd *cobra.Command, service string, f func(context.Context, *rpc.Client) error) error {
	d, err := c.at.find()
	if err != nil {
		return err
	}
	defer d.Close()
	ctx, cancel := c.context(cmd.Context())
	defer cancel()
	client, err := rpc.Dial(ctx, d, service, nil)
	if err != nil {
		return c.explain(cmd, fmt.Sprintf("service %q", service), err)
	}
	return errors.Join(f(ctx, client), client.Close())
}

func (c *caller) methods(cmd *cobra.Command, service string) error {
	return c.with(cmd, service, func(ctx context.Context, client *rpc.Client) error {
		all, err := client.Methods(ctx)
		switch {
		case err != nil:
			return c.explain(cmd, fmt.Sprintf("service %q", service), err)
		case *c.json:
			return writeJSON(cmd, all)
		case len(all) == 0:
			fmt.Fprintf(cmd.ErrOrStderr(), "service %q has no methods\n", service)
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "METHOD", "REQUEST", "RESULT")
		for _, m := range all {
			t.row(m.Name, m.Request, m.Response)
		}
		return t.Flush()
	})
}

func (c *caller) call(cmd *cobra.Command, service, method string, args []string) error {
	req, err := c.argument(cmd, args)
	if err != nil {
		return err
	}
	return c.with(cmd, service, func(ctx context.Context, client *rpc.Client) error {
		b, err := client.CallJSON(ctx, method, req)
		if err != nil {
			return c.failed(cmd, client, method, err)
		}
		_, err = cmd.OutOrStdout().Write(append(bytes.TrimRight(b, "\n"), '\n'))
		return err
	})
}

// argument is the request, as JSON.
func (c *caller) argument(cmd *cobra.Command, args []string) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	b := []byte(args[0])
	if args[0] == "-" {
		var err error
		if b, err = readAll(cmd.Context(), "standard input", cmd.InOrStdin(), rpc.DefaultMaxMessage, "a smaller argument"); err != nil {
			return nil, err
		}
	}
	var v json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, usagef("the argument %.60q is no JSON: %w; text stands in double quotes, within single ones of the shell: '\"text\"'", b, err)
	}
	return b, nil
}

// failed tells an error of the function from one of the way there.
func (c *caller) failed(cmd *cobra.Command, client *rpc.Client, method string, err error) error {
	at := fmt.Sprintf("call of %q of service %q", method, client.Service())
	e, ok := errors.AsType[*rpc.Error](err)
	late := c.timeout > 0 && errors.Is(err, context.DeadlineExceeded) // the function may notice it before we do
	if !ok || late || cmd.Context().Err() != nil {
		return c.explain(cmd, at, err)
	}
	if e.Code == "not_exist" {
		if err := c.noMethod(cmd, client, method); err != nil {
			return err
		}
	}
	if *c.json {
		if e := writeJSON(cmd, map[string]any{"error": rpcError{e.Code, e.Message, e.Data}}); e != nil {
			return e
		}
	}
	code := ""
	if e.Code != "" {
		code = fmt.Sprintf(" (code %s)", e.Code)
	}
	next := ""
	if e.Code == rpc.CodeInvalid {
		next = "shiplap call" + sameDomain(cmd) + " " + quoted(client.Service()) + " shows the types"
	}
	return exitError{fmt.Errorf("%s: %s%s", at, e.Message, code), exitFailure, next}
}

// noMethod tells whether there is no such method; the function itself may have said that something else does not exist.
func (c *caller) noMethod(cmd *cobra.Command, client *rpc.Client, method string) error {
	ctx, cancel := c.context(cmd.Context())
	defer cancel()
	all, err := client.Methods(ctx)
	if err != nil || slices.ContainsFunc(all, func(m rpc.Method) bool { return m.Name == method }) {
		return nil
	}
	return exitError{fmt.Errorf("service %q has no method %q", client.Service(), method), exitNotFound,
		"shiplap call" + sameDomain(cmd) + " " + quoted(client.Service()) + " shows what it has"}
}

type rpcError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Data    []byte `json:"data,omitempty"`
}

func (c *caller) explain(cmd *cobra.Command, at string, err error) error {
	if cmd.Context().Err() != nil {
		return context.Cause(cmd.Context())
	}
	list := "shiplap call" + sameDomain(cmd) + " shows the services"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no result within %v: %w", at, c.timeout, context.DeadlineExceeded)
	case errors.Is(err, shiplap.ErrNotExist):
		return exitError{fmt.Errorf("%s: nobody serves it", at), exitNotFound, list}
	case errors.Is(err, shiplap.ErrPeerGone):
		return exitError{err, exitEnded, list}
	}
	return err
}

// complete completes services, and then methods.
func (c *caller) complete(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	const only = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 1 {
		return nil, only
	}
	d, err := c.at.quiet()
	if err != nil {
		return nil, only
	}
	defer d.Close()
	if len(args) == 0 {
		all, _ := rpc.Services(d)
		for _, s := range all {
			names = append(names, s.Name)
		}
		return names, only
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	client, err := rpc.Dial(ctx, d, args[0], nil)
	if err != nil {
		return nil, only
	}
	defer client.Close()
	all, _ := client.Methods(ctx)
	for _, m := range all {
		names = append(names, m.Name)
	}
	return names, only
}
