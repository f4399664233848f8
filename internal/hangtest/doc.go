// Package hangtest gives tests processes that hang between fork and exec: there a child has copies of all descriptors of
// its parent, and so its parent's locks. It promises that such a child stays there until it is let go.
package hangtest
