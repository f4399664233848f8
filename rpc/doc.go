// Package rpc calls functions of other processes by name: a service has a name in the domain, its methods have names,
// and the types of their requests and replies are compared when a client first calls them.
//
// A call ends. It returns the reply, or the error that the function returned (Error), or why there is none: the
// context's, shiplap.ErrPeerGone when the process that served died or stopped serving, shiplap.ErrIncompatible when the
// types differ. Deadlines are carried over, cancelling reaches the function's context, and so does the death of the
// process that called. A function that was reached may have run although its caller got an error.
//
// Many calls may be under way over one connection; replies come in any order. A service runs a bounded number of
// functions at a time, and lets a bounded number of calls wait. The bytes go through package pipe: what it promises
// about deaths holds here.
//
// All methods of Server and Client may be called concurrently.
package rpc
