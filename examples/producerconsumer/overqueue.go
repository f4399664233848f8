package main

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
)

func putNumbers(ctx context.Context, self *proc.Child) error {
	q, err := queue.Open[int](self.Domain(), "numbers", nil)
	if err != nil {
		return err
	}
	defer q.Close()
	for i := range count {
		if err := q.Put(ctx, i); err != nil {
			return err
		}
	}
	return q.CloseQueue() // no more will come
}

func getNumbers(ctx context.Context, self *proc.Child) error {
	q, err := queue.Open[int](self.Domain(), "numbers", nil)
	if err != nil {
		return err
	}
	defer q.Close()
	for i, err := range q.All(ctx) { // until it is closed and empty
		if err != nil {
			return err
		}
		fmt.Println("收到了", i)
	}
	return nil
}
