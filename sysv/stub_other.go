//go:build !linux

package sysv

import "github.com/shiplap-ipc/shiplap/internal/errs"

// Elsewhere than on Linux everything is ErrUnsupported.

var errNoKey = errs.ErrUnsupported

func sysFile(path string) (dev, ino uint64, err error)         { return 0, 0, errs.ErrUnsupported }
func sysGet(key Key, size, flags int) (ID, error)              { return 0, errs.ErrUnsupported }
func sysAttach(id ID, addr uintptr, flags int) ([]byte, error) { return nil, errs.ErrUnsupported }
func sysDetach(b []byte) error                                 { return errs.ErrUnsupported }
func sysControl(id ID, cmd int) error                          { return errs.ErrUnsupported }
func sysStat(id ID) (*Info, error)                             { return nil, errs.ErrUnsupported }
func sysSet(id ID, uid, gid, mode uint32) error                { return errs.ErrUnsupported }
func sysLimits() (Limits, error)                               { return Limits{}, errs.ErrUnsupported }
func sysUsage() (u Usage, maxIndex int, err error)             { return Usage{}, 0, errs.ErrUnsupported }
func sysList() ([]*Info, error)                                { return nil, errs.ErrUnsupported }
func mapped(at uintptr) (uintptr, error)                       { return 0, errs.ErrUnsupported }
func find(key Key) (*Info, error)                              { return nil, errs.ErrUnsupported }
func getError(key Key, size, flags int, err error) error       { return err }
func idError(op string, id ID, err error) error                { return err }
func attachError(id ID, addr uintptr, err error) error         { return err }
func lockError(id ID, err error) error                         { return err }
