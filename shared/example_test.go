package shared_test

import (
	"context"
	"fmt"
	"log"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

func ExampleValue() {
	d, err := shiplap.Join("", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	type Position struct{ X, Y, Z float64 }
	v, err := shared.OpenOrCreateValue(d, "position", Position{}, &shared.Options{Ephemeral: true})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	ctx := context.Background()
	if _, err := v.Update(ctx, func(p *Position) error { p.X++; return nil }); err != nil {
		log.Fatal(err)
	}
	p, err := v.Load() // never half written, and nobody's death is in the way
	fmt.Println(p, err)
	// Output: {1 0 0} <nil>
}

func ExampleArray_Publish() {
	d, err := shiplap.Join("", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	camera, err := shared.CreateArray[uint8](d, "camera", []int{480, 640, 3}, &shared.ArrayOptions{Frames: 3, Ephemeral: true})
	if err != nil {
		log.Fatal(err)
	}
	defer camera.Close()
	version, err := camera.Publish(context.Background(), func(frame []uint8) error {
		for i := range frame {
			frame[i] = 7
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	frame := make([]uint8, camera.Len())
	latest, err := camera.Latest(frame)
	fmt.Println(version, latest, frame[100], err)
	// Output: 1 1 7 <nil>
}
