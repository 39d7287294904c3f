package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// readSize is how much is read at a time.
	readSize = 64 << 10
	// queueSize is how many reads may be on their way in one direction, which is
	// what lets latency and throughput be independent of each other.
	queueSize = 1024
)

// connection is one client's, and the one to the server that belongs to it.
type connection struct {
	proxy          *Proxy
	client, server net.Conn

	mu      sync.Mutex
	dialect dialect          // nil: nobody knows what the bytes say
	awaited map[string]*trap // by the id of the request whose reply it waits for

	once sync.Once
	gone chan struct{} // closed by reset
}

// parcel is bytes on their way.
type parcel struct {
	bytes []byte
	due   time.Time
	last  bool // the sender has closed its side
	cut   bool // the connection ends behind the bytes
}

// run forwards in both directions until both are closed.
func (c *connection) run() {
	var group sync.WaitGroup
	for _, f := range []*flow{
		{connection: c, from: c.client, to: c.server, read: c.requests, held: func(f Faults) bool { return f.HoldRequests }},
		{connection: c, from: c.server, to: c.client, read: c.replies, held: func(f Faults) bool { return f.HoldReplies }},
	} {
		queue := make(chan parcel, queueSize)
		group.Go(func() { f.fill(queue) })
		group.Go(func() { f.drain(queue) })
	}
	group.Wait()
	_, _ = c.client.Close(), c.server.Close()
}

// reset ends both sides at once.
func (c *connection) reset() {
	c.once.Do(func() {
		close(c.gone)
		reset(c.client)
		reset(c.server)
	})
}

// flow is one direction of a connection.
type flow struct {
	*connection

	from, to net.Conn
	read     func(pending []byte) (forward, rest []byte, cut bool)
	held     func(Faults) bool
}

// fill reads and notes when the bytes may arrive.
func (f *flow) fill(queue chan<- parcel) {
	defer close(queue)
	var pending []byte
	for {
		buffer := make([]byte, readSize)
		n, err := f.from.Read(buffer)
		faults, _ := f.proxy.now()
		p := parcel{due: time.Now().Add(faults.Latency), last: err != nil}
		p.bytes, pending, p.cut = f.read(append(pending, buffer[:n]...))
		if p.last {
			p.bytes = append(p.bytes, pending...)
		}
		select {
		case queue <- p:
		case <-f.gone:
			return
		}
		if err != nil || p.cut {
			if !p.cut && !errors.Is(err, io.EOF) {
				f.reset()
			}
			return
		}
	}
}

// drain writes what is due, unless it is held back.
func (f *flow) drain(queue <-chan parcel) {
	for p := range queue {
		if !f.wait(p.due) || !f.write(p.bytes) {
			f.reset()
			return
		}
		switch {
		case p.cut:
			f.reset()
			return
		case p.last:
			closeWrite(f.to)
		}
	}
}

// wait returns when the time has come and nothing is held; false: the connection
// is gone.
func (f *flow) wait(due time.Time) bool {
	for {
		faults, changed := f.proxy.now()
		var over <-chan time.Time
		if !f.held(faults) {
			left := time.Until(due)
			if left <= 0 {
				return true
			}
			over = time.After(left)
		}
		select {
		case <-over:
		case <-changed:
		case <-f.gone:
			return false
		}
	}
}

func (f *flow) write(b []byte) bool {
	for len(b) > 0 {
		faults, _ := f.proxy.now()
		n := len(b)
		if faults.Slice > 0 {
			n = min(n, faults.Slice)
		}
		if _, err := f.to.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// closeWrite tells the receiver that no more comes; it may still answer.
func closeWrite(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // it may be gone
	}
}
