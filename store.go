package anywire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/transport/driver"
)

// storesOn are the kinds of stores that live on the client of a transport of a
// kind, for `store: auto`.
var storesOn = map[string]string{"redis": "redis", "nats": "nats", "embedded": "nats"} //nolint:gochecknoglobals // a table

// stores are the idempotency stores of an app, opened as agents need them.
type stores struct {
	mu     sync.Mutex
	byName map[string]idempotency.Store // by the name of their entry, or of their transport
}

// store is that of an agent, opened if need be; nil: nothing is remembered. The
// caller is the only one who opens.
func (a *App) store(ctx context.Context, agent string) (idempotency.Store, error) {
	if a.options.Store != nil {
		return a.options.Store, nil
	}
	name, ofStore := a.config.StoreOf(agent)
	if name == config.None {
		return nil, nil
	}
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	if s := a.stores.byName[name]; s != nil {
		return s, nil
	}
	open := a.storeOnTransport
	if ofStore {
		open = a.storeOfEntry
	}
	s, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	if a.stores.byName == nil {
		a.stores.byName = map[string]idempotency.Store{}
	}
	a.stores.byName[name] = s
	return s, nil
}

func (a *App) storeOfEntry(ctx context.Context, name string) (idempotency.Store, error) {
	kind, err := a.storeKind(name)
	if err != nil {
		return nil, err
	}
	path, options := "stores."+name, kind.NewOptions()
	if err := a.config.Decode(path, options); err != nil {
		return nil, fmt.Errorf("store %q: %w", name, err)
	}
	s, err := kind.OpenStore(ctx, options, a.shared(a.config.Stores[name].Prefix, name))
	if err != nil {
		return nil, &entryError{a.config.Problem(path, err.Error(), ""), err}
	}
	return s, nil
}

// storeOnTransport opens a store on the client of a transport.
func (a *App) storeOnTransport(ctx context.Context, name string) (idempotency.Store, error) {
	t, err := a.links.open(ctx, name)
	if err != nil {
		return nil, err
	}
	if t.Capabilities().InProcess {
		return idempotency.NewMemory(&idempotency.MemoryOptions{MaxRecords: int(a.config.Remembered().MaxRecords)}), nil
	}
	native, ok := t.Driver().(driver.Native)
	if !ok {
		return nil, &Error{Code: Invalid, Message: noStoreOf(name)}
	}
	for _, k := range a.options.Kinds {
		kind, ok := k.(idempotency.Kind)
		if !ok {
			continue
		}
		s, err := kind.OpenOn(ctx, native.Native(), a.shared(a.config.Transports[name].Prefix, name))
		if err != nil {
			return nil, fmt.Errorf("idempotency store on transport %q: %w", name, err)
		}
		if s != nil {
			return s, nil
		}
	}
	return nil, &Error{Code: Invalid, Message: noStoreOf(name)}
}

func (a *App) shared(prefix, name string) idempotency.Shared {
	remembered := a.config.Remembered()
	return idempotency.Shared{
		Prefix: prefix, TTL: remembered.TTL.Std(), MaxRecords: int(remembered.MaxRecords),
		Logger: a.options.Logger.With("store", name),
	}
}

func noStoreOf(transport string) string {
	return fmt.Sprintf("transport %q keeps no idempotency records", transport)
}

// hintOfStore is what a file says to get a store where the transport has none.
const hintOfStore = "name a store, as in: stores: { ledger: { kind: sqlite, path: ./data/records.db } } " +
	"and idempotency: { store: ledger }; " +
	"or say that a message may be handled more than once: idempotency: { store: none }"

// storeKind is the kind of an entry under stores.
func (a *App) storeKind(name string) (idempotency.Kind, error) {
	kindName, ok := a.config.StoreKind(name)
	if !ok {
		return nil, &Error{Code: Invalid, Message: fmt.Sprintf("there is no store %q in the configuration", name)}
	}
	names := []string{}
	for _, k := range a.options.Kinds {
		kind, ok := k.(idempotency.Kind)
		if ok && kind.KindName() == kindName {
			return kind, nil
		}
		if ok {
			names = append(names, kind.KindName())
		}
	}
	slices.Sort(names)
	return nil, &Error{Code: Invalid, Message: fmt.Sprintf(
		"store %q is of kind %q, which this program does not link: it links %s", name, kindName, cmp.Or(strings.Join(names, ", "), "none"))}
}

// shut closes what the app opened.
func (a *App) shut(ctx context.Context) error {
	return errors.Join(a.stores.close(ctx), a.links.close(ctx))
}

// close closes the stores that the app opened.
func (s *stores) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		if c, ok := s.byName[name].(idempotency.Closer); ok {
			errs = append(errs, c.Close(ctx))
		}
	}
	s.byName = nil
	return errors.Join(errs...)
}

// outboxes are the stores of this app that have one.
func (a *App) outboxes() []idempotency.Outbox {
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	var all []idempotency.Outbox
	if o, ok := a.options.Store.(idempotency.Outbox); ok {
		all = append(all, o)
	}
	for _, name := range slices.Sorted(maps.Keys(a.stores.byName)) {
		if o, ok := a.stores.byName[name].(idempotency.Outbox); ok {
			all = append(all, o)
		}
	}
	return all
}

// publishAll publishes what an outbox holds, each message to its topic.
func (a *App) publishAll(ctx context.Context, es []*envelope.Envelope) error {
	failed, err := a.publisher().Send(ctx, es, nil)
	if err == nil || len(failed) == len(es) {
		return err
	}
	parts := idempotency.UnpublishedError{}
	for i, e := range es {
		if slices.Contains(failed, e) {
			parts[i] = err
		}
	}
	return parts
}

// guard is what an agent remembers its messages with.
func (a *App) guard(ctx context.Context, name string, c *config.Agent) (*idempotency.Guard, error) {
	s, err := a.store(ctx, name)
	if err != nil {
		return nil, err
	}
	path, err := config.ParseKeyPath(c.IdempotencyKey)
	if err != nil {
		return nil, &Error{Code: Invalid, Message: err.Error()}
	}
	return idempotency.NewGuard(s, &idempotency.Options{
		System: a.config.Name, Group: c.Group, Lease: c.Lease.Std(), TTL: a.config.Remembered().TTL.Std(), Key: keyAt(path),
	}), nil
}

// keyAt reads the idempotency key of a message where its agent says it is; nil: it
// does not say.
func keyAt(path config.KeyPath) func(*envelope.Envelope) (string, error) {
	switch {
	case path.Attribute != "":
		return func(in *envelope.Envelope) (string, error) {
			if key := in.Extensions[path.Attribute]; key != "" {
				return key, nil
			}
			return "", fmt.Errorf("it has no attribute %q", path.Attribute)
		}
	case len(path.Fields) > 0:
		return func(in *envelope.Envelope) (string, error) { return keyOfField(in.Data, path.Fields) }
	default:
		return nil
	}
}

// keyOfField is a text or a number within a JSON payload.
func keyOfField(data []byte, fields []string) (string, error) {
	for _, name := range fields {
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return "", fmt.Errorf("the payload has no field data.%s", strings.Join(fields, "."))
		}
		data = object[name]
	}
	var text string
	if json.Unmarshal(data, &text) == nil && string(data) != "null" {
		return text, nil
	}
	var number json.Number
	if json.Unmarshal(data, &number) == nil && number != "" {
		return number.String(), nil
	}
	return "", fmt.Errorf("data.%s is neither a text nor a number", strings.Join(fields, "."))
}

// remembers checks where the records of an agent would be.
func (v *validation) remembers(name string) {
	if v.options.Store != nil {
		return
	}
	store, ofStore := v.config.StoreOf(name)
	switch {
	case store == config.None:
	case ofStore:
		v.storeEntry(store)
	default:
		v.storeOn(store)
	}
}

// storeEntry checks an entry under stores against its kind.
func (v *validation) storeEntry(name string) {
	path := "stores." + name
	kind, err := v.storeKind(name)
	if err != nil {
		v.once(path, err.Error(), "add the kind to Options.Kinds, or use one of those")
		return
	}
	options := kind.NewOptions()
	if err := v.config.Decode(path, options); err != nil {
		if !v.told[path] {
			v.add(path, err)
		}
		v.told[path] = true
		return
	}
	if checked, ok := options.(interface{ Validate() error }); ok {
		if err := checked.Validate(); err != nil {
			v.once(path, err.Error(), "")
		}
	}
}

// storeOn checks that a transport keeps records.
func (v *validation) storeOn(name string) {
	caps := v.capabilities(name)
	if caps == nil || caps.InProcess {
		return // reported, or memory
	}
	if d, given := v.options.Drivers[name]; given {
		if _, ok := d.(driver.Native); ok {
			return
		}
	}
	kind, _ := v.config.Kind(name)
	want := storesOn[kind]
	if want != "" {
		for _, k := range v.options.Kinds {
			if s, ok := k.(idempotency.Kind); ok && s.KindName() == want {
				return
			}
		}
	}
	if want != "" {
		v.once("idempotency.store", fmt.Sprintf("%s, unless this program links the store kind %q", noStoreOf(name), want),
			"add that package's Kind to Options.Kinds; or "+hintOfStore)
		return
	}
	v.once("idempotency.store", noStoreOf(name)+": auto means memory, redis, nats or embedded", hintOfStore)
}

// once reports a problem at a path once.
func (v *validation) once(path, message, hint string) {
	if !v.told[path] {
		v.told[path] = true
		v.fault(path, message, hint)
	}
}
