// Package peertest gives tests other processes of their domain. A peer is the test binary, executed again: it joins the domain
// of the test, plays one of the binary's [Roles], reports by lines on stdout, and hears lines on stdin.
//
//	var roles = peertest.Roles[int]{"hold": hold}
//
//	func TestMain(m *testing.M) {
//		roles.Run(nil)
//		leaktest.Main(m)
//	}
//
//	func hold(d *shiplap.Domain, arg int) error {
//		…
//		peertest.Say("holding")
//		<-peertest.StdinEnds()
//		…
//	}
//
//	func TestHolderKilled(t *testing.T) {
//		…
//		p := peertest.Start(t, d, "hold", 1)
//		p.Says("holding")
//		p.Kill()
//		…
//	}
package peertest
