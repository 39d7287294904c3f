package watermillredis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func TestValidateNamesTheBadValue(t *testing.T) {
	t.Parallel()
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, o := range map[string]Options{
		"consumers -1":     {Consumers: -1},
		"max_idle":         {MaxIdle: value.Duration(time.Microsecond)},
		"block_time 1m":    {BlockTime: value.Duration(time.Minute)},
		"max_len -5":       {MaxLen: -5},
		"max_body":         {MaxBody: 10},
		"cert and key":     {TLS: TLS{Cert: "c.pem"}},
		`user "agents"`:    {User: "agents"},
		"http":             {URL: "http://localhost"},
		"no-such.pem":      {TLS: TLS{CA: "no-such.pem"}},
		`"redis://***@x:y`: {URL: "redis://me:secret@x:y"},
	} {
		err := o.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestAWrongAddressOrPasswordIsClearAtStart(t *testing.T) {
	t.Parallel()
	quick := value.Duration(300 * time.Millisecond)
	if _, err := Open(t.Context(), Options{URL: "redis://127.0.0.1:1/0", ConnectTimeout: quick}); err == nil ||
		!strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "connect_timeout") {
		t.Errorf("nobody listens: %v", err)
	}
	server := brokertest.SharedRedis(t)
	o := Options{URL: server.URL, User: "nobody", Password: value.NewSecret("wrong")}
	if _, err := Open(t.Context(), o); !errors.Is(err, driver.ErrDenied) {
		t.Errorf("wrong password: %v", err)
	}
}
