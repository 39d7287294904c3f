package config

import (
	"bytes"
	"regexp"
	"testing"
)

// archive is a text file that holds several: a comment, then for each file a
// line -- NAME -- and its content.
type archive struct {
	comment []byte
	files   []archived
}

type archived struct {
	name string
	data []byte
}

var fileMark = regexp.MustCompile(`(?m)^-- (\S+) --\n`)

func parseArchive(t *testing.T, text []byte) *archive {
	t.Helper()
	marks := fileMark.FindAllSubmatchIndex(text, -1)
	if len(marks) == 0 {
		t.Fatal("the archive holds no files")
	}
	a := &archive{comment: text[:marks[0][0]]}
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		a.files = append(a.files, archived{string(text[m[2]:m[3]]), text[m[1]:end]})
	}
	return a
}

func (a *archive) format() []byte {
	var b bytes.Buffer
	b.Write(a.comment)
	for _, f := range a.files {
		b.WriteString("-- " + f.name + " --\n")
		b.Write(f.data)
	}
	return b.Bytes()
}
