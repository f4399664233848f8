//go:build !linux || (!amd64 && !arm64)

package killtest

import "errors"

func marker() { panic("killtest: no breakpoint on this platform") }

// Explore returns errors.ErrUnsupported on this platform.
func Explore(Scenario, Options) (Result, error) { return Result{}, errors.ErrUnsupported }

func permitted() error { return errors.ErrUnsupported }

func prepareAwaiting() error { return errors.ErrUnsupported }

func awaitOrder() {}
