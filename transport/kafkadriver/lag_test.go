package kafkadriver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// A topic that is missing has no lag and nothing to browse, which is said at once,
// by name.
func TestLagOfAMissingTopic(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	simulated, _ := open(t, cluster.ListenAddrs(), nil)
	for name, d := range map[string]*Driver{"kfake": simulated, "kafka": shared(t)} {
		topic := unique(t)
		for call, err := range map[string]func() error{
			"Lag": func() error {
				_, err := d.Lag(t.Context(), topic, "group")
				return err
			},
			"Browse": func() error {
				return d.Browse(t.Context(), topic, driver.Start{}, false, func(*driver.Message) bool { return true })
			},
		} {
			began := time.Now()
			err := err()
			if !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), topic) {
				t.Errorf("%s on %s: %v, want ErrNotFound that names the topic", call, name, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s on %s took %v", call, name, took)
			}
		}
	}
}
