package kafkadriver

import (
	"strings"
	"testing"
	"time"
)

func TestAgeingBacklog(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const kept = 10 * time.Hour
	for name, c := range map[string]struct {
		oldest time.Time
		told   bool
	}{
		"nothing":     {time.Time{}, false},
		"young":       {now.Add(-7 * time.Hour), false},
		"nearly gone": {now.Add(-8 * time.Hour), true},
	} {
		err := ageing("tasks", kept, c.oldest, now)
		if (err != nil) != c.told || c.told && !strings.Contains(err.Error(), `"tasks"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
