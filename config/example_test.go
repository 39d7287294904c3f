package config_test

import (
	"fmt"
	"os"

	"github.com/anywire/anywire/config"
)

func ExampleParse() {
	c, err := config.Parse("anywire.yaml", []byte(`version: 1
agents:
  researcher: { consumes: tasks.research, produces: tasks.write }
  writer: { consumes: tasks.write, produces: briefs }
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	writer, _ := c.Agent("writer")
	fmt.Println(writer.Consumes, writer.Group, writer.Concurrency, writer.DeadLetter)
	// Output: tasks.write writer 16 writer.dead
}

func ExampleProblems() {
	_, err := config.Parse("anywire.yaml", []byte(`version: 1
agents:
  writer:
    consume: tasks.write
    timeout: 30
`))
	fmt.Println(err)
	// Output:
	// anywire.yaml:4:5: agents.writer: unknown key "consume"
	//         consume: tasks.write
	//         ^
	//     did you mean "consumes"?
	// anywire.yaml:5:14: agents.writer.timeout: duration "30" has no unit: write 30s, or another of ms, s, m, h, d
	//         timeout: 30
	//                  ^
}

func ExampleConfig_Check() {
	c := &config.Config{Agents: map[string]config.Agent{
		"researcher": {Consumes: "tasks", Produces: "briefs", Order: "sorted"},
	}}
	fmt.Println(c.Check())
	// Output: agents.researcher.order: "sorted" must be none | key | strict
}

func ExampleConfig_Explain() {
	c, err := config.Parse("anywire.yaml", []byte(`version: 1
defaults: { timeout: 5m }
agents:
  writer: { consumes: tasks.write }
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	origins, err := c.Explain("agents.writer.timeout")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(origins[0])
	fmt.Println(c.Policy("writer").Timeline())
	// Output:
	// agents.writer.timeout: 5m  (anywire.yaml:2:22, defaults)
	// attempts: 8: the first, 2 at once, 5 after a wait; each at most 5m
	// waits: 500ms, 1s, 2s, 4s, 8s, each up to 20 % longer
	// longest life: 40m18.6s
}

func ExampleConfig_Decode() {
	c, err := config.Parse("anywire.yaml", []byte(`version: 1
transport: pigeon
transports:
  pigeon: { loft: north, brids: 3 }
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var options struct {
		Loft  string `yaml:"loft"`
		Birds int    `yaml:"birds"`
	}
	fmt.Println(c.Decode("transports.pigeon", &options))
	// Output:
	// anywire.yaml:4:26: transports.pigeon: unknown key "brids"
	//       pigeon: { loft: north, brids: 3 }
	//                              ^
	//     did you mean "birds"?
}

func ExampleConfig_Print() {
	c := &config.Config{Name: "newsroom", Transports: map[string]config.Transport{
		"nats": {Options: struct {
			URL string `yaml:"url"`
		}{"nats://me:secret@localhost:4222"}},
	}, Transport: "nats"}
	if err := c.Print(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// version: 1
	// name: newsroom
	// transport: nats
	// transports:
	//   nats:
	//     kind: nats
	//     url: nats://me:***@localhost:4222
	// idempotency:
	//   store: auto
	//   ttl: 1d
	//   max_records: 1M
	//   on_store_error: pause
	// limits:
	//   body: 900KiB
	//   attributes: 64
	//   attribute_bytes: 16KiB
	// defaults:
	//   concurrency: 16
	//   window: 64
	//   lane_limit: 16
	//   timeout: 2m
	//   lease: 30s
	//   drain_timeout: 30s
	//   retry:
	//     immediate: 2
	//     delayed: 5
	//     backoff: 500ms..1m
	//   breaker: false
	//   max_hops: 32
}
