package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Driver)(nil)

// inspection is one call of Inspect.
type inspection struct {
	d        *Driver
	findings []driver.Finding
}

func (in *inspection) good(check, subject, found string) {
	in.findings = append(in.findings, driver.Finding{Level: driver.Good, Check: check, Subject: subject, Found: found})
}

func (in *inspection) bad(level driver.Level, check, subject, found, why, fix string) {
	in.findings = append(in.findings, driver.Finding{Level: level, Check: check, Subject: subject, Found: found, Why: why, Fix: fix})
}

func (in *inspection) unknown(check, subject string, err error) {
	why := "it could not be read: " + err.Error()
	fix := "look at the brokers' log"
	if errors.Is(wrap(err), driver.ErrDenied) {
		fix = "give our user DescribeConfigs and Describe on " + subject
	}
	in.bad(driver.Unknown, check, subject, "", why, fix)
}

// Inspect reads the settings of the brokers, the topics and the groups that use
// names, and our rights on them.
func (d *Driver) Inspect(ctx context.Context, use driver.Use) ([]driver.Finding, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	in := &inspection{d: d}
	meta, err := d.adm.BrokerMetadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect Kafka: %w", wrap(err))
	}
	in.connection()
	in.versions(ctx)
	in.brokerSettings(ctx, meta)
	names := map[string]bool{}
	for _, name := range use.Writes {
		names[name] = true
	}
	for _, r := range use.Reads {
		names[r.Topic] = true
	}
	in.topics(ctx, slices.Sorted(maps.Keys(names)), use, len(meta.Brokers))
	for _, r := range use.Reads {
		in.group(ctx, r)
	}
	in.ladder(ctx)
	return in.findings, nil
}

// connection looks at what we were told.
func (in *inspection) connection() {
	o := in.d.o
	if o.SASL.Mechanism != "" && !o.TLS.on() && in.d.given == nil {
		level := driver.Warning
		if o.SASL.Mechanism == mechanismPlain || o.SASL.Mechanism == mechanismBearer {
			level = driver.Danger
		}
		in.bad(level, "tls", "server", "off, with "+o.SASL.Mechanism,
			"whoever sees the network sees messages, and with PLAIN or OAUTHBEARER the password", "set tls, and a SASL_SSL listener on the brokers")
		return
	}
	in.good("tls", "server", map[bool]string{true: "on", false: "off"}[o.TLS.on()])
}

// versions says what the brokers are, and whether they have the groups that we
// are told to use.
func (in *inspection) versions(ctx context.Context) {
	all, err := in.d.adm.ApiVersions(ctx)
	if err != nil {
		in.unknown("version", "server", err)
		return
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		v, subject := all[id], fmt.Sprintf("broker %d", id)
		if v.Err != nil {
			in.unknown("version", subject, v.Err)
			continue
		}
		in.good("version", subject, v.VersionGuess())
	}
	if in.d.o.Protocol != protocolConsumer {
		in.good("protocol", "server", in.d.o.Protocol)
		return
	}
	switch err := in.d.hasConsumerProtocol(ctx); {
	case errors.Is(err, errNoConsumerProtocol):
		in.bad(driver.Danger, "protocol", "server", "no groups of KIP-848",
			"subscriptions are refused", "set protocol: classic, or upgrade to Kafka 4")
	case err != nil:
		in.unknown("protocol", "server", err)
	default:
		in.good("protocol", "server", in.d.o.Protocol)
	}
}

// brokerSettings looks at those that the whole cluster shares, as one broker has
// them.
func (in *inspection) brokerSettings(ctx context.Context, meta kadm.Metadata) {
	s, err := in.d.configs(ctx, kmsg.ConfigResourceTypeBroker, "")
	if err != nil {
		in.unknown("settings", "server", err)
		return
	}
	in.flag(s, "unclean.leader.election.enable", "server", "false", driver.Danger,
		"after a failure a broker that lacks confirmed messages may become the leader: they are lost", "set unclean.leader.election.enable=false")
	in.flag(s, "auto.create.topics.enable", "server", "false", driver.Warning,
		"a misspelt topic is created by whoever asks for it, with the broker's defaults", "set auto.create.topics.enable=false")
	if n := s.number("offsets.topic.replication.factor"); n < 3 && len(meta.Brokers) >= 3 {
		in.bad(driver.Danger, "offsets.topic.replication.factor", "server", strconv.Itoa(n),
			"when a broker is lost, groups forget what they have settled", "reassign __consumer_offsets to 3 replicas")
	}
	keep := time.Duration(s.number("offsets.retention.minutes")) * time.Minute
	if keep < 7*24*time.Hour {
		in.bad(driver.Warning, "offsets.retention.minutes", "server", value.Duration(keep).String(),
			"a group that stands still for longer begins again with the oldest message", "set offsets.retention.minutes=10080 or more")
	} else {
		in.good("offsets.retention.minutes", "server", value.Duration(keep).String())
	}
}

// flag looks at a setting that has one good value.
func (in *inspection) flag(s settings, key, subject, want string, level driver.Level, why, fix string) {
	switch got, known := s[key]; {
	case !known || got == "": // this broker has no such setting, or keeps it to itself
	case got == want:
		in.good(key, subject, got)
	default:
		in.bad(level, key, subject, got, why, fix)
	}
}

// ladder looks at the topics that delay messages.
func (in *inspection) ladder(ctx context.Context) {
	var stuck []string
	for _, r := range append(rungs(), rung{name: parked}) {
		name := in.d.ladder.topicOf(r)
		detail, err := in.d.metadata(ctx, name)
		if err != nil {
			continue // made when it is used first
		}
		s, err := in.d.settings(ctx, name)
		if err != nil {
			in.unknown("delays", "topic "+name, err)
			continue
		}
		if have := describe(detail, s); have.RetentionAge > 0 && have.RetentionAge < 7*24*time.Hour+r.wait {
			in.bad(driver.Danger, "delays", "topic "+name, "retention "+shown(have.RetentionAge),
				"delayed messages are lost when the system stands still for that long", "set retention.ms=-1: what was forwarded is deleted by us")
		}
		if r.name == parked && in.count(ctx, name) > 0 {
			stuck = append(stuck, name)
		}
	}
	if len(stuck) > 0 {
		in.bad(driver.Warning, "delays", "topic "+strings.Join(stuck, ", "), "not empty",
			"somebody wrote copies that say no destination", "look at them with anywire tail, and delete the topic afterwards")
	}
}

// count is how many offsets a topic holds.
func (in *inspection) count(ctx context.Context, name string) (n int64) {
	starts, err := in.d.adm.ListStartOffsets(ctx, name)
	if err != nil {
		return 0
	}
	ends, err := in.d.adm.ListEndOffsets(ctx, name)
	if err != nil {
		return 0
	}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(name, end.Partition); ok {
			n += end.Offset - start.Offset
		}
	})
	return n
}
