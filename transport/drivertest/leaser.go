package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func leaserCases() []Case {
	needs := []Need{needLeaser}
	return []Case{
		{
			Name:     "leaser/acquire",
			Sentence: "Acquire takes the lease name within scope for holder if it is free.",
			Needs:    needs,
			run:      leaserAcquire,
		},
		{
			Name:     "leaser/held",
			Sentence: "Acquire returns ErrHeld if another has it.",
			Needs:    needs,
			run:      leaserHeld,
		},
		{
			Name:     "leaser/own-again",
			Sentence: "Acquire takes the lease if it is already holder's.",
			Needs:    needs,
			run:      leaserOwnAgain,
		},
		{
			Name:     "leaser/one-winner",
			Sentence: "Leaser gives named leases by compare-and-set: of many that ask at once, one gets it.",
			Needs:    needs,
			run:      leaserOneWinner,
		},
		{
			Name:     "leaser/epoch-rises",
			Sentence: "Acquire returns an epoch greater than that of any earlier holder.",
			Needs:    needs,
			run:      leaserEpochRises,
		},
		{
			Name:     "leaser/expires",
			Sentence: "A lease that is not renewed for its ttl is free, and its next epoch is greater.",
			Needs:    needs,
			run:      leaserExpires,
		},
		{
			Name:     "leaser/renewed",
			Sentence: "Renew extends leases by their ttl.",
			Needs:    needs,
			run:      leaserRenewed,
		},
		{
			Name:     "leaser/renew-tells-the-lost",
			Sentence: "Renew returns those that are lost.",
			Needs:    needs,
			run:      leaserRenewLost,
		},
		{
			Name:     "leaser/renew-takes-nothing-back",
			Sentence: "Renew extends leases, and takes none back from another holder.",
			Needs:    needs,
			run:      leaserRenewTakesNothing,
		},
		{
			Name:     "leaser/release",
			Sentence: "Release frees a lease.",
			Needs:    needs,
			run:      leaserRelease,
		},
		{
			Name:     "leaser/release-of-an-old-epoch",
			Sentence: "Release frees a lease if it is still held under the same epoch.",
			Needs:    needs,
			run:      leaserReleaseOld,
		},
		{
			Name:     "leaser/list",
			Sentence: "Leases lists those of scope that are held, by anyone.",
			Needs:    needs,
			run:      leaserList,
		},
		{
			Name:     "leaser/list-drops-expired",
			Sentence: "Leases lists those that are held: an expired one is free.",
			Needs:    needs,
			run:      leaserListExpired,
		},
		{
			Name:     "leaser/odd-names",
			Sentence: "A lease is named by scope and name, whatever their characters.",
			Needs:    needs,
			run:      leaserOddNames,
		},
	}
}

// leases is the driver's Leaser on a scope of the case's own.
type leases struct {
	*env

	l     driver.Leaser
	scope string
}

func (e *env) leaser() leases {
	return leases{env: e, l: e.d.(driver.Leaser), scope: e.unique("scope")}
}

func (l leases) acquire(name, holder string, ttl time.Duration) driver.Lease {
	l.Helper()
	got, err := l.l.Acquire(l.ctx(), l.scope, name, holder, ttl)
	l.mustf(err, "Acquire of %s for %s", name, holder)
	return got
}

// long is a lease that does not end within the case.
func (l leases) long(name, holder string) driver.Lease {
	l.Helper()
	return l.acquire(name, holder, l.h.never())
}

func (l leases) wantHeld(name, holder string) {
	l.Helper()
	_, err := l.l.Acquire(l.ctx(), l.scope, name, holder, l.h.never())
	l.wantIs(err, driver.ErrHeld, "Acquire of another's lease")
}

// awaits acquires as soon as the lease is free.
func (l leases) awaits(name, holder string) driver.Lease {
	l.Helper()
	var got driver.Lease
	l.eventually(name+" becomes free", func(ctx context.Context) bool {
		lease, err := l.l.Acquire(ctx, l.scope, name, holder, l.h.never())
		if errors.Is(err, driver.ErrHeld) {
			return false
		}
		l.mustf(err, "Acquire of %s for %s", name, holder)
		got = lease
		return true
	})
	return got
}

func (l leases) renew(held ...driver.Lease) []driver.Lease {
	l.Helper()
	lost, err := l.l.Renew(l.ctx(), held)
	l.mustf(err, "Renew")
	return lost
}

func (l leases) release(lease driver.Lease) {
	l.Helper()
	l.mustf(l.l.Release(l.ctx(), lease), "Release of %s", lease.Name)
}

func (l leases) list() []driver.Lease {
	l.Helper()
	all, err := l.l.Leases(l.ctx(), l.scope)
	l.mustf(err, "Leases")
	return all
}

func leaserAcquire(e *env) {
	l := e.leaser()
	got := l.long("a", "me")
	want := driver.Lease{Scope: l.scope, Name: "a", Holder: "me", Epoch: got.Epoch, TTL: e.h.never()}
	if got != want || got.Epoch == 0 {
		e.Errorf("Acquire returned %+v, want %+v with an epoch", got, want)
	}
}

func leaserHeld(e *env) {
	l := e.leaser()
	l.long("a", "me")
	l.wantHeld("a", "you")
	l.long("b", "you") // another name is free
}

func leaserOwnAgain(e *env) {
	l := e.leaser()
	first := l.long("a", "me")
	again := l.long("a", "me")
	if again.Epoch < first.Epoch {
		e.Errorf("epoch is %d after %d", again.Epoch, first.Epoch)
	}
	if lost := l.renew(again); len(lost) > 0 {
		e.Errorf("the lease that was acquired again is said to be lost")
	}
	l.wantHeld("a", "you")
}

func leaserOneWinner(e *env) {
	const contenders = 8
	l := e.leaser()
	ctx := e.ctx()
	errs := make(chan error, contenders)
	for i := range contenders {
		go func() {
			_, err := l.l.Acquire(ctx, l.scope, "a", fmt.Sprintf("holder-%d", i), e.h.never())
			errs <- err
		}()
	}
	winners := 0
	for range contenders {
		err := <-errs
		if err == nil {
			winners++
			continue
		}
		e.wantIs(err, driver.ErrHeld, "Acquire of another's lease")
	}
	if winners != 1 {
		e.Errorf("%d of %d holders have the lease, want one", winners, contenders)
	}
}

func leaserEpochRises(e *env) {
	l := e.leaser()
	var last uint64
	for i := range 5 {
		got := l.long("a", fmt.Sprintf("holder-%d", i%2))
		if got.Epoch <= last {
			e.Errorf("epoch is %d after %d of an earlier holder", got.Epoch, last)
		}
		last = got.Epoch
		l.release(got)
	}
}

func leaserExpires(e *env) {
	l := e.leaser()
	start := time.Now()
	mine := l.acquire("a", "me", e.h.Lease)
	l.wantHeld("a", "you")
	theirs := l.awaits("a", "you")
	e.wantNotBefore(start, e.h.Lease)
	if theirs.Epoch <= mine.Epoch {
		e.Errorf("epoch is %d after %d of the holder whose lease expired", theirs.Epoch, mine.Epoch)
	}
}

func leaserRenewed(e *env) {
	l := e.leaser()
	mine := l.acquire("a", "me", e.h.Lease)
	until := time.Now().Add(3 * e.h.Lease)
	ctx := e.ctx()
	for time.Now().Before(until) && pause(ctx, e.h.Lease/4) {
		if lost := l.renew(mine); len(lost) > 0 {
			e.Fatalf("Renew in time says that the lease is lost")
		}
		l.wantHeld("a", "you")
	}
	l.awaits("a", "you") // once it is not renewed
}

// overtaken lets mine expire, and you take it.
func (l leases) overtaken() (mine, theirs driver.Lease) {
	l.Helper()
	mine = l.acquire("a", "me", l.h.Lease)
	return mine, l.awaits("a", "you")
}

func leaserRenewLost(e *env) {
	l := e.leaser()
	kept := l.long("b", "me")
	mine, _ := l.overtaken()
	if lost := l.renew(kept, mine); !slices.Equal(lost, []driver.Lease{mine}) {
		e.Errorf("Renew says that %+v are lost, want %+v", lost, mine)
	}
}

func leaserRenewTakesNothing(e *env) {
	l := e.leaser()
	mine, theirs := l.overtaken()
	l.renew(mine)
	if got := l.list(); !slices.Equal(got, []driver.Lease{theirs}) {
		e.Errorf("after Renew of the old holder Leases lists %+v, want %+v", got, theirs)
	}
	if lost := l.renew(theirs); len(lost) > 0 {
		e.Errorf("Renew of the old holder took the lease from the new one")
	}
	l.wantHeld("a", "me")
}

func leaserRelease(e *env) {
	l := e.leaser()
	mine := l.long("a", "me")
	l.release(mine)
	l.long("a", "you")
	if lost := l.renew(mine); len(lost) != 1 {
		e.Errorf("Renew of a released lease says that %+v are lost, want it", lost)
	}
}

func leaserReleaseOld(e *env) {
	l := e.leaser()
	mine, theirs := l.overtaken()
	if err := l.l.Release(e.ctx(), mine); err != nil {
		e.Logf("Release of a lost lease: %v", err)
	}
	l.wantHeld("a", "me")
	if lost := l.renew(theirs); len(lost) > 0 {
		e.Errorf("Release of an old epoch freed the new holder's lease")
	}
}

func leaserList(e *env) {
	l, other := e.leaser(), e.leaser()
	a, b, c := l.long("a", "me"), l.long("b", "you"), l.long("c", "me")
	other.long("d", "me")
	l.release(c)
	got := l.list()
	slices.SortFunc(got, func(x, y driver.Lease) int { return int(x.Name[0]) - int(y.Name[0]) })
	if !slices.Equal(got, []driver.Lease{a, b}) {
		e.Errorf("Leases lists\n%+v\nwant\n%+v", got, []driver.Lease{a, b})
	}
	if empty := e.leaser().list(); len(empty) > 0 {
		e.Errorf("Leases of a scope that nobody used lists %+v", empty)
	}
}

func leaserListExpired(e *env) {
	l := e.leaser()
	l.acquire("a", "me", e.h.Lease)
	if got := l.list(); len(got) != 1 {
		e.Errorf("Leases lists %+v, want the one that is held", got)
	}
	e.eventually("the expired lease leaves the list", func(context.Context) bool { return len(l.list()) == 0 })
}

func leaserOddNames(e *env) {
	l := e.leaser()
	names := []string{"a/b", "a.b", "a b", "A.B", "*", ">", "ключ", "a%2Eb", "0"}
	for i, name := range names {
		l.long(name, "holder "+strconv.Itoa(i)+"/ü")
	}
	var got []string
	for _, lease := range l.list() {
		got = append(got, lease.Name)
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		e.Errorf("Leases lists the names %q, want %q", got, names)
	}
	l.wantHeld("a/b", "another")
}
