package redisdriver

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// lookEvery is how often a reader looks for what others gave back or let lapse.
const lookEvery = time.Second

// reader fetches from streams that share one connection: all of a topic's, or on
// a Cluster one, as a command may not cross slots.
type reader struct {
	s       *source
	line    *line
	streams []*stream
	kick    chan struct{} // a Receive waits, or what is ready should be looked at
	turn    int           // the stream to begin with
	last    string        // of an ordered shard: what the group has seen
	guarded bool          // of an ordered shard: the connection watches the fence
	woken   bool          // of an ordered shard: something is there to read
	torn    bool          // of an ordered shard: a read may yet reach the server
	looked  time.Time     // for lapsed deliveries, last

	searched time.Time // for what is held without a time when it is due, last

	// Scratch, of one fetch after the other.
	spans  []int
	fields []string

	// Under the source's lock.
	unsure  bool      // we may have deliveries that we do not know of
	gen     int       // rises when something of an ordered shard is given back
	due     time.Time // when something may come again
	blocked bool
}

func (s *source) newReaders() []*reader {
	if _, cluster := s.d.client.(*redis.ClusterClient); !cluster || len(s.streams) == 1 {
		return []*reader{s.newReader(s.streams)}
	}
	var readers []*reader
	for i := range s.streams {
		readers = append(readers, s.newReader(s.streams[i:i+1]))
	}
	return readers
}

func (s *source) newReader(streams []*stream) *reader {
	return &reader{
		s: s, streams: streams, kick: make(chan struct{}, 1),
		line: &line{d: s.d, key: streams[0].name},
		// A new owner has what the old one had, and a process that is started again,
		// by a stable name, what it had before.
		unsure: s.token != "" || s.isStable(),
	}
}

// read serves Receives until the source is closed.
func (s *source) read(r *reader) {
	defer r.line.close()
	for {
		n, open := s.demand(r)
		if !open {
			return
		}
		gen := r.generation()
		list, err := r.fetch(s.life, n)
		if err != nil {
			err = r.recover(s.life, err)
		}
		s.arrive(r, list, gen)
		if err != nil {
			s.fail(err)
		}
	}
}

// demand waits for a Receive and says how much it wants of this reader. What is
// ready for too long it gives back.
func (s *source) demand(r *reader) (n int, open bool) {
	for {
		if s.closed() {
			return 0, false
		}
		n, idle := s.share()
		if n > 0 {
			return n, true
		}
		var parked <-chan time.Time
		if idle {
			parked = time.After(min(parkAfter, s.sub.Lease/4))
		}
		select {
		case <-r.kick:
		case <-s.done:
		case <-parked:
			s.park()
		}
	}
}

// share is what each reader may fetch, and whether something lies there that
// nobody receives.
func (s *source) share() (n int, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == 0 {
		return 0, len(s.ready) > 0
	}
	if len(s.ready) > 0 || s.report != nil || s.dead != nil {
		return 0, false // Receive returns with that
	}
	return max(1, s.want/len(s.readers)), false
}

// park gives back what is ready and not received.
func (s *source) park() {
	s.mu.Lock()
	var list []*delivery
	if s.want == 0 {
		list, s.ready = s.ready, nil
	}
	if s.token != "" {
		s.reread(list...)
		list = nil
	}
	s.mu.Unlock()
	s.giveUnseen(s.life, list)
}

// arrive makes deliveries ready. If something of an ordered shard was given back
// since they were asked for, it comes first, and they come again.
func (s *source) arrive(r *reader, list []*delivery, gen int) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if gen != r.gen {
		return
	}
	for _, d := range list {
		d.stream.out[d.id] = d
	}
	s.ready = append(s.ready, list...)
	signal(s.wake)
}

// fetch returns deliveries, or nothing after a while. What this member has without
// knowing comes first, then what is due again, then what is new.
func (r *reader) fetch(ctx context.Context, n int) ([]*delivery, error) {
	if r.isUnsure() {
		if err := r.seal(ctx); err != nil {
			return nil, err
		}
		list, wait, err := r.regain(ctx, n)
		if len(list) > 0 || err != nil {
			return list, err
		}
		if wait > 0 {
			r.pause(min(wait, longestBlock))
			return nil, nil
		}
	}
	if r.s.token != "" {
		return r.fetchOwned(ctx, n)
	}
	if list, err := r.look(ctx, n); len(list) > 0 || err != nil {
		return list, err
	}
	return r.readNew(ctx, n)
}

func (r *reader) isUnsure() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.unsure
}

func (r *reader) generation() int {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.gen
}

// pause waits for a while, or until something is given back or asked for.
func (r *reader) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.kick:
	case <-r.s.done:
	}
}

// block notes that the reader is about to block, and for how long it may.
func (r *reader) block() (time.Duration, bool) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed() || s.token != "" && r.unsure {
		return 0, false
	}
	wait := min(time.Until(r.due), longestBlock)
	if s.token != "" {
		wait = longestBlock
	}
	if wait < time.Millisecond {
		return 0, false
	}
	r.blocked = true
	return wait, true
}

func (r *reader) unblocked() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.blocked = false
}

// poke ends a blocking read, because something came for it by another way.
func (r *reader) poke(ctx context.Context) {
	const tries, between = 5, 2 * time.Millisecond
	for range tries {
		r.s.mu.Lock()
		blocked := r.blocked
		r.s.mu.Unlock()
		if !blocked || r.line.unblock(ctx) {
			return
		}
		pause(ctx, between) // it is on its way to block, or back
	}
}
