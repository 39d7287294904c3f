package natsstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/idempotency"
)

// read asks for the records that are not known, then for the parts that they
// name. It reads from any copy: one that lags behind shows an older revision, and
// then the write is refused.
func (c *call) read(ctx context.Context) error {
	var requests []request
	var jobs []*job
	for i := range c.jobs {
		if j := &c.jobs[i]; !j.done && !j.have {
			requests, jobs = append(requests, c.s.get(j.subject)), append(jobs, j)
		}
	}
	c.s.wire.exchange(ctx, requests)
	now := time.Now()
	var torn []*job
	for i, j := range jobs {
		k, err := found(&requests[i])
		if err != nil {
			if err := c.again(j, err); err != nil {
				return err
			}
			continue
		}
		k.seen = c.s.cache.since(j.key, k.revision, now)
		j.known, j.have, j.guess = k, true, false
		if c.needsParts(&k) {
			torn = append(torn, j)
			continue
		}
		c.s.cache.note(j.key, &k)
	}
	return c.readParts(ctx, torn)
}

// get asks for what was written to a subject last.
func (s *Store) get(subject string) request {
	return request{subject: s.api + "DIRECT.GET." + s.bucket.name + "." + subject}
}

// found reads the answer to get. What was deleted has a revision and no record.
func found(r *request) (k known, err error) {
	if r.err != nil {
		return k, r.err
	}
	switch status := r.reply.Header.Get("Status"); status {
	case "":
	case "404":
		return k, nil
	case "503":
		return k, errNoStream
	default:
		return k, fmt.Errorf("read a record: the server answers %s %s", status, r.reply.Header.Get("Description"))
	}
	if k.revision, err = strconv.ParseUint(r.reply.Header.Get("Nats-Sequence"), 10, 64); err != nil {
		return k, fmt.Errorf("read a record: the server tells no revision: %w", err)
	}
	if isMarker(r.reply.Header) {
		return k, nil
	}
	k.owner = r.reply.Header.Get(ownerHeader)
	if k.parts, k.broken = parseParts(r.reply.Header.Get(partsHeader)); k.broken == nil {
		k.broken = k.record.UnmarshalBinary(r.reply.Data)
	}
	return k, nil
}

// isMarker recognises what stands for something that was deleted.
func isMarker(h nats.Header) bool {
	op := h.Get("KV-Operation")
	return op == "DEL" || op == "PURGE" || h.Get("Nats-Marker-Reason") != ""
}

// needsParts reports whether a record is of use without its parts: one that is
// settled next is.
func (c *call) needsParts(k *known) bool {
	return !k.parts.isZero() && k.broken == nil && (c.all || k.record.Phase != idempotency.Completed)
}

func (c *call) readParts(ctx context.Context, jobs []*job) error {
	var requests []request
	for _, j := range jobs {
		for i := range j.known.parts.count {
			requests = append(requests, c.s.get(j.known.parts.subject(j.subject, i)))
		}
	}
	c.s.wire.exchange(ctx, requests)
	for _, j := range jobs {
		n := j.known.parts.count
		doc, err := j.known.parts.join(requests[:n])
		requests = requests[n:]
		if err := c.complete(j, doc, err); err != nil {
			return err
		}
	}
	return nil
}

// complete adds what the parts hold to a record.
func (c *call) complete(j *job, doc []byte, err error) error {
	switch {
	case err == nil:
		j.known.broken = j.known.record.UnmarshalBinary(doc)
	case !errors.Is(err, errParts):
		return c.again(j, err)
	default:
		if j.torn++; j.torn < mostTorn {
			j.have, c.last = false, err
			return nil
		}
		j.known.broken = fmt.Errorf("%w: %w", err, idempotency.ErrUnreadable)
	}
	c.s.cache.note(j.key, &j.known)
	return nil
}
