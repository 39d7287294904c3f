package graph_test

import (
	"fmt"

	"github.com/anywire/anywire/internal/graph"
)

func ExampleMermaid() {
	fmt.Print(graph.Mermaid([]graph.Agent{
		{Name: "writer", Consumes: "tasks.write", Produces: "briefs"},
		{Name: "researcher", Consumes: "tasks.research", Produces: "tasks.write", Label: "research.task@1"},
	}))
	// Output:
	// flowchart LR
	//   t1(["tasks.research"])
	//   a1["researcher<br/>research.task@1"]
	//   t1 --> a1
	//   t2(["tasks.write"])
	//   a1 --> t2
	//   a2["writer"]
	//   t2 --> a2
	//   t3(["briefs"])
	//   a2 --> t3
}
