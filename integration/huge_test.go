package integration

import (
	"strings"
	"testing"

	"github.com/anywire/anywire/internal/brokertest"
)

// TestForeignClientAtTheBrokersLimit: a message that is as large as the server
// takes, or almost, does not stop the agent. It is a dead letter, or is kept until
// one fits.
func TestForeignClientAtTheBrokersLimit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		headers map[string]string
		body    int
		kept    bool // its dead letter cannot be stored: nothing is lost, and health says so
	}{
		"room for a light dead letter": {headers: with(map[string]string{"ce-long": strings.Repeat("x", 2000)}), body: 1<<20 - 2500},
		"no room at all":               {headers: with(nil), body: 1<<20 - 200, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := brokertest.SharedNATS(t)
			w := brokers["nats"].world(t, server)
			f := newForeigner(t, server.URL, w.entry.Prefix)
			var seen journal[string]
			app := run(t, foreignApp(w, "none", &seen))
			await(t, "the topic exists", func() bool {
				_, err := f.js.StreamNameBySubject(t.Context(), f.prefix+"in")
				return err == nil
			})
			f.send(t, send{name: "huge", headers: test.headers, body: strings.Repeat("x", test.body)})
			f.send(t, send{name: "next", headers: with(nil), body: `{"Key":"next"}`})
			await(t, "the next is handled", func() bool { return len(seen.all()) == 1 })
			if test.kept {
				await(t, "health shows it", func() bool { return app.Health().Agents[0].Stalled != "" })
				return
			}
			await(t, "the huge one is a dead letter", func() bool { return len(browse(t, app.App, "reader.dead")) == 1 },
				func() any { return app.Health() })
		})
	}
}
