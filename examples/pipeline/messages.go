package main

// Task asks for the brief of one document.
type Task struct {
	// In and Out are the folders of documents and of briefs, absolute. Workers
	// share them.
	In  string `json:"in"`
	Out string `json:"out"`
	// Path is the document's, relative to In, with slashes.
	Path string `json:"path"`
}

// WireType is the name and version of the message.
func (Task) WireType() string { return "pipeline.task@1" }

// Facts are what the researcher found in a document.
type Facts struct {
	Task  Task     `json:"task"`
	Title string   `json:"title"`
	Facts []string `json:"facts"`
}

// WireType is the name and version of the message.
func (Facts) WireType() string { return "pipeline.facts@1" }

// Brief is a finished text, ready to be kept.
type Brief struct {
	Task     Task   `json:"task"`
	Markdown string `json:"markdown"`
}

// WireType is the name and version of the message.
func (Brief) WireType() string { return "pipeline.brief@1" }
