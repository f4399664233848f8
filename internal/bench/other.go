//go:build !linux

package bench
