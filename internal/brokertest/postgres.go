package brokertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// postgresUser owns the test's database and needs no password.
const postgresUser = "anywire"

// postgresKind runs the machine's PostgreSQL, or one that is unpacked into the
// cache.
type postgresKind struct{}

var (
	_ kind       = postgresKind{}
	_ stopper    = postgresKind{}
	_ restartist = postgresKind{}
)

func (postgresKind) name() string    { return "postgres" }
func (postgresKind) version() string { return "" }
func (postgresKind) ports() int      { return 1 }

func (postgresKind) url(addr string, _ []string) string {
	return "postgres://" + postgresUser + "@" + addr + "/postgres?sslmode=disable"
}

// stopSignal asks for a fast shutdown: at SIGTERM the server would wait until
// every client has gone.
func (postgresKind) stopSignal() syscall.Signal { return syscall.SIGINT }

// startAgain: what served the connections of a killed server ends a moment
// after it, and holds its memory until then.
func (postgresKind) startAgain(log string) bool {
	return strings.Contains(log, "pre-existing shared memory block")
}

// install gives the folder of the programs.
func (postgresKind) install(ctx context.Context, logf logFunc, cache string) (string, error) {
	if bin := postgresIn("/usr"); bin != "" {
		return bin, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	root := filepath.Join(cache, "postgres")
	err := installOnce(root, func(temporary string) error {
		logf("brokertest: unpacking the Debian package postgresql into the cache")
		return unpackPostgres(ctx, temporary)
	})
	if err != nil {
		return "", fmt.Errorf("PostgreSQL needs its server, which is neither in PATH nor in /usr/lib/postgresql: install it (Debian: the package "+
			"postgresql; 13 or newer), name a running one in ANYWIRE_TEST_POSTGRES, or leave it out with ANYWIRE_TEST_SKIP=postgres: %w", err)
	}
	return postgresIn(filepath.Join(root, "usr")), nil
}

// postgresIn is the folder of the newest server where Debian has it, below
// prefix; empty: there is none.
func postgresIn(prefix string) string {
	found, err := filepath.Glob(filepath.Join(prefix, "lib", "postgresql", "*", "bin", "postgres"))
	if err != nil || len(found) == 0 {
		return "" // the pattern is right
	}
	slices.SortFunc(found, func(a, b string) int { return postgresVersion(a) - postgresVersion(b) })
	return filepath.Dir(found[len(found)-1])
}

func postgresVersion(program string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(program))))
	if err != nil {
		return 0
	}
	return n
}

// unpackPostgres leaves out LLVM, which compiles long queries and is larger than
// all the rest.
func unpackPostgres(ctx context.Context, root string) error {
	return unpackDebian(ctx, root, func(ctx context.Context, dir string, options []string) ([]string, error) {
		server, err := depends(ctx, dir, options, "postgresql", "postgresql-")
		if err != nil {
			return nil, err
		}
		libraries, err := depends(ctx, dir, options, server[0], "lib")
		if err != nil {
			return nil, err
		}
		libraries = slices.DeleteFunc(libraries, func(name string) bool { return strings.HasPrefix(name, "libllvm") })
		client := strings.Replace(server[0], "postgresql-", "postgresql-client-", 1)
		return append(libraries, server[0], client), nil
	}, func(ctx context.Context) error {
		bin := postgresIn(filepath.Join(root, "usr"))
		_, err := run(ctx, "", "env", append(unpackedEnv(root), filepath.Join(bin, "postgres"), "--version")...)
		return err
	})
}

func (k postgresKind) setUp(ctx context.Context, install, dir string, ports []int, extra []string) (command, error) {
	var env []string
	if root, _, found := strings.Cut(install, filepath.FromSlash("/usr/lib/postgresql")); found && root != "" {
		env = unpackedEnv(root)
	}
	as, err := serverAccount(dir)
	if err != nil {
		return command{}, err
	}
	data := filepath.Join(dir, "data")
	initdb := command{
		path: filepath.Join(install, "initdb"), dir: dir, env: env, as: as,
		args: []string{"--pgdata", data, "--username", postgresUser, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"},
	}
	if err := initdb.run(ctx); err != nil {
		return command{}, fmt.Errorf("make an empty database: %w", err)
	}
	config, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return command{}, fmt.Errorf("configure: %w", err)
	}
	defer func() { _ = config.Close() }()
	if _, err := config.WriteString(postgresConfig(ports[0], extra)); err != nil {
		return command{}, fmt.Errorf("configure: %w", err)
	}
	return command{path: filepath.Join(install, "postgres"), args: []string{"-D", data}, dir: dir, env: env, as: as}, nil
}

// postgresConfig: of lines that say the same the last counts.
func postgresConfig(port int, extra []string) string {
	return fmt.Sprintf(`
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = ''
max_connections = 200
jit = off
%s
`, port, strings.Join(extra, "\n"))
}

// probe asks for the version, which a server answers once it has read its log.
func (postgresKind) probe(ctx context.Context, address, addr string) (version string, err error) {
	conn, err := dial(ctx, addr) // a closed port is a quick no
	if err != nil {
		return "", err
	}
	_ = conn.Close()
	db, err := pgx.Connect(ctx, address)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	if err := db.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		return "", fmt.Errorf("ask for its version: %w", err)
	}
	version, _, _ = strings.Cut(version, " ")
	return version, nil
}
