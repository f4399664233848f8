// Package object is one named object in a domain: how it is born whole (D7), opened with suspicion
// (D9), removed so that everybody learns of it (D10), swept when its last user is gone, and unmapped
// only when nobody is inside (D11). What lies behind the header page is the business of its kind.
package object
