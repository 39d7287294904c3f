package summary

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// render is what the golden files hold: all that Clean found and what Facts chose.
func render(document string) string {
	text := Clean(document)
	var b strings.Builder
	fmt.Fprintf(&b, "title: %s\nheadings: %q\n", text.Title, text.Headings)
	for _, block := range text.Blocks {
		fmt.Fprintf(&b, "block: section %d, item %t: %s\n", block.Section, block.Item, block.Text)
	}
	for _, fact := range Facts(text, 4) {
		fmt.Fprintf(&b, "fact: %s\n", fact)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("testdata/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, name := range documents {
		document, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(name, ".md") + ".golden"
		got := render(string(document))
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s, run with -update if this is meant:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// In five sentences about a database the one about cats is not a leading fact.
func TestFactsLeaveOutWhatTheTextIsNotAbout(t *testing.T) {
	t.Parallel()
	text := Clean("Postgres 17 speeds up vacuum and uses less memory. Cats sleep a lot. The new vacuum of " +
		"Postgres keeps its memory in a tree. Backups in Postgres 17 can be incremental. Nobody knows why.")
	facts := Facts(text, 3)
	want := []string{
		"Postgres 17 speeds up vacuum and uses less memory.",
		"The new vacuum of Postgres keeps its memory in a tree.",
		"Backups in Postgres 17 can be incremental.",
	}
	if !slices.Equal(facts, want) {
		t.Errorf("facts: %q", facts)
	}
}

func TestFactsInOtherScripts(t *testing.T) {
	t.Parallel()
	for language, c := range map[string]struct{ text, off string }{
		"Chinese": {"数据库的备份现在是增量的。猫喜欢睡觉。增量备份让数据库恢复更快。数据库管理员每天检查备份。", "猫喜欢睡觉。"},
		"Russian": {
			"База данных хранит резервные копии каждый день. Кошки спят. Резервные копии базы данных проверяются " +
				"каждую неделю. Без резервной копии база данных не восстановится.", "Кошки спят.",
		},
		"Arabic": {
			"تحفظ قاعدة البيانات نسخة احتياطية كل يوم. القطط تنام. النسخة الاحتياطية تحمي قاعدة البيانات من الفقد. " +
				"يفحص المدير قاعدة البيانات كل أسبوع.", "القطط تنام.",
		},
	} {
		facts := Facts(Clean(c.text), 3)
		if len(facts) != 3 || slices.Contains(facts, c.off) {
			t.Errorf("%s: %q", language, facts)
		}
	}
}

func TestFactsOfPoorTexts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		document string
		want     []string
	}{
		"nothing":       {"", nil},
		"only signs":    {"---\n\n| | |\n\n***\n", nil},
		"only headings": {"# One\n\n## Two\n", []string{"One", "Two"}},
		"only code":     {"```\ncode\n```\n", nil},
		"no full stop":  {"a text without any end", []string{"a text without any end"}},
		"repetition":    {"The same again and again. The same again and again!", []string{"The same again and again."}},
	} {
		if got := Facts(Clean(c.document), 3); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestFactsCutAnEndlessSentence(t *testing.T) {
	t.Parallel()
	facts := Facts(Clean(strings.Repeat("word ", 100_000)), 3)
	if len(facts) != 1 || utf8.RuneCountInString(facts[0]) > maxRunes+2 || !strings.HasSuffix(facts[0], "word …") {
		t.Errorf("facts: %d, the first of %d bytes", len(facts), len(facts[0]))
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"a [link](x) and [![badge](y)](z) end":    "a link and end",
		"**bold**, *slanted*, __loud__ and _low_": "bold, slanted, loud and low",
		"snake_case_name and 2 * 3 * 4":           "snake_case_name and 2 * 3 * 4",
		"`code` and ``more``":                     "code and more",
		"<b>tag</b> 1 < 2 <https://example.org>":  "tag 1 < 2 https://example.org",
		`\*not slanted\*`:                         "*not slanted*",
		"tab\tbell\a  blank":                      "tab bell blank",
	} {
		if got := Plain(line); got != want {
			t.Errorf("Plain(%q) = %q, want %q", line, got, want)
		}
	}
}

func FuzzFacts(f *testing.F) {
	document, err := os.ReadFile("testdata/notes.md")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(document))
	f.Add("> > > a\n~~~\n")
	f.Add("<!-- <!-- --> --> [[]()]() ![")
	f.Add("\xff\xfe\x00 1.2.3\r# #\r\n==")
	f.Fuzz(func(t *testing.T, document string) {
		facts := Facts(Clean(document), 3)
		if len(facts) > 3 {
			t.Errorf("%d facts", len(facts))
		}
		for _, fact := range facts {
			if strings.TrimSpace(fact) == "" || strings.ContainsFunc(fact, unicode.IsControl) {
				t.Errorf("fact %q", fact)
			}
		}
		if again := Facts(Clean(document), 3); !slices.Equal(facts, again) {
			t.Errorf("%q, and again %q", facts, again)
		}
	})
}

func ExampleFacts() {
	text := Clean("# Tides\n\nThe moon pulls the sea. Hello! High tide follows the moon about every twelve hours.\n")
	for _, fact := range Facts(text, 2) {
		fmt.Println(fact)
	}
	// Output:
	// The moon pulls the sea.
	// High tide follows the moon about every twelve hours.
}
