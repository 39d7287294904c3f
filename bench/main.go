// Command bench measures anywire beside the raw clients and Watermill, in one
// run and interleaved, and prints medians and ratios: machines differ and drift,
// ratios on one machine in one run hold.
//
//	go run ./bench                 # everything
//	go run ./bench -only memory    # rows whose name holds "memory"
//	go run ./bench -short          # without the rows that take minutes
//	go run ./bench -write          # also bench/results.json and bench/RESULTS.md
//
// A row that needs quiet memory or its own process runs in a child of this
// program.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// row is one comparison. Exactly one of pair and single is set.
type row struct {
	name  string
	shape string // who publishes how
	unit  string
	goal  string
	// pair measures ours and the peer's once; the ratio of medians counts.
	pair func(ctx context.Context) (ours, peer float64, err error)
	peer string
	// single measures one figure of ours.
	single func(ctx context.Context) (float64, error)
	// once: a row that takes long is measured in the first round only.
	once bool
}

func rows() []row {
	return slices.Concat(
		memoryRows(), natsRows(), redisRows(), kafkaRows(),
		brokerRows("nats", openNats), brokerRows("redis", openRedis), brokerRows("kafka", openKafka),
		recordRows(), slowRows(), footprintRows(),
	)
}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 5, "rounds; medians are printed")
	only := flag.String("only", "", "measure only rows whose name holds this")
	write := flag.Bool("write", false, "write bench/results.json and bench/RESULTS.md")
	short := flag.Bool("short", false, "leave out rows that take minutes")
	child := flag.String("child", "", "measure one figure in this process and print it (used by the program itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *child != "" {
		err = runChild(ctx, *child, os.Stdout)
	} else {
		err = run(ctx, *rounds, chosen(*only, *short), *write)
	}
	err = errors.Join(err, running.end())
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func chosen(only string, short bool) []row {
	return slices.DeleteFunc(rows(), func(r row) bool { return !strings.Contains(r.name, only) || short && r.once })
}

func run(ctx context.Context, rounds int, chosen []row, write bool) error {
	report := newReport()
	for round := range rounds {
		for i, r := range chosen {
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.once && round > 0 {
				continue
			}
			fmt.Fprintf(os.Stderr, "\rround %d of %d, row %d of %d: %-60s", round+1, rounds, i+1, len(chosen), r.name)
			if err := report.measure(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "\r%-100s\r", "")
	report.finish(chosen)
	if err := report.markdown(os.Stdout); err != nil || !write {
		return err
	}
	return report.save("bench")
}

// report is what a run measured; its JSON is the source of RESULTS.md.
type report struct {
	Machine machine   `json:"machine"`
	Date    string    `json:"date"`
	Rows    []*result `json:"rows"`
}

type result struct {
	Name  string  `json:"name"`
	Shape string  `json:"shape"`
	Unit  string  `json:"unit"`
	Goal  string  `json:"goal"`
	Peer  string  `json:"peer,omitempty"`
	Ours  sample  `json:"ours"`
	Other *sample `json:"other,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`
}

// sample is the spread of one figure over the rounds.
type sample struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`

	all []float64
}

func (s *sample) add(x float64) { s.all = append(s.all, x) }

func (s *sample) finish() {
	if len(s.all) == 0 {
		return
	}
	slices.Sort(s.all)
	s.Min, s.Median, s.Max = s.all[0], s.all[len(s.all)/2], s.all[len(s.all)-1]
}

func newReport() *report {
	return &report{Machine: thisMachine(), Date: time.Now().UTC().Format(time.DateOnly)}
}

func (r *report) of(row row) *result {
	for _, known := range r.Rows {
		if known.Name == row.name && known.Shape == row.shape {
			return known
		}
	}
	added := &result{Name: row.name, Shape: row.shape, Unit: row.unit, Goal: row.goal, Peer: row.peer}
	if row.pair != nil {
		added.Other = &sample{}
	}
	r.Rows = append(r.Rows, added)
	return added
}

func (r *report) measure(ctx context.Context, row row) error {
	into := r.of(row)
	if row.single != nil {
		value, err := row.single(ctx)
		into.Ours.add(value)
		return err
	}
	ours, peer, err := row.pair(ctx)
	into.Ours.add(ours)
	into.Other.add(peer)
	return err
}

func (r *report) finish(rows []row) {
	for _, row := range rows {
		into := r.of(row)
		into.Ours.finish()
		if into.Other != nil {
			into.Other.finish()
			into.Ratio = into.Ours.Median / into.Other.Median
		}
	}
}

func (r *report) save(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/results.json", append(data, '\n'), 0o600); err != nil {
		return err
	}
	file, err := os.Create(dir + "/RESULTS.md")
	if err != nil {
		return err
	}
	defer file.Close()
	return r.markdown(file)
}

func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Results\n\nGenerated by `go run ./bench -write` on %s, never by hand. %s.\n", r.Date, r.Machine)
	b.WriteString("Medians of interleaved rounds; brackets hold the smallest and the largest. Bodies have\n")
	b.WriteString("256 bytes, peers carry the same headers.\n\n")
	b.WriteString("| work | published by | ours | peer | ratio | goal |\n|---|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		peer, ratio := "–", "–"
		if x.Other != nil {
			peer = fmt.Sprintf("%s: %s", x.Peer, x.Other.text(x.Unit))
			ratio = fmt.Sprintf("**%.2f**", x.Ratio)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", x.Name, x.Shape, x.Ours.text(x.Unit), peer, ratio, x.Goal)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *sample) text(unit string) string {
	if s.Min == s.Max {
		return fmt.Sprintf("%s %s", number(s.Median), unit)
	}
	return fmt.Sprintf("%s %s [%s–%s]", number(s.Median), unit, number(s.Min), number(s.Max))
}

// number prints three significant digits and thousands as k.
func number(x float64) string {
	switch {
	case x >= 1e6:
		return fmt.Sprintf("%.2f M", x/1e6)
	case x >= 1e4:
		return fmt.Sprintf("%.0f k", x/1e3)
	case x >= 1e3:
		return fmt.Sprintf("%.2f k", x/1e3)
	case x >= 10 || x == 0:
		return fmt.Sprintf("%.0f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}
