// Package segment makes, publishes, opens and removes the files that shared memory lies in. It
// promises that nobody ever sees a half-made file (D7), that the memory of a file is reserved before
// anybody maps it (P5), and that neither symbolic links nor foreign or openly writable directories
// are trusted (D6, D9).
package segment
