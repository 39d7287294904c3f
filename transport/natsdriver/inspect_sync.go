package natsdriver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/natsconn"
	"github.com/anywire/anywire/transport/driver"
)

const (
	// monitorPort is where servers have their monitoring by convention.
	monitorPort = "8222"
	// noMonitoring as Options.Monitoring keeps an inspection from asking there.
	noMonitoring = "none"
	// mostMonitoring bounds an answer of the monitoring.
	mostMonitoring = 1 << 20
	// defaultSync is a server's when its configuration says nothing.
	defaultSync = 2 * time.Minute
)

// serverSync is what JSZ, the monitoring of JetStream, says of a server.
type serverSync struct {
	Server string `json:"server_id"`
	Config struct {
		Always   bool          `json:"sync_always"`
		Interval time.Duration `json:"sync_interval"`
	} `json:"config"`
}

var errNotTold = errors.New("the server does not tell clients; its monitoring does, and so does the system account")

// syncing looks at how often the server writes to the disk: by default it
// confirms what a loss of power within the next two minutes takes away.
func (x *inspection) syncing(ctx context.Context) {
	if x.o.Monitoring == noMonitoring {
		return
	}
	const check, interval = "sync_interval", "a server's default is 2m, in which a loss of power takes confirmed messages with it"
	sync, err := x.askSync(ctx)
	if err != nil {
		x.note(driver.Unknown, check, subjectServer, "not readable: "+err.Error(), interval,
			"look for sync_interval below jetstream in the server's configuration and set it to always; "+
				"or start it with -m 8222 and set monitoring: http://HOST:8222 on the transport, and run this again")
		return
	}
	if sync.Config.Always {
		x.good(check, subjectServer, "always")
		return
	}
	every := sync.Config.Interval
	if every <= 0 {
		every = defaultSync
	}
	level, why := driver.Danger, fmt.Sprintf("a loss of power takes up to %v of confirmed messages with it", every)
	if x.copied() {
		level, why = driver.Warning, why+", if it strikes all replicas at once"
	}
	x.note(level, check, subjectServer, every.String(), why, "set sync_interval: always below jetstream in the server's configuration")
}

// copied reports whether every stream that is there has three copies.
func (x *inspection) copied() bool {
	for _, info := range x.streams {
		if info.Config.Storage == jetstream.FileStorage && info.Config.Replicas < 3 {
			return false
		}
	}
	return len(x.streams) > 0 && x.missing == 0
}

// askSync asks the monitoring, and then the system account.
func (x *inspection) askSync(ctx context.Context) (*serverSync, error) {
	base := x.o.Monitoring
	if base == "" {
		host, _, err := net.SplitHostPort(x.nc.ConnectedAddr())
		if err == nil {
			base = "http://" + net.JoinHostPort(host, monitorPort)
		}
	}
	id := x.nc.ConnectedServerId()
	sync, err := fetchSync(ctx, base)
	switch {
	case err == nil && sync.Server == id:
		return sync, nil
	case x.o.Monitoring != "" && err == nil:
		return nil, fmt.Errorf("%s is the monitoring of another server (%s), and we are connected to %s", natsconn.Redact(base), sync.Server, id)
	case x.o.Monitoring != "":
		return nil, err
	}
	question := "$SYS.REQ.SERVER." + id + ".JSZ"
	if !x.user.publish().allows(question) {
		return nil, errNotTold
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := x.nc.RequestWithContext(ctx, question, []byte(`{"config":true}`))
	if err != nil {
		return nil, errNotTold
	}
	var answer struct {
		Data *serverSync `json:"data"`
	}
	if json.Unmarshal(m.Data, &answer) != nil || answer.Data == nil || answer.Data.Server != id {
		return nil, errNotTold
	}
	return answer.Data, nil
}

func fetchSync(ctx context.Context, base string) (*serverSync, error) {
	at, err := url.Parse(base)
	if err != nil || at.Host == "" || !strings.HasPrefix(at.Scheme, "http") {
		return nil, fmt.Errorf("monitoring %q: use an address such as http://localhost:%s", natsconn.Redact(base), monitorPort)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.JoinPath("jsz").String()+"?config=true", http.NoBody)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("monitoring: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var sync serverSync
	if err := json.NewDecoder(io.LimitReader(response.Body, mostMonitoring)).Decode(&sync); err != nil {
		return nil, fmt.Errorf("monitoring at %s answers with status %d, and not as a NATS server does: %w", at.Host, response.StatusCode, err)
	}
	return &sync, nil
}
