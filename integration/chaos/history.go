package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Event is one line of a history.
type Event struct {
	At     time.Time `json:"at"`
	Proc   string    `json:"proc"`
	What   string    `json:"what"`
	Key    string    `json:"key,omitempty"`
	N      int       `json:"n,omitempty"`
	Part   string    `json:"part,omitempty"`
	ID     string    `json:"id,omitempty"`     // of a message, an effect or a record
	Agent  string    `json:"agent,omitempty"`  // who handles
	Detail string    `json:"detail,omitempty"` // of a fault, a crash point, an error
	Bad    bool      `json:"bad,omitempty"`    // an effect whose payload is not what was made
}

// What events say.
const (
	published  = "published"  // the broker has confirmed a task
	unknown    = "unknown"    // a publish failed: the broker may have it
	started    = "start"      // a handler was called
	committed  = "commit"     // a record was completed; ID names it, Detail the attempt
	effected   = "effect"     // the service took an effect for the first time
	repeated   = "repeat"     // the service had the effect already
	crashed    = "crash"      // a worker ends itself at a crash point
	faulted    = "fault"      // begins
	healed     = "healed"     // a fault ends
	up         = "up"         // a worker is there
	redelivery = "redelivery" // the broker delivered once more
	duplicate  = "duplicate"  // a record answered instead of a handler
	leaseLost  = "lost lease" // a delivery was taken away
	deadLetter = "dead"
	blocked    = "blocked" // a worker's subscription changed its state
)

// journal appends to a history. One write for each line keeps it whole when the
// process is killed.
type journal struct {
	proc string

	mu   sync.Mutex
	file *os.File
}

func openJournal(dir, proc string) (*journal, error) {
	file, err := os.OpenFile(filepath.Join(dir, proc+".jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &journal{proc: proc, file: file}, nil
}

func (j *journal) note(e Event) {
	e.At, e.Proc = time.Now(), j.proc
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // a struct of texts
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		panic(fmt.Sprintf("journal: %v", err)) // without a history the run says nothing
	}
}

func (j *journal) close() { _ = j.file.Close() }

// readHistory joins what all processes noted, in the order of time.
func readHistory(dir string) ([]Event, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	var all []Event
	for _, name := range files {
		events, err := readJournal(name)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.At.Compare(b.At) })
	return all, nil
}

func readJournal(name string) ([]Event, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	defer func() { _ = file.Close() }()
	var events []Event
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("history %s: %w", name, err)
		}
		events = append(events, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("history %s: %w", name, err)
	}
	return events, nil
}
