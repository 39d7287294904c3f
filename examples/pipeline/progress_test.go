package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlainLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgress(&out, 1000)
		p.show(0, 0)
		for done := range 1000 { // in one instant: a line for each tenth
			p.show(done, 0)
		}
		p.show(999, 0)
		if n := strings.Count(out.String(), "\n"); n != 10 {
			t.Errorf("%d lines, want 10:\n%s", n, &out)
		}
		out.Reset()
		p = newProgress(&out, 1000)
		for done := range 100 { // slowly: a line for each second
			time.Sleep(100 * time.Millisecond)
			p.show(done/2, done/2)
		}
		if n := strings.Count(out.String(), "\n"); n > 11 || n < 9 {
			t.Errorf("%d lines in 10 s, want 10:\n%s", n, &out)
		}
		time.Sleep(time.Hour)
		p.show(49, 49)
		out.Reset()
		time.Sleep(time.Hour)
		p.show(49, 49) // nothing new
		p.close("the end", []string{"a line"})
		if out.String() != "a line\nthe end\n" {
			t.Errorf("output %q", &out)
		}
	})
}
