package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

const (
	// longestBlock bounds a blocking read: what another process gives back is
	// noticed after that at the latest.
	longestBlock = time.Second
	// lineTimeout is how much later than it should an answer may come.
	lineTimeout = 5 * time.Second
	// unblockTimeout bounds the wait for a blocking read that is told to end.
	unblockTimeout = 300 * time.Millisecond
)

// line is one connection for commands that may block. They run one at a time. It
// ends at once when it is closed, whatever runs on it.
type line struct {
	d   *Driver
	key string // the node that has it is the one to ask

	mu     sync.Mutex
	client *redis.Client
	master *redis.Client // of all connections to that node, for a word beside the blocking read
	closed bool
	id     atomic.Int64 // of the connection, at the server; 0: not known
}

// open returns the connection, and makes it on first use.
func (l *line) open(ctx context.Context) (*redis.Client, error) {
	l.mu.Lock()
	client, closed := l.client, l.closed
	l.mu.Unlock()
	if closed {
		return nil, driver.ErrClosed
	}
	if client != nil {
		return client, nil
	}
	master, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	client = redis.NewClient(l.options(master))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = client.Close()
		return nil, driver.ErrClosed
	}
	l.client, l.master = client, master
	return client, nil
}

// find is the client of the node that has the key.
func (l *line) find(ctx context.Context) (*redis.Client, error) {
	switch c := l.d.reader().(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, l.key)
		if err != nil {
			return nil, fmt.Errorf("find the master of %q: %w", l.key, err)
		}
		return node, nil
	default:
		return nil, fmt.Errorf("client is %T: use a *redis.Client or a *redis.ClusterClient", c)
	}
}

var errLine = errors.New("the connection was lost")

// options are those of the node's client for one connection, whose id it learns.
// It is never dialled again: what the server knew of it (a WATCH) would be gone
// unnoticed, and so would a reply.
func (l *line) options(master *redis.Client) *redis.Options {
	o := *master.Options()
	dial, dialled := o.Dialer, false
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialled {
			return nil, errLine
		}
		conn, err := dial(ctx, network, address)
		dialled = err == nil
		return conn, err
	}
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = redisconn.MostConnections, 0, 0, 0 // one is used at a time
	o.ReadTimeout, o.PipelinePoolSize = longestBlock+lineTimeout, -1
	before := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		l.id.Store(conn.ClientID(ctx).Val()) // without the right to ask, reads end by themselves
		return nil
	}
	return &o
}

// do runs a command and returns its reply as it came.
func (l *line) do(ctx context.Context, args ...any) ([]byte, error) {
	client, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	cmd := redis.NewRawCmd(ctx, args...)
	if err := client.Process(ctx, cmd); err != nil {
		return nil, err
	}
	return answered(cmd.Val())
}

// answered tells an error of the server from a reply.
func answered(reply []byte) ([]byte, error) {
	if len(reply) > 0 && reply[0] == '-' {
		return nil, refusal(reply[1 : len(reply)-len("\r\n")])
	}
	return reply, nil
}

// together sends commands at once and returns their replies, errors of the server
// included, as they came.
func (l *line) together(ctx context.Context, commands ...[]any) ([][]byte, error) {
	client, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	pipe := client.Pipeline()
	cmds := make([]*redis.RawCmd, len(commands))
	for i, args := range commands {
		cmds[i] = redis.NewRawCmd(ctx, args...)
		_ = pipe.Process(ctx, cmds[i])
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	replies := make([][]byte, len(cmds))
	for i, cmd := range cmds {
		replies[i] = cmd.Val()
	}
	return replies, nil
}

// run runs a script.
func (l *line) run(ctx context.Context, s script, keys []string, args ...any) ([]byte, error) {
	reply, err := l.do(ctx, scriptArgs("evalsha", s.sha, keys, args)...)
	if err != nil && redisconn.IsAnswer(err, "NOSCRIPT") {
		return l.do(ctx, scriptArgs("eval", s.text, keys, args)...)
	}
	return reply, err
}

// drop gives the connection up: the next command makes a new one, to the node
// that is in charge then.
func (l *line) drop() {
	l.mu.Lock()
	client := l.client
	l.client = nil
	l.mu.Unlock()
	l.id.Store(0)
	if client != nil {
		_ = client.Close()
	}
}

// close ends the connection for good.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.drop()
}

// unblock lets a blocking read return as if its time were over. It reports
// whether one was blocked.
func (l *line) unblock(ctx context.Context) bool {
	l.mu.Lock()
	master := l.master
	l.mu.Unlock()
	id := l.id.Load()
	if master == nil || id == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, unblockTimeout)
	defer cancel()
	return master.ClientUnblock(ctx, id).Val() == 1
}
