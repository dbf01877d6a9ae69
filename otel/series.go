package omniqotel

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// MaxSeries is how many combinations of attributes a metric has at the most, beside the one of all others. Those of queues, which
// [Telemetry.Observe] tells, have one for each queue that the backend has, and state.
const MaxSeries = 1000

// other stands for what is beyond MaxSeries.
const other = "_OTHER"

// Attributes that the semantic conventions do not have.
const (
	taskNameKey    = attribute.Key("omniq.task.name")    // the name of a task's function
	taskStateKey   = attribute.Key("omniq.task.state")   // of QueueStats, in lower case
	taskAttemptKey = attribute.Key("omniq.task.attempt") // of spans only
	outcomeKey     = attribute.Key("omniq.outcome")      // an AttemptOutcome
)

var system = semconv.MessagingSystemKey.String("omniq")

// seriesKey is what the attributes of a measurement follow from.
type seriesKey struct {
	queue, name string
	detail      string // the type of an error, or an outcome; empty for none
}

// series is a set of attributes, as instruments take it. It is made once, so that to measure allocates nothing.
type series struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// table has the sets of attributes of some instruments.
type table struct {
	attributes func(seriesKey) []attribute.KeyValue

	mu  sync.RWMutex
	all map[seriesKey]*series
}

func (t *table) of(key seriesKey) *series {
	t.mu.RLock()
	s, ok := t.all[key]
	t.mu.RUnlock()
	if ok {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= MaxSeries {
		key = seriesKey{other, other, ""} // of one more
	}
	if s, ok := t.all[key]; ok {
		return s
	}
	if t.all == nil {
		t.all = make(map[seriesKey]*series)
	}
	set := metric.WithAttributeSet(attribute.NewSet(t.attributes(key)...))
	s = &series{[]metric.AddOption{set}, []metric.RecordOption{set}}
	t.all[key] = s
	return s
}

// operation makes the attributes of what the semantic conventions have a name for.
func operation(name string, kind attribute.KeyValue, named bool) func(seriesKey) []attribute.KeyValue {
	return func(k seriesKey) []attribute.KeyValue {
		set := []attribute.KeyValue{system, semconv.MessagingOperationName(name), kind}
		if k.queue != "" {
			set = append(set, semconv.MessagingDestinationName(k.queue))
		}
		if named {
			set = append(set, taskNameKey.String(k.name))
		}
		if k.detail != "" {
			set = append(set, semconv.ErrorTypeKey.String(k.detail))
		}
		return set
	}
}

// taskAttributes are those of a task.
func taskAttributes(k seriesKey) []attribute.KeyValue {
	set := []attribute.KeyValue{semconv.MessagingDestinationName(k.queue), taskNameKey.String(k.name)}
	if k.detail != "" {
		set = append(set, outcomeKey.String(k.detail))
	}
	return set
}
