package omniqotel_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.yaml.in/yaml/v3"
)

var (
	prometheusName = regexp.MustCompile(`\b(?:omniq|messaging|error)_[a-z_]+\b`)
	docsName       = regexp.MustCompile("`((?:omniq|messaging)\\.[a-z.]+)`")
)

// emitted are the metrics and labels of Prometheus that the code emits, with the metric's own name of each.
func emitted(t *testing.T) (metrics map[string]string, labels map[string]bool) {
	metrics, labels = make(map[string]string), make(map[string]bool)
	for name, list := range everything(t) {
		for _, translated := range translate(name) {
			metrics[translated] = name
		}
		for _, p := range list {
			for attribute := range strings.FieldsSeq(p.attributes) {
				key, _, _ := strings.Cut(attribute, "=")
				labels[strings.ReplaceAll(key, ".", "_")] = true
			}
		}
	}
	return metrics, labels
}

// translate gives the names that a metric has in Prometheus, as the exporter makes them: see docs/telemetry.md.
func translate(name string) []string {
	translated := strings.ReplaceAll(name, ".", "_")
	switch kinds[name] {
	case "counter":
		return []string{translated + "_total"}
	case "histogram of seconds":
		translated += "_seconds"
		return []string{translated + "_bucket", translated + "_sum", translated + "_count"}
	case "gauge of seconds":
		return []string{translated + "_seconds"}
	}
	return []string{translated}
}

// kinds are those of the metrics of which the kind is part of the name in Prometheus.
var kinds = map[string]string{
	"messaging.client.sent.messages": "counter", "messaging.client.consumed.messages": "counter", "omniq.task.attempts": "counter",
	"messaging.client.operation.duration": "histogram of seconds", "messaging.process.duration": "histogram of seconds",
	"omniq.task.wait": "histogram of seconds", "omniq.task.age": "histogram of seconds",
	"omniq.queue.latency": "gauge of seconds",
}

// The kinds that the names go by are those of the instruments.
func TestKinds(t *testing.T) {
	var data metricdata.ResourceMetrics
	exercised(t, func(t *testing.T, p process) { require.NoError(t, p.reader.Collect(t.Context(), &data)) })
	got := make(map[string]string)
	for _, m := range data.ScopeMetrics[0].Metrics {
		assert.NotEmpty(t, m.Description, m.Name)
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			if d.IsMonotonic {
				got[m.Name] = "counter"
			}
		case metricdata.Histogram[float64]:
			got[m.Name] = "histogram"
		case metricdata.Gauge[float64]:
			got[m.Name] = "gauge"
		}
		switch {
		case m.Unit == "s":
			got[m.Name] += " of seconds"
		case m.Unit != "":
			assert.Regexp(t, `^\{[a-z]+\}$`, m.Unit, "%s: another unit is a part of the name", m.Name)
		}
	}
	assert.Equal(t, kinds, got)
}

// names returns the metrics that a text names, and fails for what the code does not emit.
func names(t *testing.T, text string, metrics map[string]string, labels map[string]bool) (found []string) {
	t.Helper()
	for _, name := range prometheusName.FindAllString(text, -1) {
		if labels[name] {
			continue
		}
		if metric, ok := metrics[name]; assert.True(t, ok, "the code emits neither a metric nor a label %q", name) {
			found = append(found, metric)
		}
	}
	return found
}

// The dashboard shows what the code emits, and all of it.
func TestDashboard(t *testing.T) {
	metrics, labels := emitted(t)
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Title, UID    string
		SchemaVersion int
		Panels        []struct {
			ID                       int
			Type, Title, Description string
			Datasource               struct{ Type, UID string }
			GridPos                  struct{ H, W, X, Y int }
			Targets                  []struct{ Expr, LegendFormat, RefID string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	assert.Equal(t, "OmniQ", dashboard.Title)
	assert.NotEmpty(t, dashboard.UID)
	assert.GreaterOrEqual(t, dashboard.SchemaVersion, 36, "since then a data source is a type and an ID")
	shown := make(map[string]bool)
	ids := make(map[int]bool)
	for _, v := range dashboard.Templating.List {
		names(t, v.Query, metrics, labels)
	}
	for _, panel := range dashboard.Panels {
		assert.False(t, ids[panel.ID], "two panels have the ID %d", panel.ID)
		ids[panel.ID] = true
		assert.LessOrEqual(t, panel.GridPos.X+panel.GridPos.W, 24, panel.Title)
		if panel.Type == "row" {
			continue
		}
		assert.Contains(t, []string{"timeseries", "stat"}, panel.Type, panel.Title)
		assert.Positive(t, panel.GridPos.H, panel.Title)
		assert.Equal(t, []string{"prometheus", "${datasource}"}, []string{panel.Datasource.Type, panel.Datasource.UID}, panel.Title)
		assert.NotEmpty(t, panel.Description, panel.Title)
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			assert.Regexp(t, "^[A-Z]$", target.RefID, panel.Title)
			balanced(t, target.Expr)
			found := names(t, target.Expr, metrics, labels)
			assert.NotEmpty(t, found, "%s: a query of nothing", panel.Title)
			for _, name := range found {
				shown[name] = true
			}
		}
	}
	assert.Equal(t, namesOf(metricNames(metrics)), namesOf(shown), "what is emitted is shown")
}

// metricNames has each metric once.
func metricNames(metrics map[string]string) map[string]string {
	once := make(map[string]string)
	for _, name := range metrics {
		once[name] = name
	}
	return once
}

// balanced fails for a query that is cut off.
func balanced(t *testing.T, expr string) {
	t.Helper()
	for _, pair := range []string{"()", "{}", "[]"} {
		assert.Equal(t, strings.Count(expr, pair[:1]), strings.Count(expr, pair[1:]), expr)
	}
}

// The rules ask for what the code emits, and each says what to do.
func TestAlerts(t *testing.T) {
	metrics, labels := emitted(t)
	text, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	type rule struct {
		Alert, Expr, For    string
		Labels, Annotations map[string]string
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&file))
	require.Len(t, file.Groups, 1)
	docs, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	var alerts []string
	for _, r := range file.Groups[0].Rules {
		assert.NotContains(t, alerts, r.Alert)
		alerts = append(alerts, r.Alert)
		balanced(t, r.Expr)
		assert.NotEmpty(t, names(t, r.Expr, metrics, labels), "%s: a query of nothing", r.Alert)
		assert.Regexp(t, `^\d+[mh]$`, r.For, r.Alert)
		assert.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.NotEmpty(t, r.Annotations["description"], r.Alert)
		for _, annotation := range r.Annotations {
			for _, label := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(annotation, -1) {
				target := label[1] == "job" || label[1] == "instance" // of what Prometheus scrapes
				assert.True(t, target || labels[label[1]], "%s: no metric has the label %q", r.Alert, label[1])
				assert.Contains(t, r.Expr, label[1], "%s: the query drops the label", r.Alert)
			}
		}
	}
	assert.GreaterOrEqual(t, len(alerts), 8)
	var told []string
	for _, title := range regexp.MustCompile(`(?m)^### (\S+)$`).FindAllStringSubmatch(string(docs), -1) {
		told = append(told, title[1])
	}
	assert.Equal(t, alerts, told, "docs/operations.md says what to do for each rule, in their order")
}

// docs/telemetry.md has each metric, and no other.
func TestDocs(t *testing.T) {
	metrics, _ := emitted(t)
	text, err := os.ReadFile("../docs/telemetry.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "\n## Metrics\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n## ")
	var told []string
	for line := range strings.Lines(table) {
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok {
			if m := docsName.FindStringSubmatch(first); m != nil {
				told = append(told, m[1])
			}
		}
	}
	slices.Sort(told)
	assert.Equal(t, namesOf(metricNames(metrics)), told)
}
