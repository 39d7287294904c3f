package redisconn

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Server is what a Redis says of itself. The zero value is one that may not be
// asked.
type Server struct {
	Name    string // "Redis", "Valkey", …
	Version string
	Mode    string            // standalone, cluster, sentinel
	Role    string            // master, slave
	Fields  map[string]string // of INFO
}

// The oldest version that has what the driver needs (XAUTOCLAIM), the one that
// counts the lag, and the one that is tested.
const (
	leastMajor, leastMinor = 6, 2
	lagMajor               = 7
	TestedVersion          = "7.0"
)

// AskServer reads INFO.
func AskServer(ctx context.Context, client redis.UniversalClient) (*Server, error) {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	return ParseInfo(text), nil
}

// ParseInfo reads the text of INFO.
func ParseInfo(text string) *Server {
	s := &Server{Name: "Redis", Fields: map[string]string{}}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			s.Fields[name] = value
		}
	}
	s.Version, s.Mode, s.Role = s.Fields["redis_version"], s.Fields["redis_mode"], s.Fields["role"]
	switch {
	case s.Fields["valkey_version"] != "":
		s.Name, s.Version = "Valkey", s.Fields["valkey_version"]
	case s.Fields["dragonfly_version"] != "":
		s.Name, s.Version = "Dragonfly", strings.TrimPrefix(s.Fields["dragonfly_version"], "df-v")
	}
	if mode := s.Fields["server_mode"]; mode != "" {
		s.Mode = mode
	}
	return s
}

// String is the server's name with its version.
func (s *Server) String() string {
	if s == nil || s.Version == "" {
		return "Redis of unknown version"
	}
	return s.Name + " " + s.Version
}

// number takes the version that the server is compatible with apart.
func (s *Server) number() (major, minor int) {
	if s == nil {
		return 0, 0
	}
	parts := strings.SplitN(s.Fields["redis_version"]+"..", ".", 3)
	major, _ = strconv.Atoi(parts[0])
	minor, _ = strconv.Atoi(parts[1])
	return major, minor
}

// TooOld is an error for a server that lacks what the driver needs.
func (s *Server) TooOld() error {
	major, minor := s.number()
	if major == 0 || major > leastMajor || major == leastMajor && minor >= leastMinor {
		return nil
	}
	return fmt.Errorf("%v is too old: XAUTOCLAIM came with %d.%d", s, leastMajor, leastMinor)
}

// LacksLag reports whether XINFO GROUPS does not say how much waits.
func (s *Server) LacksLag() bool {
	major, _ := s.number()
	return major != 0 && major < lagMajor
}

// Tested reports whether the driver's tests run against this version.
func (s *Server) Tested() bool {
	return s.Name == "Redis" && strings.HasPrefix(s.Version, TestedVersion+".")
}
