package redisdriver

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/anywire/anywire/internal/brokertest"
)

// TestEvictingServerIsToldAtStart does not wait for somebody to run an inspection.
func TestEvictingServerIsToldAtStart(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*brokertest.Server{
		"evicting": brokertest.Redis(t, "maxmemory 1gb", "maxmemory-policy allkeys-lru"),
		"sound":    brokertest.SharedRedis(t),
	} {
		var log bytes.Buffer
		open(t, server.URL, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		told := strings.Contains(log.String(), "allkeys-lru") && strings.Contains(log.String(), "noeviction")
		if told != (name == "evicting") {
			t.Errorf("the log of a server that is %s says: %s", name, log.String())
		}
	}
}
