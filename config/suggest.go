package config

import (
	"slices"
	"strings"
	"unicode"
)

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// suggest answers the known name that is most like a wrong one, or "".
func suggest(wrong string, known []string) string {
	best, least := "", 1+mistakes(wrong)
	wrong = normal(wrong)
	for _, name := range known {
		if d := distance(wrong, normal(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// mistakes is how many letters of a name may be wrong.
func mistakes(name string) int {
	const short = 3
	if len(name) < short {
		return 0
	}
	return max(1, len(name)/short)
}

// normal makes names alike that differ in how words are joined.
func normal(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// distance counts the letters that are to be added, removed, replaced or
// swapped with their neighbour to make a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	const longest = 64
	if len(x) > longest || len(y) > longest {
		return longest
	}
	before, row := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		next := make([]int, len(y)+1)
		next[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(y)]
}
