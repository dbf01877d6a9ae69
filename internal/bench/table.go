package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// table collects samples and prints their medians.
type table struct {
	settings settings
	values   map[string]map[figure][]float64 // by system, one value a round
	cut      map[string]map[figure]bool      // by system: that a round was cut short
	notes    map[string][]string             // by system
}

func newTable(s settings) *table {
	t := &table{s, make(map[string]map[figure][]float64), make(map[string]map[figure]bool), make(map[string][]string)}
	for _, sys := range s.systems {
		t.values[sys.name] = make(map[figure][]float64)
		t.cut[sys.name] = make(map[figure]bool)
	}
	return t
}

func (t *table) add(sys system, got sample) {
	for f, v := range got.values {
		t.values[sys.name][f] = append(t.values[sys.name][f], v)
		t.cut[sys.name][f] = t.cut[sys.name][f] || got.cut
	}
	if got.note != "" {
		t.notes[sys.name] = append(t.notes[sys.name], got.note)
	}
}

func (t *table) write(w io.Writer) error {
	var b bytes.Buffer
	s := t.settings
	fmt.Fprintf(&b, "Medians of %d rounds; %d tasks, %d workers; %s; %s, %s/%s, %d CPUs.\n",
		s.rounds, s.tasks, s.workers, s.heading, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	t.writeRates(&b)
	t.writeRatios(&b)
	t.writeLatencies(&b)
	t.writeIdleness(&b)
	t.writeSettings(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// rates are the figures in tasks a second that were measured.
func (t *table) rates() (rates []figure) {
	for _, f := range []figure{enqueueAlone, enqueueShared, burnDown, batches} {
		for _, sys := range t.settings.systems {
			if len(t.values[sys.name][f]) > 0 {
				rates = append(rates, f)
				break
			}
		}
	}
	return rates
}

func (t *table) writeRates(b *bytes.Buffer) {
	rates := t.rates()
	row(b, "\ntasks a second", names(rates)...)
	rule(b, len(rates))
	for _, sys := range t.settings.systems {
		cells := make([]string, len(rates))
		for i, f := range rates {
			cells[i] = cell(t.values[sys.name][f], thousands)
			if t.cut[sys.name][f] {
				cells[i] += "*"
			}
		}
		row(b, sys.title, cells...)
	}
	fmt.Fprintf(b, "\n\\* A round ended before all tasks were done, after %v of enqueue or %v of burn-down.\n",
		t.settings.enqueueLimit, t.settings.burnLimit)
}

// writeRatios compares OmniQ with the others, if it was measured.
func (t *table) writeRatios(b *bytes.Buffer) {
	first := t.settings.engine.systems[0].name
	own, rates := t.values[first], t.rates()
	if len(own) == 0 || len(t.settings.systems) < 2 {
		return
	}
	row(b, "\nOmniQ compared with, median (least to greatest)", names(rates)...)
	rule(b, len(rates))
	for _, sys := range t.settings.systems {
		if sys.name == first {
			continue
		}
		cells := make([]string, len(rates))
		for i, f := range rates {
			var ratios []float64
			for round, v := range t.values[sys.name][f] {
				ratios = append(ratios, own[f][round]/v)
			}
			if cells[i] = "–"; len(ratios) > 0 {
				cells[i] = fmt.Sprintf("%.2f (%.2f to %.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
			}
		}
		row(b, sys.title, cells...)
	}
}

func (t *table) writeLatencies(b *bytes.Buffer) {
	figures := []figure{enqueueLatency, startLatency, pickUpLatency, resultLatency}
	row(b, fmt.Sprintf("\nms at %d tasks a second, p50 / p99", t.settings.rate), names(figures)...)
	rule(b, len(figures))
	milliseconds := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	for _, sys := range t.settings.systems {
		if sys.bulk || sys.burnsOnly {
			continue
		}
		cells := make([]string, len(figures))
		for i, f := range figures {
			values := t.values[sys.name]
			cells[i] = cell(values[f.percentile(50)], milliseconds)
			if len(values[f.percentile(50)]) > 0 {
				cells[i] += " / " + cell(values[f.percentile(99)], milliseconds)
			}
		}
		row(b, sys.title, cells...)
	}
}

// writeIdleness is left out where it was not measured.
func (t *table) writeIdleness(b *bytes.Buffer) {
	if t.settings.engine.cpu == nil {
		return
	}
	figures := []figure{idleWorker, idleServer}
	row(b, "\nms of CPU a second, with an idle worker", names(figures)...)
	rule(b, len(figures))
	for _, sys := range t.settings.systems {
		if sys.bulk || sys.burnsOnly {
			continue
		}
		cells := make([]string, len(figures))
		for i, f := range figures {
			cells[i] = cell(t.values[sys.name][f], func(v float64) string { return fmt.Sprintf("%.2f", v) })
		}
		row(b, sys.title, cells...)
	}
}

func (t *table) writeSettings(b *bytes.Buffer) {
	versions := moduleVersions()
	row(b, "\nsystem", "version", "set to", "remarks")
	b.WriteString("|---|---|---|---|\n")
	for _, sys := range t.settings.systems {
		version := "this checkout"
		if sys.module != "" {
			version = strings.TrimSpace(sys.module + " " + versions[sys.module])
		}
		row(b, sys.title, version, sys.set, strings.Join(t.notes[sys.name], "; "))
	}
}

// moduleVersions tells what this program was built of.
func moduleVersions() map[string]string {
	versions := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			versions[m.Path] = m.Version
		}
	}
	return versions
}

func names(figures []figure) []string {
	names := make([]string, len(figures))
	for i, f := range figures {
		names[i] = string(f)
	}
	return names
}

// row writes a row of a table; a title that begins with a newline begins a table.
func row(b *bytes.Buffer, title string, cells ...string) {
	if rest, ok := strings.CutPrefix(title, "\n"); ok {
		b.WriteByte('\n')
		title = rest
	}
	fmt.Fprintf(b, "| %s | %s |\n", title, strings.Join(cells, " | "))
}

// rule writes what is below the head of a table of numbers.
func rule(b *bytes.Buffer, columns int) {
	b.WriteString("|---|" + strings.Repeat("---:|", columns) + "\n")
}

func cell(values []float64, format func(float64) string) string {
	if len(values) == 0 {
		return "–"
	}
	return format(median(values))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
