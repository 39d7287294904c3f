package docstest

import (
	"regexp"
	"strings"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links are the targets of a document's links that name files beside it,
// without their fragments.
func Links(text string) []string {
	var files []string
	for _, found := range link.FindAllStringSubmatch(text, -1) {
		target, _, _ := strings.Cut(found[1], "#")
		if target != "" && !strings.Contains(target, "://") {
			files = append(files, target)
		}
	}
	return files
}
