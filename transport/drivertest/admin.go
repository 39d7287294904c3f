package drivertest

import (
	"slices"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

func adminCases() []Case {
	needs := []Need{needAdmin}
	return []Case{
		{
			Name:     "admin/creates",
			Sentence: "EnsureTopic creates the topic as described if it is missing, and returns what the broker has.",
			Needs:    needs,
			run:      adminCreates,
		},
		{
			Name:     "admin/one-shard-by-default",
			Sentence: "Topic.Shards: 1 where we create it.",
			Needs:    needs,
			run: func(e *env) {
				e.wantShards(e.ensure(driver.Topic{Name: e.unique("topic")}), 1)
			},
		},
		{
			Name:     "admin/idempotent",
			Sentence: "EnsureTopic creates the topic if it is missing: again, it changes nothing.",
			Needs:    needs,
			run:      adminIdempotent,
		},
		{
			Name:     "admin/takes-what-is-there",
			Sentence: "A zero field of a request means: what it has.",
			Needs:    needs,
			run: func(e *env) {
				e.wantShards(e.ensure(driver.Topic{Name: e.topic(3)}), 3)
			},
		},
		{
			Name:     "admin/refuses-a-difference",
			Sentence: "Settings that differ from what t asks for are an error that names both values; nothing is changed.",
			Needs:    needs,
			run:      adminDifference,
		},
		{
			Name:     "admin/require",
			Sentence: "Require: never create it; a missing topic is ErrNotFound.",
			Needs:    needs,
			run:      adminRequire,
		},
		{
			Name:     "admin/require-what-is-there",
			Sentence: "EnsureTopic with Require returns what the broker has.",
			Needs:    needs,
			run: func(e *env) {
				e.wantShards(e.ensure(driver.Topic{Name: e.topic(2), Require: true}), 2)
			},
		},
		{
			Name:     "admin/lists",
			Sentence: "Topics lists the topics of this system.",
			Needs:    needs,
			run:      adminLists,
		},
		{
			Name:     "admin/keeps-messages",
			Sentence: "EnsureTopic changes nothing of a topic that is there: its messages and groups stay.",
			Needs:    needs,
			run:      adminKeepsMessages,
		},
	}
}

func (e *env) admin() driver.Admin {
	return e.d.(driver.Admin)
}

func (e *env) ensure(t driver.Topic) driver.Topic {
	e.Helper()
	got, err := e.admin().EnsureTopic(e.ctx(), t)
	e.mustf(err, "EnsureTopic(%+v)", t)
	if got.Name != t.Name {
		e.Errorf("EnsureTopic returned the name %q, want %q", got.Name, t.Name)
	}
	return got
}

func (e *env) wantShards(t driver.Topic, n int) {
	e.Helper()
	if t.Shards != n {
		e.Errorf("EnsureTopic returned %d shards, want %d", t.Shards, n)
	}
}

func adminCreates(e *env) {
	t := e.ensure(driver.Topic{Name: e.unique("topic"), Shards: 3})
	e.wantShards(t, 3)
	e.publish(t.Name, e.keyed(12)...)
	e.join(t.Name, e.group()).gather(numbers(1, 12)...)
}

func adminIdempotent(e *env) {
	t := driver.Topic{Name: e.unique("topic"), Shards: 2}
	first, again := e.ensure(t), e.ensure(t)
	if first != again {
		e.Errorf("EnsureTopic returned %+v, and %+v when called again", first, again)
	}
}

func adminDifference(e *env) {
	topic := e.topic(3)
	_, err := e.admin().EnsureTopic(e.ctx(), driver.Topic{Name: topic, Shards: 7})
	if err == nil {
		e.Fatalf("EnsureTopic with 7 shards of a topic with 3 succeeded")
	}
	said := strings.ReplaceAll(err.Error(), topic, "")
	if !strings.Contains(said, "3") || !strings.Contains(said, "7") {
		e.Errorf("the error %q does not name both values, 3 and 7", err)
	}
	e.wantShards(e.ensure(driver.Topic{Name: topic}), 3)
}

func adminRequire(e *env) {
	name := e.unique("missing")
	for range 2 { // the first call has not created it
		_, err := e.admin().EnsureTopic(e.ctx(), driver.Topic{Name: name, Require: true})
		e.wantIs(err, driver.ErrNotFound, "EnsureTopic of a missing topic with Require")
	}
	if slices.Contains(e.listed(), name) {
		e.Errorf("Topics lists %s, which was only required", name)
	}
}

func (e *env) listed() []string {
	e.Helper()
	all, err := e.admin().Topics(e.ctx())
	e.mustf(err, "Topics")
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

func adminLists(e *env) {
	a, b := e.topic(1), e.topic(2)
	names := e.listed()
	if !slices.Contains(names, a) || !slices.Contains(names, b) {
		e.Errorf("Topics lists %q, which lacks %s or %s", names, a, b)
	}
	if i := slices.Index(names, ""); i >= 0 {
		e.Errorf("Topics lists a topic without a name")
	}
}

func adminKeepsMessages(e *env) {
	topic, group := e.topic(2), e.group()
	e.publish(topic, e.keyed(10)...)
	m := e.join(topic, group)
	e.ensure(driver.Topic{Name: topic, Shards: 2})
	e.publish(topic, e.msg("", "11"))
	m.gather(numbers(1, 11)...)
	m.quiet("everything was acknowledged")
}
