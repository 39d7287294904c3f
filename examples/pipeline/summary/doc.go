// Package summary picks the leading facts of a text: the sentences that say
// most of what the text is about, word for word and in their order.
//
// It is extractive and needs no model, no dictionary and no network. Sentences
// and words are those of Unicode (UAX #29), so any script works. Equal input
// gives equal output.
package summary
