package brokertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// composition is what this package and the documents rely on in compose.yaml.
type composition struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Ports       []string
		Volumes     []string
		Environment map[string]string
		Healthcheck struct{ Test []string }
	}
	Volumes map[string]any
	Configs map[string]struct{ Content string }
}

func readCompose(t *testing.T) composition {
	t.Helper()
	file, err := findComposeFile()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c composition
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestComposeFile: every broker is there, of one exact version, on localhost, on
// the port that this package asks for, with a health check and a volume.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	pinned := regexp.MustCompile(`^[a-z/]+:\d+\.\d+[a-z0-9.-]*$`)
	for _, k := range []kind{natsKind{}, redisKind{}, kafkaKind{}, postgresKind{}} {
		service, ok := c.Services[k.name()]
		if !ok {
			t.Errorf("no service %s", k.name())
			continue
		}
		if !pinned.MatchString(service.Image) {
			t.Errorf("%s: image %q has no exact version", k.name(), service.Image)
		}
		if setting := "127.0.0.1:${ANYWIRE_" + strings.ToUpper(k.name()) + "_PORT:-"; len(service.Ports) != 1 || !strings.HasPrefix(service.Ports[0], setting) {
			t.Errorf("%s: ports %q do not begin with %s", k.name(), service.Ports, setting)
		}
		if len(service.Healthcheck.Test) == 0 {
			t.Errorf("%s: no health check", k.name())
		}
		volume, _, _ := strings.Cut(strings.Join(service.Volumes, ""), ":")
		if _, named := c.Volumes[volume]; !named {
			t.Errorf("%s: volume %q has no name", k.name(), volume)
		}
	}
	if got, want := c.Services["kafka"].Image, "apache/kafka:"+kafkaVersion; got != want {
		t.Errorf("kafka is %s, the tests run %s", got, want)
	}
}

// TestComposeIsDurable: what a broker has confirmed survives it.
func TestComposeIsDurable(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	if command := strings.Join(c.Services["redis"].Command, " "); !strings.Contains(command, "--appendonly yes --appendfsync always") {
		t.Errorf("redis: %s", command)
	}
	if config := c.Configs["nats"].Content; !strings.Contains(config, "sync_interval: always") || !strings.Contains(config, `store_dir: "/data"`) {
		t.Errorf("nats: %s", config)
	}
	kafka := c.Services["kafka"].Environment
	for name, want := range map[string]string{
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":             "false",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":      "1",
		"KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS":     "6000",
		"KAFKA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS": "6000",
		"KAFKA_LOG_DIRS":                              "/var/lib/kafka/data",
	} {
		if kafka[name] != want {
			t.Errorf("kafka: %s=%q, want %q", name, kafka[name], want)
		}
	}
}

// TestComposeRunsSharedServers: where an engine answers, the shared server is
// the one of compose.yaml, on a port of its own, and goes with the tests.
func TestComposeRunsSharedServers(t *testing.T) {
	docker := fakeDocker(t, true)
	server, err := find(t.Logf, redisKind{})
	if err != nil {
		t.Fatal(err)
	}
	if got := server.String(); !strings.HasPrefix(got, "redis 7.") && !strings.HasPrefix(got, "redis 8.") || !strings.HasSuffix(got, "(Docker Compose)") {
		t.Errorf("the server is called %q", got)
	}
	server.end()
	eventually(t, time.Minute, "it answers after the tests", func() bool {
		_, err := server.probe(t.Context())
		return err != nil
	})
	file, _ := findComposeFile()
	for _, want := range []string{
		"version --format {{.Server.Version}}\ncompose version\ncompose --file " + file + " --project-name anywire-redis-",
		" up --detach --wait redis\n", " down --volumes --timeout 1\n",
	} {
		if !strings.Contains(docker.calls(t), want) {
			t.Errorf("docker was not called with %q; calls:\n%s", want, docker.calls(t))
		}
	}
}

func TestComposeUpAndDown(t *testing.T) {
	docker := fakeDocker(t, true)
	var first, second, messages bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := Up(t.Context(), out, t.Output(), "redis"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = Down(io.Discard) })
	if first.String() != second.String() || !strings.HasPrefix(first.String(), "export ANYWIRE_TEST_REDIS=redis://127.0.0.1:") {
		t.Errorf("up prints %q, and %q when it is up", &first, &second)
	}
	if n := strings.Count(docker.calls(t), " up "); n != 1 {
		t.Errorf("docker compose up was called %d times", n)
	}
	if err := Down(&messages, "redis"); err != nil || !strings.Contains(messages.String(), "is down") {
		t.Errorf("down says %q, %v", &messages, err)
	}
	if n := strings.Count(docker.calls(t), "--project-name anywire-up-redis down "); n != 1 {
		t.Errorf("docker compose down was called %d times", n)
	}
	path := statePath(os.Getenv("ANYWIRE_TEST_CACHE"), redisKind{})
	if _, err := readState(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after down the state is %v", err)
	}
}

// TestComposeThatCannot leaves nothing behind and makes way for a local process.
func TestComposeThatCannot(t *testing.T) {
	docker := fakeDocker(t, false)
	server, err := find(t.Logf, redisKind{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.end()
	if got := server.String(); !strings.HasSuffix(got, "(a local process)") {
		t.Errorf("the server is called %q", got)
	}
	if !strings.Contains(docker.calls(t), " down ") {
		t.Errorf("what was half up is not taken down; calls:\n%s", docker.calls(t))
	}
}

// docker is a program in PATH that behaves like Docker with Compose, and runs
// redis-server where that would run a container.
type docker struct{ log string }

const dockerScript = `#!/bin/sh
echo "$@" >> '%[1]s/calls'
case "$*" in
*" up "*)
	if [ '%[4]t' = false ]; then echo "no such image" >&2; exit 1; fi
	env %[3]s '%[2]s' --port "$ANYWIRE_REDIS_PORT" --bind 127.0.0.1 --daemonize yes --dir '%[1]s' --pidfile '%[1]s/pid' > /dev/null
	;;
*" down "*)
	if [ -f '%[1]s/pid' ]; then
		kill -9 "$(cat '%[1]s/pid')"; rm '%[1]s/pid'
	fi
	;;
esac
`

func fakeDocker(t *testing.T, works bool) docker {
	t.Helper()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	program, err := redisKind{}.install(t.Context(), t.Logf, cache)
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	if info, err := os.Stat(program); err == nil && info.IsDir() {
		program, env = unpackedRedis(program)
	}
	for _, setting := range env { // the program is found in PATH below, without the folder it was unpacked into
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	script := fmt.Sprintf(dockerScript, dir, program, strings.Join(env, " "), works)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("ANYWIRE_TEST_REDIS", "")
	t.Setenv("ANYWIRE_TEST_SKIP", "")
	t.Setenv("ANYWIRE_TEST_COMPOSE", "")
	t.Setenv("ANYWIRE_TEST_CACHE", t.TempDir())
	t.Cleanup(func() { _ = exec.Command(filepath.Join(dir, "docker"), "a", "down", "b").Run() })
	return docker{log: filepath.Join(dir, "calls")}
}

func (d docker) calls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
