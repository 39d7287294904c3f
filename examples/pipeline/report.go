package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// maxReported is how many dead letters are printed one by one.
const maxReported = 20

// idempotencyKey is of the round, the task and the document's content. It is a
// hash, since a path may hold what no header can.
func idempotencyKey(round string, task Task, contentHash string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{round, task.In, task.Out, task.Path, contentHash}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// report lists what a reader should know at the end, a line each.
func (r *round) report(ctx context.Context) []string {
	var lines []string
	for i, document := range slices.Sorted(maps.Keys(r.dead)) {
		if i == maxReported {
			lines = append(lines, fmt.Sprintf("and %d more dead letters", len(r.dead)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("dead letter: %s: %s", oneLine(document), r.dead[document]))
	}
	if n := r.outdated(); n > 0 {
		lines = append(lines, fmt.Sprintf("%d briefs are older than their documents; remove them to have them written anew", n))
	}
	if n := len(r.pending); n > 0 && ctx.Err() != nil {
		lines = append(lines, fmt.Sprintf("interrupted with %d documents left; the same command goes on with them", n))
	}
	return lines
}

// outdated counts the briefs whose document changed after they were written.
func (r *round) outdated() int {
	documents, err := os.OpenRoot(r.in)
	if err != nil {
		return 0
	}
	defer documents.Close()
	n := 0
	for _, document := range r.documents {
		brief, err := r.shelf.Stat(briefName(document))
		if err != nil {
			continue
		}
		if source, err := documents.Stat(document); err == nil && source.ModTime().After(brief.ModTime()) {
			n++
		}
	}
	return n
}
