package main

import (
	"strings"
	"testing"
)

func TestAuthorFor(t *testing.T) {
	t.Parallel()
	env := map[string]string{"OPENAI_API_KEY": "secret"}
	getenv := func(name string) string { return env[name] }
	if a, ok := authorFor(getenv).(extractive); !ok {
		t.Errorf("without a base URL: %T, documents must not leave the machine", a)
	}
	env["OPENAI_BASE_URL"] = "http://localhost/v1"
	if a, ok := authorFor(getenv).(modelled); !ok {
		t.Errorf("with a base URL: %T", a)
	}
}

func TestExtractive(t *testing.T) {
	t.Parallel()
	title, facts, err := extractive{}.facts(t.Context(), "# Tides\n\nThe moon pulls the sea. So there are tides every day.\n")
	if err != nil || title != "Tides" || len(facts) != 2 {
		t.Fatalf("title %q, facts %q, %v", title, facts, err)
	}
	brief, err := extractive{}.brief(t.Context(), title, facts)
	if err != nil || brief != "- The moon pulls the sea.\n- So there are tides every day." {
		t.Errorf("brief %q, %v", brief, err)
	}
}

func TestBeginning(t *testing.T) {
	t.Parallel()
	if got := beginning("aé", 2); got != "a" {
		t.Errorf("cut in a character: %q", got)
	}
	if got := beginning("short", 10); got != "short" {
		t.Errorf("uncut: %q", got)
	}
	if got := beginning(strings.Repeat("x", 20), 10); len(got) != 10 {
		t.Errorf("cut to %d bytes", len(got))
	}
}
