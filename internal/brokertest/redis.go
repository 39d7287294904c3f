package brokertest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// probeUser is known to every local Redis and may do nothing but answer: so the
// server can be watched when a test takes the rights of all others away.
const probeUser = "brokertest"

// redisKind runs the machine's redis-server, or one that is unpacked into the
// cache.
type redisKind struct {
	// bus reserves a second port, for what the nodes of a cluster tell each
	// other.
	bus bool
	// sentinel runs redis-server as a Sentinel.
	sentinel bool
}

var _ kind = redisKind{}

func (redisKind) name() string    { return "redis" }
func (redisKind) version() string { return "" }

func (redisKind) url(addr string, extra []string) string {
	if hasLine(extra, "tls-cert-file") {
		return "rediss://" + addr + "/0"
	}
	return "redis://" + addr + "/0"
}

func (k redisKind) ports() int {
	if k.bus {
		return 2
	}
	return 1
}

// install gives the program, or the folder it was unpacked into.
func (redisKind) install(ctx context.Context, logf logFunc, cache string) (string, error) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path, nil
	}
	root := filepath.Join(cache, "redis")
	err := installOnce(root, func(temporary string) error {
		logf("brokertest: unpacking the Debian package redis-server into the cache")
		return unpackRedis(ctx, temporary)
	})
	if err != nil {
		return "", fmt.Errorf("Redis needs redis-server, which is not in PATH: install it (Debian: the package redis-server; 7.0 or newer), "+
			"name a running Redis in ANYWIRE_TEST_REDIS, or leave it out with ANYWIRE_TEST_SKIP=redis: %w", err)
	}
	return root, nil
}

func (k redisKind) setUp(_ context.Context, install, dir string, ports []int, extra []string) (command, error) {
	config, content := filepath.Join(dir, "redis.conf"), redisConfig(dir, ports, extra)
	if k.sentinel {
		content = sentinelConfig(dir, ports[0], extra)
	}
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		return command{}, fmt.Errorf("configure: %w", err)
	}
	c := command{path: install, args: []string{config}, dir: dir}
	if info, err := os.Stat(install); err == nil && info.IsDir() {
		c.path, c.env = unpackedRedis(install)
	}
	if k.sentinel {
		c.args = append(c.args, "--sentinel")
	}
	return c, nil
}

// redisConfig writes every command to the disk before it is answered. A server
// that is given a certificate speaks TLS only. Of lines that say the same the
// last counts.
func redisConfig(dir string, ports []int, extra []string) string {
	var b strings.Builder
	plain, encrypted := ports[0], 0
	if hasLine(extra, "tls-cert-file") {
		plain, encrypted = 0, ports[0]
	}
	fmt.Fprintf(&b, `bind 127.0.0.1
port %d
tls-port %d
dir %q
daemonize no
protected-mode no
appendonly yes
appendfsync always
save ""
enable-debug-command yes
`, plain, encrypted, dir)
	if len(ports) > 1 {
		fmt.Fprintf(&b, "cluster-enabled yes\ncluster-port %d\ncluster-node-timeout 2000\n", ports[1])
	}
	if !hasLine(extra, "aclfile") { // Redis takes users from one place only
		fmt.Fprintf(&b, "user %[1]s on >%[1]s -@all +ping +info +cluster\n", probeUser)
	}
	b.WriteString(strings.Join(extra, "\n") + "\n")
	return b.String()
}

func hasLine(lines []string, directive string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) > 0 && strings.EqualFold(fields[0], directive)
	})
}

// probe asks for the version, which a server tells while it still reads its
// data, and pings, which waits for that.
func (redisKind) probe(ctx context.Context, address, addr string) (version string, err error) {
	conn, err := dialRedis(ctx, address, addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if user := userOf(address); user != nil {
		password, _ := user.Password()
		if _, err := conn.do("AUTH", nameOf(user), password); err != nil {
			return "", fmt.Errorf("log in: %w", err)
		}
	}
	if _, err = conn.do("PING"); isRedisError(err, "NOAUTH") {
		if _, err = conn.do("AUTH", probeUser, probeUser); err == nil {
			_, err = conn.do("PING")
		}
	}
	if err != nil {
		return "", fmt.Errorf("ping: %w", err)
	}
	info, err := conn.do("INFO", "server")
	if err != nil {
		return "", fmt.Errorf("ask for its version: %w", err)
	}
	return redisField(info, "redis_version"), nil
}

func userOf(address string) *url.Userinfo {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil // a list of addresses, which names no user
	}
	return parsed.User
}

func nameOf(user *url.Userinfo) string {
	if name := user.Username(); name != "" {
		return name
	}
	return "default"
}

// redisField is a line "name:value" of INFO or CLUSTER INFO.
func redisField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// redisConn speaks just enough of the protocol to set servers up: a client
// would bring its own idea of retries and pools.
type redisConn struct {
	net.Conn

	r *bufio.Reader
}

// dialRedis ends with ctx. The certificate is not looked at: whoever tests TLS
// does that with the client under test.
func dialRedis(ctx context.Context, address, addr string) (*redisConn, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(address, "rediss://") {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return &redisConn{Conn: conn, r: bufio.NewReader(conn)}, nil
}

// redisError is an error that the server answered.
type redisError string

func (e redisError) Error() string { return string(e) }

func isRedisError(err error, code string) bool {
	var answer redisError
	return errors.As(err, &answer) && strings.HasPrefix(string(answer), code)
}

// do sends a command and gives its answer, which has to be one text.
func (c *redisConn) do(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return "", fmt.Errorf("send: %w", err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("it answers with an empty line")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", redisError(line[1:])
	case '$':
		return c.text(line[1:])
	default:
		return "", fmt.Errorf("it answers with %.40q", line)
	}
}

func (c *redisConn) text(length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > 1<<20 {
		return "", fmt.Errorf("it answers with a text of %.20q bytes", length)
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(c.r, text); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return string(text[:n]), nil
}

// unpackRedis puts Debian's redis-server and its libraries into the folder root.
func unpackRedis(ctx context.Context, root string) error {
	return unpackDebian(ctx, root, func(ctx context.Context, dir string, options []string) ([]string, error) {
		libraries, err := depends(ctx, dir, options, "redis-tools", "lib", "lua-")
		return append(libraries, "redis-server", "redis-tools"), err
	}, func(ctx context.Context) error {
		program, env := unpackedRedis(root)
		_, err := run(ctx, "", "env", append(env, program, "--version")...)
		return err
	})
}

// unpackedRedis is how the program in root is started.
func unpackedRedis(root string) (program string, env []string) {
	return filepath.Join(root, "usr", "bin", "redis-server"), unpackedEnv(root)
}
