package main

import (
	"slices"
	"strings"
	"testing"
)

const (
	yaml     = "go.yaml.in/yaml/v4"
	packages = module + "\tfmt " + module + "/config go.yaml.in/yaml/v4\n" +
		module + "/config\tfmt go.yaml.in/yaml/v4\n" +
		module + "/envelope\tfmt\n\n"
	modules = "\ngo.yaml.in/yaml/v4\t" + yaml + "\n" + module + "/config\t" + module + "\n"
)

func TestCollect(t *testing.T) {
	t.Parallel()
	got := collect(packages, modules)
	if len(got) != 3 || len(got["envelope"]) != 0 || !slices.Equal(got["."], []string{"go.yaml.in/yaml/v4"}) {
		t.Errorf("collect: %v", got)
	}
	if again := parse(format(got)); len(compare(again, got)) != 0 {
		t.Errorf("what format wrote reads differently: %v", compare(again, got))
	}
}

func TestCompareNamesEveryChange(t *testing.T) {
	t.Parallel()
	want := map[string][]string{".": {"a", "b"}, "gone": nil}
	got := map[string][]string{".": {"b", "c"}, "new": {"d"}}
	diff := strings.Join(compare(want, got), "\n")
	for _, line := range []string{"+ .: c", "- .: a", "+ new: a package", "- gone: no such package"} {
		if !strings.Contains(diff, line) {
			t.Errorf("the diff lacks %q:\n%s", line, diff)
		}
	}
}

func TestSlimPackagesLinkNoClient(t *testing.T) {
	t.Parallel()
	got := map[string][]string{
		"envelope": {}, ".": {"go.yaml.in/yaml/v4", "github.com/nats-io/nats.go"},
		"all": {"github.com/nats-io/nats.go"},
	}
	err := checkSlim(got, slim())
	if err == nil || !strings.Contains(err.Error(), ". links github.com/nats-io/nats.go") ||
		strings.Contains(err.Error(), "all links") || strings.Contains(err.Error(), "yaml") {
		t.Errorf("checkSlim: %v", err)
	}
}
