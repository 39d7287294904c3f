package chaos

import (
	"strings"
	"testing"
	"time"
)

// sound is a history in which all is well: two keys, three tasks each.
func sound() []Event {
	var history []Event
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	note := func(e Event) {
		at = at.Add(time.Millisecond)
		e.At = at
		history = append(history, e)
	}
	for n := 1; n <= 3; n++ {
		for _, key := range []string{"x", "y"} {
			note(Event{What: unknown, Key: key, N: n})
			note(Event{What: published, Key: key, N: n})
			for _, part := range parts {
				note(Event{What: started, Key: key, N: n, Part: part})
				note(Event{What: effected, Key: key, N: n, Part: part, ID: key + part + string(rune('0'+n))})
				note(Event{What: repeated, Key: key, N: n, Part: part})
				note(Event{What: committed, ID: key + part + string(rune('0'+n)), Detail: "token"})
				note(Event{What: committed, ID: key + part + string(rune('0'+n)), Detail: "token"}) // its answer was lost
			}
		}
	}
	note(Event{What: unknown, Key: "x", N: 4}) // it never came
	return history
}

func TestCheckerFindsPlantedFaults(t *testing.T) {
	t.Parallel()
	if v := Check(sound()); !v.Holds() || v.Published != 6 || v.Effects != 12 || v.Starts != 12 || v.Repeats != 12 {
		t.Fatalf("a sound history is refused:\n%v", v)
	}
	find := func(history []Event, what, key string, n int, part string) int {
		for i, e := range history {
			if e.What == what && e.Key == key && e.N == n && e.Part == part {
				return i
			}
		}
		t.Fatalf("no %s of %s/%d%s", what, key, n, part)
		return 0
	}
	for name, test := range map[string]struct {
		plant func(history []Event) []Event
		found func(v *Verdict) []string
		want  string
	}{
		"a lost effect": {
			func(h []Event) []Event {
				i := find(h, effected, "y", 2, "b")
				return append(h[:i], h[i+1:]...)
			},
			func(v *Verdict) []string { return v.Lost }, "y/2b",
		},
		"a doubled effect": {
			func(h []Event) []Event {
				e := h[find(h, effected, "x", 3, "a")]
				e.ID = "another"
				return append(h, e)
			},
			func(v *Verdict) []string { return v.Doubled }, "x/3a: 2 effects",
		},
		"a record that two attempts completed": {
			func(h []Event) []Event { return append(h, Event{What: committed, ID: "xa1", Detail: "another token"}) },
			func(v *Verdict) []string { return v.Doubled }, "record xa1 was completed by 2 attempts",
		},
		"an effect of nothing": {
			func(h []Event) []Event { return append(h, Event{What: effected, Key: "z", N: 1, Part: "a"}) },
			func(v *Verdict) []string { return v.Unexpected }, "z/1a",
		},
		"an unknown part": {
			func(h []Event) []Event { return append(h, Event{What: effected, Key: "x", N: 1, Part: "c"}) },
			func(v *Verdict) []string { return v.Unexpected }, "x/1c",
		},
		"an effect that overtakes": {
			func(h []Event) []Event {
				i, j := find(h, effected, "x", 1, "a"), find(h, effected, "x", 2, "a")
				h[i], h[j] = h[j], h[i]
				return h
			},
			func(v *Verdict) []string { return v.Disorder }, "x/1a after 2",
		},
		"a damaged payload": {
			func(h []Event) []Event { h[find(h, effected, "y", 1, "a")].Bad = true; return h },
			func(v *Verdict) []string { return v.Damaged }, "y/1a",
		},
		"a dead letter": {
			func(h []Event) []Event {
				return append(h, Event{What: deadLetter, Agent: refine, ID: "1", Detail: "exhausted"})
			},
			func(v *Verdict) []string { return v.Dead }, "refine 1: exhausted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := Check(test.plant(sound()))
			if found := test.found(v); v.Holds() || len(found) != 1 || found[0] != test.want {
				t.Errorf("found %q, want %q:\n%v", found, test.want, v)
			}
		})
	}
}

func TestARunWithoutItsAccidentsIsVoid(t *testing.T) {
	t.Parallel()
	history := sound()
	if void := Check(history).Void(); len(void) != len(crashPoints)+2 {
		t.Errorf("missing %v", void)
	}
	for _, point := range crashPoints {
		history = append(history, Event{What: crashed, Detail: point})
	}
	history = append(history, Event{What: redelivery}, Event{What: duplicate}, Event{What: faulted, Detail: killBroker}, Event{What: faulted, Detail: killAll})
	v := Check(history)
	if void := v.Void(); len(void) != 0 {
		t.Errorf("missing %v", void)
	}
	if workers, brokers := v.Kills(); workers != len(crashPoints)+1 || brokers != 1 {
		t.Errorf("%d and %d kills", workers, brokers)
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	v := Check([]Event{
		{At: at, What: healed},
		{At: at.Add(time.Second), What: healed},
		{At: at.Add(3 * time.Second), What: effected, Key: "x", N: 1, Part: "a"},
		{At: at.Add(9 * time.Second), What: effected, Key: "x", N: 1, Part: "b"},
	})
	if len(v.Recovery) != 2 || v.Recovery[0] != 2*time.Second || v.Recovery[1] != 3*time.Second {
		t.Errorf("recovery %v", v.Recovery)
	}
	if text := v.String(); !strings.Contains(text, "recovery: p50 3s, p99 3s, of 2") || !strings.HasSuffix(text, "lost 0, doubled 0, out of order 0") {
		t.Error(text)
	}
}

func TestTimelineShowsEveryFault(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var picture strings.Builder
	err := Timeline(&picture, "a <title>", []Event{
		{At: at, What: effected},
		{At: at.Add(time.Second), What: faulted, Detail: killBroker},
		{At: at.Add(2 * time.Second), What: crashed, Detail: midPublish},
		{At: at.Add(3 * time.Second), What: healed, Detail: killBroker},
		{At: at.Add(4 * time.Second), What: effected},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a &lt;title&gt;", killBroker, `x="420.0"`, `width="500.0"`, "M670.0 "} {
		if !strings.Contains(picture.String(), want) {
			t.Errorf("the picture lacks %q:\n%s", want, picture.String())
		}
	}
}
