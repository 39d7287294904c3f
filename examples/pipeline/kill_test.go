package main

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
)

// Workers and the broker are killed in the middle and started again: every
// document has its brief, the same bytes as without any of it.
func TestWorkersAndBrokerKilled(t *testing.T) {
	t.Parallel()
	const documents = 45
	slow := fakeModel(t, func(int64, http.ResponseWriter) bool {
		<-time.After(50 * time.Millisecond)
		return false
	})
	in := tree(t, corpus(documents))
	want := filepath.Join(t.TempDir(), "want")
	model := "OPENAI_BASE_URL=" + slow.URL
	if p := start(t, []string{model}, "-c", "memory.yaml", "-in", in, "-out", want); p.code(t) != 0 {
		t.Fatalf("on memory:\n%s", &p.err)
	}
	for _, broker := range []struct {
		file, env string
		start     func(testing.TB, ...string) *brokertest.Server
	}{
		{"redis.yaml", "REDIS_URL", brokertest.Redis},
		{"kafka.yaml", "KAFKA_BROKER", brokertest.Kafka},
		{"nats.yaml", "NATS_URL", brokertest.NATS},
	} {
		t.Run(broker.file, func(t *testing.T) {
			t.Parallel()
			server := broker.start(t)
			k := &killing{
				T: t, server: server, env: []string{model, broker.env + "=" + server.URL, "PIPELINE_DATA=" + t.TempDir()},
				files: []string{"-c", broker.file, "-c", shortLease(t)},
			}
			out := t.TempDir()
			k.run(in, out)
			if got := briefs(t, out); !maps.Equal(got, briefs(t, want)) {
				t.Errorf("%d files after the kills, %d without any, and not the same bytes", len(got), documents)
			}
		})
	}
}

// shortLease is an overlay under which a killed worker's messages are soon
// somebody else's.
func shortLease(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lease.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ndefaults: { lease: 3s, concurrency: 4 }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// killing is a job whose workers and broker die.
type killing struct {
	*testing.T

	server *brokertest.Server
	env    []string
	files  []string
}

func (k *killing) worker() *process {
	return start(k.T, k.env, append(k.files, "-agents", "researcher,writer")...)
}

func (k *killing) run(in, out string) {
	k.Helper()
	first, second := k.worker(), k.worker()
	job := start(k.T, k.env, append(k.files, "-agents", "collector", "-in", in, "-out", out)...)
	k.after(job, out, 3, func() { k.kill(first) })
	k.after(job, out, 8, func() {
		k.server.Kill(k.T)
		k.server.Start(k.T)
	})
	third := k.worker()
	k.after(job, out, 15, func() { k.kill(second) })
	if code := job.code(k.T); code != 0 {
		k.Fatalf("exit code %d:\n%s%s\nworker:\n%s", code, &job.out, &job.err, &third.err)
	}
	k.kill(third)
}

// after does something when so many briefs are there.
func (k *killing) after(job *process, out string, n int, do func()) {
	k.Helper()
	job.until(k.T, "more briefs", func() bool { return len(finished(k.T, out)) >= n })
	do()
}

func (k *killing) kill(p *process) {
	k.Helper()
	if err := p.Process.Kill(); err != nil {
		k.Fatal(err)
	}
	<-p.ended
}
