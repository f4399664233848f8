// Package layouttest holds docs/layout.md to the code: its tests read the tables of that page and
// compare them with the bytes of real objects, and run a C client that was written from that page
// alone (testdata/client.c) against the Go packages, in both directions and across SIGKILLs.
package layouttest
