// Package layouttest holds docs/layout.md to the code: its tests read the tables of that page and
// compare them with the bytes of real objects, read stores by a parser of their own, and run C clients that
// were written from that page alone (testdata/*.c: queues, stores, topics, channels) against the Go packages, in
// both directions and across SIGKILLs.
package layouttest
