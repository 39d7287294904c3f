package redisdriver

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// server is what a Redis says of itself. The zero value is one that may not be
// asked.
type server struct {
	name    string // "Redis", "Valkey", …
	version string
	mode    string // standalone, cluster, sentinel
	role    string // master, slave
	fields  map[string]string
}

// The oldest version that has what the driver needs (XAUTOCLAIM), the one that
// counts the lag, and the one that is tested.
const (
	leastMajor, leastMinor = 6, 2
	lagMajor               = 7
	testedVersion          = "7.0"
)

// askServer reads INFO.
func askServer(ctx context.Context, client redis.UniversalClient) (*server, error) {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	return parseInfo(text), nil
}

func parseInfo(text string) *server {
	s := &server{name: "Redis", fields: map[string]string{}}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			s.fields[name] = value
		}
	}
	s.version, s.mode, s.role = s.fields["redis_version"], s.fields["redis_mode"], s.fields["role"]
	switch {
	case s.fields["valkey_version"] != "":
		s.name, s.version = "Valkey", s.fields["valkey_version"]
	case s.fields["dragonfly_version"] != "":
		s.name, s.version = "Dragonfly", strings.TrimPrefix(s.fields["dragonfly_version"], "df-v")
	}
	if mode := s.fields["server_mode"]; mode != "" {
		s.mode = mode
	}
	return s
}

// String is the server's name with its version.
func (s *server) String() string {
	if s == nil || s.version == "" {
		return "Redis of unknown version"
	}
	return s.name + " " + s.version
}

// number takes the version that the server is compatible with apart.
func (s *server) number() (major, minor int) {
	if s == nil {
		return 0, 0
	}
	parts := strings.SplitN(s.fields["redis_version"]+"..", ".", 3)
	major, _ = strconv.Atoi(parts[0])
	minor, _ = strconv.Atoi(parts[1])
	return major, minor
}

// tooOld is an error for a server that lacks what the driver needs.
func (s *server) tooOld() error {
	major, minor := s.number()
	if major == 0 || major > leastMajor || major == leastMajor && minor >= leastMinor {
		return nil
	}
	return fmt.Errorf("%v is too old: XAUTOCLAIM came with %d.%d", s, leastMajor, leastMinor)
}

// lacksLag reports whether XINFO GROUPS does not say how much waits.
func (s *server) lacksLag() bool {
	major, _ := s.number()
	return major != 0 && major < lagMajor
}

// tested reports whether the driver's tests run against this version.
func (s *server) tested() bool {
	return s.name == "Redis" && strings.HasPrefix(s.version, testedVersion+".")
}
