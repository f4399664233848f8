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

// A message that no consumer can handle goes to the dead letters, and can be put back when the cause is mended.
func ExampleRawDelivery_MoveTo() {
	d, err := shiplap.Join("example", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	jobs, err := queue.Create[string](d, "jobs", &queue.Options{
		Ack: true, MaxDeliveries: 3, DeadLetters: "jobs.dead", Ephemeral: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer jobs.Close()
	if err := jobs.TryPut("resize cat.jpg"); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		job, err := jobs.TryReceive()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.Value, "fails,", job.Count)
		if err := job.Nack(); err != nil {
			log.Fatal(err)
		}
	}

	dead, err := queue.Open[string](d, "jobs.dead", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dead.Close()
	letter, err := dead.TryReceive()
	if err != nil {
		log.Fatal(err)
	}
	if err := letter.MoveTo(context.Background(), jobs.Raw()); err != nil {
		log.Fatal(err)
	}
	job, err := jobs.TryReceive()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Value, "comes again,", job.Count)
	if err := job.Ack(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// resize cat.jpg fails, 1
	// resize cat.jpg fails, 2
	// resize cat.jpg fails, 3
	// resize cat.jpg comes again, 1
}
