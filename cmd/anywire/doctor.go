package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func doctorCommand() *cobra.Command {
	var f files
	var on string
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "doctor",
		SuggestFor: []string{"inspect", "diagnose", "health"},
		Short:      "Find settings of brokers that lose messages, or will stop the agents",
		Long: `Reads the settings of each broker that the agents use, and of their topics and
groups there, and says which lose messages, double work or will stop the agents:
what was found, why it matters, and how to mend it. Nothing is changed.

Exits with 1 when there is a danger, or a broker cannot be asked.`,
		Example:           "  anywire doctor\n  anywire doctor --transport nats --json",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.system(cmd)
			if err != nil {
				return err
			}
			names, err := s.chosen(on)
			if err != nil {
				return &usageError{of: cmd, error: err}
			}
			return showDiagnoses(cmd, s.diagnose(cmd.Context(), names), asJSON)
		},
	}
	f.flag(cmd)
	cmd.Flags().StringVar(&on, "transport", "", "only the transport `NAME`, used or not (default: all that are used)")
	jsonFlag(cmd, &asJSON)
	completeTransports(cmd, &f)
	return cmd
}

// diagnosis is what was found on one transport.
type diagnosis struct {
	Transport string    `json:"transport"`
	Kind      string    `json:"kind"`
	Error     string    `json:"error,omitempty"` // why it could not be asked
	Findings  []finding `json:"findings"`        // worst first

	err error
}

type finding struct {
	Level   string `json:"level"` // ok, unknown, warning or danger
	Check   string `json:"check"`
	Subject string `json:"subject"`
	Found   string `json:"found"`
	Why     string `json:"why,omitempty"`
	Fix     string `json:"fix,omitempty"`

	level driver.Level
}

// diagnose inspects every transport at the same time.
func (s *system) diagnose(ctx context.Context, names []string) []*diagnosis {
	all := make([]*diagnosis, len(names))
	var running sync.WaitGroup
	for i, name := range names {
		kind, _ := s.Kind(name)
		all[i] = &diagnosis{Transport: name, Kind: kind, Findings: []finding{}}
		running.Go(func() {
			found, err := s.inspect(ctx, name)
			all[i].add(found)
			if err != nil {
				all[i].err, all[i].Error = err, messageText(err)
			}
		})
	}
	running.Wait()
	return all
}

// looker is implemented by options that an inspection can judge without a broker.
type looker interface{ Look() []driver.Finding }

func (s *system) inspect(ctx context.Context, name string) ([]driver.Finding, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	if s.isLocal(name) {
		return memory.New(nil).Inspect(ctx, driver.Use{})
	}
	var seen []driver.Finding
	if _, o, err := s.options(name); err == nil {
		if l, ok := o.(looker); ok {
			seen = l.Look()
		}
	}
	broker, err := s.open(ctx, name, false)
	switch {
	case errors.Is(err, errNoFolder):
		return seen, nil
	case errors.Is(err, driver.ErrHeld) && len(seen) > 0:
		return append(seen, driver.Finding{
			Level: driver.Unknown, Check: "topics", Subject: "transport " + name, Found: "in use by another process",
			Why: reasonOf(err), Fix: "run this while that process does not, or give the transport a listen: address",
		}), nil
	case err != nil:
		return seen, err
	}
	defer leave(ctx, broker)
	return s.inspectOn(ctx, broker, seen)
}

// inspectOn asks a broker, and keeps what was seen without it.
func (s *system) inspectOn(ctx context.Context, broker *transport.Transport, seen []driver.Finding) ([]driver.Finding, error) {
	inspector, ok := broker.Driver().(driver.Inspector)
	if !ok {
		return append(seen, driver.Finding{
			Level: driver.Unknown, Check: "settings", Subject: "transport " + broker.Name(), Found: "not readable",
			Why: "this kind of transport cannot look at its broker", Fix: "look at the broker's own documentation",
		}), nil
	}
	found, err := inspector.Inspect(ctx, s.use(broker.Name(), broker.Capabilities()))
	before := slices.Clone(seen) // the broker may find several of one check, such as rights
	for _, f := range found {
		known := func(g driver.Finding) bool { return g.Check == f.Check && g.Subject == f.Subject }
		if !slices.ContainsFunc(before, known) {
			seen = append(seen, f)
		}
	}
	if err != nil {
		err = s.brokerError(broker.Name(), err)
	}
	return seen, err
}

// add sorts findings, the worst first.
func (d *diagnosis) add(found []driver.Finding) {
	slices.SortStableFunc(found, func(a, b driver.Finding) int { return cmp.Compare(b.Level, a.Level) })
	for _, f := range found {
		d.Findings = append(d.Findings, finding{f.Level.String(), f.Check, f.Subject, f.Found, f.Why, f.Fix, f.Level})
	}
}

func showDiagnoses(cmd *cobra.Command, all []*diagnosis, asJSON bool) error {
	dangers, failed := 0, 0
	for _, d := range all {
		if d.err != nil {
			failed++
		}
		for _, f := range d.Findings {
			if f.level == driver.Danger {
				dangers++
			}
		}
	}
	if asJSON {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"dangers": dangers, "transports": all}); err != nil {
			return err
		}
	} else {
		out := cmd.OutOrStdout()
		for _, d := range all {
			d.write(out, cmd.ErrOrStderr(), painterFor(out))
		}
		fmt.Fprintln(out, verdictOf(all))
	}
	if dangers+failed > 0 {
		return &failure{&shownError{errors.New("the doctor found a danger")}}
	}
	return nil
}

func (d *diagnosis) write(out, errs io.Writer, p painter) {
	fmt.Fprintf(out, "%s (kind %s)\n", p.paint(bold, d.Transport), d.Kind)
	for _, f := range d.Findings {
		level := p.paint(colourOf(f.level), fmt.Sprintf("%-7s", f.Level))
		fmt.Fprintf(out, "  %s  %s, %s: %s\n", level, harmless(f.Subject, ""), f.Check, orDash(harmless(f.Found, "")))
		if f.Why != "" {
			fmt.Fprintf(out, "           %s\n", harmless(f.Why, ""))
		}
		if f.Fix != "" {
			fmt.Fprintf(out, "           fix: %s\n", harmless(f.Fix, ""))
		}
	}
	if d.err != nil {
		report(errs, d.err)
	}
	fmt.Fprintln(out)
}

func colourOf(l driver.Level) colour {
	switch l {
	case driver.Danger:
		return red
	case driver.Warning:
		return yellow
	case driver.Good:
		return green
	}
	return faint
}

// verdictOf counts findings by level.
func verdictOf(all []*diagnosis) string {
	counts := map[driver.Level]int{}
	away := 0
	for _, d := range all {
		if d.err != nil {
			away++
		}
		for _, f := range d.Findings {
			counts[f.level]++
		}
	}
	parts := []string{
		count(counts[driver.Danger], "danger"), count(counts[driver.Warning], "warning"),
		fmt.Sprintf("%d unknown", counts[driver.Unknown]), fmt.Sprintf("%d fine", counts[driver.Good]),
	}
	text := count(len(all), "transport") + ": " + strings.Join(parts, ", ")
	if away > 0 {
		text += fmt.Sprintf("; %d could not be asked", away)
	}
	return text
}
