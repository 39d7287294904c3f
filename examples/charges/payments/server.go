package payments

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/anywire/anywire/examples/charges/journal"
)

// Mood is how the API takes one request.
type Mood int

// The moods.
const (
	Fine    Mood = iota
	Busy         // 429, with Retry-After
	Broken       // 500, and no charge
	Dropped      // the charge is made, and the connection cut before the answer
)

// Moody is fine mostly.
func Moody() Mood {
	switch n := mathrand.IntN(100); {
	case n < 15:
		return Busy
	case n < 25:
		return Broken
	case n < 40:
		return Dropped
	default:
		return Fine
	}
}

// Server is the API: POST /charges makes a charge, GET /charges lists all. Its
// zero value is not usable.
type Server struct {
	file  string
	delay time.Duration
	mood  func() Mood

	mu      sync.Mutex
	journal *journal.Journal[Charge] // nil: not open
	charges []Charge
	byKey   map[string]Charge
}

// NewServer returns an API that keeps its charges in a file, so that they outlive
// it. It takes delay for each charge; mood says how it takes the next request, by
// several goroutines. The file is opened with the first request.
func NewServer(file string, delay time.Duration, mood func() Mood) *Server {
	return &Server{file: file, delay: delay, mood: mood}
}

var _ http.Handler = (*Server)(nil)

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/charges":
		http.NotFound(w, r)
	case r.Method == http.MethodGet:
		s.list(w)
	case r.Method == http.MethodPost:
		s.post(w, r)
	default:
		http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
	}
}

func (s *Server) list(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, s.charges)
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	// Read first: what has been asked for is done, also when the client is gone.
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	mood := s.mood()
	switch mood {
	case Busy:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	case Broken:
		http.Error(w, "something broke", http.StatusInternalServerError)
		return
	case Fine, Dropped:
	}
	time.Sleep(s.delay) //nolint:forbidigo // being slow is what it is for
	made, status, err := s.charge(r.Header.Get(keyHeader), body)
	switch {
	case mood == Dropped:
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, err.Error(), status)
	default:
		answer(w, []Charge{made})
	}
}

// charge makes a charge, or finds the one that was made under the key.
func (s *Server) charge(key string, body []byte) (made Charge, status int, err error) {
	var r Request
	switch err := json.Unmarshal(body, &r); {
	case err != nil:
		return Charge{}, http.StatusBadRequest, err
	case key == "":
		return Charge{}, http.StatusBadRequest, fmt.Errorf("there is no %s", keyHeader)
	case r.Customer == "" || r.Cents <= 0:
		return Charge{}, http.StatusUnprocessableEntity, fmt.Errorf("nobody can charge %q %d cents", r.Customer, r.Cents)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return Charge{}, http.StatusInternalServerError, err
	}
	if made, ok := s.byKey[key]; ok {
		if made.Request != r {
			return Charge{}, http.StatusUnprocessableEntity, fmt.Errorf("the key belongs to another charge, %s", made.Receipt)
		}
		return made, http.StatusOK, nil
	}
	made = Charge{Receipt: "ch_" + rand.Text(), Key: key, Request: r}
	if err := s.journal.Append(made); err != nil {
		return Charge{}, http.StatusInternalServerError, err
	}
	s.remember(made)
	return made, http.StatusOK, nil
}

// open reads the file of an API that ran before. The caller holds the lock.
func (s *Server) open() error {
	if s.journal != nil {
		return nil
	}
	file, all, err := journal.Open[Charge](s.file)
	if err != nil {
		return err
	}
	s.journal, s.charges, s.byKey = file, nil, map[string]Charge{}
	for _, made := range all {
		s.remember(made)
	}
	return nil
}

func (s *Server) remember(made Charge) {
	s.charges = append(s.charges, made)
	s.byKey[made.Key] = made
}

// Close closes the file.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal == nil {
		return nil
	}
	file := s.journal
	s.journal = nil
	return file.Close()
}

// answer has charges, also where it is one.
func answer(w http.ResponseWriter, charges []Charge) {
	text, err := json.Marshal(charges)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // a client that is gone asks again
}
