package sqlstore

import "strings"

// statements are the store's, with its tables' names filled in.
type statements struct {
	version, lock                     string
	load, loadLocked, save            string
	begin, update, reread             string // PostgreSQL: whole batches
	purge, count, evict               string
	insert, insertKeyed, waiting, lag string
	lead, resign                      string
}

func newStatements(d Dialect, o *Options) statements {
	text := statements{
		version: `select version from {schema} where one = 1`,
		load:    `select ` + columns + `, lease_until - {now}, expires - {now} from {records} where scope = $1 and hash = $2`,
		save: `insert into {records} (scope, hash, ` + columns + `, lease_until, expires)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, {now} + $6, {now} + $18)
			on conflict (scope, hash) do update set ` + allExcluded(columns+`, lease_until, expires`),
		count: `select count(*) from {records}`,

		insert:  `insert into {outbox} (ordered_by, topic, doc, created) values ($1, $2, $3, {now})`,
		waiting: `select id, ordered_by, doc from {outbox} where id > $1 order by id limit $2`,
		lag:     `select count(*), coalesce({now} - min(created), 0) from {outbox}`,
		lead: `insert into {relay} as held (name, token, lease_until) values ('outbox', $1, {now} + $2)
			on conflict (name) do update set token = excluded.token, lease_until = excluded.lease_until
			where held.token = excluded.token or held.lease_until <= {now}`,
		resign: `update {relay} set lease_until = 0 where name = 'outbox' and token = $1`,
	}
	text.loadLocked = text.load
	if d == Postgres {
		text.postgres()
	} else {
		text.sqlite()
	}
	for _, t := range []*string{
		&text.version, &text.lock, &text.load, &text.loadLocked, &text.save, &text.begin, &text.update, &text.reread,
		&text.purge, &text.count, &text.evict,
		&text.insert, &text.insertKeyed, &text.waiting, &text.lag, &text.lead, &text.resign,
	} {
		*t = expand(d, o, *t)
	}
	return text
}

func (t *statements) sqlite() {
	t.lock = `delete from {relay} where 0`
	t.purge = `delete from {records} where rowid in (select rowid from {records} where expires <= {now} order by expires limit $1)`
	t.evict = `delete from {records} where rowid in (select rowid from {records} where phase in (4, 5) order by expires limit $1)`
	t.insertKeyed = t.insert
}

// postgres: what locks several records locks them in the order of their keys, or
// two batches would wait for each other.
func (t *statements) postgres() {
	t.loadLocked = t.load + ` for update`
	t.begin = beginText
	t.update = updateText
	t.reread = `select c.n, ` + ofRecord + `, r.lease_until - {now}, r.expires - {now}
		from unnest($1::text[], $2::bytea[]) with ordinality as c (scope, hash, n) join {records} r using (scope, hash)`
	t.purge = `delete from {records} where (scope, hash) in
		(select scope, hash from {records} where expires <= {now} order by expires limit $1 for update skip locked)`
	t.evict = `delete from {records} where (scope, hash) in
		(select scope, hash from {records} where phase in (4, 5) order by expires limit $1 for update skip locked)`
	// The row gets its number when the lock is held: see Publish.
	t.insertKeyed = `insert into {outbox} (ordered_by, topic, doc, created)
		select $1::text, $2::text, $3::bytea, {now} from (select pg_advisory_xact_lock($4::bigint)) as ordered`
}

// beginText is [idempotency.Record.Begin] for a batch whose keys differ. It
// answers rows of records that it acquired (true), and of those that it did not,
// as they were when it began: those are looked at again by the rules in Go, and
// begun once more where somebody else changed them meanwhile.
const beginText = `with c as (
	select scope, hash, fingerprint, token, lease, ttl, redrive, alone, n
	from unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[], $7::int[], $8::int[])
		with ordinality as c (scope, hash, fingerprint, token, lease, ttl, redrive, alone, n)
), begun as (
	insert into {records} as r (scope, hash, ` + columns + `, lease_until, expires)
	select scope, hash, 1, fingerprint, token, lease, alone, 0, 0, 0, redrive, 0, {empty}, {empty}, '', '', 0,
		{now} + lease, {now} + ttl
	from c order by scope, hash
	on conflict (scope, hash) do update set
		phase = 1, fingerprint = excluded.fingerprint, token = excluded.token, lease = excluded.lease, alone = excluded.alone,
		attempts = case when r.expires <= {now} or r.phase = 5 then 0 else r.attempts + ` + died + ` * r.alone end,
		deaths = case when r.expires <= {now} or r.phase = 5 then 0 else r.deaths + ` + died + ` end,
		deaths_alone = case when r.expires <= {now} or r.phase = 5 then 0 else r.deaths_alone + ` + died + ` * r.alone end,
		redrive = case when r.expires <= {now} then excluded.redrive else greatest(r.redrive, excluded.redrive) end,
		took = 0, outputs = {empty}, failure = '', failure_message = '', failure_attempts = 0,
		steps = case when r.expires <= {now} then {empty} else r.steps end,
		lease_until = excluded.lease_until, expires = excluded.expires
	where r.expires <= {now} or length(r.token) = 16 and r.fingerprint = excluded.fingerprint and (
		r.phase = 2
		or r.phase = 1 and (r.token = excluded.token or r.lease_until <= {now})
		or r.phase = 5 and excluded.redrive > r.redrive)
	returning r.scope, r.hash, ` + ofRecord + `, r.lease_until, r.expires
)
select c.n, true, ` + ofBegun + `, b.lease_until - {now}, b.expires - {now} from begun b join c using (scope, hash)
union all
select c.n, false, ` + ofRecord + `, r.lease_until - {now}, r.expires - {now} from c join {records} r using (scope, hash)
where not exists (select from begun b where b.scope = c.scope and b.hash = c.hash)`

// died is 1 for a record whose last attempt ended without a word.
const died = `(case when r.phase = 1 and r.token <> excluded.token then 1 else 0 end)`

// updateText is [idempotency.Record.Apply] for a batch whose keys differ. It
// answers the numbers of changes that were made.
const updateText = `with c as (
	select scope, hash, token, op, lease, ttl, step, outputs, took, counted, failure, failure_message, failure_attempts, n
	from unnest($1::text[], $2::bytea[], $3::bytea[], $4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[],
			$9::bigint[], $10::int[], $11::text[], $12::text[], $13::int[])
		with ordinality as c (scope, hash, token, op, lease, ttl, step, outputs, took, counted,
			failure, failure_message, failure_attempts, n)
), held as (
	select r.scope, r.hash from {records} r join c using (scope, hash) order by r.scope, r.hash for update of r
), done as (
	select c.scope, c.hash, c.token, c.op, c.lease, c.ttl, c.step, c.outputs, c.took, c.counted,
		c.failure, c.failure_message, c.failure_attempts, c.n,
		c.op = 4 or c.op = 3 and length(c.outputs) = 0 as settled
	from c join held using (scope, hash)
)
update {records} r set
	phase = case when c.settled then 4 when c.op = 3 then 3 when c.op = 5 then 2 when c.op = 6 then 5 else 1 end,
	lease = case when c.op in (1, 2) then c.lease else r.lease end,
	lease_until = case when c.op in (1, 2) then {now} + c.lease else r.lease_until end,
	expires = {now} + c.ttl,
	alone = case when c.settled then 0 else r.alone end,
	attempts = case when c.settled then 0 when c.op = 5 then r.attempts + c.counted else r.attempts end,
	deaths = case when c.settled then 0 else r.deaths end,
	deaths_alone = case when c.settled then 0 else r.deaths_alone end,
	took = case when c.op = 3 then c.took else r.took end,
	steps = case when c.settled then {empty} when c.op = 2 then r.steps || c.step else r.steps end,
	outputs = case when c.op = 3 then c.outputs when c.settled then {empty} else r.outputs end,
	failure = c.failure, failure_message = c.failure_message, failure_attempts = c.failure_attempts
from done c
where r.scope = c.scope and r.hash = c.hash and r.expires > {now}
	and (c.op <> 4 and r.phase = 1 and r.token = c.token or c.op = 4 and r.phase = 3)
returning c.n`

// allExcluded sets each column of a list to the value that was to be inserted.
func allExcluded(list string) string {
	names := strings.Split(list, ", ")
	for i, name := range names {
		names[i] = name + " = excluded." + name
	}
	return strings.Join(names, ", ")
}

// The columns of a record in statements that name more than one.
const (
	ofRecord = `r.phase, r.fingerprint, r.token, r.lease, r.alone, r.attempts, r.deaths, r.deaths_alone, r.redrive, r.took, ` +
		`r.steps, r.outputs, r.failure, r.failure_message, r.failure_attempts`
	ofBegun = `b.phase, b.fingerprint, b.token, b.lease, b.alone, b.attempts, b.deaths, b.deaths_alone, b.redrive, b.took, ` +
		`b.steps, b.outputs, b.failure, b.failure_message, b.failure_attempts`
)
