module github.com/shiplap-ipc/shiplap/bench

go 1.26.0

require (
	github.com/shiplap-ipc/shiplap v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/fxamacker/cbor/v2 v2.9.6 // indirect
	github.com/x448/float16 v0.8.4 // indirect
)

replace github.com/shiplap-ipc/shiplap => ../
