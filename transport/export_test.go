package transport

// Slots are those of the window that are taken, and those that fetches asked for,
// of all subscriptions.
func Slots(t *Transport) (taken, asked int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.subs {
		s.mu.Lock()
		taken += s.used
		for _, src := range s.sources {
			asked += src.asked
		}
		s.mu.Unlock()
	}
	return taken, asked
}
