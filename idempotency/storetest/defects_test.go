package storetest_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// bend is what a defect makes of a batch of claims.
func (v *view) bend(claims []idempotency.Claim) []idempotency.Claim {
	claims = slices.Clone(claims)
	for i := range claims {
		c := &claims[i]
		switch v.broken {
		case "claim/other-keys":
			c.Key.Hash = [32]byte{c.Key.Hash[0] & 7}
		case "claim/other-scopes":
			c.Key.Scope, c.Fingerprint = "", [32]byte{}
		case "batch/scopes":
			c.Key.Scope = claims[0].Key.Scope
		case "lease/each-its-own":
			c.Lease = claims[0].Lease
		case "expiry/each-its-own+claims":
			c.TTL = claims[0].TTL
		default:
		}
	}
	return claims
}

func (v *view) bendChange(c *idempotency.Change) *idempotency.Change {
	bent := *c
	switch v.broken {
	case "claim/other-keys":
		bent.Key.Hash = [32]byte{c.Key.Hash[0] & 7}
	case "claim/other-scopes":
		bent.Key.Scope = ""
	case "attempt/counted":
		bent.Counted = false
	case "attempt/not-counted":
		bent.Counted = true
	case "step/any-bytes":
		bent.Value = []byte(strings.ToValidUTF8(string(c.Value), "?"))
	case "output/answered":
		bent.Outputs = changed(c.Outputs, func(out *envelope.Envelope) { out.Extensions = nil })
	case "output/answered+empty":
		bent.Outputs = changed(c.Outputs, func(out *envelope.Envelope) { out.Data = append([]byte{}, out.Data...) })
	case "output/answered+order":
		bent.Outputs = slices.Clone(c.Outputs)
		slices.Reverse(bent.Outputs)
	case "output/large":
		bent.Outputs = changed(c.Outputs, func(out *envelope.Envelope) { out.Data = out.Data[:min(len(out.Data), 1<<19)] })
	default:
	}
	return &bent
}

// changed are copies of outputs.
func changed(outputs []*envelope.Envelope, change func(*envelope.Envelope)) []*envelope.Envelope {
	var all []*envelope.Envelope
	for _, out := range outputs {
		bent := *out
		change(&bent)
		all = append(all, &bent)
	}
	return all
}

// races reports whether a claim lets others in between reading and writing.
func (v *view) races(r *idempotency.Record) bool {
	switch v.broken {
	case "contention/one-acquires":
		return r.Phase == 0
	case "contention/never-two":
		return r.Phase == idempotency.Released
	case "contention/one-takes-over":
		return r.Phase == idempotency.InProgress
	default:
		return false
	}
}

// beforeClaim spoils what the rules are given.
func (v *view) beforeClaim(c *idempotency.Claim, r *idempotency.Record, e *entry) {
	same, now := r.Token == c.Token, time.Now()
	dead := r.Phase == idempotency.InProgress && !now.Before(e.until)
	if strings.HasPrefix(v.broken, "mismatch/") && r.Phase == phaseOf(v.broken) {
		r.Fingerprint = c.Fingerprint
	}
	switch v.broken {
	case "claim/second-is-busy":
		if v != e.home {
			e.until = now
		}
	case "claim/repeated":
		if same {
			r.Token = idempotency.NewToken()
		}
	case "lease/takeover":
		e.until = e.until.Add(-r.Lease / 2)
	case "lease/takeover+never":
		e.until = now.Add(r.Lease)
	case "lease/takeover-repeated":
		if same && r.Deaths > 0 {
			r.Deaths++
		}
	case "lease/is-the-holders":
		e.until = e.granted.Add(c.Lease)
	case "failure/not-redriven":
		if c.Redrive > 0 && c.Redrive == r.Redrive {
			r.Redrive--
		}
	case "output/redrive-is-done":
		if c.Redrive > r.Redrive && (r.Phase == idempotency.Completed || r.Phase == idempotency.Settled) {
			r.Phase = idempotency.FailedForGood
		}
	case "attempt/beside-deaths":
		if dead {
			r.Attempts = 0
		}
	case "step/kept-over-takeover", "crash/before-complete":
		if dead {
			r.Steps = nil
		}
	case "failure/redriven+steps":
		if r.Phase == idempotency.FailedForGood {
			r.Steps = nil
		}
	case "crash/another-body":
		if r.Phase == idempotency.Settled {
			r.Fingerprint = c.Fingerprint
		}
	case "crash/before-the-effect":
		if dead {
			r.Phase = idempotency.Settled
		}
	default:
	}
}

// afterClaim spoils what the rules have made of an acquired record.
func (v *view) afterClaim(c *idempotency.Claim, old, r *idempotency.Record, verdict *idempotency.Verdict) {
	reopened := old.Phase == idempotency.FailedForGood && verdict.State == idempotency.Acquired
	switch v.broken {
	case "claim/first-acquires":
		verdict.Attempts = 1
	case "lease/deaths":
		r.Deaths, verdict.Deaths = 0, 0
	case "lease/deaths-alone":
		if r.DeathsAlone > old.DeathsAlone {
			r.Attempts--
			verdict.Attempts--
		}
	case "failure/redriven":
		if reopened {
			r.Attempts = old.Attempts
			verdict.Attempts = old.Attempts
		}
	case "failure/redriven-repeated":
		if reopened {
			r.Phase, r.Redrive, r.Failure = idempotency.FailedForGood, c.Redrive, old.Failure
		}
	default:
	}
}

// refused spoils the verdict on a claim that acquires nothing.
func (v *view) refused(c *idempotency.Claim, verdict *idempotency.Verdict) {
	key, done := c.Key.String(), verdict.State == idempotency.Done
	if done {
		v.seen[key]++
	}
	switch v.broken {
	case "claim/until":
		verdict.Until = c.Lease
	case "claim/until+zero":
		verdict.Until = 0
	case "output/until-settled":
		if v.seen[key] > 3 {
			verdict.Outputs = nil
		}
	case "contention/one-acquires+outputs", "crash/before-publishing":
		verdict.Outputs = nil
	case "crash/in-mid-publish":
		verdict.Outputs = changed(verdict.Outputs, func(out *envelope.Envelope) { out.ID += fmt.Sprint(v.seen[key]) })
	case "crash/concurrent-duplicates":
		if verdict.State == idempotency.Busy {
			*verdict = idempotency.Verdict{State: idempotency.Done}
		}
	case "failure/kept":
		if verdict.Failure != nil {
			verdict.Failure = &idempotency.Failure{Reason: verdict.Failure.Reason, Attempts: verdict.Failure.Attempts}
		}
	default:
	}
}

// beforeChange spoils what the rules are given; done: they are not asked.
func (v *view) beforeChange(c *idempotency.Change, r *idempotency.Record, e *entry) (done bool, err error) {
	same, there := r.Token == c.Token, r.Phase != 0
	repeated := same && there && r.Phase != idempotency.InProgress
	held := r.Phase == idempotency.InProgress
	lost := v.lost[c.Key.String()]
	switch v.broken {
	case "lease/over-and-not-taken":
		if held && !time.Now().Before(e.until) {
			return true, idempotency.ErrFenced
		}
	case "attempt/release-repeated":
		if repeated && r.Phase == idempotency.Released {
			r.Phase = idempotency.InProgress
		}
	case "step/repeated":
		if _, twice := r.Steps[c.Step]; twice {
			return true, fmt.Errorf("step %q exists", c.Step)
		}
	case "output/settled-by-anyone":
		return !same && c.Op == idempotency.Settle, nil
	case "output/settle-is-for-completed":
		if held && c.Op == idempotency.Settle {
			r.Phase = idempotency.Completed
		}
	case "output/complete-repeated":
		if repeated && r.Phase == idempotency.Settled {
			return c.Op == idempotency.Complete, idempotency.ErrFenced
		}
	case "crash/complete-unanswered":
		if repeated && c.Op == idempotency.Complete {
			return true, idempotency.ErrFenced
		}
	case "crash/before-the-ack":
		return c.Op == idempotency.Settle, nil
	case "failure/repeated":
		if repeated && c.Op == idempotency.Fail {
			return true, idempotency.ErrFenced
		}
	case "fence/after-release":
		if held && r.Attempts > 0 {
			r.Token = c.Token
		}
	case "fence/after-the-winner":
		return !same && there && !held && c.Op == idempotency.Complete, nil
	case "fence/one-end":
		if repeated && c.Op == idempotency.Release {
			r.Phase = idempotency.InProgress
		}
	case "fence/one-end+complete":
		if r.Phase == idempotency.FailedForGood && c.Op == idempotency.Complete {
			r.Phase = idempotency.InProgress
		}
	case "fence/nothing-there":
		return !there, nil
	case "fence/nothing-there+made":
		if !there {
			r.Phase, r.Token = idempotency.InProgress, c.Token
		}
	case "fence/after-expiry":
		if held && e.reborn {
			r.Token = c.Token
		}
	case "fence/after-loss", "crash/lost-store":
		if lost && !there {
			r.Phase, r.Token = idempotency.InProgress, c.Token
		}
	case "crash/zombie":
		if held && c.Op == idempotency.Complete {
			r.Token = c.Token
		}
	case "fence/zombie-" + c.Op.String():
		if held {
			r.Token = c.Token
		}
	default:
	}
	return false, nil
}

// afterChange spoils what the rules have made of a record, and its times.
func (v *view) afterChange(c *idempotency.Change, old, r *idempotency.Record, was, next *entry) {
	switch v.broken {
	case "lease/extended":
		if c.Op == idempotency.Extend {
			next.until = was.until
		}
	case "lease/extended-by-its-own":
		if c.Op == idempotency.Extend {
			next.until = time.Now().Add(old.Lease)
		}
	case "lease/remember-extends":
		if c.Op == idempotency.Remember {
			next.until = was.until
		}
	case "step/kept-over-attempts":
		if c.Op == idempotency.Release {
			r.Steps = maps.Clone(r.Steps)
			delete(r.Steps, "two")
		}
	case "output/none-is-settled":
		if r.Phase == idempotency.Settled && c.Op == idempotency.Complete {
			r.Phase = idempotency.InProgress
		}
	case "output/took":
		if r.Phase == idempotency.Settled {
			r.Took = 0
		}
	case "expiry/settled":
		if r.Phase == idempotency.Settled {
			next.expires = next.expires.AddDate(1, 0, 0)
		}
	case "expiry/settled+early":
		next.expires = next.expires.Add(-c.TTL / 2)
	case "expiry/completed":
		next.expires = time.Now().Add(c.Lease)
	case "expiry/failed", "expiry/released", "crash/after-expiry":
		next.expires = next.expires.AddDate(1, 0, 0)
	case "expiry/each-its-own":
		next.expires = time.Now().Add(was.ttl)
	case "expiry/begins-anew":
		next.expires = was.expires
	case "expiry/extended-stays":
		if c.Op == idempotency.Extend {
			next.expires = was.expires
		}
	default:
	}
}
