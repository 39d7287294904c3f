package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// A scope's leases are one hash: a field for each name, which tells epoch, time to
// live and end in milliseconds by the server's clock, and holder; and the last
// epoch. Epochs are the server's time in microseconds, or one more than the last:
// they rise even after the hash was deleted.
const leasePrelude = `
local key, t = KEYS[1], redis.call('TIME')
local ms, us = t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
local function read(name)
  local v = redis.call('HGET', key, 'lease:' .. name)
  if not v then return nil end
  local epoch, ttl, ends, holder = string.match(v, '^(%d+) (%d+) (%d+) (.*)$')
  if tonumber(ends) <= ms then return nil end
  return epoch, ttl, holder
end
local function write(name, epoch, ttl, holder)
  redis.call('HSET', key, 'lease:' .. name, string.format('%s %s %.0f ', epoch, ttl, ms + ttl) .. holder)
  redis.call('PEXPIRE', key, math.max(ttl, 30 * 86400000))
end
`

//nolint:gochecknoglobals // constants
var (
	acquireScript = newScript(leasePrelude + `
local name, holder, ttl = ARGV[1], ARGV[2], ARGV[3]
local epoch, _, by = read(name)
if epoch and by ~= holder then return {0, by} end
if not epoch then
  local last = tonumber(redis.call('HGET', key, 'epoch') or 0)
  epoch = string.format('%.0f', math.max(last + 1, us))
  redis.call('HSET', key, 'epoch', epoch)
end
write(name, epoch, ttl, holder)
return {1, epoch}`)

	// renewScript takes name, epoch, ttl and holder of each.
	renewScript = newScript(leasePrelude + `
local held = {}
for i = 1, #ARGV, 4 do
  local epoch, _, by = read(ARGV[i])
  local mine = epoch == ARGV[i + 1] and by == ARGV[i + 3]
  if mine then write(ARGV[i], epoch, ARGV[i + 2], by) end
  held[#held + 1] = mine and 1 or 0
end
return held`)

	releaseScript = newScript(leasePrelude + `
local epoch, _, by = read(ARGV[1])
if epoch == ARGV[2] and by == ARGV[3] then redis.call('HDEL', key, 'lease:' .. ARGV[1]) end
return 1`)

	// leasesScript also removes what has ended.
	leasesScript = newScript(leasePrelude + `
local list = {}
for _, f in ipairs(redis.call('HKEYS', key)) do
  local name = string.match(f, '^lease:(.*)$')
  if name then
    local epoch, ttl, by = read(name)
    if epoch then
      for _, v in ipairs({name, epoch, ttl, by}) do list[#list + 1] = v end
    else
      redis.call('HDEL', key, f)
    end
  end
end
return list`)
)

var _ driver.Leaser = (*Driver)(nil)

func leaseKeys(scope string) []string { return []string{companion(scope, "leases")} }

// Acquire writes the lease if nobody has it. The server's clock decides.
func (d *Driver) Acquire(ctx context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	l := driver.Lease{Scope: scope, Name: name, Holder: holder, TTL: ttl}
	if err := d.acquire(ctx, &l); err != nil {
		return driver.Lease{}, fmt.Errorf("acquire lease %q of %q: %w", name, scope, err)
	}
	return l, nil
}

func (d *Driver) acquire(ctx context.Context, l *driver.Lease) error {
	if err := d.usable(); err != nil {
		return err
	}
	if l.TTL < time.Millisecond {
		return fmt.Errorf("time to live %v: use at least 1ms", l.TTL)
	}
	reply, err := d.eval(ctx, acquireScript, leaseKeys(l.Scope), l.Name, l.Holder, l.TTL.Milliseconds()).Slice()
	if err != nil {
		return wrap(err)
	}
	if len(reply) != 2 {
		return errReply
	}
	text, _ := reply[1].(string)
	if reply[0] != int64(1) {
		return fmt.Errorf("%q has it: %w", text, driver.ErrHeld)
	}
	if l.Epoch, err = strconv.ParseUint(text, 10, 64); err != nil {
		return errReply
	}
	return nil
}

// Renew extends the leases of each scope by one script.
func (d *Driver) Renew(ctx context.Context, leases []driver.Lease) (lost []driver.Lease, err error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	scopes := map[string][]driver.Lease{}
	for _, l := range leases {
		scopes[l.Scope] = append(scopes[l.Scope], l)
	}
	for scope, list := range scopes {
		args := make([]any, 0, 4*len(list))
		for _, l := range list {
			args = append(args, l.Name, strconv.FormatUint(l.Epoch, 10), l.TTL.Milliseconds(), l.Holder)
		}
		held, err := states(d.eval(ctx, renewScript, leaseKeys(scope), args...), len(list))
		if err != nil {
			return nil, fmt.Errorf("renew leases of %q: %w", scope, wrap(err))
		}
		for i, l := range list {
			if held[i] == 0 {
				lost = append(lost, l)
			}
		}
	}
	return lost, nil
}

// Release deletes the lease if it is still held under the same epoch.
func (d *Driver) Release(ctx context.Context, l driver.Lease) error {
	if err := d.usable(); err != nil {
		return err
	}
	err := d.eval(ctx, releaseScript, leaseKeys(l.Scope), l.Name, strconv.FormatUint(l.Epoch, 10), l.Holder).Err()
	if err != nil {
		return fmt.Errorf("release lease %q of %q: %w", l.Name, l.Scope, wrap(err))
	}
	return nil
}

// Leases lists what is held by the server's clock.
func (d *Driver) Leases(ctx context.Context, scope string) ([]driver.Lease, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	texts, err := d.eval(ctx, leasesScript, leaseKeys(scope)).StringSlice()
	if err == nil && len(texts)%4 != 0 {
		err = errReply
	}
	if err != nil {
		return nil, fmt.Errorf("list leases of %q: %w", scope, wrap(err))
	}
	var leases []driver.Lease
	for ; len(texts) > 0; texts = texts[4:] {
		epoch, err1 := strconv.ParseUint(texts[1], 10, 64)
		ttl, err2 := strconv.ParseInt(texts[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("lease %q of %q: %w", strings.ToValidUTF8(texts[0], "?"), scope, err)
		}
		leases = append(leases, driver.Lease{
			Scope: scope, Name: texts[0], Holder: texts[3], Epoch: epoch, TTL: time.Duration(ttl) * time.Millisecond,
		})
	}
	return leases, nil
}
