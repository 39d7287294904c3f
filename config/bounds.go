package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
)

// The longest names. Brokers allow about 250 characters, and ours add to them.
const (
	maxName  = 100
	maxTopic = 200
)

// maxTime is the longest of the times that a policy may give.
const maxTime = 366 * value.Duration(value.Day)

// ruleOfNames says what nameRule asks for.
const ruleOfNames = "use letters, digits, - and _, with single dots between words; begin with a letter or digit"

var (
	nameRule   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)
	prefixRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\.?$`)
)

// wireRule is the grammar of envelope.ParseType, which this package does not
// import; maxName is the longest name there, too.
var wireRule = regexp.MustCompile(`^([a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)*)@[1-9][0-9]{0,5}$`)

// wireType checks the name and version of a type of messages.
func (k *checker) wireType(path, wire string) {
	if m := wireRule.FindStringSubmatch(wire); len(m) < 2 || len(m[1]) > maxName {
		k.fault(path, quoteRaw(wire)+" is not the name and version of a type",
			"write, for example, research.task@1: words of a-z, 0-9, - and _, with single dots between them, and a number from 1 on")
	}
}

func isPrefix(text string) bool { return len(text) <= maxName && prefixRule.MatchString(text) }

// name checks a name that every broker must be able to take; an empty one is
// not given.
func (k *checker) name(path, name string, longest int) {
	switch {
	case name == "" && !k.given(path):
	case len(name) > longest:
		k.fault(path, fmt.Sprintf("the name is %d characters long, and %d are allowed", len(name), longest), "shorten it")
	case !nameRule.MatchString(name):
		k.fault(path, quoteRaw(name)+" is not a name", ruleOfNames)
	}
}

func (k *checker) topicName(path, name string) {
	if name == None {
		k.fault(path, `"none" cannot be the name of a topic: it means that there is none`, "")
		return
	}
	k.name(path, name, maxTopic)
}

// CheckTopic answers what is wrong with the name of a topic, or nil. It holds for
// every transport: letters, digits, - and _, single dots between words, a letter
// or digit first, at most 200 bytes.
func CheckTopic(name string) error {
	switch {
	case len(name) > maxTopic:
		return fmt.Errorf("the name of a topic is %d bytes long, and %d are allowed: %s", len(name), maxTopic, quoteRaw(name))
	case name == None:
		return errors.New(`"none" cannot be the name of a topic: it means that there is none`)
	case !nameRule.MatchString(name):
		return fmt.Errorf("%s is not the name of a topic: %s", quoteRaw(name), ruleOfNames)
	}
	return nil
}

// policy checks what an agent, or the defaults, gives, against its own limits
// and against the rest of what it ends up with.
func (k *checker) policy(path string, given, all Policy) {
	all = all.filled()
	k.number(path+".concurrency", given.Concurrency, 1, 100_000)
	k.number(path+".window", given.Window, 1, 1_000_000)
	k.number(path+".lane_limit", given.LaneLimit, 1, 1_000_000)
	k.number(path+".max_hops", given.MaxHops, 1, 10_000)
	if r := given.Rate; (r != 0 || k.given(path+".rate")) && (r < 1.0/3600 || r > 1e6) {
		k.fault(path+".rate", fmt.Sprintf("is %s, and must be between 1/h and 1000000/s", r), "leave it out for no limit")
	}
	k.duration(path+".timeout", given.Timeout, value.Duration(time.Millisecond), maxTime)
	k.duration(path+".lease", given.Lease, value.Duration(100*time.Millisecond), value.Duration(12*time.Hour))
	k.duration(path+".drain_timeout", given.DrainTimeout, value.Duration(time.Millisecond), value.Duration(24*time.Hour))
	k.count(path+".retry.immediate", given.Retry.Immediate, maxImmediate)
	k.count(path+".retry.delayed", given.Retry.Delayed, maxDelayed)
	if backoff := path + ".retry.backoff"; !given.Retry.Backoff.IsZero() || k.given(backoff) {
		k.backoff(backoff, given.Retry.Backoff)
	}
	if given.Window != 0 && all.Window < all.Concurrency {
		k.fault(path+".window", fmt.Sprintf("is %d, less than the concurrency of %d: some handlers could never run", all.Window, all.Concurrency),
			fmt.Sprintf("use %d or more, or remove it: the default is 4 × concurrency", all.Concurrency))
	} else if given.Concurrency != 0 && all.Window < all.Concurrency {
		k.fault(path+".concurrency",
			fmt.Sprintf("is %d, more than the window of %d: some handlers could never run", all.Concurrency, all.Window), "raise window, too")
	}
	if given.LaneLimit != 0 && all.LaneLimit > all.Window {
		k.fault(path+".lane_limit", fmt.Sprintf("is %d, more than the window of %d", all.LaneLimit, all.Window),
			"the default is a quarter of the window")
	}
}

func (k *checker) backoff(path string, r value.Range) {
	switch {
	case r.Min <= 0:
		k.fault(path, fmt.Sprintf("begins at %s: a wait must be greater than 0", r.Min),
			"the default is 500ms..1m; for retries without a wait use immediate")
	case r.Max < r.Min:
		k.fault(path, fmt.Sprintf("ends at %s, before it begins at %s", r.Max, r.Min), "")
	case r.Max > maxTime:
		k.fault(path, fmt.Sprintf("ends at %s, and %s is the longest", r.Max, maxTime), "")
	}
}

// number, count, size and duration check a value against its limits. A zero
// that no file gives means the default.
func (k *checker) number(path string, n, least, most int) {
	if (n != 0 || k.given(path)) && (n < least || n > most) {
		k.fault(path, fmt.Sprintf("is %d, and must be between %d and %d", n, least, most), "")
	}
}

func (k *checker) count(path string, n *int, most int) {
	if n != nil && (*n < 0 || *n > most) {
		k.fault(path, fmt.Sprintf("is %d, and must be between 0 and %d", *n, most), "")
	}
}

func (k *checker) size(path string, n, least, most value.Size) {
	if (n != 0 || k.given(path)) && (n < least || n > most) {
		k.fault(path, fmt.Sprintf("is %s, and must be between %s and %s", n, least, most), "")
	}
}

func (k *checker) duration(path string, d, least, most value.Duration) {
	switch {
	case d == 0 && !k.given(path):
	case d <= 0:
		k.fault(path, fmt.Sprintf("is %s, and must be greater than 0", d), "")
	case d < least || d > most:
		k.fault(path, fmt.Sprintf("is %s, and must be between %s and %s", d, least, most), "")
	}
}

// checkEnums reports texts that are none of those that their fields' tags list.
func checkEnums(fault func(path, message, hint string), v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.Struct:
		for iter := v.MapRange(); iter.Next(); {
			checkEnums(fault, iter.Value(), join(path, iter.Key().String()))
		}
	case isBlock(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			if inner := f.in(v); f.typ.Kind() != reflect.String {
				checkEnums(fault, inner, join(path, f.name))
			} else {
				checkEnum(fault, f, inner.String(), join(path, f.name))
			}
		}
	}
}

func checkEnum(fault func(path, message, hint string), f field, text, path string) {
	allowed := f.enum()
	if text == "" || allowed == nil || slices.Contains(allowed, text) {
		return
	}
	hint := ""
	if near := suggest(text, allowed); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	fault(path, fmt.Sprintf("%s must be %s", quoteRaw(text), strings.Join(allowed, " | ")), hint)
}
