package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver"
)

// Options are the keys of a transport entry of kind embedded. The zero value is
// the default.
type Options struct { //nolint:recvcheck // SetLogger changes them, all else reads a copy
	Dir            string         `yaml:"dir" doc:"folder of the messages; it is made if it is missing, and has one owner at a time" default:"./data" example:"/var/lib/newsroom"`
	Sync           string         `yaml:"sync" doc:"when confirmed messages are on the disk: always, before they are confirmed; or an interval such as 1s, some 15 times faster, whose last messages a loss of power takes (the death of the process takes none)" default:"always" example:"1s"`
	Listen         string         `yaml:"listen" doc:"address at which other processes attach with kind nats; none: no port is opened; there is no authentication" example:"127.0.0.1:4222"`
	PublishTimeout value.Duration `yaml:"publish_timeout" doc:"how long a publish waits for its confirmation before it counts as failed" default:"30s" example:"10s"`
	MaxPending     int            `yaml:"max_pending" doc:"messages that may be unconfirmed, over all publishers; 1 to 65536; more wait" default:"4096" example:"16384"`
	MaxBody        value.Size     `yaml:"max_body" doc:"the largest message, headers included" default:"1MiB" example:"8MiB"`

	// Logger gets the server's warnings and errors; nil discards. Not in YAML.
	Logger *slog.Logger `yaml:"-"`
}

// Defaults of [Options].
const (
	DefaultDir  = "./data"
	DefaultSync = "always"
)

// mostPayload is what the server's protocol allows.
const mostPayload = 64 * value.MiB

func (o Options) withDefaults() Options {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Sync == "" {
		o.Sync = DefaultSync
	}
	if o.MaxBody == 0 {
		o.MaxBody = natsdriver.DefaultMaxBody
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate reports every value that cannot be, without opening anything.
func (o Options) Validate() error {
	o = o.withDefaults()
	_, err := o.plan()
	return errors.Join(err, o.client().Validate())
}

// plan is what the options mean.
type plan struct {
	interval time.Duration // of syncing; 0: always
	host     string
	port     int
}

func (o Options) plan() (plan, error) {
	interval, errSync := o.interval()
	host, port, errListen := o.address()
	var errBody error
	if o.MaxBody > mostPayload {
		errBody = fmt.Errorf("max_body %v: NATS takes at most %v", o.MaxBody, mostPayload)
	}
	return plan{interval, host, port}, errors.Join(errSync, errListen, errBody)
}

func (o Options) interval() (time.Duration, error) {
	if o.Sync == DefaultSync {
		return 0, nil
	}
	d, err := value.ParseDuration(o.Sync)
	if err != nil || d.Std() < 10*time.Millisecond || d.Std() > time.Hour {
		return 0, fmt.Errorf("sync %q: use always, or an interval from 10ms to 1h such as 1s", o.Sync)
	}
	return d.Std(), nil
}

func (o Options) address() (host string, port int, err error) {
	if o.Listen == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen %q: use HOST:PORT such as 127.0.0.1:4222: %w", o.Listen, err)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("listen %q: the port is a number from 1 to 65535", o.Listen)
	}
	return host, port, nil
}

// client are the options of the driver on our own server.
func (o Options) client() natsdriver.Options {
	return natsdriver.Options{
		URL: "nats://embedded", Monitoring: "none", // it is our own server
		PublishTimeout: o.PublishTimeout, MaxPending: o.MaxPending, MaxBody: o.MaxBody, Logger: o.Logger,
	}
}

// Capabilities is what every driver of these options can do.
func Capabilities(o Options) driver.Capabilities {
	return natsdriver.Capabilities(o.withDefaults().client())
}
