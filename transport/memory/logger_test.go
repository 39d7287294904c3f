package memory_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/memory"
)

func TestSetLogger(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var o memory.Options
	o.SetLogger(slog.New(slog.NewTextHandler(&log, nil)))
	o.OnDrop("in")
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "topic=in keeps=10000") {
		t.Errorf("log %q", got)
	}

	own := false
	o = memory.Options{OnDrop: func(string) { own = true }}
	o.SetLogger(slog.New(slog.DiscardHandler))
	o.OnDrop("in")
	if !own {
		t.Error("SetLogger replaced OnDrop")
	}
}
