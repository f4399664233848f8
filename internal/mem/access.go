package mem

// Access is what a hooked operation is about to do to a word (builds with the tag "explore").
type Access uint8

const (
	AccessLoad Access = iota
	AccessStore
	AccessUpdate
)
