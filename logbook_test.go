package omniq_test

import (
	"log/slog"
	"strings"
	"sync"

	"github.com/omniq-go/omniq"
)

// logbook keeps what a worker logs. The zero value is ready.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

func (l *logbook) option() omniq.WorkerOption {
	return omniq.Logger(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// count returns how many lines are of a level and have all the texts.
func (l *logbook) count(level slog.Level, texts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range l.lines {
		for _, text := range append(texts, "level="+level.String()+" ") {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		n++
	}
	return n
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}
