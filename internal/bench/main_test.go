package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omniq-go/omniq/internal/pgserver"
	"github.com/omniq-go/omniq/internal/redisserver"
)

func TestQuick(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			skipWithout(t, e)
			quick(t, e, open(t))
		})
	}
}

// skipWithout skips a test of an engine whose server is not there.
func skipWithout(t *testing.T, e engine) {
	t.Helper()
	var err error
	switch {
	case e.name == postgresEngine.name && os.Getenv(pgserver.URLVariable) == "":
		err = pgserver.Check()
	case e.name == redisEngine.name && os.Getenv(redisserver.URLVariable) == "":
		_, err = redisserver.Path()
	}
	if err != nil {
		t.Skip(err)
	}
}

func quick(t *testing.T, e engine, dir string) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-engine", e.name, "-dir", dir}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, s := range e.systems {
		// Rates, settings, ratios to all but OmniQ, and of all that have a call for a task latencies and, with a server, idleness.
		want := 2
		if s.name != e.systems[0].name {
			want++
		}
		if !s.bulk && !s.burnsOnly {
			want++
			if e.cpu != nil {
				want++
			}
		}
		if got := strings.Count(out.String(), "\n| "+s.title+" | "); got != want {
			t.Errorf("%s is in %d tables, want %d", s.title, got, want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{
		"-systems nosuch", "-engine nosuch", "-engine postgres -systems goqite", "-engine postgres -url nowhere",
		"-engine postgres -synchronous normal", "-url postgres://127.0.0.1/", "-systems omniq,", "-n 0", "-rounds 0", "-workers 0",
		"-engine redis -systems river",
		"-engine redis -appendfsync no", "-appendfsync always", "-engine redis -synchronous normal", "-engine redis -url nowhere", "-rate 0", "-latency-time 0s", "-synchronous off", "-dir " + os.DevNull, "unexpected", "-nosuch",
	} {
		if err := run(t.Context(), strings.Fields(args), t.Output(), t.Output()); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.4: "999", 999.6: "1,000", 1234567: "1,234,567"} {
		if got := thousands(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
