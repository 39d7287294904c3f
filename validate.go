package anywire

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Validate reports every problem of the configuration and of the handlers at
// once, as [config.Problems], with positions where a file gives them. It opens
// nothing and connects to nothing.
func (a *App) Validate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prepare()
	v := &validation{App: a, caps: map[string]*driver.Capabilities{}, told: map[string]bool{}}
	v.found = a.config.Check()
	v.kindNames()
	v.selection()
	for _, name := range slices.Sorted(maps.Keys(a.config.Transports)) {
		v.transport(name)
		v.size(name)
	}
	for _, name := range slices.Sorted(maps.Keys(a.config.Agents)) {
		if a.selected(name) {
			v.agent(name)
		}
	}
	v.handlersWithoutAgent()
	return v.found.Sorted().Err()
}

// prepare completes the configuration with the drivers that were handed in. The
// caller holds the lock.
func (a *App) prepare() {
	if a.prepared == a.config {
		return
	}
	c := *a.config
	c.Transports = maps.Clone(c.Transports)
	for name := range a.options.Drivers {
		if _, ok := c.Transports[name]; ok {
			continue
		}
		if c.Transports == nil {
			c.Transports = map[string]config.Transport{}
		}
		c.Transports[name] = config.Transport{}
	}
	if len(a.options.Drivers) == 0 {
		c.Transports = a.config.Transports
	}
	a.config, a.prepared = &c, &c
	a.links.learn(&c)
}

// selected reports whether this process runs an agent.
func (a *App) selected(agent string) bool { return len(a.only) == 0 || slices.Contains(a.only, agent) }

// validation collects problems.
type validation struct {
	*App

	found config.Problems
	caps  map[string]*driver.Capabilities // by transport; nil: not known
	told  map[string]bool                 // paths that several agents lead to
}

func (v *validation) fault(path, message, hint string) {
	v.found = append(v.found, v.config.Problem(path, message, hint))
}

// kindNames checks the kinds that the program links.
func (v *validation) kindNames() {
	for i, k := range v.options.Kinds {
		if k == nil {
			v.fault("transports", fmt.Sprintf("kind %d of Options.Kinds is nil", i+1), "list what a driver package's Kind returns")
			continue
		}
		_, isTransport := k.(transport.Kind)
		_, isStore := k.(idempotency.Kind)
		if !isTransport && !isStore {
			v.fault("transports", fmt.Sprintf("kind %q (%T) is no kind of transport or store", k.KindName(), k),
				"list what the Kind function of a driver's or store's package returns")
		}
	}
}

func (v *validation) selection() {
	v.found = append(v.found, v.config.CheckSelection(v.only, func(name string) bool {
		caps := v.capabilities(name)
		return caps != nil && caps.InProcess
	})...)
}

// transport checks an entry against its kind.
func (v *validation) transport(name string) {
	path := "transports." + name
	if d, given := v.options.Drivers[name]; given {
		if d == nil {
			v.fault(path, nilDriver(name), "take it out of Options.Drivers, or open it first")
		}
		return
	}
	kind, err := v.kind(name)
	if err != nil {
		v.fault(path, err.Error(), "add the kind to Options.Kinds, or use one of those")
		return
	}
	options := kind.NewOptions()
	if err := v.config.Decode(path, options); err != nil {
		v.add(path, err)
		return
	}
	if _, err := kind.Capabilities(options); err != nil {
		v.add(path, err)
	}
}

// size checks that what the limits allow fits into a message of a transport.
func (v *validation) size(name string) {
	caps := v.capabilities(name)
	if caps == nil || caps.MaxBody <= 0 {
		return
	}
	body := cmp.Or(v.config.Limits.Body, envelope.DefaultBodyLimit)
	attributes := cmp.Or(v.config.Limits.AttributeBytes, envelope.DefaultAttributeBytesLimit)
	most := value.Size(caps.MaxBody)
	if body+attributes <= most {
		return
	}
	path, hint := "limits.body", fmt.Sprintf("raise max_body of transports.%s to %v or more", name, body+attributes)
	if v.config.Limits.Body == 0 && v.config.Limits.AttributeBytes == 0 {
		path = "transports." + name
	}
	if most > attributes {
		hint += fmt.Sprintf(", or lower limits.body to %v or less", most-attributes)
	}
	v.fault(path, fmt.Sprintf("limits.body of %v and limits.attribute_bytes of %v are more than the %v that transport %q takes",
		body, attributes, most, name), hint)
}

// add adds the problems of an error, or a problem that says it.
func (v *validation) add(path string, err error) {
	if several, ok := errors.AsType[config.Problems](err); ok {
		v.found = append(v.found, several...)
		return
	}
	v.fault(path, err.Error(), "")
}

// capabilities are those of a transport, without connecting; nil: not known,
// which has been reported.
func (v *validation) capabilities(name string) *driver.Capabilities {
	if caps, known := v.caps[name]; known {
		return caps
	}
	v.caps[name] = v.askCapabilities(name)
	return v.caps[name]
}

func (v *validation) askCapabilities(name string) *driver.Capabilities {
	if d, given := v.options.Drivers[name]; given {
		if d == nil {
			return nil
		}
		caps := d.Capabilities()
		return &caps
	}
	kind, err := v.kind(name)
	if err != nil {
		return nil
	}
	options := kind.NewOptions()
	if v.config.Decode("transports."+name, options) != nil {
		return nil
	}
	caps, err := kind.Capabilities(options)
	if err != nil {
		return nil
	}
	return &caps
}

// agent checks an agent of the configuration against its handlers and its
// transport.
func (v *validation) agent(name string) {
	path := "agents." + name
	agent, _ := v.config.Agent(name)
	handlers := v.handlers[name]
	switch {
	case handlers == nil:
		v.fault(path, "has no handler in this program", "there are handlers for "+list(slices.Sorted(maps.Keys(v.handlers))))
	case handlers.answers != "" && agent.Produces == "":
		v.fault(path, fmt.Sprintf("does not say where its answers go, and the handler at %s answers", handlers.answers),
			"add produces: TOPIC, or produces: none to drop the answers")
	}
	v.plain(name, &agent)
	v.remembers(name)
	if caps := v.capabilities(agent.Transport); caps != nil {
		v.agentOn(path, &agent, caps)
	}
}

// plain checks that an agent takes what its topic says that plain clients write:
// all of that would be dead letters.
func (v *validation) plain(name string, agent *config.Agent) {
	wire, handlers := v.config.Topics[agent.Consumes].Plain, v.handlers[name]
	if wire == "" || handlers == nil || agent.Others == "ignore" {
		return
	}
	var takes []string
	for _, in := range handlers.inputs {
		if in.wire == wire || in.wire == "" {
			return
		}
		takes = append(takes, in.wire)
	}
	v.fault("topics."+agent.Consumes+".plain", fmt.Sprintf("is %s, which no handler of agent %s takes: it takes %s",
		wire, name, strings.Join(takes, ", ")), "name one of those, or add a handler")
}

// agentOn checks what an agent wants against what its transport can do.
func (v *validation) agentOn(path string, agent *config.Agent, caps *driver.Capabilities) {
	on := fmt.Sprintf("transport %q", agent.Transport)
	if agent.Order != "none" && !caps.Order {
		v.fault(path+".order", fmt.Sprintf("is %s, and %s keeps no order", agent.Order, on), "use order: none, or another transport")
	}
	if from, err := config.ParseFrom(agent.From); err == nil && !from.Time.IsZero() && !caps.StartTime {
		v.fault(path+".from", on+" cannot start at a time", "use from: oldest or from: now")
	}
	immediate := 0
	if agent.Retry.Immediate != nil {
		immediate = *agent.Retry.Immediate
	}
	if need := time.Duration(1+immediate) * agent.Timeout.Std(); caps.MaxLease > 0 && need > caps.MaxLease {
		v.fault(path+".timeout", fmt.Sprintf("of %v for %d attempts in place is %v, and %s holds a message for %v at most",
			agent.Timeout, 1+immediate, need, on, caps.MaxLease), shorter(immediate, agent.Transport))
	}
	if caps.MaxInFlight > 0 && agent.Concurrency > caps.MaxInFlight {
		v.fault(path+".concurrency", fmt.Sprintf("is %d, and %s has at most %d messages in flight", agent.Concurrency, on, caps.MaxInFlight), "")
	}
}

// shorter is the way out where attempts take longer than a transport holds a
// message.
func shorter(immediate int, on string) string {
	if immediate > 0 {
		return fmt.Sprintf("shorten the timeout, set retry.immediate to 0, or let transports.%s hold messages longer, as max_idle does", on)
	}
	return fmt.Sprintf("shorten the timeout, or let transports.%s hold messages longer, as max_idle does", on)
}

// handlersWithoutAgent reports handlers that nothing would ever call.
func (v *validation) handlersWithoutAgent() {
	for _, name := range slices.Sorted(maps.Keys(v.handlers)) {
		if _, ok := v.config.Agents[name]; !ok {
			v.fault("agents", fmt.Sprintf("there is no agent %q, and the program has a handler for it at %s", name, v.handlers[name].place),
				"the agents here are "+list(slices.Sorted(maps.Keys(v.config.Agents))))
		}
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
