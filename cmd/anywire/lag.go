package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// lagging is one call of lag.
type lagging struct {
	files      files
	watch      time.Duration
	maxWaiting int64
	maxAge     time.Duration
	asJSON     bool

	cmd    *cobra.Command
	system *system
	agents []string

	mu      sync.Mutex
	brokers map[string]*transport.Transport // that are open
}

func lagCommand() *cobra.Command {
	var l lagging
	cmd := &cobra.Command{
		Use:        "lag [AGENT...]",
		SuggestFor: []string{"backlog", "status", "pending", "depth"},
		Short:      "Count what agents have before them",
		Long: `Prints for each AGENT (default: all) and the topic that it reads: messages that
wait, messages that are being handled, and the age of the oldest that is not
done. Where the broker cannot tell the two apart, all are waiting.

--max-waiting and --max-age are for scripts and monitoring: beyond them the exit
code is 1. So it is when a broker cannot be asked.`,
		Example: `  anywire lag
  anywire lag researcher writer --watch 2s
  anywire lag --max-waiting 1000 --max-age 10m
  anywire lag --json`,
		ValidArgsFunction: l.files.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.cmd, l.agents = cmd, args
			return l.run(cmd.Context(), cmd.Flags().Changed("max-waiting"))
		},
	}
	l.files.flag(cmd)
	f := cmd.Flags()
	f.DurationVar(&l.watch, "watch", 0, "print again every `INTERVAL`, until Ctrl-C")
	f.Int64Var(&l.maxWaiting, "max-waiting", 0, "exit with 1 when more than `N` messages of an agent wait or are being handled")
	f.DurationVar(&l.maxAge, "max-age", 0, "exit with 1 when the oldest message of an agent is older than `AGE`")
	jsonFlag(cmd, &l.asJSON)
	return cmd
}

// lagRow is what lag --json prints of an agent and a topic.
type lagRow struct {
	Agent     string     `json:"agent"`
	Group     string     `json:"group"`
	Topic     string     `json:"topic"`
	Transport string     `json:"transport"`
	Waiting   int64      `json:"waiting"`
	Pending   int64      `json:"pending"`
	Oldest    *time.Time `json:"oldest"` // null: nothing is unsettled, or it is not known
	Age       float64    `json:"age_seconds"`
	New       bool       `json:"new"` // the group or its topic does not exist yet
	Exceeded  string     `json:"exceeded,omitempty"`
	Error     string     `json:"error,omitempty"`

	inbox bool
	local bool
	err   error
}

func (l *lagging) run(ctx context.Context, boundWaiting bool) error {
	if l.watch < 0 || l.maxAge < 0 || l.maxWaiting < 0 {
		return &usageError{of: l.cmd, error: errors.New("--watch, --max-waiting and --max-age cannot be negative")}
	}
	if !boundWaiting {
		l.maxWaiting = -1
	}
	var err error
	if l.system, err = l.files.system(l.cmd); err != nil {
		return err
	}
	if err := l.choose(); err != nil {
		return &usageError{of: l.cmd, error: err}
	}
	l.brokers = map[string]*transport.Transport{}
	defer func() {
		for _, t := range l.brokers {
			leave(ctx, t)
		}
	}()
	for first := true; ; first = false {
		err := l.show(l.rows(ctx), first)
		if l.watch == 0 || ctx.Err() != nil {
			return l.unlessWatched(ctx, err)
		}
		if rest(ctx, l.watch) != nil {
			return nil // Ctrl-C is how a watch ends
		}
	}
}

// unlessWatched forgives an interruption that is the way to end.
func (l *lagging) unlessWatched(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case l.watch > 0:
		return nil
	}
	return errInterrupted
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// choose checks the agents that are named.
func (l *lagging) choose() error {
	all := slices.Sorted(maps.Keys(l.system.Agents))
	for _, name := range l.agents {
		if !slices.Contains(all, name) {
			return fmt.Errorf("there is no agent %q in the configuration: there is %s%s", name, orDash(strings.Join(all, ", ")), maybe(name, all))
		}
	}
	if len(l.agents) == 0 {
		l.agents = all
	}
	return nil
}

// rows asks every broker at the same time.
func (l *lagging) rows(ctx context.Context) []*lagRow {
	byTransport := map[string][]*lagRow{}
	var rows []*lagRow
	add := func(r *lagRow) {
		rows = append(rows, r)
		byTransport[r.Transport] = append(byTransport[r.Transport], r)
	}
	for _, name := range l.agents {
		a, _ := l.system.Agent(name)
		r := lagRow{Agent: name, Group: a.Group, Topic: a.Consumes, Transport: a.Transport, local: l.system.isLocal(a.Transport)}
		add(&r)
		if inbox := r; l.delaysByCopy(a.Transport) {
			inbox.Topic, inbox.inbox = inboxOf(name), true
			add(&inbox)
		}
	}
	var all sync.WaitGroup
	for name, rows := range byTransport {
		if !l.system.isLocal(name) {
			all.Go(func() { l.ask(ctx, name, rows) })
		}
	}
	all.Wait()
	return slices.DeleteFunc(rows, func(r *lagRow) bool { return r.inbox && r.New })
}

// ask fills in the rows of one transport.
func (l *lagging) ask(ctx context.Context, name string, rows []*lagRow) {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer within %v", reachTimeout))
	defer cancel()
	broker, err := l.broker(ctx, name)
	slots := make(chan struct{}, mostQuestions)
	var all sync.WaitGroup
	for _, r := range rows {
		switch {
		case errors.Is(err, errNoFolder):
			r.New = true
		case err != nil:
			r.err, r.Error = err, messageText(err)
		default:
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				r.ask(ctx, broker)
				r.judge(l.maxWaiting, l.maxAge)
			})
		}
	}
	all.Wait()
}

// mostQuestions are asked of a broker at the same time.
const mostQuestions = 8

// broker is open for the rounds to come.
func (l *lagging) broker(ctx context.Context, name string) (*transport.Transport, error) {
	l.mu.Lock()
	broker := l.brokers[name]
	l.mu.Unlock()
	if broker != nil {
		return broker, nil
	}
	broker, err := l.system.open(ctx, name, false)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.brokers[name] = broker
	return broker, nil
}

// delaysByCopy reports whether an agent's retries come through its inbox.
func (l *lagging) delaysByCopy(name string) bool {
	kind, o, err := l.system.options(name)
	if err != nil {
		return false
	}
	caps, err := kind.Capabilities(o)
	return err == nil && caps.DelaysByCopy
}

func (r *lagRow) ask(ctx context.Context, broker *transport.Transport) {
	var lag driver.Lag
	_, err := lookUp(ctx, broker, r.Topic) // some brokers wait for a topic that is missing
	if err == nil {
		lag, err = broker.Lag(ctx, r.Topic, r.Group)
	}
	switch {
	case errors.Is(err, driver.ErrNotFound):
		r.New = true
	case err != nil:
		r.err, r.Error = err, messageText(err)
	default:
		r.Waiting, r.Pending, r.Oldest = lag.Waiting, lag.Pending, known(lag.Oldest)
		if r.Oldest != nil {
			r.Age = max(time.Since(*r.Oldest).Seconds(), 0)
		}
	}
}

// judge notes what is beyond the bounds; a negative or zero one is none.
func (r *lagRow) judge(maxWaiting int64, maxAge time.Duration) {
	switch {
	case maxWaiting >= 0 && r.Waiting+r.Pending > maxWaiting:
		r.Exceeded = fmt.Sprintf("%d messages are more than %d", r.Waiting+r.Pending, maxWaiting)
	case maxAge > 0 && r.Age > maxAge.Seconds():
		r.Exceeded = fmt.Sprintf("%s is older than %v", ageText(time.Duration(r.Age*float64(time.Second))), value.Duration(maxAge))
	}
}

func (l *lagging) show(rows []*lagRow, first bool) error {
	out, errs := l.cmd.OutOrStdout(), l.cmd.ErrOrStderr()
	if l.asJSON {
		if err := l.showJSON(out, rows); err != nil {
			return err
		}
	} else {
		l.separate(out, first)
		columns(out, lagTable(rows))
	}
	var bad []string
	said := map[string]bool{}
	for _, r := range rows {
		if r.err != nil {
			bad = append(bad, r.Agent)
			if text := r.err.Error(); !l.asJSON && !said[text] {
				said[text] = true
				report(errs, r.err)
			}
		}
		if r.Exceeded != "" {
			bad = append(bad, r.Agent)
			if !l.asJSON {
				fmt.Fprintf(errs, "%s: %s\n", r.Agent, r.Exceeded)
			}
		}
	}
	if len(bad) > 0 {
		return &failure{&shownError{fmt.Errorf("agents %v", bad)}}
	}
	return nil
}

// showJSON prints one document, or one line for each round of a watch.
func (l *lagging) showJSON(out io.Writer, rows []*lagRow) error {
	if rows == nil {
		rows = []*lagRow{}
	}
	if l.watch > 0 {
		return writeLine(out, map[string]any{"time": time.Now().UTC(), "agents": rows})
	}
	return writeJSON(out, map[string]any{"agents": rows})
}

// separate begins another round of a watch: on a terminal in place of the last,
// elsewhere below it.
func (l *lagging) separate(out io.Writer, first bool) {
	switch {
	case l.watch == 0:
	case bool(painterFor(out)):
		fmt.Fprint(out, "\x1b[H\x1b[2J")
	case !first:
		fmt.Fprintln(out)
	}
	if l.watch > 0 {
		fmt.Fprintln(out, time.Now().Format(time.RFC3339))
	}
}

func lagTable(rows []*lagRow) [][]string {
	table := [][]string{{"AGENT", "GROUP", "TOPIC", "TRANSPORT", "WAITING", "PENDING", "OLDEST"}}
	for _, r := range rows {
		row := []string{r.Agent, r.Group, r.Topic, r.Transport, "-", "-", "-"}
		switch {
		case r.local:
			row[6] = "in the process"
		case r.err != nil:
			row[6] = "not known"
		case r.New:
			row[6] = "no group yet"
		default:
			row[4], row[5] = strconv.FormatInt(r.Waiting, 10), strconv.FormatInt(r.Pending, 10)
			if r.Oldest != nil {
				row[6] = ageText(time.Duration(r.Age * float64(time.Second)))
			}
		}
		table = append(table, row)
	}
	return table
}
