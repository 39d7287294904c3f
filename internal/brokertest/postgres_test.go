package brokertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func (s *Server) postgres(ctx context.Context, statement string) (string, error) {
	db, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	var answer string
	err = db.QueryRow(ctx, statement).Scan(&answer)
	return answer, err
}

func TestPostgresKeepsDataOverKill(t *testing.T) {
	t.Parallel()
	server := Postgres(t, "work_mem = '7MB'")
	if got, err := server.postgres(t.Context(), "show work_mem"); err != nil || got != "7MB" {
		t.Errorf("work_mem is %q, %v: the test's line does not count", got, err)
	}
	open, err := pgx.Connect(t.Context(), server.URL) // its process outlives the server's for a moment
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close(t.Context()) }()
	if _, err := open.Exec(t.Context(), "create table kept (word text); insert into kept values ('yes')"); err != nil {
		t.Fatal(err)
	}
	url := server.URL
	for _, end := range []func(testing.TB){server.Kill, server.Stop, server.Kill} {
		end(t)
		if _, err := server.probe(t.Context()); err == nil {
			t.Fatal("a server that has ended answers")
		}
		server.Start(t)
		if got, err := server.postgres(t.Context(), "select word from kept"); err != nil || got != "yes" || server.URL != url {
			t.Errorf("after the restart %s has %q, %v; want the row at %s", server.URL, got, err, url)
		}
	}
}

func TestSharedPostgresIsOne(t *testing.T) {
	t.Parallel()
	first, second := SharedPostgres(t), SharedPostgres(t)
	if first != second {
		t.Error("two shared servers")
	}
	if !strings.HasPrefix(first.String(), "postgres ") || !strings.Contains(first.Version, ".") {
		t.Errorf("the server is called %q", first)
	}
}

// TestPostgresIsUnpacked needs the network, and only says something more where
// other tests run the server of the machine.
func TestPostgresIsUnpacked(t *testing.T) {
	t.Parallel()
	if os.Getenv("ANYWIRE_TEST_FULL") == "" {
		t.Skip("only with ANYWIRE_TEST_FULL=1: loads Debian packages")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no Debian package manager here")
	}
	root := filepath.Join(t.TempDir(), "postgres")
	if err := unpackPostgres(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "server")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := openWay(root + "/usr"); err != nil {
		t.Fatal(err)
	}
	c, err := postgresKind{}.setUp(t.Context(), postgresIn(filepath.Join(root, "usr")), dir, []int{1}, nil)
	if err != nil || !strings.HasPrefix(c.path, root) {
		t.Errorf("it is set up as %+v, %v", c, err)
	}
}
