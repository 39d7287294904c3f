package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a secret file, a secret variable and the configuration hold, and nobody
// may see.
const (
	filed  = "filed-secret-1"
	varied = "varied-secret-2"
	inFile = "written-secret-3"
)

func TestSecretsAreNeverShown(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ANYWIRE_TEST_SECRET", varied)
	t.Setenv("ANYWIRE_TEST_SECRET_URL", "nats://reporter:"+varied+"@localhost:4222")
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(filed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, nats := range map[string]string{
		"password of a URL":                `url: "nats://reporter:written-secret-3@localhost:4222"`,
		"password of one of several URLs":  `url: "nats://a:4222,nats://reporter:written-secret-3@b:4222"`,
		"URL from a variable":              `url: "${ANYWIRE_TEST_SECRET_URL}"`,
		"URL with a variable":              `url: "nats://reporter:${ANYWIRE_TEST_SECRET}@localhost:4222"`,
		"URL with a file":                  `url: "nats://reporter:${file:secret}@localhost:4222"`,
		"URL as default of a variable":     `url: "${ANYWIRE_TEST_NONE:-nats://reporter:written-secret-3@localhost:4222}"`,
		"secret fields":                    `{ user: reporter, password: written-secret-3 }`,
		"secret field from a variable":     `token: "${ANYWIRE_TEST_SECRET}"`,
		"secret field from a file":         `token: "${file:secret}"`,
		"any field from a file":            `name: "${file:secret}"`,
		"block of text":                    "token: |\n      written-secret-3",
		"wrong type in a secret field":     `password: [written-secret-3]`,
		"map in a secret field":            `password: { written-secret-3: x }`,
		"file in a field of another type":  `max_pending: "${file:secret}"`,
		"file in a duration":               `connect_timeout: "${file:secret}"`,
		"file where words are chosen from": `storage: "${file:secret}"`,
		"duplicate key beside it":          `{ token: written-secret-3, token: written-secret-3 }`,
		"unknown key beside it":            `{ token: written-secret-3, tls: { cert: x, keey: y } }`,
		"bad value beside it":              `{ token: written-secret-3, replicas: many, url: "nats://reporter:written-secret-3@localhost" }`,
		"password with an @":               `url: "nats://reporter:p@written-secret-3@localhost:4222"`,
		"token as a user":                  `url: "nats://written-secret-3@localhost:4222"`,
		"misspelled key":                   `{ paswd: written-secret-3, user: x }`,
		"misspelled key with a list":       `{ paswd: [ written-secret-3 ] }`,
		"misspelled key with a map":        `{ paswd: { x: written-secret-3 } }`,
		"YAML that breaks off":             `{ password: "written-secret-3", url: [`,
	} {
		text := "version: 1\ntransport: nats\ntransports:\n  nats: " + nats + "\nagents:\n  a: { consumes: in }\n"
		if !strings.HasPrefix(nats, "{") {
			text = "version: 1\ntransport: nats\ntransports:\n  nats:\n    " + nats + "\nagents:\n  a: { consumes: in }\n"
		}
		file := filepath.Join(dir, "new.yaml")
		write(t, file, text)
		for _, args := range [][]string{
			{"validate"},
			{"validate", "--json"},
			{"print"},
			{"explain"},
			{"explain", "--json"},
			{"explain", "transports.nats"},
			{"explain", "written-secret"},
			{"graph"},
			{"__complete", "explain"},
		} {
			args = append(args, "-c", file)
			if args[0] == "__complete" {
				args = append(args, "transports.nats.")
			}
			shown := call(args...).both()
			for _, secret := range []string{filed, varied, inFile} {
				if strings.Contains(shown, secret) {
					t.Errorf("%s: %v shows %s:\n%s", name, args, secret, shown)
				}
			}
		}
	}
}
