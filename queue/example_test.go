package queue_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// Jobs that are done at least once, whoever dies on the way.
func ExampleQueue_Deliveries() {
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir}) // nil for /dev/shm
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	type Job struct {
		Name  string
		Tries int
	}
	q, err := queue.OpenOrCreate[Job](d, "jobs", &queue.Options{Ack: true})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	ctx := context.Background()
	for _, name := range []string{"wash", "dry", "fold"} { // usually in another process
		if err := q.Put(ctx, Job{Name: name}); err != nil {
			log.Fatal(err)
		}
	}
	if err := q.CloseQueue(); err != nil {
		log.Fatal(err)
	}
	for job, err := range q.Deliveries(ctx) { // until the queue is closed and everything acknowledged
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.Value.Name, job.Count) // if this process dies here, the next one gets the job
		if err := job.Ack(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// wash 1
	// dry 1
	// fold 1
}
