//go:build linux && (amd64 || arm64)

package killtest

// marker is a breakpoint: it stops a traced victim, and kills an untraced one.
func marker()
