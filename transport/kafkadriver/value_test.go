package kafkadriver

import (
	"time"

	"github.com/anywire/anywire/config/value"
)

func valueOf(d time.Duration) value.Duration { return value.Duration(d) }
