package summary

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/sentences"
	"github.com/clipperhouse/uax29/v2/words"
)

const (
	// maxRunes is where a sentence is cut: texts without full stops exist.
	maxRunes = 400
	// maxSentences is how many are looked at, from the beginning: leading facts
	// are sought, and time and memory stay bounded.
	maxSentences = 5000
	// alike is the share of common words from which a sentence repeats another.
	alike = 0.75
)

// sentence is a candidate with its words and what they earn.
type sentence struct {
	text    string
	index   int // in the document
	block   *Block
	leading bool // the first of its section
	words   []string
	score   float64
}

// Facts picks at most n sentences of the text, in the order in which they
// stand. A text without any sentence gives its headings; a text without words
// gives nothing.
func Facts(t Text, n int) []string {
	all := split(t.Blocks)
	if len(all) == 0 {
		return t.Headings[:min(n, len(t.Headings))]
	}
	weigh(all, distinct(t.Title))
	chosen := pick(all, n)
	slices.SortFunc(chosen, func(a, b *sentence) int { return cmp.Compare(a.index, b.index) })
	facts := make([]string, len(chosen))
	for i, s := range chosen {
		facts[i] = s.text
	}
	return facts
}

// split cuts the blocks into sentences.
func split(blocks []Block) []*sentence {
	var all []*sentence
	section := -1
	for i := range blocks {
		b := &blocks[i]
		for tokens := sentences.FromString(b.Text); tokens.Next() && len(all) < maxSentences; {
			text := clip(strings.TrimSpace(tokens.Value()))
			w := distinct(text)
			if len(w) == 0 {
				continue
			}
			all = append(all, &sentence{text: text, index: len(all), block: b, leading: b.Section != section, words: w})
			section = b.Section
		}
	}
	return all
}

// clip cuts a sentence that has no end.
func clip(text string) string {
	runes := 0
	for i := range text {
		if runes++; runes > maxRunes {
			if blank := strings.LastIndexByte(text[:i], ' '); blank > i/2 {
				i = blank
			}
			return text[:i] + " …"
		}
	}
	return text
}

// distinct lists the words of a text once each, in lower case, in their order.
func distinct(text string) []string {
	var all []string
	seen := make(map[string]bool)
	for tokens := words.FromString(text); tokens.Next(); {
		word := strings.ToLower(tokens.Value())
		if strings.ContainsFunc(word, letter) && !seen[word] {
			seen[word] = true
			all = append(all, word)
		}
	}
	return all
}

// weigh scores each sentence: by the words that the text comes back to, by its
// place, and by a length that can say something.
func weigh(all []*sentence, title []string) {
	weights := weightsOf(all)
	for _, word := range title {
		weights[word] *= 1.5
	}
	for _, s := range all {
		for _, word := range s.words {
			s.score += weights[word]
		}
		s.score = s.score / math.Sqrt(float64(len(s.words))) * shape(s) * place(s, len(all))
	}
}

// weightsOf weighs a word by how many sentences it stands in. What stands in one
// only is not what the text is about; what stands in very many, or is short, is
// grammar in any language.
func weightsOf(all []*sentence) map[string]float64 {
	count := make(map[string]int)
	for _, s := range all {
		for _, word := range s.words {
			count[word]++
		}
	}
	weights := make(map[string]float64, len(count))
	n := float64(len(all))
	for word, c := range count {
		common := math.Log(1+n/float64(c)) / math.Log(1+n) // 1 for a rare word, towards 0
		weights[word] = math.Log2(float64(c)+0.2) * common * substance(word)
	}
	return weights
}

// substance is low for the short words of alphabets; a single sign of a script
// like Han is a word.
func substance(word string) float64 {
	first, _ := utf8.DecodeRuneInString(word)
	if unicode.In(first, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai) {
		return 1
	}
	switch n := utf8.RuneCountInString(word); {
	case n <= 2:
		return 0.1
	case n == 3:
		return 0.3
	case n == 4:
		return 0.7
	}
	return 1
}

// shape favours sentences that end like one and have a length that can be read.
func shape(s *sentence) float64 {
	f := 1.0
	switch n := len(s.words); {
	case n < 4:
		f = 0.3
	case n < 7:
		f = 0.8
	case n > 28:
		f = 0.6
	}
	if prose(s.text) < 0.75 {
		f *= 0.5
	}
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(s.text, `"')]»”’`))
	switch last {
	case ':', '：', '…', '?', '？':
		f *= 0.5 // announces, is cut, or asks
	case '.', '!', '。', '！', '।', '؟', '۔':
	default:
		f *= 0.8
	}
	return f
}

// prose is the share of letters and blanks: low for what is code or a table.
func prose(text string) float64 {
	runes, fine := 0, 0
	for _, r := range text {
		runes++
		if unicode.IsLetter(r) || unicode.IsMark(r) || r == ' ' {
			fine++
		}
	}
	return float64(fine) / float64(runes)
}

// place favours the beginning of the document and of each section.
func place(s *sentence, n int) float64 {
	f := 1 + 0.8/(1+float64(s.index)/2) + 0.4*float64(n-s.index)/float64(n)
	if s.leading {
		f *= 1.25
	}
	if s.block.Item {
		f *= 0.9
	}
	return f
}

// pick takes the best n that do not repeat each other. Equal scores go by
// position.
func pick(all []*sentence, n int) []*sentence {
	ranked := slices.Clone(all)
	slices.SortStableFunc(ranked, func(a, b *sentence) int { return cmp.Compare(b.score, a.score) })
	var chosen []*sentence
	for _, s := range ranked {
		if len(chosen) == n {
			break
		}
		if !slices.ContainsFunc(chosen, func(c *sentence) bool { return overlap(c, s) >= alike }) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// overlap is the share of the shorter sentence's words that both have.
func overlap(a, b *sentence) float64 {
	if len(a.words) > len(b.words) {
		a, b = b, a
	}
	both := 0
	for _, word := range a.words {
		if slices.Contains(b.words, word) {
			both++
		}
	}
	return float64(both) / float64(len(a.words))
}
