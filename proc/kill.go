package proc

// Kill kills all processes at once, with everything that descends from them, and returns when that is done. It may be called while others
// wait for processes to stop. Nothing can be started afterwards: Close is what remains to be called.
func (m *Manager) Kill() {
	m.mu.Lock()
	m.killed = true
	all := m.order
	for _, p := range all {
		p.halt()
	}
	m.mu.Unlock()
	m.guardMu.Lock()
	if m.guard != nil {
		m.guard.close()
	}
	m.guardMu.Unlock()
	for _, p := range all {
		<-p.halt()
	}
}
