package embedded

import (
	"path/filepath"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

// level is that of the one finding of a check.
func level(t *testing.T, found []driver.Finding, check string) driver.Level {
	t.Helper()
	n, level := 0, driver.Good
	for _, f := range found {
		if f.Check == check {
			n, level = n+1, f.Level
		}
		if f.Level != driver.Good && (f.Why == "" || f.Fix == "") {
			t.Errorf("an incomplete finding: %+v", f)
		}
	}
	if n != 1 {
		t.Errorf("%d findings of %s in %+v", n, check, found)
	}
	return level
}

func TestLook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o     Options
		check string
		want  driver.Level
	}{
		{Options{}, "sync", driver.Good},
		{Options{Sync: "1s"}, "sync", driver.Warning},
		{Options{Sync: "never"}, "options", driver.Danger},
		{Options{}, "listen", driver.Good},
		{Options{Listen: "127.0.0.1:4222"}, "listen", driver.Good},
		{Options{Listen: "localhost:4222"}, "listen", driver.Good},
		{Options{Listen: ":4222"}, "listen", driver.Warning},
		{Options{Listen: "192.0.2.1:4222"}, "listen", driver.Warning},
	} {
		c.o.Dir = filepath.Join(t.TempDir(), "missing")
		if got := level(t, c.o.Look(), c.check); got != c.want {
			t.Errorf("%+v: %s is %v, want %v", c.o, c.check, got, c.want)
		}
	}
}

func TestJudgeOfRoom(t *testing.T) {
	t.Parallel()
	for free, want := range map[uint64]driver.Level{1 << 40: driver.Good, 1 << 29: driver.Warning, 1 << 20: driver.Danger} {
		if got := roomOf("dir", free); got.Level != want {
			t.Errorf("%d bytes free: %+v, want %v", free, got, want)
		}
	}
	if f := (Options{Dir: t.TempDir()}).lookAtDisk(); f.Found == "" || f.Level == driver.Unknown {
		t.Errorf("the disk of this machine: %+v", f)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	d := open(t, Options{Dir: t.TempDir(), Sync: "1s"})
	found, err := d.Inspect(t.Context(), driver.Use{Writes: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	for check, want := range map[string]driver.Level{"sync": driver.Warning, "rights": driver.Good, "stream": driver.Good, "version": driver.Good} {
		if got := level(t, found, check); got != want {
			t.Errorf("%s is %v, want %v", check, got, want)
		}
	}
	for _, f := range found {
		if f.Check == "sync_interval" {
			t.Errorf("the server is asked for what is known: %+v", f)
		}
	}
}
