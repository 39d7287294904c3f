package brokertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	composeFile = "compose.yaml"
	// engineTimeout is how long an engine may take to say that it is there.
	engineTimeout = 10 * time.Second
	// composeTimeout leaves time for a local process, should Compose get stuck
	// over an image.
	composeTimeout = 4 * time.Minute
	downTimeout    = time.Minute
)

// project is one broker that Docker Compose runs.
type project struct {
	Name string // of the Compose project
	File string // the repository's compose.yaml
}

// composable gives the repository's compose.yaml where a Docker engine with
// Compose answers.
func composable(ctx context.Context) (file string, ok bool) {
	if os.Getenv("ANYWIRE_TEST_COMPOSE") == "no" {
		return "", false
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return "", false
	}
	file, err := findComposeFile()
	if err != nil {
		return "", false // a test of another module
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	for _, question := range [][]string{{"version", "--format", "{{.Server.Version}}"}, {"compose", "version"}} {
		if _, err := run(ctx, "", "docker", question...); err != nil {
			return "", false
		}
	}
	return file, true
}

// findComposeFile looks beside the go.mod above the working folder.
func findComposeFile() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", composeFile, err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("there is no go.mod above the working folder")
		}
		dir = parent
	}
	file := filepath.Join(dir, composeFile)
	if !exists(file) {
		return "", fmt.Errorf("%s is not there", file)
	}
	return file, nil
}

// compose starts a broker of kind k as the Compose project name, on a free port.
// What it may have started before an error is taken down.
func compose(ctx context.Context, logf logFunc, k kind, file, name string) (*Server, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	p, err := reservePort(cache)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", p.number)
	s := &Server{
		kind: k, ports: []*port{p}, Addrs: []string{addr}, URL: k.url(addr, nil), Version: k.version(),
		project: &project{Name: name, File: file},
	}
	logf("brokertest: docker compose up %s, which may load its image", k.name())
	if err := s.composeUp(ctx, p.number); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *Server) composeUp(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, composeTimeout)
	defer cancel()
	setting := fmt.Sprintf("ANYWIRE_%s_PORT=%d", strings.ToUpper(s.kind.name()), port)
	args := append([]string{setting, "docker"}, s.project.args("up", "--detach", "--wait", s.kind.name())...)
	if _, err := run(ctx, "", "env", args...); err != nil {
		return err
	}
	version, err := s.ready(ctx, nil)
	if err != nil {
		return err
	}
	if version != "" {
		s.Version = version
	}
	return nil
}

// down removes the containers and their data. It outlives the context of the
// start.
func (p *project) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	_, err := run(ctx, "", "docker", p.args("down", "--volumes", "--timeout", "1")...)
	return err
}

func (p *project) args(command string, rest ...string) []string {
	return append([]string{"compose", "--file", p.File, "--project-name", p.Name, command}, rest...)
}
