package brokertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const natsModule = "github.com/nats-io/nats-server/v2"

// natsKind runs the nats-server of the version in go.mod.
type natsKind struct{}

var _ kind = natsKind{}

func (natsKind) name() string                       { return "nats" }
func (natsKind) version() string                    { return "" }
func (natsKind) ports() int                         { return 1 }
func (natsKind) url(addr string, _ []string) string { return "nats://" + addr }

func (natsKind) install(ctx context.Context, logf logFunc, cache string) (string, error) {
	version, err := run(ctx, "", "go", "list", "-m", "-f", "{{.Version}}", natsModule)
	if err != nil {
		return "", fmt.Errorf("which nats-server go.mod asks for: %w", err)
	}
	binary := filepath.Join(cache, "nats-server-"+strings.TrimSpace(version))
	err = installOnce(binary, func(temporary string) error {
		logf("brokertest: building %s %s, which takes a minute or two", natsModule, strings.TrimSpace(version))
		_, err := run(ctx, "", "go", "build", "-o", temporary, natsModule)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w", err)
	}
	return binary, nil
}

func (natsKind) setUp(_ context.Context, install, dir string, ports []int, extra []string) (command, error) {
	path := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(path, []byte(natsConfig(dir, ports[0], extra)), 0o600); err != nil {
		return command{}, fmt.Errorf("configure: %w", err)
	}
	return command{path: install, args: []string{"-c", path}, dir: dir}, nil
}

// ReloadNATS replaces the lines that a test has added to the configuration of its
// own NATS, and has the server read them. It returns when the signal is sent: the
// server acts on it soon after.
func (s *Server) ReloadNATS(tb testing.TB, config ...string) {
	tb.Helper()
	s.mustBeOurs(tb)
	path := filepath.Join(s.dir, "nats.conf")
	if err := os.WriteFile(path, []byte(natsConfig(s.dir, s.ports[0].number, config)), 0o600); err != nil {
		tb.Fatalf("brokertest: nats: configure: %v", err)
	}
	if err := s.signal(sigReload); err != nil {
		tb.Fatalf("brokertest: nats: reload: %v", err)
	}
}

// natsConfig syncs every write: with the server's default of two minutes, what
// it acknowledged would not survive more than the death of its process.
func natsConfig(dir string, port int, extra []string) string {
	return fmt.Sprintf(`listen: "127.0.0.1:%d"
jetstream {
  store_dir: %q
  sync_interval: always
}
%s
`, port, filepath.Join(dir, "jetstream"), strings.Join(extra, "\n"))
}

// probe reads the greeting. The server listens only after JetStream has
// recovered its streams.
func (natsKind) probe(ctx context.Context, _, addr string) (version string, err error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read the greeting: %w", err)
	}
	greeting, isNATS := strings.CutPrefix(line, "INFO ")
	if !isNATS {
		return "", fmt.Errorf("it greets with %.40q", line)
	}
	var info struct {
		Version   string `json:"version"`
		JetStream bool   `json:"jetstream"`
	}
	if err := json.Unmarshal([]byte(greeting), &info); err != nil {
		return "", fmt.Errorf("read the greeting: %w", err)
	}
	if !info.JetStream {
		return "", errors.New("it runs without JetStream: start nats-server with -js")
	}
	return info.Version, nil
}
