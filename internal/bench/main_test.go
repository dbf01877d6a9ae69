package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omniq-go/omniq/internal/pgserver"
)

func TestQuick(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			if e.name == postgresEngine.name && os.Getenv(pgserver.URLVariable) == "" && pgserver.Check() != nil {
				t.Skip(pgserver.Check())
			}
			dir, err := os.MkdirTemp("", "") // not the test's, which is not open to the server's user
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			quick(t, e, dir)
		})
	}
}

func quick(t *testing.T, e engine, dir string) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-engine", e.name, "-dir", dir}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, s := range e.systems {
		// Rates, ratios to all but OmniQ, latencies of all that have a call for a task, and settings.
		want := 4
		if s.bulk || s.name == e.systems[0].name {
			want--
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
		"-rate 0", "-latency-time 0s", "-synchronous off", "-dir " + os.DevNull, "unexpected", "-nosuch",
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
