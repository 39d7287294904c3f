package integration

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
)

// TestRightsRevokedLive: an app whose rights are taken away says what it lacks, and
// goes on when it has them again. Nothing is lost between. All kinds that a server
// carries lose their rights together.
func TestRightsRevokedLive(t *testing.T) {
	t.Parallel()
	for name, protect := range map[string]func(t *testing.T) (worlds []*world, revoke, restore func(t *testing.T)){
		"redis": protectedRedis, "nats": protectedNATS, "kafka": protectedKafka,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			worlds, revoke, restore := protect(t)
			runAccidents(t, worlds, outage, []accident{{"revoked", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				revoke(t)
				for _, p := range ps {
					await(t, "health says it, "+p.name, func() bool {
						for _, h := range p.app.Health().Agents {
							if h.State == transport.Running && h.Stalled == "" {
								return false
							}
						}
						return true
					}, p.state)
				}
				restore(t)
			}}})
		})
	}
}

func protectedRedis(t *testing.T) (worlds []*world, revoke, restore func(t *testing.T)) {
	t.Helper()
	server := brokertest.Redis(t, "user app on >secret ~* &* +@all")
	operator := brokers["redis"].hands(t, server.URL).(redisHands).client
	set := func(rule string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := operator.Do(t.Context(), "ACL", "SETUSER", "app", rule).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	url := strings.Replace(server.URL, "redis://", "redis://app:secret@", 1)
	return worldsAt(t, url, "redis", "watermill-redisstream"), set("-@all"), set("+@all")
}

func protectedNATS(t *testing.T) (worlds []*world, revoke, restore func(t *testing.T)) {
	t.Helper()
	const granted, other = `authorization { user: app, password: secret }`, `authorization { user: app, password: other }`
	server := brokertest.NATS(t, granted)
	set := func(config string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			server.ReloadNATS(t, config)
		}
	}
	url := strings.Replace(server.URL, "nats://", "nats://app:secret@", 1)
	return worldsAt(t, url, "nats"), set(other), set(granted)
}

// protectedKafka takes rights away by giving them to somebody: where a resource has
// no list of rights, everybody has all.
func protectedKafka(t *testing.T) (worlds []*world, revoke, restore func(t *testing.T)) {
	t.Helper()
	b := brokers["kafka"]
	server := b.own(t, "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found=true")
	admin := b.hands(t, server.URL).(kafkaHands).admin
	worlds = worldsAt(t, server.URL, "kafka", "watermill-kafka")
	list := kadm.NewACLs().Allow("User:somebody").AllowHosts("*").Topics(worlds[0].entry.Prefix, worlds[1].entry.Prefix).
		ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead)
	revoke = func(t *testing.T) {
		t.Helper()
		answers, err := admin.CreateACLs(t.Context(), list)
		if err != nil || len(answers) != len(worlds) || answers[0].Err != nil || answers[1].Err != nil {
			t.Fatalf("%v, %v", answers, err)
		}
	}
	restore = func(t *testing.T) {
		t.Helper()
		answers, err := admin.DeleteACLs(t.Context(), list)
		if err != nil || len(answers) != len(worlds) || answers[0].Err != nil || answers[1].Err != nil {
			t.Fatalf("%v, %v", answers, err)
		}
	}
	return worlds, revoke, restore
}

// worldsAt are of several kinds on one server.
func worldsAt(t *testing.T, url string, kinds ...string) []*world {
	t.Helper()
	var worlds []*world
	for _, name := range kinds {
		worlds = append(worlds, brokers[name].worldAt(t, url, nil))
	}
	return worlds
}
