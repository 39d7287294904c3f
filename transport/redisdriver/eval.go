package redisdriver

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name that Redis gives a script
	"embed"
	"encoding/hex"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
)

// script runs whole within the server: nothing else happens meanwhile.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // the name that Redis gives a script
	return script{text, hex.EncodeToString(sum[:])}
}

//go:embed lua
var lua embed.FS

// embedded is a script of the folder lua: the named parts together, of which the
// first ones may be shared with others.
func embedded(parts ...string) script {
	var text strings.Builder
	for _, name := range parts {
		text.WriteString(read(name))
	}
	return newScript(text.String())
}

func read(name string) string {
	text, err := lua.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // a wrong name in this package
	}
	return string(text)
}

// eval runs a script. The keys share a slot.
func (d *Driver) eval(ctx context.Context, s script, keys []string, args ...any) *redis.Cmd {
	cmd := d.client.EvalSha(ctx, s.sha, keys, args...)
	if redisconn.IsAnswer(cmd.Err(), "NOSCRIPT") {
		return d.client.Eval(ctx, s.text, keys, args...)
	}
	return cmd
}

// states reads the numbers that a script returned for the ids that it was given.
func states(cmd *redis.Cmd, n int) ([]int64, error) {
	list, err := cmd.Int64Slice()
	if err == nil && len(list) != n {
		err = errReply
	}
	return list, err
}

func scriptArgs(command, script string, keys []string, args []any) []any {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return append(all, args...)
}
