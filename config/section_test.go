package config

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anywire/anywire/config/value"
)

// busOptions is the Options struct of a kind, with every sort of field.
type busOptions struct {
	URL      string            `yaml:"url" doc:"address of the server" default:"bus://localhost" example:"bus://example.com:1234"`
	Servers  []string          `yaml:"servers" doc:"more addresses" example:"[a, b]"`
	Password value.Secret      `yaml:"password" doc:"password of the user" example:"${BUS_PASSWORD}"`
	Keys     []value.Secret    `yaml:"keys" doc:"keys, any of which opens the door" example:"[a, b]"`
	Size     value.Size        `yaml:"size" doc:"largest batch" default:"1MiB" example:"2MiB"`
	Wait     time.Duration     `yaml:"wait" doc:"longest wait" default:"5s" example:"1d"`
	Backoff  value.Range       `yaml:"backoff" doc:"waits between attempts" default:"1s..1m" example:"1s"`
	TLS      *busTLS           `yaml:"tls" doc:"encryption" example:"{ insecure: true }"`
	Labels   map[string]string `yaml:"labels" doc:"labels of the connection" example:"{ a: b }"`
	Sync     string            `yaml:"sync" doc:"when to write" default:"always" example:"never" enum:"always|never"`
	Ratio    float64           `yaml:"ratio" doc:"a ratio" default:"0.5" example:"1"`
	Port     uint16            `yaml:"port" doc:"a port" default:"1234" example:"80"`
	Extra    any               `yaml:"extra" doc:"anything" example:"[1, { a: b }]"`
	Client   *sync.Mutex       `yaml:"-"`
	Dial     func()            `yaml:"-"`
	Inline   busInline         `yaml:",inline"`
}

type busTLS struct {
	Insecure bool   `yaml:"insecure" doc:"do not check certificates" default:"false" example:"true"`
	File     string `yaml:"file" doc:"certificates of authorities" example:"ca.pem"`
}

type busInline struct {
	Deep int `yaml:"deep" doc:"of an inlined struct" default:"1" example:"2"`
}

func TestDecodeOptions(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: 1
transport: bus
transports:
  bus:
    prefix: x.
    url: bus://other
    servers: [a, "${B}"]
    password: ${PW}
    keys: [k1, k2]
    size: 2MiB
    wait: 1d
    backoff: 1s..2s
    tls: { insecure: true }
    labels: { a: b, c.d: "${B}" }
    sync: never
    ratio: 1
    port: 80
    extra: [1, { a: b }, 2.5, true, null, "7"]
    deep: 9
`, "B=b", "PW=hunter2")
	o := busOptions{Port: 1, Client: new(sync.Mutex)}
	if err := c.Decode("transports.bus", &o); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %v %s %v %s %v %s %+v %v %s %v %v %v %v", o.URL, o.Servers, o.Password.Reveal(), len(o.Keys), o.Size, o.Wait, o.Backoff, *o.TLS, o.Labels, o.Sync, o.Ratio, o.Port, o.Extra, o.Inline)
	const want = "bus://other [a b] hunter2 2 2MiB 24h0m0s 1s..2s {Insecure:true File:} map[a:b c.d:b] never 1 80 [1 map[a:b] 2.5 true <nil> 7] {9}"
	if got != want {
		t.Errorf("options are\n%s, want\n%s", got, want)
	}
	var none busOptions
	if err := c.Decode("transports.nothing", &none); err != nil {
		t.Errorf("an entry that does not exist gives %v", err)
	}
}

func TestDecodeProblems(t *testing.T) {
	t.Parallel()
	c, err := parsedWith(`
version: 1
transport: bus
transports:
  bus:
    prefix: x.
    urll: bus://other
    servers: a
    password: { a: hunter2 }
    keys: [hunter2, [hunter2]]
    size: ${PW}
    wait: 5
    backoff: 2s..1s
    tls: { insecure: maybe, fil: x }
    labels: { a: [b] }
    sync: nver
    ratio: much
    port: 70000
    deep: "9"
    tls: { insecure: 1 }
`, "PW=hunter2")
	if p := only(t, err); !strings.Contains(p.Message, `duplicate key "tls"`) {
		t.Fatalf("got %v, want the duplicate", p)
	}
	err = c.Decode("transports.bus", &busOptions{})
	for _, want := range []string{
		`:7:5: transports.bus: unknown key "urll"`, `did you mean "url"?`,
		`:8:14: transports.bus.servers: must be a list, not a single value`, `write ["a"]`,
		`:9:15: transports.bus.password: must be a single value, not a map of keys`,
		`:10:21: transports.bus.keys[1]: must be a single value, not a list`,
		`:11:11: transports.bus.size:`,
		`:12:11: transports.bus.wait: duration "5" has no unit`,
		`:13:14: transports.bus.backoff: range "2s..1s" ends before it begins`,
		`:14:22: transports.bus.tls.insecure: must be true or false, not "maybe"`,
		`:14:29: transports.bus.tls: unknown key "fil"`,
		`:15:18: transports.bus.labels.a: must be a text, not a list`,
		`:16:11: transports.bus.sync: "nver" must be always | never`,
		`:17:12: transports.bus.ratio: must be a number, not "much"`,
		`:18:11: transports.bus.port: 70000 does not fit`,
		`:19:11: transports.bus.deep: must be a whole number, not "9"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestDecodeLiteral(t *testing.T) {
	t.Parallel()
	want := busOptions{URL: "bus://a"}
	for name, c := range map[string]struct {
		given any
		into  any
		err   string
	}{
		"value":        {want, &busOptions{}, ""},
		"pointer":      {&want, &busOptions{}, ""},
		"nothing":      {nil, &busOptions{URL: "bus://a"}, ""},
		"other":        {busTLS{}, &busOptions{}, "transports.bus: its options are a config.busTLS, and kind bus takes a config.busOptions"},
		"nil":          {(*busOptions)(nil), &busOptions{}, "its options are a *config.busOptions"},
		"no pointer":   {want, busOptions{}, "cannot fill a config.busOptions"},
		"no struct":    {want, new(int), "cannot fill a *int"},
		"other's keys": {Section{}, &busOptions{URL: "bus://a"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := &Config{Transports: map[string]Transport{"bus": {Options: c.given}}}
			err := config.Decode("transports.bus", c.into)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if got, ok := c.into.(*busOptions); err != nil || !ok || got.URL != want.URL {
				t.Errorf("got %+v, %v", c.into, err)
			}
		})
	}
}

func TestSecretsAreShownNowhere(t *testing.T) {
	t.Parallel()
	c, err := parsedWith(`
version: 1
transport: bus
transports:
  bus:
    url: bus://me:hunter2@host
    opener: hunter2
    keys: [ hunter2, "hunter2", oops: 1 ]
    more: |
      hunter2
      - hunter2
    quoted: "hunter2
      - hunter2"
    plain: hunter2
      - hunter2
    file: ${file:pw.txt}
    default: ${UNSET:-hunter2}
    wrong: ${PW}
    client_token: hunter2
    note: ok
agents:
  a: { consumes: a, colour: "${PW}", group: "${file:pw.txt}/" }
`, "PW=hunter2")
	type secretive struct {
		URL    string         `yaml:"url"`
		Opener value.Secret   `yaml:"opener"`
		Keys   []value.Secret `yaml:"keys"`
		More   value.Secret   `yaml:"more"`
		Quoted value.Secret   `yaml:"quoted"`
		Plain  value.Secret   `yaml:"plain"`
		Token  string         `yaml:"client_token"`
		File   int            `yaml:"file"`
		Dflt   value.Secret   `yaml:"default"`
		Wrong  value.Secret   `yaml:"wrong"`
		Note   string         `yaml:"note"`
	}
	var o secretive
	errDecode := c.Decode("transports.bus", &o)
	if o.Opener.Reveal() != "hunter2" || o.More.Reveal() != "hunter2\n- hunter2\n" || o.Quoted.Reveal() != "hunter2 - hunter2" || errDecode == nil {
		t.Fatalf("options are %+v, %v", o, errDecode)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	origins, err2 := c.Explain("transports")
	if err2 != nil {
		t.Fatal(err2)
	}
	problems := fmt.Sprint(errDecode)
	for line := 5; line <= 21; line++ {
		p := problemAt(place{c.doc.sources[0], line, 1}, "x", "here", "")
		problems = fmt.Sprintln(problems, Problems{p}.quoted())
	}
	all := out.String() + err.Error() + fmt.Sprint(origins) + problems + fmt.Sprintf("%v %+v %#v", c.Transports, c.Transports, c.Transports["bus"].Options)
	if strings.Contains(all, "hunter2") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	for _, want := range []string{"opener: '***'", "client_token: '***'", "bus://me:***@host", "note: ok", "file: '***'"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in what is printed:\n%s", want, &out)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "agents.a.group: the content of the file does not fit here") {
		t.Errorf("reading gives %v", err)
	}
}

func TestConfigIsSafeForSeveralGoroutines(t *testing.T) {
	t.Parallel()
	c := parsed(t, "version: 1\ntransport: bus\ntransports: { bus: { password: x, url: y } }\nagents: { a: { consumes: a } }\n")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var o busOptions
			if err := c.Decode("transports.bus", &o); err != nil || o.Password.Reveal() != "x" {
				t.Errorf("options are %+v, %v", o, err)
			}
			_ = c.Check()
			_ = c.Problem("agents.a", "x", "")
			if err := c.Print(&bytes.Buffer{}); err != nil {
				t.Error(err)
			}
			if _, err := c.Explain("agents.a"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestProblemOfAPath(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: 1
topics:
  a.b: { shards: 1 }
  a.b.shards: { shards: 2 }
transports: { bus: { list: [x, y: { z: 1 }] }, memory: }
agents:
  a: { consumes: a }
`)
	for path, want := range map[string]string{
		"":                            "anywire.yaml:2:1: wrong",
		"version":                     "anywire.yaml:2:10: version: wrong",
		"agents.a":                    "anywire.yaml:8:3: agents.a: wrong",
		"agents.a.consumes":           "anywire.yaml:8:18: agents.a.consumes: wrong",
		"agents.a.order":              "anywire.yaml:8:3: agents.a.order: wrong",
		"agents.b.order":              "anywire.yaml:7:1: agents.b.order: wrong",
		"topics.a.b.shards":           "anywire.yaml:5:3: topics.a.b.shards: wrong",
		"topics.a.b.shards.shards":    "anywire.yaml:5:25: topics.a.b.shards.shards: wrong",
		"topics.a.b.replicas":         "anywire.yaml:4:3: topics.a.b.replicas: wrong",
		"transports.bus.list[1].y.z":  "anywire.yaml:6:40: transports.bus.list[1].y.z: wrong",
		"transports.bus.list[7]":      "anywire.yaml:6:22: transports.bus.list[7]: wrong",
		"limits.body":                 "anywire.yaml:2:1: limits.body: wrong",
		"transports.memory.something": "anywire.yaml:6:48: transports.memory.something: wrong",
	} {
		got, _, _ := strings.Cut(c.Problem(path, "wrong", "").String(), "\n")
		if got != want {
			t.Errorf("the problem of %q is %s, want %s", path, got, want)
		}
	}
	literal := &Config{}
	if got := literal.Problem("agents.a.order", "wrong", "mend it").String(); got != "agents.a.order: wrong\n    mend it" {
		t.Errorf("the problem of a literal is %q", got)
	}
	if diff := cmp.Diff(Problems(nil).Err(), nil); diff != "" {
		t.Error(diff)
	}
}
