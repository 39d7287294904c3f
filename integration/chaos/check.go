package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Verdict is what a history proves.
type Verdict struct {
	Published int // tasks that the broker confirmed
	Effects   int // distinct effects that were expected and came

	Lost       []string // confirmed tasks without one of their effects
	Doubled    []string // effects that came twice under different keys, and records that were completed twice
	Unexpected []string // effects of tasks that nobody published
	Disorder   []string // effects of a key that came before an earlier one's
	Damaged    []string // effects with another payload than was made
	Dead       []string // dead letters: no message of the workload deserves one

	Starts, Redeliveries, Duplicates, LostLeases, Repeats int
	Crashes                                               map[string]int // by crash point
	Faults                                                map[string]int // by kind
	Recovery                                              []time.Duration
}

// work is one effect that a task causes.
type work struct {
	key  string
	n    int
	part string
}

func (w work) String() string { return fmt.Sprintf("%s/%d%s", w.key, w.n, w.part) }

// parts are those that intake makes of a task.
var parts = [...]string{"a", "b"}

// Check judges a history. A task whose publish failed may have come or not, unless
// it was confirmed later; everything else is exact. It is a pure function.
func Check(history []Event) *Verdict {
	v := &Verdict{Crashes: map[string]int{}, Faults: map[string]int{}}
	c := checker{
		Verdict: v, confirmed: map[work]bool{}, tried: map[work]bool{}, effects: map[work][]Event{}, commits: map[string]map[string]bool{},
	}
	for i := range history {
		c.take(&history[i])
	}
	c.judge()
	v.Recovery = recoveries(history)
	return v
}

type checker struct {
	*Verdict

	confirmed, tried map[work]bool
	effects          map[work][]Event
	commits          map[string]map[string]bool // tokens by record
	order            []Event                    // effects as they came
}

func (c *checker) take(e *Event) {
	w := work{key: e.Key, n: e.N}
	switch e.What {
	case published:
		c.confirmed[w], c.tried[w] = true, true
	case unknown:
		c.tried[w] = true
	case effected:
		w.part = e.Part
		c.effects[w] = append(c.effects[w], *e)
		c.order = append(c.order, *e)
		if e.Bad {
			c.Damaged = append(c.Damaged, w.String())
		}
	case committed:
		if c.commits[e.ID] == nil {
			c.commits[e.ID] = map[string]bool{}
		}
		c.commits[e.ID][e.Detail] = true
	case deadLetter:
		c.Dead = append(c.Dead, e.Agent+" "+e.ID+": "+e.Detail)
	case started:
		c.Starts++
	case redelivery:
		c.Redeliveries++
	case duplicate:
		c.Duplicates++
	case leaseLost:
		c.LostLeases++
	case repeated:
		c.Repeats++
	case crashed:
		c.Crashes[e.Detail]++
	case faulted:
		c.Faults[e.Detail]++
	}
}

func (c *checker) judge() {
	c.Published = len(c.confirmed)
	for w := range c.confirmed {
		for _, part := range parts {
			w.part = part
			if len(c.effects[w]) == 0 {
				c.Lost = append(c.Lost, w.String())
			}
		}
	}
	for w, effects := range c.effects {
		if !c.tried[work{key: w.key, n: w.n}] || !slices.Contains(parts[:], w.part) {
			c.Unexpected = append(c.Unexpected, w.String())
			continue
		}
		c.Effects++
		if len(effects) > 1 {
			c.Doubled = append(c.Doubled, fmt.Sprintf("%s: %d effects", w, len(effects)))
		}
	}
	for record, tokens := range c.commits {
		if len(tokens) > 1 {
			c.Doubled = append(c.Doubled, fmt.Sprintf("record %s was completed by %d attempts", record, len(tokens)))
		}
	}
	c.inOrder()
	for _, list := range [][]string{c.Lost, c.Doubled, c.Unexpected, c.Damaged, c.Dead} {
		slices.Sort(list)
	}
}

// inOrder compares the first effects of each key and part with the order of their
// numbers.
func (c *checker) inOrder() {
	last, seen := map[work]int{}, map[work]bool{}
	for _, e := range c.order {
		w := work{e.Key, e.N, e.Part}
		if seen[w] {
			continue
		}
		seen[w] = true
		lane := work{key: e.Key, part: e.Part}
		if e.N < last[lane] {
			c.Disorder = append(c.Disorder, fmt.Sprintf("%s after %d", w, last[lane]))
		}
		last[lane] = max(last[lane], e.N)
	}
}

// Holds reports whether nothing was lost, doubled, damaged, out of order or
// refused.
func (v *Verdict) Holds() bool {
	return len(v.Lost)+len(v.Doubled)+len(v.Unexpected)+len(v.Disorder)+len(v.Damaged)+len(v.Dead) == 0
}

// Kills is how many processes were killed: workers by faults or by themselves, and
// brokers.
func (v *Verdict) Kills() (workers, brokers int) {
	for _, n := range v.Crashes {
		workers += n
	}
	for what, n := range v.Faults {
		switch what {
		case killWorker, killAll:
			workers += n
		case killBroker:
			brokers += n
		}
	}
	return workers, brokers
}

// Void says which crash points and events the run did not meet: then it proves
// little.
func (v *Verdict) Void() []string {
	var missing []string
	for _, point := range crashPoints {
		if v.Crashes[point] == 0 {
			missing = append(missing, "crash "+point)
		}
	}
	if v.Redeliveries == 0 && v.Duplicates == 0 {
		missing = append(missing, "a redelivery")
	}
	if v.Duplicates == 0 {
		missing = append(missing, "a duplicate that a record answered")
	}
	return missing
}

// String is a report of several lines; the last one is
// "lost 0, doubled 0, out of order 0".
func (v *Verdict) String() string {
	var b strings.Builder
	workers, brokers := v.Kills()
	fmt.Fprintf(&b, "tasks %d, effects %d, faults %d, kills %d of workers and %d of the broker\n",
		v.Published, v.Effects, total(v.Faults), workers, brokers)
	fmt.Fprintf(&b, "handler starts %d, redeliveries %d, duplicates answered %d, leases lost %d, effects repeated %d\n",
		v.Starts, v.Redeliveries, v.Duplicates, v.LostLeases, v.Repeats)
	fmt.Fprintf(&b, "crash points: %s\nfaults: %s\n", counted(v.Crashes), counted(v.Faults))
	if n := len(v.Recovery); n > 0 {
		fmt.Fprintf(&b, "recovery: p50 %v, p99 %v, of %d\n", percentile(v.Recovery, 50), percentile(v.Recovery, 99), n)
	}
	for _, list := range []struct {
		name  string
		found []string
	}{
		{"lost", v.Lost},
		{"doubled", v.Doubled},
		{"unexpected", v.Unexpected},
		{"out of order", v.Disorder},
		{"damaged", v.Damaged},
		{"dead letters", v.Dead},
	} {
		if len(list.found) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", list.name, strings.Join(list.found[:min(len(list.found), 10)], "; "))
		}
	}
	fmt.Fprintf(&b, "lost %d, doubled %d, out of order %d", len(v.Lost), len(v.Doubled), len(v.Disorder))
	return b.String()
}

func total(counts map[string]int) (n int) {
	for _, each := range counts {
		n += each
	}
	return n
}

func counted(counts map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return cmp.Or(strings.Join(words, ", "), "none")
}

// recoveries are the times from the end of each fault to the next effect.
func recoveries(history []Event) []time.Duration {
	var all []time.Duration
	var waiting []time.Time
	for i := range history {
		switch e := &history[i]; e.What {
		case healed:
			waiting = append(waiting, e.At)
		case effected:
			for _, since := range waiting {
				all = append(all, e.At.Sub(since))
			}
			waiting = nil
		}
	}
	slices.Sort(all)
	return all
}

// percentile is of a sorted list.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(time.Millisecond)
}
