package redisdriver

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
)

// blockFor is the longest that a command of the second client may block.
const blockFor = 5 * time.Second

// server is what a Redis says of itself; nil where it may not be asked.
type server = redisconn.Server

// connection is what the options say about it.
func (o Options) connection() redisconn.Config {
	return redisconn.Config{
		URL: o.URL, Name: o.Name, User: o.User, Password: o.Password,
		TLS: redisconn.TLS(o.TLS), Cluster: o.Cluster, Sentinel: redisconn.Sentinel(o.Sentinel),
		ConnectTimeout: o.ConnectTimeout.Std(), Dial: o.Dial,
	}
}

// cloneable refuses clients whose options cannot be read.
func cloneable(client redis.UniversalClient) error {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			return nil
		}
	case *redis.ClusterClient:
		if c != nil {
			return nil
		}
	}
	return fmt.Errorf("client is %T: use a *redis.Client, also one for sentinels, or a *redis.ClusterClient", client)
}

// cloneClient makes a client to the same server with connections of its own.
// Its commands may block for blockFor.
func cloneClient(client redis.UniversalClient) (redis.UniversalClient, error) {
	const timeout = blockFor + redisconn.AnswerWithin
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.Protocol, o.MaxRetries, o.PoolSize, o.MinIdleConns = 2, redisconn.NoRetry, redisconn.MostConnections, 0
		o.MaxActiveConns, o.MaxIdleConns, o.MaxConcurrentDials, o.PipelinePoolSize = 0, 0, 0, redisconn.MostConnections
		o.ReadTimeout, o.ContextTimeoutEnabled = timeout, true
		o.ClientSideCache, o.ClientSideCacheConfig, o.MaintNotificationsConfig = nil, nil, redisconn.NoNotifications()
		return redis.NewClient(&o), nil
	case *redis.ClusterClient:
		o := *c.Options()
		o.Protocol, o.MaxRetries, o.PoolSize, o.MinIdleConns = 2, redisconn.NoRetry, redisconn.MostConnections, 0
		o.MaxActiveConns, o.MaxIdleConns, o.MaxConcurrentDials, o.PipelinePoolSize = 0, 0, 0, redisconn.MostConnections
		o.ReadTimeout, o.ContextTimeoutEnabled = timeout, true
		o.MaintNotificationsConfig = redisconn.NoNotifications()
		return redis.NewClusterClient(&o), nil
	}
	return nil, cloneable(client)
}
