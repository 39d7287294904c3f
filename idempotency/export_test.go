package idempotency

// Places counts those in the order of records that are done, left ones included.
func Places(m *Memory) int {
	n := 0
	for i := range m.shards {
		n += m.shards[i].graves.len()
	}
	return n
}
