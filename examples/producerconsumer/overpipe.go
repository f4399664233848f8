package main

import (
	"context"
	"fmt"
	"io"

	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/proc"
)

func sendNumbers(ctx context.Context, self *proc.Child) error {
	end, err := pipe.Take(self.Domain(), self.Args()[0], nil)
	if err != nil {
		return err
	}
	defer end.Close()
	for i := range count {
		if err := end.Send(ctx, fmt.Append(nil, i)); err != nil {
			return err
		}
	}
	return nil // the parent keeps the pipe for the other one, which may not even have begun
}

func recvNumbers(ctx context.Context, self *proc.Child) error {
	end, err := pipe.Take(self.Domain(), self.Args()[0], nil)
	if err != nil {
		return err
	}
	defer end.Close()
	for {
		b, err := end.Recv(ctx, nil)
		if err == io.EOF { // the other end was closed
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("收到了 %s\n", b)
	}
}
