package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine is what the figures were measured on.
type machine struct {
	OS    string `json:"os"`
	Go    string `json:"go"`
	Model string `json:"model"`
	Cores int    `json:"cores"`
}

func thisMachine() machine {
	return machine{OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Model: model(), Cores: runtime.NumCPU()}
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %s, %s", m.Cores, m.Model, m.OS, m.Go)
}

func model() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
