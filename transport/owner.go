package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// owner gives each shard of an ordered subscription one reader among the members
// of the group. Every member holds a lease under its own name, and one for each
// shard that it reads; so all see how many they are, take no more than an even
// share, and let surplus go once its lanes have drained. A member that dies loses
// its leases, and others take its shards.
type owner struct {
	s      *subscription
	leaser driver.Leaser
	scope  string
	again  chan struct{} // look at once; one signal is kept
	shards int           // of the topic; run's own

	// Under the subscription's lock.
	member  driver.Lease
	renewed time.Time // when the leases were last known to be held
	failing bool      // the leases could not be balanced
}

const (
	memberPrefix = "member-"
	shardPrefix  = "shard-"
)

func newOwner(s *subscription) (*owner, error) {
	leaser, ok := s.t.driver.(driver.Leaser)
	if !ok {
		return nil, s.t.unsupported("keep order: its driver gives no leases on shards")
	}
	prefix := s.t.options.Prefix
	return &owner{s: s, leaser: leaser, again: make(chan struct{}, 1), scope: prefix + s.topic + "/" + prefix + s.o.Group}, nil
}

// run takes and gives back shards until ctx ends; the drain does the rest.
func (o *owner) run(ctx context.Context) {
	retry := backoff{}
	for ctx.Err() == nil {
		pause, err := o.balance(ctx)
		if err != nil {
			if ctx.Err() == nil {
				o.fails(true)
				o.s.waiting("shards: " + err.Error())
			}
			retry.wait(ctx.Done())
			continue
		}
		o.fails(false)
		retry = backoff{}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-o.again:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (o *owner) fails(failing bool) {
	o.s.mu.Lock()
	defer o.s.unlock()
	o.failing = failing
}

// balance brings this member's shards to its share, and says when to look again.
func (o *owner) balance(ctx context.Context) (time.Duration, error) {
	if err := o.join(ctx); err != nil {
		return 0, err
	}
	leases, err := o.leaser.Leases(ctx, o.scope)
	if err != nil {
		return 0, err
	}
	share, held := o.share(leases)
	mine := o.mine(held)
	for len(mine) > share {
		src := mine[len(mine)-1]
		mine = mine[:len(mine)-1]
		o.s.group.Go(func() { o.s.release(src) })
	}
	if err := o.take(ctx, share-len(mine), held); err != nil {
		return 0, err
	}
	has := len(o.mine(held))
	if has == 0 {
		o.s.standby(fmt.Sprintf("standby: other members own the %d shards", o.shards))
	}
	if has < share || has == 0 { // something may come free
		return min(o.s.o.Lease/3, time.Second), nil
	}
	return min(o.s.o.Lease/3, 5*time.Second), nil
}

// join learns the number of shards and takes the member's own lease.
func (o *owner) join(ctx context.Context) error {
	s := o.s
	if o.shards == 0 {
		topic, err := s.t.EnsureTopic(ctx, driver.Topic{Name: s.topic})
		if err != nil {
			return err
		}
		o.shards = max(1, topic.Shards)
	}
	if o.membership() != (driver.Lease{}) {
		return nil
	}
	began := time.Now()
	lease, err := o.leaser.Acquire(ctx, o.scope, memberPrefix+s.o.Member, s.o.Member, s.o.Lease)
	if err != nil {
		return fmt.Errorf("join group %q: %w", s.o.Group, err)
	}
	s.mu.Lock()
	defer s.unlock()
	o.member, o.renewed = lease, began
	return nil
}

func (o *owner) membership() driver.Lease {
	o.s.mu.Lock()
	defer o.s.unlock()
	return o.member
}

// share is how many shards this member should have, and who holds which.
func (o *owner) share(leases []driver.Lease) (int, map[int]string) {
	members := []string{o.s.o.Member}
	held := map[int]string{}
	for _, l := range leases {
		if strings.HasPrefix(l.Name, memberPrefix) {
			members = append(members, l.Holder)
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(l.Name, shardPrefix)); err == nil {
			held[n] = l.Holder
		}
	}
	slices.Sort(members)
	members = slices.Compact(members)
	share := o.shards / len(members)
	if slices.Index(members, o.s.o.Member) < o.shards%len(members) {
		share++
	}
	return share, held
}

// mine are the sources that this member reads and does not give up. It notes in
// held all that it reads, whatever the broker says: a shard is not opened twice.
func (o *owner) mine(held map[int]string) []*source {
	o.s.mu.Lock()
	defer o.s.unlock()
	var mine []*source
	for _, src := range o.s.sources {
		held[src.shard] = o.s.o.Member
		if !src.closing {
			mine = append(mine, src)
		}
	}
	slices.SortFunc(mine, func(a, b *source) int { return cmp.Compare(a.shard, b.shard) })
	return mine
}

// take acquires up to n shards that nobody holds.
func (o *owner) take(ctx context.Context, n int, held map[int]string) error {
	for shard := 0; shard < o.shards && n > 0; shard++ {
		if held[shard] != "" {
			continue
		}
		lease, err := o.leaser.Acquire(ctx, o.scope, shardPrefix+strconv.Itoa(shard), o.s.o.Member, o.s.o.Lease)
		if errors.Is(err, driver.ErrHeld) {
			continue
		}
		if err != nil {
			return fmt.Errorf("take shard %d: %w", shard, err)
		}
		if err := o.read(ctx, shard, lease); err != nil {
			return err
		}
		n--
	}
	return nil
}

// read opens a shard that was just acquired.
func (o *owner) read(ctx context.Context, shard int, lease driver.Lease) error {
	src := o.s.newSource(ctx, shard)
	src.lease = lease
	if err := src.open(ctx); err != nil {
		src.stop()
		o.give(lease)
		return fmt.Errorf("read shard %d: %w", shard, err)
	}
	src.launch()
	return nil
}

// give frees a lease; one that cannot be freed ends by itself.
func (o *owner) give(lease driver.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.s.base), closeTimeout)
	defer cancel()
	if err := o.leaser.Release(ctx, lease); err != nil {
		o.s.t.log.Warn("lease not released: it ends by itself", "name", lease.Name, "scope", lease.Scope, "error", err)
	}
}

// renew keeps the leases of the member and its shards. Those that are lost, or
// that nobody could renew for a whole lease, take their deliveries with them.
func (o *owner) renew(ctx context.Context) {
	s := o.s
	began := time.Now()
	s.mu.Lock()
	sources := slices.Clone(s.sources)
	leases := make([]driver.Lease, 0, len(sources)+1)
	if o.member != (driver.Lease{}) {
		leases = append(leases, o.member)
	}
	for _, src := range sources {
		leases = append(leases, src.lease)
	}
	last := o.renewed
	s.unlock()
	if len(leases) == 0 {
		return
	}
	lost, err := o.leaser.Renew(ctx, leases)
	if err != nil {
		if !s.overdue(last) {
			return
		}
		lost = leases
	}
	s.mu.Lock()
	if err == nil {
		o.renewed = began
	}
	if slices.Contains(lost, o.member) {
		o.member = driver.Lease{}
	}
	s.unlock()
	for _, src := range sources {
		if slices.Contains(lost, src.lease) {
			s.group.Go(func() { s.replaceSource(src, errShardLost) })
		}
	}
}

// leave frees the member's own lease, after its shards.
func (o *owner) leave() {
	if lease := o.membership(); lease != (driver.Lease{}) {
		o.give(lease)
	}
}
