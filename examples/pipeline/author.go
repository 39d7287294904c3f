package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/anywire/anywire/examples/pipeline/model"
	"github.com/anywire/anywire/examples/pipeline/summary"
)

// author finds the facts of a document and writes a brief from them.
type author interface {
	facts(ctx context.Context, document string) (title string, facts []string, err error)
	brief(ctx context.Context, title string, facts []string) (markdown string, err error)
}

const (
	factsPerBrief = 5
	// maxPrompt is how much of a document a model gets to read, from its
	// beginning.
	maxPrompt = 48 << 10
)

// authorFor is the model that the environment names, else the offline one.
func authorFor(getenv func(string) string) author {
	url := getenv("OPENAI_BASE_URL")
	if url == "" {
		return extractive{}
	}
	return modelled{model.New(model.Options{
		BaseURL: url, Key: getenv("OPENAI_API_KEY"), Name: getenv("OPENAI_MODEL"),
	})}
}

// extractive works offline: the facts are sentences of the document.
type extractive struct{}

func (extractive) facts(_ context.Context, document string) (title string, facts []string, err error) {
	text := summary.Clean(document)
	return text.Title, summary.Facts(text, factsPerBrief), nil
}

func (extractive) brief(_ context.Context, _ string, facts []string) (string, error) {
	return "- " + strings.Join(facts, "\n- "), nil
}

// modelled asks a language model for both.
type modelled struct{ model *model.Client }

const (
	askFacts = "List the leading facts of the document that you are given: at most five, one a line, each a full " +
		"sentence, in the document's language. No introduction, no numbers, no markup."
	askBrief = "Write a short brief in Markdown from the title and the facts that you are given: at most 120 words, " +
		"in their language, without a heading. Add nothing that the facts do not say."
)

func (m modelled) facts(ctx context.Context, document string) (title string, facts []string, err error) {
	title = summary.Clean(document).Title
	answer, err := m.model.Ask(ctx, askFacts, beginning(document, maxPrompt))
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(answer) {
		if fact := summary.Plain(listMark.ReplaceAllString(line, "")); fact != "" {
			facts = append(facts, fact)
		}
	}
	return title, facts[:min(len(facts), factsPerBrief)], nil
}

func (m modelled) brief(ctx context.Context, title string, facts []string) (string, error) {
	return m.model.Ask(ctx, askBrief, fmt.Sprintf("Title: %s\n\n- %s\n", title, strings.Join(facts, "\n- ")))
}

var listMark = regexp.MustCompile(`^\s*(?:[-*•]|\d{1,3}[.)])\s+`)

// beginning cuts a text to n bytes, between two characters.
func beginning(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
