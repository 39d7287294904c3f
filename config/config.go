package config

import (
	"github.com/anywire/anywire/config/value"
)

// DefaultName is the file that programs read when no other is named.
const DefaultName = "anywire.yaml"

// None says "nothing" where the file wants a name: an agent that produces none,
// an idempotency store that is none.
const None = "none"

// Auto is the idempotency store that lives where the agent's transport does.
const Auto = "auto"

// The names that the built-in defaults give. Memory is both a transport's name
// and its kind; it exists without an entry of its own.
const (
	Memory      = "memory"
	defaultName = "anywire"
)

// Config is the whole of a configuration: who consumes and produces what, on
// which transports, under which policies. A file fills it through [Load]; a
// program may write it as a literal, with zero values wherever the default is
// wanted. Its methods do not change it
// and may be called by several goroutines while nobody else does.
//
//nolint:lll // a key is described on one line
type Config struct {
	Version     int                  `yaml:"version" doc:"version of this file's format" default:"1" example:"1"`
	Name        string               `yaml:"name" doc:"name of the system; every process of one system gives the same" default:"anywire" example:"newsroom"`
	Transport   string               `yaml:"transport" doc:"entry under transports that every agent and topic uses unless it names its own" default:"memory" example:"${ANYWIRE_TRANSPORT:-memory}"`
	Transports  map[string]Transport `yaml:"transports" doc:"transports by name; an entry's other keys are options of its kind" example:"{ memory: {} }"`
	Topics      map[string]Topic     `yaml:"topics" doc:"topics that need more than defaults, by name" example:"{ tasks.research: { shards: 8, retention: { age: 7d } } }"`
	Stores      map[string]Store     `yaml:"stores" doc:"stores of idempotency records by name; an entry's other keys are options of its kind" example:"{ ledger: { kind: sqlite, path: ./data/records.db } }"`
	Idempotency Idempotency          `yaml:"idempotency" doc:"how handled messages are remembered, so that none takes effect twice" example:"{ store: auto, ttl: 24h, max_records: 1M }"`
	Limits      Limits               `yaml:"limits" doc:"largest message that is published or accepted" example:"{ body: 900KiB }"`
	Defaults    Policy               `yaml:"defaults" doc:"policy of every agent that does not give its own" example:"{ concurrency: 16, timeout: 2m }"`
	Agents      map[string]Agent     `yaml:"agents" doc:"agents by name; each needs a handler of that name in the program" example:"{ researcher: { consumes: tasks.research, produces: tasks.write } }"`

	doc *document // what the files said; nil for a literal
}

// Transport is one entry under transports.
//
//nolint:lll // a key is described on one line
type Transport struct {
	Kind   string `yaml:"kind" doc:"kind of the transport" computed:"the entry's name" example:"nats"`
	Prefix string `yaml:"prefix" doc:"stands before every topic and group on the broker, so that systems can share one" computed:"nothing" example:"staging."`

	// Options is the Options struct of the kind, or a pointer to it. In a
	// configuration that was read from a file it is a [Section], which
	// [Config.Decode] reads into that struct.
	Options any `yaml:",rest"`
}

// Store is one entry under stores.
type Store struct {
	Kind   string `yaml:"kind" doc:"kind of the store" computed:"the entry's name" example:"sqlite"`
	Prefix string `yaml:"prefix" doc:"stands before the names of what is kept" computed:"nothing" example:"staging."`

	// Options is as that of a [Transport].
	Options any `yaml:",rest"`
}

// Topic is one entry under topics.
//
//nolint:lll // a key is described on one line
type Topic struct {
	Transport string    `yaml:"transport" doc:"transport on which the topic lives" computed:"that of the agents that consume it" example:"memory"`
	Shards    int       `yaml:"shards" doc:"number of shards, in each of which order is kept" computed:"what the topic has, 1 where it is created" example:"8"`
	Retention Retention `yaml:"retention" doc:"how long messages are kept" computed:"the transport's" example:"{ age: 7d }"`
	Replicas  int       `yaml:"replicas" doc:"copies that the broker keeps" computed:"the broker's" example:"3"`
	Plain     string    `yaml:"plain" doc:"type of messages there that are no CloudEvents, as Watermill and other clients write them" computed:"none: such messages cannot be read" example:"research.task@1"`
	Require   bool      `yaml:"require" doc:"refuse to start when the topic does not exist, instead of creating it" default:"false" example:"true"`
}

// Retention says when a topic may drop messages, by whichever comes first.
type Retention struct {
	Age   value.Duration `yaml:"age" doc:"age from which messages may be dropped" computed:"the transport's" example:"7d"`
	Bytes value.Size     `yaml:"bytes" doc:"size from which the oldest messages may be dropped" computed:"the transport's" example:"1GiB"`
}

// Idempotency says where handled messages are remembered.
//
//nolint:lll // a key is described on one line
type Idempotency struct {
	Store        string         `yaml:"store" doc:"store of the records: auto (where the agent's transport is), none (a message may be handled more than once), or the name of a store or a transport" default:"auto" example:"ledger"`
	TTL          value.Duration `yaml:"ttl" doc:"how long a message is remembered after it was last touched; at least what its retries take, and raised to twice that unless it is given" default:"24h" example:"7d"`
	MaxRecords   value.Count    `yaml:"max_records" doc:"most messages that a store in this process remembers; beyond, the oldest are forgotten" default:"1M" example:"500k"`
	OnStoreError string         `yaml:"on_store_error" doc:"what happens while the store does not answer: pause, or process without records" default:"pause" example:"pause" enum:"pause|process"`
	ExpectedRate value.Rate     `yaml:"expected_rate" doc:"messages that are handled in a second, to foresee what the records take" computed:"not foreseen" example:"100/s"`
}

// Limits bound one message. Zero fields have the defaults.
type Limits struct {
	Body           value.Size `yaml:"body" doc:"largest payload" default:"900KiB" example:"1MiB"`
	Attributes     int        `yaml:"attributes" doc:"most attributes beside the payload" default:"64" example:"64"`
	AttributeBytes value.Size `yaml:"attribute_bytes" doc:"largest sum of the attributes' names and values" default:"16KiB" example:"16KiB"`
}

// Agent is one entry under agents: what it reads, what it writes, and the
// policy of its handler.
//
//nolint:lll,embeddedstructfieldcheck // a key is described on one line, and keys are printed in this order
type Agent struct {
	Consumes       string `yaml:"consumes" doc:"topic that the agent reads; required" example:"tasks.research"`
	Produces       string `yaml:"produces" doc:"topic of the handler's answers; none: answers are dropped" example:"tasks.write"`
	Group          string `yaml:"group" doc:"consumer group: each message goes to one process of it" computed:"the agent's name" example:"researchers"`
	Order          string `yaml:"order" doc:"order in which messages are handled: none, key (in order within each key) or strict (one at a time)" default:"none" example:"key" enum:"none|key|strict"`
	Transport      string `yaml:"transport" doc:"where the agent consumes and keeps its dead letters" computed:"where its topic lives" example:"memory"`
	From           string `yaml:"from" doc:"where a new group begins: oldest, now, or a time as in RFC 3339" default:"oldest" example:"2026-01-31T00:00:00Z"`
	DeadLetter     string `yaml:"dead_letter" doc:"topic of messages that cannot be handled" computed:"the agent's name and .dead" example:"researcher.dead"`
	IdempotencyKey string `yaml:"idempotency_key" doc:"what may take effect only once: data.FIELD of the payload, or attribute.NAME" computed:"the message's idempotency key, else its source and id" example:"data.order_id"`
	Others         string `yaml:"others" doc:"what happens to messages of a type that the agent has no handler for" default:"dead_letter" example:"ignore" enum:"dead_letter|ignore"`
	Policy         `yaml:",inline"`
}
